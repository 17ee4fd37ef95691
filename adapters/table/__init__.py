"""A table of leads in, a file for manual upload out. The smallest adapter, and the template for new ones."""

from adapters.table import destination, source
from adapters.table.settings import TableSettings, UploadFileSettings
from adapters.table.upload import TEMPLATES
from bridge.ports import AdapterSpec, DestinationSpec, SourceSpec

SPEC = AdapterSpec(
    kind="table",
    title="Table file (CSV)",
    source=SourceSpec(TableSettings, source.build),
    destination=DestinationSpec(UploadFileSettings, destination.build, TEMPLATES["yandex_metrica"].traits),
)

"""A table of leads in, a file for manual upload out. The smallest adapter, and the template for new ones."""

from adapters.csv_file import destination, source
from adapters.csv_file.form import TABLE_FORM, UPLOAD_FORM
from adapters.csv_file.settings import TableSettings, UploadFileSettings
from adapters.csv_file.upload import TEMPLATES
from bridge.ports import AdapterSpec, DestinationSpec, SourceSpec

SPEC = AdapterSpec(
    kind="csv_file",
    title="Table file (CSV)",
    source=SourceSpec(TableSettings, source.build, form=TABLE_FORM),
    destination=DestinationSpec(UploadFileSettings, destination.build, TEMPLATES["yandex_metrica"].traits, UPLOAD_FORM),
)

"""A table of leads in (a file or a Google spreadsheet), a file for manual upload out."""

from adapters.table import destination, source
from adapters.table.settings import TableSettings, UploadFileSettings
from adapters.table.upload import TEMPLATES
from bridge.ports import AdapterSpec, DestinationSpec, SourceSpec

SPEC = AdapterSpec(
    kind="table",
    title="Tables (CSV, XLSX, Google Sheets)",
    source=SourceSpec(TableSettings, source.build),
    destination=DestinationSpec(UploadFileSettings, destination.build, TEMPLATES["yandex_metrica"].traits),
    api_version="v4",
    fake="adapters.table.fake.GoogleSheets",
)

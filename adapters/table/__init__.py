"""A table of leads in (a file or a Google spreadsheet), a file for manual upload out."""

from adapters.table import destination, source
from adapters.table.form import TABLE_FORM, UPLOAD_FORM
from adapters.table.settings import TableSettings, UploadFileSettings
from adapters.table.upload import TEMPLATES
from bridge.ports import AdapterSpec, Api, DestinationSpec, SourceSpec

SPEC = AdapterSpec(
    kind="table",
    title="Tables (CSV, XLSX, Google Sheets)",
    source=SourceSpec(TableSettings, source.build, form=TABLE_FORM),
    destination=DestinationSpec(UploadFileSettings, destination.build, TEMPLATES["yandex_metrica"].traits, UPLOAD_FORM),
    apis=(Api("v4", "Google Sheets API"),),
    fake="adapters.table.fake.GoogleSheets",
)

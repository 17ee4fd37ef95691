"""What ``bridge init`` asks about a table, and about a folder of upload files."""

from bridge.forms import Ask, Form, Secrecy, Spare, Way

_FILE = Way(
    "file",
    "a CSV or XLSX file",
    (Ask("path", "the CSV or XLSX file with the leads, beside this configuration or absolute"),),
)
_SHEETS = Way(
    "google_sheets",
    "a Google spreadsheet, shared with a service account",
    (
        Ask("spreadsheet", "the spreadsheet's address (https://docs.google.com/spreadsheets/d/...) or its id"),
        Ask("credentials", "the key of the service account the spreadsheet is shared with (JSON)", Secrecy.FILE),
    ),
)
TABLE_FORM = Form(
    name="table",
    ways=(_FILE, _SHEETS),
    choice="What kind of table is",
    spares=(
        Spare("sheet", '"Лиды"', "which sheet; by default the first that is visible"),
        Spare("range", '"A3:K"', "only this part of the sheet"),
        Spare("poll_every", '"5m"', "how often to look whether it changed"),
        Spare("start_from", '"1d"', "goals reached earlier than that before the first reading need a backfill"),
        Spare("columns", '{ status = "Этап", amount = "Сумма договора" }', "titles that are not found by themselves"),
        Spare("date_time_policy", '"noon"', "what a date without a time means: noon or midnight"),
        Spare("date_order", '"dmy"', "03.04 is the 3rd of April; mdy: the 4th of March"),
        Spare("won", '["Оплачен", "Продажа"]', "which statuses mean a sale"),
        Spare("lost", '["Отказ", "Спам", "Дубль"]', "which statuses mean a loss"),
    ),
)
UPLOAD_FORM = Form(
    name="file",
    asks=(
        Ask("path", "the folder that fills with files", default="upload/{tenant}"),
        Ask("format", "what the files are made for", choices=("yandex_metrica", "google_ads", "spreadsheet")),
    ),
    spares=(Spare("send_every", '"60s"', "how often to write what is due"),),
    takes_any_name=True,
)

"""Settings of a table as a source, and of a folder of upload files as a destination."""

from __future__ import annotations

import codecs
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from adapters.table.grid import Area, parse_range
from bridge.config import DestinationSettings, Duration, Names, SecretRef, SourceSettings, TimeZone

Column = Literal[
    "lead_id",
    "created_at",
    "updated_at",
    "status_at",
    "status",
    "pipeline",
    "amount",
    "cost",
    "currency",
    "reject_reason",
    "phone",
    "email",
    "name",
    "ym_client_id",
    "ga_client_id",
    "yclid",
    "gclid",
    "gbraid",
    "wbraid",
    "fbclid",
    "rb_clickid",
    "li_fat_id",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_content",
    "utm_term",
    "landing_page",
    "call_id",
    "roistat",
    "source_ref",
    "manager",
    "comment",
]
Format = Literal["yandex_metrica", "google_ads", "spreadsheet"]
_ADDRESS = re.compile(r"^https://.*/spreadsheets/(?:u/\d+/)?d/(?!e/)([A-Za-z0-9_-]+)")  # /d/e/ is a published copy
_SPREADSHEET_ID = re.compile(r"[A-Za-z0-9_-]{20,}")
_SHEET_ID = re.compile(r"[#&?]gid=(\d+)")

WON = [
    "Оплачен",
    "Оплачено",
    "Продажа",
    "Продано",
    "Успешно реализовано",
    "Сделка успешна",
    "won",
    "closed won",
    "paid",
    "sold",
]
LOST = [
    "Отказ",
    "Спам",
    "Дубль",
    "Брак",
    "Закрыто и не реализовано",
    "Нецелевой",
    "Сделка провалена",
    "Отменен",
    "Отменена",
    "Отменено",
    "Отмена",
    "Возврат",
    "Возврат денег",
    "Возврат средств",
    "Возврат товара",
    "Возвращен",
    "Возвращена",
    "Возвращено",
    "lost",
    "closed lost",
    "spam",
    "junk",
    "rejected",
    "cancelled",
    "canceled",
    "refund",
    "refunded",
    "returned",
]


def _known_encoding(name: str) -> str:
    if name == "auto":
        return name
    try:
        return codecs.lookup(name).name
    except LookupError:
        raise ValueError(
            'unknown encoding; use "auto", "utf-8", "cp1251", "utf-16", "koi8-r" or "mac-cyrillic"'
        ) from None


def _one_character(value: Any) -> Any:
    named = {"tab": "\t", "semicolon": ";", "comma": ","}
    value = named.get(value, value) if isinstance(value, str) else value
    if value != "auto" and (not isinstance(value, str) or len(value) != 1 or value in '"\r\n'):
        raise ValueError('write "auto", ";", "," or "tab"')
    return value


def _spreadsheet(value: str) -> str:
    if not _ADDRESS.search(value) and not _SPREADSHEET_ID.fullmatch(value):
        raise ValueError("give the address of the spreadsheet (https://docs.google.com/spreadsheets/d/...) or its id")
    return value


def _range(value: str) -> str:
    parse_range(value)
    return value


class TableSettings(SourceSettings):
    """One table: a file beside the configuration file (``path``), or a Google spreadsheet (its address or id)."""

    kind: Literal["table"] = "table"
    path: Annotated[str, Field(min_length=1)] | None = None
    spreadsheet: Annotated[str, AfterValidator(_spreadsheet)] | None = None
    credentials: SecretRef | None = None  # of a service account the spreadsheet is shared with
    sheet: Annotated[str, Field(min_length=1)] | None = None  # by name; None: the first that is visible
    range: Annotated[str, AfterValidator(_range)] | None = None  # A1 notation
    base_url: str = "https://sheets.googleapis.com"
    token_uri: str = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
    requests_per_second: Annotated[float, Field(gt=0, le=10_000)] = 0.8  # contract tables A4: 60 a minute
    poll_every: Duration = timedelta(minutes=5)
    encoding: Annotated[str, AfterValidator(_known_encoding)] = "auto"
    delimiter: Annotated[str, BeforeValidator(_one_character)] = "auto"
    header_row: Annotated[int, Field(ge=0)] = 0  # number of the line with the titles; 0: the first that is not empty
    timezone: TimeZone | None = None  # of times without one; None: the tenant's
    columns: dict[Column, str] = Field(default_factory=dict)
    date_time_policy: Literal["noon", "midnight"] = "noon"  # of dates without a time
    date_order: Literal["dmy", "mdy"] = "dmy"
    decimal: Literal["auto", ",", "."] = "auto"
    won: Names = WON
    lost: Names = LOST

    @field_validator("base_url")
    @classmethod
    def _no_last_slash(cls, value: str) -> str:
        return value.rstrip("/")

    @model_validator(mode="after")
    def _one_table(self) -> TableSettings:
        if (self.path is None) == (self.spreadsheet is None):
            raise ValueError("give exactly one of path (a file) and spreadsheet (Google Sheets)")
        if (self.spreadsheet is None) != (self.credentials is None):
            raise ValueError("spreadsheet and credentials (a service account's key) belong together")
        in_range = None if self.range is None else parse_range(self.range)[0]
        if self.sheet is not None and in_range is not None:
            raise ValueError("the sheet is named twice: by sheet and in range; remove one of them")
        return self

    @property
    def spreadsheet_id(self) -> str:
        """The spreadsheet's id, also where its address is given."""
        text = self.spreadsheet or ""
        found = _ADDRESS.search(text)
        return found[1] if found else text

    @property
    def sheet_name(self) -> str | None:
        """The sheet's name, wherever it is given."""
        return self.sheet if self.range is None else self.sheet or parse_range(self.range)[0]

    @property
    def sheet_id(self) -> int | None:
        """The number of the sheet in the spreadsheet's address (``#gid=``)."""
        found = _SHEET_ID.search(self.spreadsheet or "")
        return int(found[1]) if found else None

    def shared_accounts(self, folder: Path) -> frozenset[str]:
        """See ``ports.SharesAccount``: the file or spreadsheet, and which part of it."""
        place = f"spreadsheet {self.spreadsheet_id}" if self.path is None else str(Path(folder, self.path).resolve())
        return frozenset([f"{place} {self.sheet_name or self.sheet_id or ''} {self.area}"])

    @property
    def area(self) -> Area:
        """The part of the sheet that is the table."""
        return Area() if self.range is None else parse_range(self.range)[1]


class UploadFileSettings(DestinationSettings):
    """A folder that fills with files for manual upload. ``path`` is looked up beside the configuration file."""

    kind: Literal["table"] = "table"
    path: Annotated[str, Field(min_length=1)]
    format: Format

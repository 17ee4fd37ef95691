"""Settings of a table as a source, and of a folder of upload files as a destination."""

from __future__ import annotations

import codecs
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from bridge.config import DestinationSettings, Duration, Names, SourceSettings, TimeZone

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
Format = Literal["yandex_metrica", "google_ads"]

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
    "lost",
    "closed lost",
    "spam",
    "junk",
    "rejected",
    "cancelled",
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


class TableSettings(SourceSettings):
    """One table file. ``path`` is looked up beside the configuration file."""

    kind: Literal["table"] = "table"
    path: Annotated[str, Field(min_length=1)]
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


class UploadFileSettings(DestinationSettings):
    """A folder that fills with files for manual upload. ``path`` is looked up beside the configuration file."""

    kind: Literal["table"] = "table"
    path: Annotated[str, Field(min_length=1)]
    format: Format

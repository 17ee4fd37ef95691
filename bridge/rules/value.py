"""Numbers, dates and yes/no as people write them in CRM fields (contract tables D). Pure; None when it is none."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from unicodedata import normalize

from bridge.frozen import frozen

_MONEY_WORD = r"(?:₽|руб(?:лей|ля|ль)?\.?|р\.?|rub|rur|usd|eur|kzt|byn|тг\.?|[$€₸%])"
_AROUND = re.compile(rf"^{_MONEY_WORD}|{_MONEY_WORD}$", re.I)
_GROUPED = {
    ",": re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?"),  # 1,234.56 and 1,234,567
    ".": re.compile(r"[0-9]{1,3}(?:\.[0-9]{3})+(?:,[0-9]+)?"),  # 1.234,56 and 1.234.567
}
_DECIMAL = re.compile(r"[0-9]{1,18}(?:[.,][0-9]{1,18})?")
_ISO = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d?:\d\d.*)?")
_RUSSIAN = re.compile(r"(\d\d?)\.(\d\d?)\.(\d{4}|\d\d)(?:[ ,]+(\d\d?):(\d\d)(?::(\d\d))?)?")
_UNIX = re.compile(r"(\d{10})(?:\d{3})?")
_YES = frozenset(("да", "true", "истина", "1", "+", "✓", "yes", "y", "д"))
_NO = frozenset(("нет", "false", "ложь", "0", "-", "−", "no", "n", "н"))


@lru_cache(maxsize=4096)
def number(text: str) -> Decimal | None:
    """``1 234,56``, ``1,234.56``, ``100 000 ₽``, ``(500)``, ``−500`` and plain numbers; None for anything else.

    A lone comma or dot is the decimal sign ("1,234" is one and a bit); groups of three with several signs are
    thousands.
    """
    tight = "".join(normalize("NFKC", text[:64]).split()).strip("'\"").replace("−", "-").casefold()
    tight = _AROUND.sub("", tight)
    is_bracketed = tight.startswith("(") and tight.endswith(")")
    digits = tight[1:-1] if is_bracketed else tight[1:] if tight[:1] in ("-", "+") else tight
    if ("," in digits and "." in digits) or digits.count(",") > 1 or digits.count(".") > 1:
        digits = _ungrouped(digits)
    if not _DECIMAL.fullmatch(digits):
        return None
    amount = Decimal(digits.replace(",", "."))
    return -amount if is_bracketed or tight[0] == "-" else amount


def _ungrouped(digits: str) -> str:
    for sign, shape in _GROUPED.items():
        if shape.fullmatch(digits):
            return digits.replace(sign, "")
    return ""


@frozen
class Moment:
    """A point in time, or a whole day (``is_day``) whose ``at`` is its midnight, UTC."""

    at: datetime
    is_day: bool

    def compared(self, other: Moment) -> int:
        """-1, 0 or 1; by day as soon as one of the two is a day."""
        if self.is_day or other.is_day:
            return _sign(self.at.date(), other.at.date())
        return _sign(self.at, other.at)


def _sign(left: date, right: date) -> int:
    return (left > right) - (left < right)


def moment_of(value: date | datetime) -> Moment:
    """A TOML date or time; one without a zone is UTC."""
    if isinstance(value, datetime):
        return Moment(value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC), is_day=False)
    return Moment(datetime(value.year, value.month, value.day, tzinfo=UTC), is_day=True)


@lru_cache(maxsize=4096)
def moment(text: str) -> Moment | None:
    """``yyyy-mm-dd``, ``dd.mm.yyyy``, ``dd.mm.yy`` with or without a time, ISO 8601, Unix seconds or milliseconds."""
    tight = " ".join(normalize("NFKC", text[:64]).split())
    try:
        if _ISO.fullmatch(tight):
            return moment_of(date.fromisoformat(tight) if len(tight) == 10 else datetime.fromisoformat(tight))
        unix = _UNIX.fullmatch(tight)
        if unix is not None:
            return Moment(datetime.fromtimestamp(int(unix[1]), UTC), is_day=False)
        russian = _RUSSIAN.fullmatch(tight)
        return None if russian is None else _russian(russian)
    except (ValueError, OverflowError):
        return None


def _russian(match: re.Match[str]) -> Moment:
    day, month, year, hour, minute, second = (None if part is None else int(part) for part in match.groups())
    assert day is not None
    assert month is not None
    assert year is not None
    at = datetime(year + 2000 if year < 100 else year, month, day, hour or 0, minute or 0, second or 0, tzinfo=UTC)
    return Moment(at, is_day=hour is None)


def yes_no(text: str) -> bool | None:
    """``да``/``нет``, ``true``/``false``, ``истина``/``ложь``, ``1``/``0``, ``+``/``-``; None for anything else."""
    lowered = text.strip().casefold()
    return True if lowered in _YES else False if lowered in _NO else None

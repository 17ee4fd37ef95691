"""What people mean by the text of a cell: amounts, dates, phones, currencies (contract tables D). Pure.

A text that allows two readings is refused rather than guessed. ``ValueError`` says what is wrong with the *kind* of
text and never repeats the text itself, which may be personal.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import Literal
from unicodedata import normalize

from adapters.table.grid import DAY_ZERO, UNKNOWN, Numeral, Priced
from bridge.frozen import frozen
from bridge.model import utc

DecimalMark = Literal["auto", ",", "."]
DateOrder = Literal["dmy", "mdy"]

_NULLS = frozenset(("", "-", "—", "–", "нет", "n/a", "null", "(not set)", "<не указано>", "не указано"))
_NULL_MAX = max(map(len, _NULLS))
# A spreadsheet's error values, English and Russian: nothing is known, which is not the same as wrong.
_CELL_ERROR = re.compile(
    r"#(?:N/A|REF!|VALUE!|DIV/0!|NAME\?|NUM!|NULL!|ERROR!|SPILL!|CALC!"
    r"|Н/Д|ССЫЛКА!|ЗНАЧ!|ДЕЛ/0!|ИМЯ\?|ЧИСЛО!|ПУСТО!|ОШИБКА!|ПЕРЕНОС!)",
    re.I,
)
_SPACES = re.compile(r"\s+")
_ROUBLES = re.compile(r"(?:₽|руб(?:лей|ля|ль)?\.?|р\.?|rub\.?|rur\.?)$", re.I)
_SIGNS = {"₽": "RUB", "$": "USD", "€": "EUR"}  # any other sign is no part of an amount that we understand
_PLAIN = re.compile(r"\d+")
_GROUPED = {mark: re.compile(rf"\d{{1,3}}(?:{re.escape(mark)}\d{{3}})+") for mark in (" ", ",", ".", "'")}
_DOUBTFUL = re.compile(r"[1-9]\d{0,2},\d{3}")  # what begins with 0 is no thousand, and money has no thousandths
_MAX_DIGITS = 13  # whole units; more would be no price, and not fit the ledger's 64-bit minor units
_PRECISION_LOST = re.compile(r"\d[.,]?\d*E\+?\d+", re.I)
_FRACTION_ZERO = re.compile(r"(\d+)[.,]0+")

_CLOCK = r"(?:[ T]+(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,]\d+)?)?)?"
_ISO = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})" + _CLOCK + r"\s*(Z|[+-]\d{2}:?\d{2})?")
_DOTTED = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4}|\d{2})" + _CLOCK)
_SLASHED = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4}|\d{2})" + _CLOCK)
_SERIAL = re.compile(r"(\d{5})(?:[.,](\d+))?")
_SERIALS = range(20_000, 80_001)
_FIRST_YEAR = 1990
_DAY = timedelta(days=1)


def normal(text: str) -> str:
    """A status or any other name, for comparison: spaces collapsed, case folded, ё as е."""
    return _SPACES.sub(" ", normalize("NFKC", text)).strip().casefold().replace("ё", "е")


def bare(text: str) -> str:
    """A cell's text without outer space and the apostrophe that marks text in a spreadsheet; "" for an error."""
    if isinstance(text, Numeral):
        return text
    text = text.strip()
    if text.startswith("'"):
        text = text[1:].strip()
    return "" if is_cell_error(text) else text


def clean(text: str) -> str:
    """The same, with "" for what people write where there is nothing."""
    text = bare(text)
    return "" if len(text) <= _NULL_MAX and text.casefold() in _NULLS else text


def is_cell_error(text: str) -> bool:
    """What a spreadsheet shows in place of a value it cannot compute."""
    return text.startswith("#") and _CELL_ERROR.fullmatch(text) is not None


def is_precision_lost(text: str) -> bool:
    """A number in scientific notation: the spreadsheet has destroyed the last digits of an identifier."""
    return _PRECISION_LOST.fullmatch(text.replace(" ", "")) is not None


def parse_id(text: str) -> str:
    """A record's own id as text; ``17.0`` is 17.

    Raises:
        ValueError: the digits are lost.
    """
    if is_precision_lost(text):
        raise ValueError("a spreadsheet has destroyed the id's digits; format the column as text")
    whole = _FRACTION_ZERO.fullmatch(text)
    return whole[1] if whole else text


def parse_amount(text: str, mark: DecimalMark = "auto") -> tuple[Decimal, str]:
    """An amount as Russian and English tables write it, and the currency its own sign or word names ("": none does).

    With ``mark`` "auto" a single comma is the decimal mark, and a single dot before exactly three digits is ambiguous.

    Raises:
        ValueError: no amount, or an ambiguous one; a sign of a currency that is not known, or more than one.
    """
    if isinstance(text, Numeral):
        return _computed(text), _shown(text)
    body, is_negative, currency = _amount_parts(text)
    whole, fraction = _split_amount(body, mark)
    if len(whole) > _MAX_DIGITS or (fraction and not _PLAIN.fullmatch(fraction)):
        raise ValueError("not an amount")
    amount = Decimal(f"{whole}.{fraction or 0}")
    return -amount if is_negative else amount, currency


def has_doubtful_comma(text: str) -> bool:
    """Whether an amount's only comma, which is read as the decimal mark, may group thousands as well ("25,000")."""
    return not isinstance(text, Numeral) and _DOUBTFUL.fullmatch(_amount_parts(text)[0]) is not None


def _amount_parts(text: str) -> tuple[str, bool, str]:
    """The digits and marks of an amount, whether it is negative, and the currency it names."""
    body = _SPACES.sub(" ", normalize("NFKC", text)).strip().replace("\u2212", "-")
    body, currency = _without_currency(body)
    is_negative = body.startswith("-") or (body.startswith("(") and body.endswith(")"))
    body = body[1:].strip() if body.startswith(("-", "+")) else body.strip("()") if is_negative else body
    return body, is_negative, currency


def _without_currency(body: str) -> tuple[str, str]:
    """The amount without the one sign or word before or behind it, and the currency that this names."""
    if body[:1] in _SIGNS:
        return body[1:].strip(), _SIGNS[body[0]]
    if body[-1:] in _SIGNS:
        return body[:-1].strip(), _SIGNS[body[-1]]
    bare_body = _ROUBLES.sub("", body)
    return bare_body.strip(), "RUB" if bare_body != body else ""


def _computed(text: Numeral) -> Decimal:
    """A number that was one already."""
    amount = Decimal(text)
    if abs(amount) >= 10**_MAX_DIGITS:
        raise ValueError("not an amount")
    return amount


def _shown(text: Numeral) -> str:
    """The currency of a number's format."""
    currency = text.currency if isinstance(text, Priced) else ""
    if currency == UNKNOWN:
        raise ValueError("not an amount: its number format shows a currency that is not known, or more than one")
    return currency


def _split_amount(body: str, mark: DecimalMark) -> tuple[str, str]:
    """Digits before and after the decimal mark."""
    point = _decimal_mark(body, mark)
    whole, _, fraction = body.rpartition(point) if point else (body, "", "")
    for grouped in (_PLAIN, *_GROUPED.values()):
        if grouped.fullmatch(whole) and not (point and point in whole):
            return re.sub(r"\D", "", whole), fraction
    raise ValueError("not an amount")


def _decimal_mark(body: str, mark: DecimalMark) -> str:
    """Which character is the decimal mark of this amount; "" if none is there."""
    commas, dots = body.count(","), body.count(".")
    if commas and dots:
        last = "," if body.rfind(",") > body.rfind(".") else "."
        return last if mark in ("auto", last) else _never()
    if commas + dots != 1:
        return ""
    found = "," if commas else "."
    if mark != "auto":
        return found if mark == found else ""
    if dots and len(body.rpartition(".")[2]) == 3:
        raise ValueError('ambiguous amount: one dot before three digits; set decimal = "." or decimal = ","')
    return found


def _never() -> str:
    raise ValueError("not an amount: its decimal mark is not the one that is set")


def parse_currency(text: str) -> str:
    """ISO 4217 from a code, a sign or a word.

    Raises:
        ValueError: unknown.
    """
    word = normal(text).rstrip(".")
    if word in ("rub", "rur", "руб", "р", "рубль", "рубли", "рублей"):
        return "RUB"
    if word in _SIGNS:
        return _SIGNS[word]
    if not re.fullmatch(r"[a-z]{3}", word):
        raise ValueError("not a currency; write an ISO 4217 code such as RUB")
    return word.upper()


@frozen
class Times:
    """How a table's times are meant.

    ``zone`` of texts that name none; ``day_only``: local time of a date without one; ``order`` of ``01/02/2026``: only
    "mdy" makes slashes legal, as month/day/year; ``day_zero``: what a cell's number counts its days from.
    """

    zone: tzinfo
    day_only: time
    order: DateOrder = "dmy"
    day_zero: datetime = DAY_ZERO


@frozen
class Moment:
    """A time as a cell tells it. ``at`` is aware UTC, ``day`` the one that is written, in its zone.

    ``is_day``: only the day is written, and the time of day is our choice.
    """

    at: datetime
    day: date
    zone: tzinfo
    is_day: bool = False


def parse_time(text: str, times: Times) -> datetime:
    """The moment itself, aware UTC; see ``read_time``."""
    return read_time(text, times).at


def read_time(text: str, times: Times) -> Moment:
    """A moment: ``dd.mm.yyyy [H:MM[:SS]]``, ISO 8601, a spreadsheet's serial, Unix seconds or milliseconds.

    Raises:
        ValueError: none of these, or no such day.
    """
    zone, day_only = times.zone, times.day_only
    day_zero = times.day_zero if isinstance(text, Numeral) else DAY_ZERO
    text = text.strip()
    iso = _ISO.fullmatch(text)
    if iso is not None:
        return _moment((iso[1], iso[2], iso[3]), iso.groups()[3:6], _offset(iso[7]) or zone, day_only)
    dotted = _DOTTED.fullmatch(text)
    if dotted is not None:
        return _moment((dotted[3], dotted[2], dotted[1]), dotted.groups()[3:6], zone, day_only)
    slashed = _SLASHED.fullmatch(text) if times.order == "mdy" else None
    if slashed is not None:
        return _moment((slashed[3], slashed[1], slashed[2]), slashed.groups()[3:6], zone, day_only)
    return _numeric_time(text, times, day_zero)


def _offset(text: str | None) -> tzinfo | None:
    if text is None:
        return None
    return datetime.strptime(text, "%z").tzinfo


def _moment(day: tuple[str, str, str], clock: tuple[str | None, ...], zone: tzinfo, day_only: time) -> Moment:
    year = int(day[0]) + (2000 if len(day[0]) == 2 else 0)
    hour, minute, second = clock
    try:
        at = day_only if hour is None else time(int(hour), int(minute or 0), int(second or 0))
        local = datetime.combine(datetime(year, int(day[1]), int(day[2])), at, zone)  # noqa: DTZ001 - zone joins here
    except ValueError:
        raise ValueError("no such day or time") from None
    return _sane(local, zone, is_day=hour is None)


def _numeric_time(text: str, times: Times, day_zero: datetime) -> Moment:
    if text.isascii() and text.isdigit() and len(text) in (10, 13):
        return _sane(utc(int(text[:10])), times.zone)
    serial = _SERIAL.fullmatch(text)
    if serial is None or int(serial[1]) not in _SERIALS:
        raise ValueError("not a date; write dd.mm.yyyy, dd.mm.yyyy HH:MM or yyyy-mm-dd HH:MM:SS")
    midnight = day_zero + int(serial[1]) * _DAY
    if serial[2] is None:
        return _sane(datetime.combine(midnight, times.day_only, times.zone), times.zone, is_day=True)
    # Rounded to the second: the fraction of a day is a float (contract tables A2).
    seconds = round(Decimal(f"0.{serial[2]}") * 86_400)
    return _sane((midnight + timedelta(seconds=int(seconds))).replace(tzinfo=times.zone), times.zone)


def _sane(at: datetime, zone: tzinfo, *, is_day: bool = False) -> Moment:
    if not _FIRST_YEAR <= at.year < 9999:
        raise ValueError("no plausible year")
    return Moment(at.astimezone(UTC), at.astimezone(zone).date(), zone, is_day)


def split_contacts(text: str) -> tuple[str, ...]:
    """Phones or e-mails of one cell, apart. Phones that went through a float are left out, ``.0`` is dropped."""
    if is_precision_lost(text):
        return ()
    parts = (part.strip() for part in re.split(r"[;,\n|]", text))
    return tuple(_FRACTION_ZERO.sub(r"\1", part) if _FRACTION_ZERO.fullmatch(part) else part for part in parts if part)

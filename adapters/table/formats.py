"""What a workbook's numbers are by their formats: ``dd.mm.yyyy``, ``[h]:mm``, ``#,##0.00 [$€-407]``, ``# ##0" руб."``.

The number itself knows nothing of it. Of built-in formats those of days and times count (contract tables C); the sign
of a built-in currency is that of the reader's computer.
"""

from __future__ import annotations

import re
from zipfile import ZipFile

from adapters.table.formulas import elements, tag
from adapters.table.grid import UNKNOWN
from adapters.table.values import parse_currency
from bridge.frozen import frozen

_STYLES = "xl/styles.xml"
_SAID = re.compile(r'\[\$([^\]-]*)(?:-[^\]]*)?\]|"([^"]*)"|\\(.)|([₽$€£¥])')
_DAYS = (*range(14, 23), 45, 47)  # built-in formats (contract tables C)
_DURATION = "46"
_ELAPSED = re.compile(r"\[(?:h+|m+|s+)\]", re.I)
_LITERAL = re.compile(r'"[^"]*"|\\.|_.|\*.|\[[^\]]*\]')  # what a format shows as it stands
_OF_TIMES = re.compile(r"[ymdhs]", re.I)
_SIGNS = frozenset("£¥₴₸₺₾₼₹₩₪฿")  # of currencies that nobody who reads them here takes for the tenant's own


def currency_of(code: str) -> str:
    """The currency of a number format, :data:`UNKNOWN` for a sign that is not understood, "" for none."""
    found: set[str] = set()
    for bracket, quoted, escaped, bare in _SAID.findall(code.partition(";")[0]):
        said = (bracket or quoted or escaped or bare).strip()
        try:
            found.add(parse_currency(said))
        except ValueError:
            if bracket or said in _SIGNS:
                found.add(UNKNOWN)
    return found.pop() if len(found) == 1 else UNKNOWN if found else ""


@frozen
class Style:
    """What a number is by its format: an amount in a currency, a length of time, else a day or time."""

    currency: str = ""
    is_duration: bool = False


def style_of(code: str) -> Style | None:
    """The style of a number format; None where the number is just a number."""
    currency = currency_of(code)
    if currency:
        return Style(currency)
    first = code.partition(";")[0]
    if _ELAPSED.search(first):
        return Style(is_duration=True)
    return Style() if _OF_TIMES.search(_LITERAL.sub("", first)) else None


def styles(archive: ZipFile) -> dict[str, Style]:
    """Styles by the number that cells name; numbers that are just numbers are left out."""
    known: dict[str, Style | None] = {str(number): Style() for number in _DAYS}
    known[_DURATION] = Style(is_duration=True)
    of_cells: list[Style | None] = []
    for element in elements(archive, _STYLES):
        if tag(element) == "numFmt":
            known[element.get("numFmtId", "")] = style_of(element.get("formatCode", ""))
        elif tag(element) == "cellXfs":
            of_cells = [known.get(style.get("numFmtId", "")) for style in element]
    return {str(number): style for number, style in enumerate(of_cells) if style is not None}

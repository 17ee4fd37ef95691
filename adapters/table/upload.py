"""The templates of upload files: who may be in them, and their bytes. Pure.

Metrica: contract yandex 2.2. Google Ads: the import template for conversions from clicks as generally known; no
vendor document of it is among our contracts. Spreadsheet: contract tables B, "export by us".
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from bridge.frozen import frozen
from bridge.model import TOLD, ConversionKind, Identifier, IdKind, Outgoing
from bridge.ports import Admission, DestinationTraits, Pass, Proof

# What a spreadsheet would take for a formula at the beginning of a cell (contract tables B), full-width forms included.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_NUMBER = re.compile(r"[\d\s.,]*\d(?:e\d+)?", re.I)
_SPREADSHEET_TITLES = ("order_id", "goal", "target", "date", "amount", "currency", "correction")
_METRICA_COLUMNS = {IdKind.CLIENT_ID: 0, IdKind.USER_ID: 1, IdKind.YCLID: 2, IdKind.PURCHASE_ID: 3}


@frozen
class Template:
    """One kind of upload file. ``window``: age of the touch at which linking ends; ``hold``: its least age.

    ``is_exact``: a vendor's importer takes every cell as it stands, so nothing can be put in front of one.
    """

    traits: DestinationTraits
    window: timedelta | None
    hold: timedelta
    preamble: tuple[tuple[str, ...], ...]
    cells: Callable[[Outgoing, Identifier, ZoneInfo], tuple[str, ...]]
    delimiter: str = ","
    encoding: str = "utf-8"
    is_exact: bool = True

    def identifier_of(self, row: Outgoing) -> Identifier | None:
        """The one identifier a row is written with."""
        return row.first(*self.traits.accepts)


def is_formula(text: str) -> bool:
    """Whether a spreadsheet, where people look at the file before uploading it, would run this text."""
    return text.startswith(_FORMULA)


def as_text(text: str) -> str:
    """A text that a spreadsheet takes for one: with an apostrophe where it would compute it, or round its digits."""
    return f"'{text}" if is_formula(text) or _NUMBER.fullmatch(text) else text


def admit(template: Template, row: Outgoing, now: datetime) -> Admission:
    """Whether a row may be written now.

    Codes: ``no_identifier``, ``negative_value``, ``formula`` refuse (an apostrophe in front would make it another goal
    or click); ``window_21d`` and ``window_90d`` expire; ``in_future`` and ``click_age`` wait.
    """
    identifier = template.identifier_of(row)
    if identifier is None:
        return Admission(Pass.REFUSED, "no_identifier")
    if template.is_exact and (is_formula(row.target) or is_formula(identifier.value)):
        return Admission(Pass.REFUSED, "formula")
    if row.value is not None and row.value.minor < 0:
        return Admission(Pass.REFUSED, "negative_value")
    clicked = row.clicked_by
    if template.window is not None and clicked + template.window <= max(now, row.occurred_at):
        return Admission(Pass.EXPIRED, f"window_{template.window.days}d")
    if row.occurred_at >= now:
        return Admission(Pass.WAIT, "in_future", row.occurred_at + timedelta(seconds=1))
    if now < clicked + template.hold:
        return Admission(Pass.WAIT, "click_age", clicked + template.hold)
    return Admission(Pass.SEND)


def render(template: Template, rows: Sequence[Outgoing], zone: ZoneInfo) -> bytes:
    """The file: UTF-8, CRLF. Restatements come last, because of equal rows the last one counts (yandex 2.6).

    Raises:
        ValueError: a row that ``admit`` would refuse.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=template.delimiter, lineterminator="\r\n")
    writer.writerows(template.preamble)
    for row in sorted(rows, key=lambda row: row.kind is ConversionKind.RESTATEMENT):
        identifier = template.identifier_of(row)
        if identifier is None:
            raise ValueError(f"delivery {row.delivery} has no identifier this file takes")
        writer.writerow(template.cells(row, identifier, zone))
    return out.getvalue().encode(template.encoding)


def _money(row: Outgoing) -> tuple[str, str]:
    return (str(row.value.amount), row.value.currency) if row.value else ("", "")


def _metrica_cells(row: Outgoing, identifier: Identifier, _: ZoneInfo) -> tuple[str, ...]:
    ids = ["", "", "", ""]
    ids[_METRICA_COLUMNS[identifier.kind]] = identifier.value
    return (*ids, row.target, str(int(row.occurred_at.timestamp())), *_money(row))


def _google_cells(row: Outgoing, identifier: Identifier, _: ZoneInfo) -> tuple[str, ...]:
    return (identifier.value, row.target, row.occurred_at.strftime("%Y-%m-%d %H:%M:%S"), *_money(row))


def _spreadsheet_cells(row: Outgoing, _: Identifier, zone: ZoneInfo) -> tuple[str, ...]:
    """Times in the tenant's zone and amounts with a comma, as a Russian spreadsheet reads them; the rest is text."""
    at = row.occurred_at.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")
    value, currency = _money(row)
    correction = "yes" if row.kind is ConversionKind.RESTATEMENT else ""
    texts = [as_text(text) if text else "" for text in (row.order_key, row.goal, row.target)]
    found = [row.first(kind) for kind in TOLD]
    ids = [as_text(identifier.value) if identifier else "" for identifier in found]
    return (*texts, at, value.replace(".", ","), currency, correction, *ids)


TEMPLATES: Mapping[str, Template] = {
    "yandex_metrica": Template(
        DestinationTraits(
            proof=Proof.ROW,
            # A yclid names the ad visit itself, the others the visit before the conversion (contract yandex 2.5).
            accepts=(IdKind.YCLID, IdKind.CLIENT_ID, IdKind.USER_ID, IdKind.PURCHASE_ID),
            adjusts=True,
            verify_first=None,
        ),
        window=timedelta(days=21),
        hold=timedelta(0),
        preamble=(("ClientId", "UserId", "Yclid", "PurchaseId", "Target", "DateTime", "Price", "Currency"),),
        cells=_metrica_cells,
    ),
    "google_ads": Template(
        DestinationTraits(
            proof=Proof.ROW,
            accepts=(IdKind.GCLID,),
            verify_first=None,
            give_up_after=timedelta(days=90),
        ),
        window=timedelta(days=90),
        hold=timedelta(hours=6),
        preamble=(
            ("Parameters:TimeZone=+0000",),  # times below are UTC, so no summer time can make one ambiguous
            ("Google Click ID", "Conversion Name", "Conversion Time", "Conversion Value", "Conversion Currency"),
        ),
        cells=_google_cells,
    ),
    "spreadsheet": Template(
        DestinationTraits(
            proof=Proof.ROW,
            accepts=TOLD,
            adjusts=True,
            verify_first=None,
            give_up_after=timedelta(days=365),
        ),
        window=None,
        hold=timedelta(0),
        preamble=((*_SPREADSHEET_TITLES, *TOLD),),
        cells=_spreadsheet_cells,
        delimiter=";",
        encoding="utf-8-sig",
        is_exact=False,
    ),
}

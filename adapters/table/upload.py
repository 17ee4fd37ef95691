"""The two templates of upload files: who may be in them, and their bytes. Pure.

Metrica: contract yandex 2.2. Google Ads: the import template for conversions from clicks as generally known; no
vendor document of it is among our contracts.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bridge.model import ConversionKind, Identifier, IdKind, Outgoing
from bridge.ports import Admission, DestinationTraits, Pass, Proof

# What a spreadsheet would take for a formula at the beginning of a cell (contract tables B).
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_METRICA_COLUMNS = {IdKind.CLIENT_ID: 0, IdKind.USER_ID: 1, IdKind.YCLID: 2, IdKind.PURCHASE_ID: 3}


@dataclass(frozen=True, slots=True)
class Template:
    """One kind of upload file. ``window``: age of the touch at which linking ends; ``hold``: its least age."""

    traits: DestinationTraits
    window: timedelta
    hold: timedelta
    preamble: tuple[tuple[str, ...], ...]
    cells: Callable[[Outgoing, Identifier], tuple[str, ...]]

    def identifier_of(self, row: Outgoing) -> Identifier | None:
        """The one identifier a row is written with."""
        return row.first(*self.traits.accepts)


def is_formula(text: str) -> bool:
    """Whether a spreadsheet, where people look at the file before uploading it, would run this text."""
    return text.startswith(_FORMULA)


def admit(template: Template, row: Outgoing, now: datetime) -> Admission:
    """Whether a row may be written now.

    Codes: ``no_identifier``, ``negative_value``, ``formula`` refuse (an apostrophe in front would make it another goal
    or click); ``window_21d`` and ``window_90d`` expire; ``in_future`` and ``click_age`` wait.
    """
    identifier = template.identifier_of(row)
    if identifier is None:
        return Admission(Pass.REFUSED, "no_identifier")
    if is_formula(row.target) or is_formula(identifier.value):
        return Admission(Pass.REFUSED, "formula")
    if row.value is not None and row.value.minor < 0:
        return Admission(Pass.REFUSED, "negative_value")
    touched_at = row.touched_at or row.deal_created_at
    if touched_at + template.window <= max(now, row.occurred_at):
        return Admission(Pass.EXPIRED, f"window_{template.window.days}d")
    if row.occurred_at >= now:
        return Admission(Pass.WAIT, "in_future", row.occurred_at + timedelta(seconds=1))
    if now < touched_at + template.hold:
        return Admission(Pass.WAIT, "click_age", touched_at + template.hold)
    return Admission(Pass.SEND)


def render(template: Template, rows: Sequence[Outgoing]) -> bytes:
    """The file: UTF-8, commas, CRLF. Restatements come last, because of equal rows the last one counts (yandex 2.6).

    Raises:
        ValueError: a row that ``admit`` would refuse.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerows(template.preamble)
    for row in sorted(rows, key=lambda row: row.kind is ConversionKind.RESTATEMENT):
        identifier = template.identifier_of(row)
        if identifier is None:
            raise ValueError(f"delivery {row.delivery} has no identifier this file takes")
        writer.writerow(template.cells(row, identifier))
    return out.getvalue().encode()


def _money(row: Outgoing) -> tuple[str, str]:
    return (str(row.value.amount), row.value.currency) if row.value else ("", "")


def _metrica_cells(row: Outgoing, identifier: Identifier) -> tuple[str, ...]:
    ids = ["", "", "", ""]
    ids[_METRICA_COLUMNS[identifier.kind]] = identifier.value
    return (*ids, row.target, str(int(row.occurred_at.timestamp())), *_money(row))


def _google_cells(row: Outgoing, identifier: Identifier) -> tuple[str, ...]:
    return (identifier.value, row.target, row.occurred_at.strftime("%Y-%m-%d %H:%M:%S"), *_money(row))


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
}

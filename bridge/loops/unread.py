"""Rows that wait for touches: while a call tracker or the collector is not read up to a lead, a nearer click may come.

What was sent with an older click of the person stays so for ever, so a first sending waits until every source of
touches was read beyond the lead, and its deal was judged by what they brought; ``match.wait_for_touches`` at most. A
deal that names the click itself waits for nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from bridge.model import ConversionKind, Identifier
from bridge.ports import Destination
from bridge.store.codec import EPOCH
from bridge.store.ledger import DueRow
from bridge.store.places import by_source
from bridge.tenant import Tenant

CODE = "touches_unread"
_LOOK_AGAIN = timedelta(minutes=1)


async def waiting(tenant: Tenant, port: Destination, rows: Sequence[DueRow], now: datetime) -> dict[str, datetime]:
    """Rows that are not to be sent yet, each with the time at which to look again."""
    sources = [name for name, unit in tenant.sources.items() if unit.brings_touches]
    patience = tenant.settings.match.wait_for_touches
    if not sources or not patience or not port.traits.accepts:
        return {}
    first = [row for row in rows if _is_first(row) and now < row.planned_at + patience]
    if not first:
        return {}
    read = await _read_until(tenant, sources)
    late = tenant.settings.match.call_after
    unread = {_place(row) for row in first if row.content.deal_created_at + late > read}
    unread |= await _to_be_judged(tenant, {_place(row) for row in first} - unread)
    unknown = await _without_own_click(tenant, [row for row in first if _place(row) in unread])
    return {row.content.delivery: min(now + _LOOK_AGAIN, row.planned_at + patience) for row in unknown}


def _is_first(row: DueRow) -> bool:
    return row.content.kind is ConversionKind.ORIGINAL and row.attempt == 0


async def _read_until(tenant: Tenant, sources: Iterable[str]) -> datetime:
    """When the source that lags most was last read to its end."""
    states = [await tenant.records.source_state(tenant.name, name) for name in sources]
    return min(state.polled_at or EPOCH for state in states)


async def _to_be_judged(tenant: Tenant, places: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for source, keys in by_source(sorted(places)).items():
        dirty = await tenant.records.to_be_judged(tenant.name, source, keys)
        found.update((source, key) for key in dirty)
    return found


async def _without_own_click(tenant: Tenant, rows: Sequence[DueRow]) -> list[DueRow]:
    """Rows that tell of no identifier that stands on their deal."""
    own: set[tuple[tuple[str, str], Identifier]] = set()
    for source, keys in by_source(sorted({_place(row) for row in rows})).items():
        stored = await tenant.records.facts(tenant.name, source, keys)
        own.update(((source, key), one) for key, facts in stored.items() for one in facts.reading.identifiers)
    return [row for row in rows if not any((_place(row), one) in own for one in row.content.identifiers)]


def _place(row: DueRow) -> tuple[str, str]:
    source, _, key = row.content.deal.partition("/")
    return source, key

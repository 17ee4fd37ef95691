"""What happens to listed records however they came to be listed: in a window, or asked for by their keys."""

from __future__ import annotations

from collections.abc import Container, Sequence
from datetime import datetime

from bridge.frozen import replace
from bridge.log import redact
from bridge.loops import assess
from bridge.loops.clocks import is_ahead
from bridge.model import Deal, frozen
from bridge.ports import BadRecord, Listing, Window
from bridge.store.records import Page, SourceState
from bridge.tenant import SourceUnit, Tenant


@frozen
class Completed:
    """A listing with its changed heads made into deals.

    ``known`` are stored already, ``unchanged`` of them those whose version is the stored one.
    """

    listing: Listing
    deals: list[Deal]
    bad: list[BadRecord]
    known: frozenset[str]
    unchanged: tuple[str, ...]


def begun(unit: SourceUnit, state: SourceState, now: datetime) -> datetime:
    """The start of a source, as stored; from now where nothing was read yet, or our clock was ahead when it was.

    A cursor that is ahead as well moved by the vendor's own times: then it is our clock of now that is behind. That of
    a tracker moves by ours, and its start decides nothing but what is read.
    """
    start = state.floor.start
    was_ahead = is_ahead(start, now) and (unit.brings_touches or not is_ahead(state.watermark, now))
    return now - unit.settings.start_from if start is None or was_ahead else start


async def completed(
    tenant: Tenant, unit: SourceUnit, listing: Listing, window: Window, *, is_forced: bool = False
) -> Completed:
    """The details of what is new or changed on a listing; ``is_forced``: of everything on it.

    Raises:
        BridgeError: the source's answer.
    """
    assert unit.port is not None
    heads = {head.key: head for head in listing.heads}
    stored = await tenant.records.versions(tenant.name, unit.name, list(heads))
    changed = [head for head in heads.values() if is_forced or stored.get(head.key) != head.version]
    moved = {head.key for head in changed}
    unchanged = tuple([key for key in heads if key not in moved] if moved else heads)
    whole = frozenset([key for key, version in stored.items() if version])
    results = await unit.port.complete(changed, whole, window) if changed else []
    bad = [item for item in results if isinstance(item, BadRecord)]
    deals = [item for item in results if isinstance(item, Deal)]
    return Completed(listing, deals, [*listing.bad, *bad], frozenset(stored), unchanged)


def is_somebodys(deal: Deal, known: Container[str]) -> bool:
    """A deleted record that was never read is nobody's lead."""
    return not deal.is_deleted or deal.key in known


def page_of(
    tenant: Tenant, unit: SourceUnit, judged: assess.Judged, failed: Sequence[BadRecord], bad: Sequence[BadRecord]
) -> Page:
    """What one transaction writes of them: ``failed`` could not be judged, ``bad`` could not be read."""
    clean = [replace(record, message=redact(record.message)) for record in bad]
    failures = [*judged.failed, *failed]
    return Page(tenant.name, unit.name, tenant.clock.now(), judged.assessed, clean, failed=failures)


def tell_quarantined(tenant: Tenant, unit: SourceUnit, bad: Sequence[BadRecord]) -> None:
    """One line for each record that goes into quarantine because it cannot be read."""
    for record in bad:
        tenant.log.warning("record_quarantined", source=unit.name, record=record.key, code=record.code)

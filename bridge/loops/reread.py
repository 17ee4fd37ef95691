"""Read records again by their keys: what a webhook named, what the deep sweep looks after. The cursor stays.

A record is stored, judged and planned like one of a window, with its whole history instead of what a window adds.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from bridge.errors import ConfigError
from bridge.loops import assess, catalogue, counting, definitions, pages
from bridge.model import frozen, utc
from bridge.ports import Head, Window
from bridge.store.records import Page
from bridge.tenant import Progress, SourceUnit, Tenant

PIECE = 500  # records asked for, judged and stored at once; meanwhile nothing else is read for the tenant


@frozen
class Looked:
    """What a source says of some of its records now, judged and ready to be stored.

    ``changed`` are heads of another version than the stored one, ``deleted`` keys of records that are told to be
    deleted, ``gone`` keys about which the source says nothing at all.
    """

    page: Page
    changed: tuple[Head, ...]
    deleted: frozenset[str]
    gone: tuple[str, ...]
    asked: int

    @property
    def is_news(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.page.assessed or self.page.bad or self.page.failed)


async def reread(tenant: Tenant, unit: SourceUnit, keys: Sequence[str], *, is_forced: bool = False) -> Progress:
    """Read these records again and store what changed; ``is_forced``: also what shows no other version.

    Records about which the source says nothing any more are left as they are, and counted (``gone``); one that it tells
    to be deleted is stored as deleted. Counts beside those of a poll's page: ``reread``, ``changed``, ``gone``. The
    tenant's ``left`` is given back from piece to piece.

    Raises:
        BridgeError: the source's answer; pieces before it are stored.
        ConfigError: the source could not be built.
    """
    if unit.port is None:
        raise ConfigError(f"source {unit.name}: {unit.error}")
    progress = Progress()
    wanted = list(dict.fromkeys(keys))
    for start in range(0, len(wanted), PIECE):
        async with tenant.left:
            found = await look_up(tenant, unit, wanted[start : start + PIECE], is_forced=is_forced)
            if found.is_news:
                await tenant.records.write_page(found.page)
            progress += told(tenant, unit, found)
    return progress


async def look_up(tenant: Tenant, unit: SourceUnit, keys: Sequence[str], *, is_forced: bool = False) -> Looked:
    """Ask for a piece and judge what changed; nothing of it is stored yet. The caller holds the tenant's ``left``.

    Raises:
        BridgeError: the source's answer.
    """
    assert unit.port is not None
    now = tenant.clock.now()
    await _begin(tenant, unit)
    await catalogue.ready(tenant, unit, unit.port)
    listing = await unit.port.fetch(keys)
    found = await pages.completed(tenant, unit, listing, Window(utc(0), now), is_forced=is_forced)
    deals = [deal for deal in found.deals if pages.is_somebodys(deal, found.known)]
    entrance = assess.enter(tenant, unit.name, deals)
    fresh = [item.deal for item in entrance.entered]
    desk = await catalogue.desk_knowing(tenant, unit, fresh, await assess.desk_for(tenant, unit))
    judged = await assess.judge_all(desk, entrance.entered, found.known) if fresh else assess.Judged()
    page = pages.page_of(tenant, unit, judged, entrance.failed, found.bad)
    here = {*(head.key for head in listing.heads), *(bad.key for bad in listing.bad)}
    unchanged = frozenset(found.unchanged)
    return Looked(
        page,
        tuple([head for head in listing.heads if head.key not in unchanged]),
        frozenset([deal.key for deal in deals if deal.is_deleted]),
        tuple([key for key in keys if key not in here]),
        len(keys),
    )


def told(tenant: Tenant, unit: SourceUnit, found: Looked, known_bad: Collection[str] = ()) -> Progress:
    """A stored piece's counts; what could not be read is said, but for ``known_bad``: that was said before."""
    counts = counting.count(found.page)
    counts.done["reread"] = found.asked
    counts.done["changed"] = len(found.changed)
    counts.done["gone"] = len(found.gone)
    pages.tell_quarantined(tenant, unit, [bad for bad in found.page.bad if bad.key not in known_bad])
    return counts


async def _begin(tenant: Tenant, unit: SourceUnit) -> None:
    """A source begins with whatever is first read of it, a hint or a poll: goals reached long before do not count.

    So does what its goals are known to be.
    """
    state = await definitions.note(tenant, unit)
    if state.floor.start is None:
        await tenant.records.set_source(tenant.name, unit.name, floor=pages.begun(unit, state, tenant.clock.now()))

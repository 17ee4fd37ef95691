"""Read sources: fixed windows with overlap, cut into slices; each page is one transaction; the cursor moves last.

The watermark moves on the vendor's own times and never past the end of the slice that was read whole; that of a tracker
also over what lies a day back by our clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from operator import attrgetter

from bridge.ahead import ahead
from bridge.errors import AuthError, BridgeError, ConfigError, Drift
from bridge.log import redact
from bridge.loops import assess, catalogue, counting, definitions, pages, relatives
from bridge.loops.clocks import LONG_AGO, is_ahead, is_due
from bridge.loops.pages import Completed
from bridge.loops.slices import Slice, Slices
from bridge.loops.writing import Writing
from bridge.model import frozen
from bridge.ports import BadRecord, Listing, SourceTraits, Window
from bridge.rules.definitions import Seen
from bridge.rules.floor import Floor
from bridge.store.records import Assessed, Page, SourceState
from bridge.tenant import Progress, SourceUnit, Tenant

_PART = 400  # deals of one transaction, at least: shorter listings are joined; twice as many are divided
_AHEAD = 2  # parts made while an earlier one is judged and stored
_UPDATED_AT = attrgetter("updated_at")
_BACK_OFF = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=15))

# Told after each page: share of the whole that is read (0..1), and the page's counts.
OnPage = Callable[[float, Progress], Awaitable[None]]
# Told after each slice: up to where the window is wholly read.
OnSlice = Callable[[datetime], Awaitable[None]]


@frozen
class Reading:
    """How to read a window. ``is_dry``: judge and count, write nothing.

    ``floor`` and ``seen`` are judged by in place of the stored ones, which are looked up for every slice: a backfill
    may change them meanwhile. ``judges_all``: unchanged records are judged again as well; a period that was opened or
    a new goal may make promises of them.
    """

    floor: Floor | None
    moves_watermark: bool
    judges_all: bool = False
    is_dry: bool = False
    on_page: OnPage | None = None
    on_slice: OnSlice | None = None
    seen: Seen | None = None


async def once(tenant: Tenant, *, force: bool = False) -> Progress:
    """Poll every source that is due. One that fails says so and does not hold up the others."""
    progress = Progress()
    for unit in tenant.sources.values():
        state = await tenant.records.source_state(tenant.name, unit.name)
        if not force and not is_due(state.due, unit.settings.poll_every, tenant.clock.now()):
            continue
        progress += await _poll(tenant, unit, state)
    return progress


async def _poll(tenant: Tenant, unit: SourceUnit, state: SourceState) -> Progress:
    progress = Progress()
    if unit.port is None:
        await _failed(tenant, unit, state, ConfigError(unit.error))
        progress.problems.append(f"{unit.name}: {unit.error}")
        return progress
    started = tenant.clock.now()
    try:
        state = await definitions.note(tenant, unit, state)
        floor = pages.begun(unit, state, started)
        if state.floor.start is None:
            await tenant.records.set_source(tenant.name, unit.name, floor=floor)
        window = _window(unit.port.traits, state, floor, started)
        progress += await read(tenant, unit, window, Reading(None, moves_watermark=True))
        if state.floor.start not in (None, floor):
            await _start_anew(tenant, unit, state, floor)
    except Exception as error:
        failure = error if isinstance(error, BridgeError) else _bug(tenant, unit, error)
        await _failed(tenant, unit, state, failure)
        progress.problems.append(redact(f"{unit.name}: {failure}"))
        return progress
    if state.failing_since is not None:
        tenant.log.info("source_recovered", source=unit.name)
    due = tenant.clock.now() + unit.settings.poll_every
    await tenant.records.set_source(
        tenant.name, unit.name, polled_at=started, due=due, failing_since=None, last_error=None
    )
    tenant.log.debug("source_polled", source=unit.name, **progress.done)
    return progress


def _bug(tenant: Tenant, unit: SourceUnit, error: Exception) -> Drift:
    """An adapter's own mistake, logged whole: its source stops like one that answers nonsense, the others go on."""
    tenant.log.exception("loop_failed", loop="poll", account=unit.name)
    return Drift(f"{type(error).__name__} in the adapter; the cursor stays, the log says where")


def _window(traits: SourceTraits, state: SourceState, floor: datetime, now: datetime) -> Window:
    begin = floor if state.watermark is None or is_ahead(state.watermark, now) else state.watermark
    start = begin - traits.overlap
    return Window(start, max(now - traits.settle, start), state.marks)


async def _start_anew(tenant: Tenant, unit: SourceUnit, state: SourceState, floor: datetime) -> None:
    """A new start for a source that was first read by a clock that was ahead, once an answer has come by the right one:
    with a clock far behind no connection would be trusted.

    What was read before was judged as if it were long before the start, and nothing else would judge it again.
    """
    assert state.floor.start is not None
    was, start = state.floor.start.isoformat(), floor.isoformat()
    tenant.log.warning("start_moved", source=unit.name, was=was, start=start)
    await tenant.records.judge_again(tenant.name, unit.name)
    await tenant.records.set_source(tenant.name, unit.name, floor=floor)


async def _failed(tenant: Tenant, unit: SourceUnit, state: SourceState, error: BridgeError) -> None:
    """Back off and say so: the first failure loudly, its repetitions quietly."""
    now = tenant.clock.now()
    since = state.failing_since or now
    waited = now - since
    pause = next((step for step in _BACK_OFF if waited < step * 5), _BACK_OFF[-1])
    if isinstance(error, AuthError):
        pause = _BACK_OFF[-1]
    say = tenant.log.error if state.failing_since is None else tenant.log.debug
    say("source_failed", source=unit.name, error=str(error), kind=type(error).__name__)
    await tenant.records.set_source(
        tenant.name,
        unit.name,
        due=now + max(pause, unit.settings.poll_every) if isinstance(error, AuthError) else now + pause,
        failing_since=since,
        last_error=redact(f"{type(error).__name__}: {error}"),
    )


async def read(tenant: Tenant, unit: SourceUnit, window: Window, how: Reading) -> Progress:
    """Read a window whole, slice by slice, page by page.

    Raises:
        BridgeError: reading stopped; what was written stays, the cursor did not pass it.
    """
    assert unit.port is not None
    async with tenant.left:
        await catalogue.ready(tenant, unit, unit.port)
    run = _Run(tenant, unit, how, Slices(window, unit.port.traits))
    while run.slices.next is not None:
        async with tenant.left:
            await _read_on(run)
    return run.progress


@dataclass(slots=True)
class _Run:
    """A window being read. ``newest``: the latest vendor time seen; ``has_children``, ``has_merged``: such deals were.

    ``room`` is for parts that are made ahead.
    """

    tenant: Tenant
    unit: SourceUnit
    how: Reading
    slices: Slices
    newest: datetime | None = None
    has_children: bool = False
    has_merged: bool = False
    progress: Progress = field(default_factory=Progress)
    writing: Writing = field(default_factory=Writing)
    room: asyncio.Semaphore = field(init=False)


@frozen
class _Listed:
    """A listing with its details. ``stored``: so many pages had been written when it was looked up what is known."""

    slice: Slice
    stored: int
    page: Completed


@frozen
class _Fetched:
    """A listing, or a part of one: its changed heads are deals behind the border, nothing is judged or stored yet.

    Its first part tells of what needs no judging, too.
    """

    listing: _Listed
    entrance: assess.Entrance
    bad: Sequence[BadRecord] = ()
    unchanged: tuple[str, ...] = ()
    listed: int = 0
    newest: datetime | None = None


@frozen
class _Read:
    """The end of a slice: all it brings lies before. ``marks`` are what its source wants to remember."""

    slice: Slice
    marks: str | None


async def _read_on(run: _Run) -> None:
    """Slice after slice, until somebody else waits for the tenant: a backfill of years does not keep the poll from its
    minute. The next slice is fetched while the last pages of one are written.
    """
    desk: assess.Desk | None = None
    run.room = asyncio.Semaphore(_AHEAD)
    try:
        async with aclosing(ahead(_fetched(run), run.room)) as parts:
            async for part in parts:
                if isinstance(part, _Read):
                    run.room.release()
                    await run.writing.begin(partial(_end, run, part, run.newest), frozenset(), (), has_kin=False)
                    desk = None
                else:
                    if part.entrance.entered or run.how.judges_all:
                        desk = await _desk(run, part, desk)
                    await _store(run, part, desk)
                    run.newest = max(filter(None, (run.newest, part.newest)), default=None)
    except BaseException as error:
        await run.writing.left(is_stopped=not isinstance(error, Exception))
        raise
    await run.writing.settled()


def _stop(unit: SourceUnit, part: Window, newest: datetime | None, now: datetime) -> datetime | None:
    """How far the cursor may move: by the vendor's own times.

    A tracker in which nothing happens is not read from its beginning each time: there it follows what was read, where
    no clock can be so wrong. In a CRM nothing may mean that a right was taken away: it is read again from there.
    """
    is_read = unit.brings_touches and part.end <= now - LONG_AGO
    return part.end if is_read else newest and min(newest, part.end)


async def _move(tenant: Tenant, unit: SourceUnit, stop: datetime | None, marks: str | None) -> None:
    """The cursor moves forward only, but for one that is ahead; what the source wants to remember moves with it."""
    state = await tenant.records.source_state(tenant.name, unit.name)
    before = None if is_ahead(state.watermark, tenant.clock.now()) else state.watermark
    watermark = stop if stop is not None and (before is None or stop > before) else None
    fresh = marks if marks != state.marks else None
    if watermark is not None or fresh is not None:
        page = Page(tenant.name, unit.name, tenant.clock.now(), watermark=watermark, marks=fresh)
        await tenant.records.write_page(page)


async def _end(run: _Run, read: _Read, newest: datetime | None) -> None:
    """The cursor moves when all pages of a slice are stored."""
    tenant, unit, part, how = run.tenant, run.unit, read.slice, run.how
    moves = how.moves_watermark and not how.is_dry and (part.is_last or not run.slices.traits.is_read_whole)
    if moves:
        await _move(tenant, unit, _stop(unit, part.window, newest, tenant.clock.now()), read.marks)
    if how.on_slice is not None:
        await how.on_slice(part.window.end)


async def _desk(run: _Run, fetched: _Fetched, desk: assess.Desk | None) -> assess.Desk:
    """Where a part is judged. Floor and definitions are looked up for every slice: a backfill may change them."""
    if desk is None:
        desk = await assess.desk_for(run.tenant, run.unit, run.how.floor, run.how.seen)
    fresh = [item.deal for item in fetched.entrance.entered]
    desk = await catalogue.desk_knowing(run.tenant, run.unit, fresh, desk)
    return assess.knowing(desk, has_children=run.has_children, has_merged=run.has_merged)


async def _fetched(run: _Run) -> AsyncGenerator[_Fetched | _Read, None]:
    """What slices bring, the border crossed; the next listing is asked for meanwhile."""
    room = asyncio.Semaphore(1)
    async with aclosing(ahead(_completed(run), room)) as listings:
        async for listed in listings:
            room.release()
            if isinstance(listed, _Read):
                yield listed
            else:
                for part in _parts(run, listed):
                    yield part


def _parts(run: _Run, listed: _Listed) -> Iterator[_Fetched]:
    tenant, source, most, page = run.tenant, run.unit.name, 2 * _PART, listed.page
    first, *others = [page.deals[start : start + most] for start in range(0, len(page.deals), most)] or [[]]
    newest = max(map(_UPDATED_AT, page.listing.heads), default=None)
    about = (page.unchanged, len(page.listing.heads), newest)
    yield _Fetched(listed, assess.enter(tenant, source, first), page.bad, *about)
    for deals in others:
        yield _Fetched(listed, assess.enter(tenant, source, deals))


async def _completed(run: _Run) -> AsyncGenerator[_Listed | _Read, None]:
    """Everything that asks the vendor: listings, and the details of what is new on each."""
    tenant, unit, port = run.tenant, run.unit, run.unit.port
    assert port is not None
    while (part := run.slices.next) is not None:
        rows, marks = 0, part.window.marks
        async with aclosing(_gathered(_watched(port.scan(part.window)))) as listings:
            async for listing in listings:
                stored = run.writing.stored
                yield _Listed(part, stored, await pages.completed(tenant, unit, listing, part.window))
                rows += len(listing.heads)
                marks = marks if listing.marks is None else listing.marks
        run.slices.follow(part, rows, marks)
        yield _Read(part, marks)
        if tenant.left.is_wanted:
            return


async def _store(run: _Run, fetched: _Fetched, desk: assess.Desk | None) -> None:
    """Judge one page, then begin to write it, in one transaction, after those before it. No desk: nothing to judge.

    What is judged while pages are being written knows of them what it would have found in the database: their clicks,
    and the seconds that their promises have taken. Where more could matter (the same record, leads and deals made from
    them) the writing is waited for first.
    """
    tenant, unit, writing, read = run.tenant, run.unit, run.writing, fetched.entrance
    keys = frozenset([item.deal.key for item in read.entered])
    has_kin = any(relatives.has_any(item.deal) for item in read.entered)
    if has_kin or (desk is not None and _looks_around(desk)) or not writing.is_beside(keys, fetched.unchanged):
        await writing.settled()
    known = fetched.listing.page.known | writing.stored_since(fetched.listing.stored, keys)
    read.entered = entered = [item for item in read.entered if pages.is_somebodys(item.deal, known)]
    again = await _unchanged(tenant, unit, fetched) if run.how.judges_all else []
    judged = assess.Judged()
    if desk is not None and (entered or again):
        judged = await assess.judge_all(desk, [*entered, *again], known, writing.assessed)
    if again:
        judged.assessed = _worth_writing(judged.assessed, fetched)
    page = pages.page_of(tenant, unit, judged, read.failed, fetched.bad)
    run.room.release()  # the next part is made while earlier ones are written
    written = frozenset([] if run.how.is_dry else [item.deal.key for item in entered])
    await writing.begin(partial(_write, run, page, fetched), written, judged.assessed, has_kin=has_kin)
    run.has_children = run.has_children or any(item.deal.parent for item in entered)
    run.has_merged = run.has_merged or any(item.deal.merged_into for item in entered)


def _looks_around(desk: assess.Desk) -> bool:
    """Whether judging looks at more of other deals than their clicks and promises."""
    return desk.has_children or bool(desk.tenant.settings.spam.rules)


async def _write(run: _Run, page: Page, fetched: _Fetched) -> None:
    tenant, part = run.tenant, fetched.listing.slice
    if not run.how.is_dry and (page.assessed or page.bad or page.failed):
        await tenant.records.write_page(page)
    counts = counting.count(page)
    if run.how.judges_all:
        counts += counting.unsendable(tenant, page.assessed)
    counts.done["listed"] = fetched.listed
    counts.done["changed"] = len(fetched.entrance.entered) + len(fetched.entrance.failed)
    run.progress += counts
    if run.how.on_page is not None:
        done = fetched.listing.page.listing.done or 0.0
        await run.how.on_page(part.before + part.share * done, counts)
    pages.tell_quarantined(tenant, run.unit, fetched.bad)


async def _unchanged(tenant: Tenant, unit: SourceUnit, fetched: _Fetched) -> list[assess.Entered]:
    """The unchanged records of a listing, as they are stored."""
    if not fetched.unchanged:
        return []
    stored = await tenant.records.facts(tenant.name, unit.name, sorted(fetched.unchanged))
    return assess.entered_before(stored.values())


def _worth_writing(assessed: list[Assessed], fetched: _Fetched) -> list[Assessed]:
    """What was read anew, and of the unchanged records those of which something else is promised now."""
    unchanged = frozenset(fetched.unchanged)
    return [item for item in assessed if item.deal.key not in unchanged or _is_promised_otherwise(item)]


def _is_promised_otherwise(item: Assessed) -> bool:
    """What is withdrawn has to be written too: it may be promised for another record of the page instead."""
    plan = item.plan
    return bool(plan.conversions or plan.deliveries or plan.restored or plan.withdrawn)


async def judge_stored(tenant: Tenant, unit: SourceUnit, keys: Sequence[str], how: Reading) -> Progress:
    """Stored deals judged once more, and written where something else is promised of them now."""
    desk = await assess.desk_for(tenant, unit, how.floor, how.seen)
    stored = await tenant.records.facts(tenant.name, unit.name, keys)
    judged = await assess.judge_all(desk, assess.entered_before(stored.values()), frozenset(stored))
    assessed = [item for item in judged.assessed if _is_promised_otherwise(item)]
    page = Page(tenant.name, unit.name, tenant.clock.now(), assessed, failed=judged.failed)
    if not how.is_dry and (page.assessed or page.failed):
        await tenant.records.write_page(page)
    counts = counting.count(page)
    counts += counting.unsendable(tenant, page.assessed)
    return counts


async def _watched(scan: AsyncIterator[Listing]) -> AsyncGenerator[Listing, None]:
    """The scan, stopped with Drift when it brings the very same page twice running."""
    last: tuple[tuple[str, str], ...] = ()
    async for listing in scan:
        marks = tuple([(head.key, head.version) for head in listing.heads])
        if marks and marks == last and len(marks) > 1:
            raise Drift("the source returned the same page twice; the cursor stays where it was")
        last = marks
        yield listing


async def _gathered(listings: AsyncGenerator[Listing, None]) -> AsyncGenerator[Listing, None]:
    """Short listings joined: what a transaction costs beside its rows is then shared by more of them."""
    joined: Listing | None = None
    failure: Exception | None = None
    async with aclosing(listings):
        try:
            async for listing in listings:
                joined = listing if joined is None else _joined(joined, listing)
                if len(joined.heads) + len(joined.bad) >= _PART:
                    yield joined
                    joined = None
        except Exception as error:  # after what came before it
            failure = error
    if joined is not None:
        yield joined
    if failure is not None:
        raise failure


def _joined(first: Listing, second: Listing) -> Listing:
    marks = first.marks if second.marks is None else second.marks
    return Listing((*first.heads, *second.heads), (*first.bad, *second.bad), second.done, marks)

"""Records read again by their keys: what a hint names, and what the deep sweep asks for."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Literal

import pytest

from bridge.errors import ConfigError, Unavailable
from bridge.frozen import replace
from bridge.loops import poll, reread
from bridge.model import Deal, DealKind, Outcome, StageChange, utc
from bridge.ports import BadRecord
from bridge.store import Store, schema
from bridge.tenant import Progress, Turn
from tests.store import kit as rows_kit
from tests.store.kit import ADS, TENANT
from tests.support import START
from tests.unit.loops.kit import DAY, HOUR, MINUTE, Ads, Crm, Office, office
from tests.unit.loops.test_poll import lead, polled, watermark


async def known(store: Store, *deals: Deal) -> tuple[Crm, Office]:
    """A source that was polled and brought these deals."""
    crm = Crm()
    crm.scans = [[crm.shows(*deals)], []]
    made = polled(store, crm)
    await poll.once(made.tenant)
    crm.completed.clear()
    return crm, made


async def test_a_changed_record_is_stored_and_promised_and_the_cursor_stays(store: Store) -> None:
    """Like a page of a poll, but for the cursor: the windows go on from where they were."""
    crm, made = await known(store, lead(1, stage="10"), lead(2, stage="10"))
    before = await watermark(made)
    crm.holds(lead(1, START - MINUTE, version="v2"), lead(2, stage="10"))
    progress = await reread.reread(made.tenant, made.tenant.sources["crm"], ["lead:1", "lead:2"])
    wanted = {"reread": 2, "changed": 1, "gone": 0, "planned": 1}
    assert {name: progress.done[name] for name in wanted} == wanted
    assert list(crm.completed) == ["lead:1"]
    assert await watermark(made) == before
    assert [row["version"] for row in await rows_kit.rows(store, schema.deal)] == ["v2", "v1"]
    assert len(await rows_kit.rows(store, schema.delivery)) == 1


async def test_the_whole_history_is_asked_for(store: Store) -> None:
    """A window that begins with time itself: a known record misses no stage that an earlier window passed over."""
    crm, made = await known(store, lead(1, stage="10"))
    crm.completed_for.clear()
    crm.holds(lead(1, START - MINUTE, version="v2"))
    await reread.reread(made.tenant, made.tenant.sources["crm"], ["lead:1"])
    (window,) = crm.completed_for
    assert (window.start, window.end, window.marks) == (utc(0), START, None)


async def test_a_new_record_named_by_a_hint_is_read(store: Store) -> None:
    """And the window that lists it later finds nothing new."""
    crm, made = await known(store)
    crm.holds(lead(1, START - MINUTE))
    await reread.reread(made.tenant, made.tenant.sources["crm"], ["lead:1"])
    assert len(await rows_kit.rows(store, schema.delivery)) == 1
    crm.scans = [[crm.shows(lead(1, START - MINUTE))]]
    made.clock.advance(HOUR)
    assert (await poll.once(made.tenant)).done["changed"] == 0
    assert len(await rows_kit.rows(store, schema.delivery)) == 1


async def test_an_unchanged_record_is_completed_only_when_forced(store: Store) -> None:
    """Some facts do not move a record's version: whoever knows of such asks for them."""
    crm, made = await known(store, lead(1, stage="10"))
    unit = made.tenant.sources["crm"]
    crm.holds(lead(1, stage="10"))
    assert (await reread.reread(made.tenant, unit, ["lead:1"])).done["changed"] == 0
    assert not crm.completed
    entry = StageChange(START - 2 * HOUR, "1", "142", Outcome.WON, "events")
    crm.deals["lead:1"] = replace(lead(1, stage="10"), history=(entry, *lead(1, stage="10").history))
    forced = await reread.reread(made.tenant, unit, ["lead:1"], is_forced=True)
    assert forced.done["planned"] == 1
    assert crm.completed["lead:1"] == 1


async def test_what_the_source_no_longer_has_is_counted_and_left_as_it_is(store: Store) -> None:
    """Not to be shown is not to be deleted: the user behind the credentials may have lost a right."""
    crm, made = await known(store, lead(1), lead(2))
    before = await rows_kit.rows(store, schema.deal)
    crm.holds(lead(2))
    progress = await reread.reread(made.tenant, made.tenant.sources["crm"], ["lead:1", "lead:2", "lead:3"])
    assert progress.done["gone"] == 2
    assert await rows_kit.rows(store, schema.deal) == before


async def test_a_deletion_the_source_is_sure_of_is_stored(store: Store) -> None:
    """The deal keeps what is known of it and is promised nothing new; one that was never read stays unknown."""
    crm, made = await known(store, lead(1, stage="10"))
    for number in (1, 2):
        place = ("", "", Outcome.OPEN)
        crm.holds(Deal(DealKind.LEAD, str(number), "deleted", START, START, *place, is_deleted=True))
    await reread.reread(made.tenant, made.tenant.sources["crm"], ["lead:1", "lead:2"])
    stored = await made.tenant.records.facts(TENANT, "crm", ["lead:1", "lead:2"])
    assert list(stored) == ["lead:1"]
    assert (stored["lead:1"].deal.is_deleted, stored["lead:1"].deal.stage) == (True, "10")


async def test_an_unreadable_record_is_quarantined_and_the_others_go_on(store: Store) -> None:
    """As on a page of a poll; once it can be read again it leaves the quarantine, though its version is the old one."""
    crm, made = await known(store, lead(1), lead(2, stage="10"))
    unit = made.tenant.sources["crm"]
    crm.holds(BadRecord("lead:1", "price", "no amount", "v2"), lead(2, START - MINUTE, version="v2"))
    progress = await reread.reread(made.tenant, unit, ["lead:1", "lead:2"])
    assert (progress.done["quarantined"], progress.done["gone"], progress.done["planned"]) == (1, 0, 1)
    assert [row["record"] for row in await rows_kit.rows(store, schema.quarantine)] == ["lead:1"]
    crm.holds(lead(1))
    await reread.reread(made.tenant, unit, ["lead:1"])
    assert await rows_kit.rows(store, schema.quarantine) == []


class Queue(Turn):
    """The tenant's lock, which tells when somebody has to wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.has_waiting = asyncio.Event()

    async def acquire(self) -> Literal[True]:
        if self.locked():
            self.has_waiting.set()
        return await super().acquire()


async def test_many_keys_are_asked_for_in_pieces_each_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a poll that came to wait during the first piece gets its turns in between: it looks at the names before the
    second, and reads before the third."""
    monkeypatch.setattr(reread, "PIECE", 2)
    crm, made = await known(store)
    made.clock.advance(HOUR)
    crm.windows.clear()
    made.tenant.left = queue = Queue()
    keys = ["lead:1", "lead:1", *(f"lead:{number}" for number in range(1, 10))]
    windows_before: list[int] = []  # each piece
    polling: list[asyncio.Task[Progress]] = []
    real = crm.fetch

    async def fetch(asked: list[str]) -> object:
        windows_before.append(len(crm.windows))
        if not polling:
            polling.append(asyncio.create_task(poll.once(made.tenant)))
            await queue.has_waiting.wait()
        return await real(asked)

    monkeypatch.setattr(Crm, "fetch", lambda self, asked: fetch(asked))
    await reread.reread(made.tenant, made.tenant.sources["crm"], keys)
    await polling[0]
    assert windows_before[:3] == [0, 0, 1]
    assert [len(piece) for piece in crm.fetched] == [2, 2, 2, 2, 1]
    assert {key for piece in crm.fetched for key in piece} == set(keys)


async def test_trouble_stops_it_and_keeps_what_was_stored(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller knows, and asks again: nothing is promised twice."""
    monkeypatch.setattr(reread, "PIECE", 1)
    crm, made = await known(store)
    unit = made.tenant.sources["crm"]
    crm.holds(lead(1), lead(2))
    real = crm.fetch

    async def breaking(keys: list[str]) -> object:
        crm.trouble = Unavailable("down") if len(crm.fetched) == 1 else None
        return await real(keys)

    monkeypatch.setattr(Crm, "fetch", lambda self, keys: breaking(keys))
    with pytest.raises(Unavailable):
        await reread.reread(made.tenant, unit, ["lead:1", "lead:2"])
    assert len(await rows_kit.rows(store, schema.deal)) == 1
    await reread.reread(made.tenant, unit, ["lead:1", "lead:2"])
    assert len(await rows_kit.rows(store, schema.delivery)) == 2


async def test_a_hint_before_the_first_poll_sets_the_same_start(store: Store) -> None:
    """What was reached long before the source began is not sent because a hint came first."""
    crm = Crm()
    made = polled(store, crm)
    crm.holds(lead(1, START - 20 * DAY), lead(2, START - HOUR))
    await reread.reread(made.tenant, made.tenant.sources["crm"], ["lead:1", "lead:2"])
    assert [row["deal"] for row in await rows_kit.rows(store, schema.conversion)] == ["lead:2"]
    assert (await made.tenant.records.source_state(TENANT, "crm")).floor.start == START - 10 * DAY


async def test_names_are_asked_anew_for_an_unknown_stage(store: Store) -> None:
    """As by a poll, and not again within minutes."""
    crm, made = await known(store, lead(1, stage="10"))
    made.clock.advance(timedelta(hours=1))
    crm.holds(lead(1, START, stage="99", version="v2"))
    await reread.reread(made.tenant, made.tenant.sources["crm"], ["lead:1"])
    assert crm.asked_names == 2


async def test_a_source_that_could_not_be_built_says_why(store: Store) -> None:
    """There is nobody to ask."""
    made = office(store, {ADS: Ads()}, {"crm": Crm()})
    unit = made.tenant.sources["crm"]
    unit.port, unit.error = None, "secret file x is empty"
    with pytest.raises(ConfigError, match="secret file x is empty"):
        await reread.reread(made.tenant, unit, ["lead:1"])

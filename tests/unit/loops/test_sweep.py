"""The deep sweep: what it asks for and when, what counts as missed, and what a stop in its middle leaves."""

from __future__ import annotations

import asyncio
import io
import sqlite3
from collections.abc import Collection, Sequence
from contextlib import closing, suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import AuthError, Drift, Unavailable
from bridge.frozen import replace
from bridge.loops import poll, reread, sweep
from bridge.loops.sweep import is_missed
from bridge.model import Deal, DealKind, Outcome
from bridge.ports import BadRecord, Head, Listing, SourceTraits
from bridge.store import Store, schema
from bridge.store.engine import sqlite_path
from bridge.store.reports import Reports
from bridge.store.sweeps import Standing
from tests.simulation.kit import events
from tests.store import kit as rows_kit
from tests.store.kit import TENANT
from tests.support import START
from tests.unit.loops.kit import DAY, HOUR, MINUTE, Crm, Office
from tests.unit.loops.test_poll import lead, polled

OLD = START - 5 * HOUR  # well behind the watermark


def open_lead(number: int, at: datetime = OLD, version: str = "v1") -> Deal:
    return lead(number, at, stage="10", version=version)


async def due(store: Store, *deals: Deal, crm: Crm | None = None) -> tuple[Crm, Office]:
    """A source that was polled, brought these deals, and is due to be swept; its CRM holds them as they were read."""
    crm = crm or Crm()
    crm.scans = [[crm.shows(*deals, open_lead(999, START - MINUTE))], []]
    crm.holds(*deals, open_lead(999, START - MINUTE))
    made = polled(store, crm)
    await poll.once(made.tenant)
    await sweep.once(made.tenant)  # its first look sets the time of the first sweep
    made.clock.advance(DAY)
    crm.completed.clear()
    return crm, made


def asked(crm: Crm) -> list[str]:
    return [key for piece in crm.fetched for key in piece]


async def report(store: Store) -> tuple[datetime | None, int, int, str | None]:
    found = (await Reports(store).source(TENANT, "crm")).sweep
    return found.swept_at, found.missed, found.gone, found.last_error


# --- what is missed ----------------------------------------------------------------------------------------------


minutes = st.integers(0, 5)


@given(minutes, minutes, minutes, st.sampled_from(["", "v1", "v2"]))
def test_missed_is_what_a_window_ought_to_have_brought(stored: int, now: int, safe: int, version: str) -> None:
    """Another version than the one known, a later time than the stored one, and that time in no window to come."""
    at = {number: START + number * MINUTE for number in range(6)}
    missed = is_missed(Head("lead:1", "v2", at[now], None), Standing(version, at[stored]), at[safe])
    assert missed is (version == "v1" and now in range(stored + 1, safe))


async def test_a_change_the_windows_have_passed_over_is_counted_named_and_repaired(
    store: Store, logs: io.StringIO
) -> None:
    """The sale is promised though no listing ever showed it."""
    crm, made = await due(store, open_lead(1), open_lead(2))
    crm.holds(lead(1, OLD + HOUR, version="v2"))
    progress = await sweep.once(made.tenant)
    assert (progress.done["missed"], progress.done["planned"]) == (1, 1)
    assert await report(store) == (made.clock.now(), 1, 0, None)
    (line,) = events(logs, "sweep_missed")
    assert (line["level"], line["source"], line["missed"], line["records"]) == ("warning", "crm", 1, ["lead:1"])
    (line,) = events(logs, "source_swept")
    assert (line["deals"], line["missed"], line["gone"]) == (3, 1, 0)


async def test_the_next_sweep_of_a_repaired_source_is_clean(store: Store) -> None:
    """Found once, a miss is not found again: the count is that of the last sweep."""
    crm, made = await due(store, open_lead(1))
    crm.holds(open_lead(1, OLD + HOUR, version="v2"))
    await sweep.once(made.tenant)
    made.clock.advance(DAY)
    await sweep.once(made.tenant)
    assert await report(store) == (made.clock.now(), 0, 0, None)


@pytest.mark.parametrize(
    "at",
    [
        pytest.param(START - 6 * MINUTE, id="in the overlap of the next window"),
        pytest.param(START + HOUR, id="since the last poll"),
        pytest.param(OLD, id="without a new time, like a renamed loss reason"),
    ],
)
async def test_what_no_window_ought_to_have_brought_is_stored_and_not_called_missed(at: datetime, store: Store) -> None:
    """A record that simply changed is no alarm."""
    crm, made = await due(store, open_lead(1))
    crm.holds(lead(1, at, version="v2"))
    progress = await sweep.once(made.tenant)
    assert (progress.done["missed"], progress.done["changed"], progress.done["planned"]) == (0, 1, 1)


async def test_a_record_in_quarantine_is_no_miss(store: Store, logs: io.StringIO) -> None:
    """Its news was seen, it could only not be read; readable again, it leaves the quarantine."""
    crm, made = await due(store, open_lead(1))
    crm.scans = [[Listing((), (BadRecord("lead:1", "price", "no amount", "v2"),))], []]
    await poll.once(made.tenant)
    crm.holds(open_lead(1, OLD + HOUR, version="v3"))
    await sweep.once(made.tenant)
    assert (await report(store))[1] == 0
    assert events(logs, "sweep_missed") == []
    assert await rows_kit.rows(store, schema.quarantine) == []


async def test_a_new_record_that_was_refused_once_is_read_again(store: Store, logs: io.StringIO) -> None:
    """Though nobody touches it any more: what it reached is promised, and it is out of the quarantine. That it still
    cannot be read is not said with each sweep."""
    crm, made = await due(store, open_lead(1))
    crm.scans = [[Listing((), (BadRecord("lead:7", "payments_refused", "for a moment", "v1"),))], []]
    await poll.once(made.tenant)
    crm.holds(BadRecord("lead:7", "payments_refused", "still", "v1"))
    await sweep.once(made.tenant)
    assert len(await rows_kit.rows(store, schema.quarantine)) == 1
    assert len(events(logs, "record_quarantined")) == 1
    crm.holds(lead(7, OLD))
    made.clock.advance(DAY)
    progress = await sweep.once(made.tenant)
    assert (progress.done["missed"], progress.done["planned"]) == (0, 1)
    assert await rows_kit.rows(store, schema.quarantine) == []
    crm.fetched.clear()
    made.clock.advance(DAY)
    await sweep.once(made.tenant)
    assert "lead:7" not in asked(crm)


async def test_deals_the_crm_does_not_have_any_more_are_counted_apart(store: Store) -> None:
    """One that is certainly deleted is stored as that, and asked for while it may come back, without being counted
    again; one about which the CRM says nothing stays, and is asked for again."""
    crm, made = await due(store, open_lead(1), open_lead(2), open_lead(3))
    del crm.held["lead:2"]
    at = made.clock.now()
    crm.holds(Deal(DealKind.LEAD, "3", "deleted", at, at, "", "", Outcome.OPEN, is_deleted=True))
    await sweep.once(made.tenant)
    assert (await report(store))[1:3] == (0, 2)
    crm.fetched.clear()
    made.clock.advance(DAY)
    await sweep.once(made.tenant)
    assert asked(crm) == ["lead:1", "lead:2", "lead:3", "lead:999"]
    assert (await report(store))[1:3] == (0, 1)
    crm.fetched.clear()
    made.clock.advance(30 * DAY)
    await sweep.once(made.tenant)
    assert asked(crm) == ["lead:1", "lead:2", "lead:999"]


async def test_a_deleted_deal_that_has_come_back_is_found(store: Store) -> None:
    """With the sale it was won for meanwhile, though no listing ever shows it again."""
    crm, made = await due(store, open_lead(1))
    at = made.clock.now()
    crm.holds(Deal(DealKind.LEAD, "1", "deleted", at, at, "", "", Outcome.OPEN, is_deleted=True))
    await sweep.once(made.tenant)
    made.clock.advance(DAY)
    crm.holds(lead(1, OLD + HOUR, version="v2"))
    progress = await sweep.once(made.tenant)
    assert (progress.done["changed"], progress.done["planned"], progress.done["missed"]) == (1, 1, 0)


async def test_a_deletion_that_a_window_ought_to_have_told_of_is_missed(store: Store) -> None:
    """Where deletions have times of their own."""
    crm, made = await due(store, open_lead(1))
    at = OLD + HOUR
    crm.holds(Deal(DealKind.LEAD, "1", "deleted", at, at, "", "", Outcome.OPEN, is_deleted=True))
    await sweep.once(made.tenant)
    assert (await report(store))[1:3] == (1, 0)


# --- what is asked for, and when ---------------------------------------------------------------------------------


async def test_only_open_deals_are_looked_after(store: Store) -> None:
    """What is won or lost changes by its windows alone."""
    crm, made = await due(store, open_lead(1), lead(2, OLD))
    await sweep.once(made.tenant)
    assert asked(crm) == ["lead:1", "lead:999"]
    assert not crm.completed


async def test_the_first_sweep_comes_a_period_after_the_first_look_and_each_other_a_period_later(store: Store) -> None:
    """The first reading has just brought everything."""
    crm = Crm()
    crm.scans = [[crm.shows(open_lead(1))], []]
    crm.holds(open_lead(1))
    made = polled(store, crm)
    for _ in range(5 * 24):
        await poll.once(made.tenant)
        await sweep.once(made.tenant)
        made.clock.advance(HOUR)
    assert len(crm.fetched) == 4


@pytest.mark.parametrize(("every", "sweeps"), [(timedelta(0), 0), (HOUR, 1)])
async def test_a_changed_setting_counts_at_once(every: timedelta, sweeps: int, store: Store) -> None:
    """Zero switches the sweep off; a shorter period does not wait for the end of the longer one."""
    crm, made = await due(store, open_lead(1))
    await sweep.once(made.tenant)
    crm.fetched.clear()
    made.clock.advance(2 * HOUR)
    unit = made.tenant.sources["crm"]
    unit.settings = unit.settings.model_copy(update={"sweep_every": every})
    await sweep.once(made.tenant)
    assert len(crm.fetched) == sweeps


async def test_a_source_that_is_read_whole_each_time_is_not_swept(store: Store) -> None:
    """A table misses nothing that is in it."""
    crm, made = await due(store, open_lead(1))
    crm.traits = SourceTraits(reads_everything=True)
    await sweep.once(made.tenant)
    assert crm.fetched == []


async def test_a_tick_asks_for_a_few_pieces_only(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many deals are open; the next ticks go on, and each is asked for once."""
    monkeypatch.setattr(reread, "PIECE", 2)
    monkeypatch.setattr(sweep, "PIECES", 3)
    crm, made = await due(store, *(open_lead(number) for number in range(100, 120)))
    sizes = []
    for _ in range(5):
        before = len(asked(crm))
        await sweep.once(made.tenant)
        sizes.append(len(asked(crm)) - before)
    assert sizes == [6, 6, 6, 3, 0]
    assert asked(crm) == sorted(set(asked(crm)))
    assert (await report(store))[0] == made.clock.now()


async def test_a_poll_has_its_turn_between_two_pieces(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long sweep does not keep the poll from its minute."""
    monkeypatch.setattr(reread, "PIECE", 1)
    monkeypatch.setattr(sweep, "PIECES", 50)
    crm, made = await due(store, *(open_lead(number) for number in range(100, 150)))
    crm.is_asked.clear()
    crm.windows.clear()
    task = asyncio.create_task(sweep.once(made.tenant))
    await crm.is_asked.wait()
    await poll.once(made.tenant)
    assert len(crm.fetched) < 25
    assert crm.windows
    await task


# --- stops and trouble -------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process ends here."""


async def test_a_kill_at_any_commit_loses_neither_the_place_nor_the_count(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a piece found is written with what it repaired: killed on either side of any commit, and begun again, the
    sum is right and nobody is asked for twice whose piece was stored."""
    monkeypatch.setattr(reread, "PIECE", 2)
    moved = [open_lead(number, OLD + HOUR, version="v2") for number in range(100, 107)]
    crm, _ = await due(store, *(open_lead(number) for number in range(100, 107)))
    crm.holds(*moved)
    points = await _swept(store, crm, tmp_path / "calm.db", kill_at=0)
    assert points == 2 * (1 + 1 + 4 + 1)  # a beginning, names read anew, four pieces, an end; both sides of each
    for point in range(1, points + 1):
        assert await _swept(store, crm, tmp_path / f"{point}.db", kill_at=point) == point


async def _swept(prepared: Store, crm: Crm, path: Path, kill_at: int) -> int:
    """A copy of the prepared database, swept by a process that is killed at this point, then by one that is not.

    Returns the points that the first of them passed.
    """
    with closing(sqlite3.connect(sqlite_path(prepared.url))) as connection:
        connection.execute(f"VACUUM INTO '{path}'")
    passed: list[str] = []

    def commit(label: str) -> None:
        passed.append(label)
        if len(passed) == kill_at:
            raise Killed(label)

    crm.fetched.clear()
    for hook in (commit, None):
        opened = await Store.open(f"sqlite:///{path}", hook)
        made = polled(opened, crm)
        made.clock.set(START + DAY)
        with suppress(Killed):
            await sweep.once(made.tenant)
        if hook is None or not kill_at:
            assert await report(opened) == (made.clock.now(), 7, 0, None)
        await opened.close()
    assert len(crm.fetched) <= 4 + 1  # only the piece that was not stored is asked for again
    return len(passed)


async def test_trouble_puts_the_sweep_off_and_it_goes_on_where_it_was(
    store: Store, logs: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said once and shown until it is over; the pieces before it are not asked for again."""
    monkeypatch.setattr(reread, "PIECE", 2)
    crm, made = await due(store, *(open_lead(number) for number in range(100, 105)))
    real = Crm.fetch

    async def second_fails(self: Crm, keys: Sequence[str]) -> Listing:
        self.trouble = Unavailable("down") if len(self.fetched) == 1 else None
        return await real(self, keys)

    monkeypatch.setattr(Crm, "fetch", second_fails)
    progress = await sweep.once(made.tenant)
    assert progress.problems == ["crm: deep sweep: Unavailable: down"]
    assert (await report(store))[3] == "Unavailable: down"
    await sweep.once(made.tenant)
    assert len(crm.fetched) == 2  # not at the next tick
    made.clock.advance(HOUR)
    await sweep.once(made.tenant)
    assert [len(piece) for piece in crm.fetched] == [2, 2, 2, 2]
    assert crm.fetched[1] == crm.fetched[2]
    assert await report(store) == (made.clock.now(), 0, 0, None)
    assert len(events(logs, "sweep_failed")) == 1


async def test_an_adapters_own_mistake_is_its_sources_trouble_alone(store: Store, logs: io.StringIO) -> None:
    """The log has it whole; the words kept have nothing of the record."""
    crm, made = await due(store, open_lead(1))
    crm.trouble = KeyError("ivan@example.com")
    progress = await sweep.once(made.tenant)
    assert len(progress.problems) == 1
    assert "ivan" not in str(await report(store)) + progress.problems[0]
    assert events(logs, "loop_failed")[0]["loop"] == "sweep"


async def test_a_source_that_fails_is_left_to_its_polls(store: Store) -> None:
    """Two alarms for one trouble are one too many; the sweep waits until the source has recovered."""
    crm, made = await due(store, open_lead(1))
    crm.scans = [[AuthError("revoked")], []]
    await poll.once(made.tenant)
    await sweep.once(made.tenant)
    assert crm.fetched == []
    made.clock.advance(HOUR)
    await poll.once(made.tenant)
    await sweep.once(made.tenant)
    assert asked(crm) == ["lead:1", "lead:999"]


async def test_an_unreadable_record_does_not_stop_the_sweep(store: Store) -> None:
    """It is set aside, and not called gone."""
    crm, made = await due(store, open_lead(1), open_lead(2))
    crm.holds(BadRecord("lead:1", "price", "no amount", "v2"), replace(open_lead(2), version="v2"))
    progress = await sweep.once(made.tenant)
    assert (progress.done["quarantined"], progress.done["changed"], progress.done["gone"]) == (1, 1, 0)


class Odd(Crm):
    """A source whose answer makes no sense whenever one of the ``odd`` records is asked for."""

    odd: frozenset[str] = frozenset()

    async def fetch(self, keys: Sequence[str]) -> Listing:
        self.trouble = Drift("no sense") if self.odd.intersection(keys) else None
        return await Crm.fetch(self, keys)


async def swept_twice(store: Store, odd: Collection[int], piece: int, monkeypatch: pytest.MonkeyPatch) -> Odd:
    """Forty deals, some of them odd; what failed at first is tried again after a while."""
    monkeypatch.setattr(reread, "PIECE", piece)
    crm, made = await due(store, *(open_lead(number) for number in range(100, 140)), crm=Odd())
    assert isinstance(crm, Odd)
    crm.odd = frozenset(f"lead:{number}" for number in odd)
    for number in range(100, 140):
        crm.holds(open_lead(number, version="v2"))
    for _ in range(2 * 40 // piece + 1):
        await sweep.once(made.tenant)
        made.clock.advance(16 * MINUTE)
    return crm


@pytest.mark.parametrize("odd", [[107], [100, 139], [120, 121]])
async def test_records_that_always_drift_are_set_aside_and_the_others_are_swept(
    odd: list[int], store: Store, logs: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted, named and shown; every other record of the piece is read, and so is what comes behind it."""
    crm = await swept_twice(store, odd, 20, monkeypatch)
    assert {int(key.partition(":")[2]) for key in crm.completed} == set(range(100, 140)).difference(odd)
    found = (await Reports(store).source(TENANT, "crm")).sweep
    assert (found.aside, found.last_error) == (len(odd), None)
    assert found.swept_at is not None
    named = [key for line in events(logs, "sweep_set_aside") for key in line["records"]]
    assert sorted(named) == sorted(f"lead:{number}" for number in odd)


async def test_when_nothing_at_all_can_be_read_nothing_is_set_aside(
    store: Store, logs: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it is not the records that are odd: the sweep waits, and says so, and costs few requests."""
    crm = await swept_twice(store, range(100, 140), 40, monkeypatch)
    found = (await Reports(store).source(TENANT, "crm")).sweep
    assert (found.aside, found.swept_at, found.last_error) == (0, None, "Drift: no sense")
    assert events(logs, "sweep_set_aside") == []
    assert len(crm.fetched) <= 3 * 25


# --- what no window sees -----------------------------------------------------------------------------------------


async def test_a_source_whose_payments_no_window_sees_is_swept_as_often_as_it_says(store: Store) -> None:
    """Open deals and those won lately, though nothing about their own times changes; an old sale is left alone."""
    won, old = lead(1, START - MINUTE), lead(2, START - 9 * DAY)
    crm, made = await due(store, open_lead(3))
    crm.traits = SourceTraits(brings_payments=True, sweep_every=10 * MINUTE, sweep_won=5 * DAY)
    crm.scans = [[crm.shows(won, old)], []]
    crm.holds(won, old)
    await poll.once(made.tenant)
    await sweep.once(made.tenant)
    crm.fetched.clear()
    made.clock.advance(9 * MINUTE)
    await sweep.once(made.tenant)
    assert asked(crm) == []
    made.clock.advance(MINUTE)
    paid = replace(won, version="v1:paid")
    crm.holds(paid)
    progress = await sweep.once(made.tenant)
    assert asked(crm) == ["lead:1", "lead:3", "lead:999"]
    assert (progress.done["changed"], progress.done["missed"]) == (1, 0)


@pytest.mark.parametrize(
    ("own", "demanded", "every"),
    [(DAY, None, DAY), (DAY, HOUR, HOUR), (HOUR, DAY, HOUR), (0 * DAY, HOUR, HOUR), (0 * DAY, None, 0 * DAY)],
)
def test_the_shorter_of_the_two_intervals_counts(
    own: timedelta, demanded: timedelta | None, every: timedelta, store: Store
) -> None:
    """The operator's own zero switches off the deep sweep, not what a goal per payment needs."""
    crm = Crm(traits=SourceTraits(sweep_every=demanded))
    unit = polled(store, crm).tenant.sources["crm"]
    unit.settings = unit.settings.model_copy(update={"sweep_every": own})
    assert sweep.interval(unit) == every

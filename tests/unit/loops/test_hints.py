"""Hints: a record is read again as often as it has to be, none is lost, and trouble does not block the others."""

from __future__ import annotations

import asyncio
import io
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from bridge.errors import AuthError, BridgeError, Drift, Refused, Unavailable
from bridge.hints import HintQueue, HookState, Parcel, Registrar
from bridge.loops import hints, hooks
from bridge.ports import Head, Listing
from bridge.store import Store, schema
from bridge.store.hints import Hints
from tests.simulation.kit import captured_logs
from tests.store import kit as rows_kit
from tests.support import START
from tests.unit.loops.kit import MINUTE, Crm, Office, office

HERE = ("okna", "crm")


@dataclass(slots=True)
class Answering(Crm):
    """A source that knows the leads it is asked for; ``errors`` are raised instead, one after the other.

    ``meanwhile`` runs while it is asked.
    """

    asked: list[list[str]] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    meanwhile: Callable[[], Any] | None = None
    version: str = "v1"
    queue: HintQueue | None = None
    registrar: Registrar | None = None

    async def fetch(self, keys: Sequence[str]) -> Listing:
        self.asked.append(list(keys))
        if self.meanwhile is not None:
            await self.meanwhile()
        if self.errors:
            raise self.errors.pop(0)
        deals = [rows_kit.deal(int(key.partition(":")[2]), self.version) for key in keys]
        self.deals.update({deal.key: deal for deal in deals})
        return Listing(tuple(Head(deal.key, deal.version, deal.updated_at, None) for deal in deals))


@dataclass(slots=True)
class Keeper:
    """A queue of parcels at a vendor, which forgets one only when told."""

    parcels: list[Parcel]
    trouble: list[Exception] = field(default_factory=list)
    ended: list[tuple[str, str]] = field(default_factory=list)

    async def take(self) -> Parcel | None:
        if self.trouble:
            raise self.trouble.pop(0)
        return self.parcels[0] if self.parcels else None

    async def done(self, parcel: Parcel) -> None:
        self.ended.append(("done", self.parcels.pop(0).receipt))

    async def failed(self, parcel: Parcel) -> None:
        self.ended.append(("failed", self.parcels.pop(0).receipt))


@dataclass(slots=True)
class Vendor:
    """Keeps a webhook; each look takes the next line."""

    lines: list[HookState | Exception]
    is_wanted: bool = True
    kept: list[tuple[str, str]] = field(default_factory=list)

    async def state(self, address: str) -> HookState:
        return HookState.GOOD

    async def keep(self, address: str, beginning: str) -> HookState:
        self.kept.append((address, beginning))
        line = self.lines.pop(0)
        if isinstance(line, Exception):
            raise line
        return line

    async def remove(self, beginning: str) -> int:
        return 0


@pytest.fixture
async def crm() -> Answering:
    return Answering()


@pytest.fixture
async def at_work(store: Store, crm: Answering) -> Office:
    return office(store, sources={"crm": crm})


async def name(at: Office, *records: str) -> None:
    await at.tenant.hints.add({HERE: records}, at.clock.now())


async def left(at: Office) -> list[str]:
    return [hint.record for hint in await at.tenant.hints.take(*HERE, 1000)]


async def stored(at: Office) -> list[str]:
    return sorted(row["deal"] for row in await rows_kit.rows(at.store, schema.deal))


# --- webhooks ----------------------------------------------------------------------------------------------------


async def test_what_was_named_is_read_and_forgotten(at_work: Office, crm: Answering) -> None:
    """Several names of one record are one reading; with nothing named nobody is asked."""
    await name(at_work, "lead:1", "lead:2")
    await name(at_work, "lead:1")
    progress = await hints.once(at_work.tenant)
    assert (await stored(at_work), await left(at_work)) == (["lead:1", "lead:2"], [])
    assert Counter(key for keys in crm.asked for key in keys) == {"lead:1": 1, "lead:2": 1}
    assert progress.done["hints"] == 2
    await hints.once(at_work.tenant)
    assert len(crm.asked) == 1


async def test_many_are_read_piece_by_piece(at_work: Office, crm: Answering) -> None:
    """Each piece is forgotten when it is stored."""
    await name(at_work, *(f"lead:{number}" for number in range(1, 121)))
    await hints.once(at_work.tenant)
    assert [len(keys) for keys in crm.asked] == [50, 50, 20]
    assert await left(at_work) == []


async def test_a_record_named_while_it_is_read_is_read_again(at_work: Office, crm: Answering) -> None:
    """What changed after the vendor's answer was made is not in it."""

    async def change() -> None:
        crm.meanwhile = None
        crm.version = "v2"
        await name(at_work, "lead:1")

    await name(at_work, "lead:1")
    crm.meanwhile = change
    await hints.once(at_work.tenant)
    assert crm.asked == [["lead:1"], ["lead:1"]]
    assert [row["version"] for row in await rows_kit.rows(at_work.store, schema.deal)] == ["v2"]
    assert await left(at_work) == []


async def test_a_crash_between_reading_and_forgetting_costs_one_more_reading(
    at_work: Office, crm: Answering, store: Store
) -> None:
    """Before the record is stored, after it, and around the removal: the hint is there until the removal is done."""
    labels: list[str] = []
    for _ in range(2):  # the first time brings the catalogue, which stays in memory
        await name(at_work, "lead:1")
        labels.clear()
        store._on_commit = labels.append
        await hints.once(at_work.tenant)
        store._on_commit = lambda label: None
        await store_emptied(store)
    assert labels[-2:] == ["before hints done", "after hints done"]
    assert len(labels) > 4
    for label in list(labels):

        def dying(now: str, label: str = label) -> None:
            if now == label:
                raise asyncio.CancelledError

        store._on_commit = lambda now: None
        await name(at_work, "lead:1")
        store._on_commit = dying
        with pytest.raises(asyncio.CancelledError):
            await hints.once(at_work.tenant)
        store._on_commit = lambda now: None
        assert (await left(at_work) == []) is (label == "after hints done"), label
        await hints.once(at_work.tenant)
        assert (await stored(at_work), await left(at_work)) == (["lead:1"], []), label
        await store_emptied(store)


async def store_emptied(store: Store) -> None:
    """Nothing is known of any lead."""
    async with store.write("test") as connection:
        await connection.execute(schema.touch.delete())
        await connection.execute(schema.deal.delete())
        await connection.execute(schema.source_state.delete())


@pytest.mark.parametrize("error", [Unavailable("502"), AuthError("no", is_final=True)])
async def test_what_may_pass_is_waited_for(at_work: Office, crm: Answering, error: BridgeError) -> None:
    """A minute later it is tried again, and said once; the hints stay."""
    crm.errors = [error, error]
    await name(at_work, "lead:1")
    with captured_logs() as logged:
        await hints.once(at_work.tenant)
        await hints.once(at_work.tenant)
        assert (len(crm.asked), await left(at_work)) == (1, ["lead:1"])
        at_work.clock.advance(MINUTE)
        await hints.once(at_work.tenant)
        at_work.clock.advance(MINUTE)
        await hints.once(at_work.tenant)
    assert (len(crm.asked), await left(at_work), await stored(at_work)) == (3, [], ["lead:1"])
    assert [line for line in lines(logged) if '"hints_failed"' in line and '"warning"' in line].__len__() == 1


def lines(logged: io.StringIO) -> list[str]:
    return logged.getvalue().splitlines()


@pytest.mark.parametrize("error", [Drift("HTML"), Refused("no"), ValueError("a mistake of the adapter")])
async def test_what_cannot_be_read_does_not_stand_in_the_way(at_work: Office, crm: Answering, error: Exception) -> None:
    """Its hint is dropped with an error in the log: the polls meet that record by themselves."""
    crm.errors = [error]
    await name(at_work, "lead:1")
    with captured_logs() as logged:
        await hints.once(at_work.tenant)
        await name(at_work, "lead:2")
        await hints.once(at_work.tenant)
    assert (await stored(at_work), await left(at_work)) == (["lead:2"], [])
    assert sum('"hints_dropped"' in line for line in lines(logged)) == 1


async def test_one_source_in_trouble_does_not_hold_up_another(store: Store, crm: Answering) -> None:
    """Nor does one that could not be built."""
    other = Answering()
    at = office(store, sources={"crm": crm, "b24": other})
    crm.errors = [Unavailable("502")]
    await at.tenant.hints.add({HERE: ["lead:1"], ("okna", "b24"): ["lead:2"]}, START)
    await hints.once(at.tenant)
    assert other.asked == [["lead:2"]]
    at.tenant.sources["crm"].port = None
    at.clock.advance(MINUTE)
    await hints.once(at.tenant)
    assert await left(at) == ["lead:1"]


async def test_another_process_may_add(at_work: Office, crm: Answering) -> None:
    """Webhooks that came to a daemon without the tenant's lock are in the database all the same."""
    other = await Store.open(at_work.store.url)
    await Hints(other).add({HERE: ["lead:1"]}, START)
    await other.close()
    await hints.once(at_work.tenant)
    assert await stored(at_work) == ["lead:1"]


# --- the queue at a vendor ---------------------------------------------------------------------------------------


async def test_a_parcel_is_done_when_its_records_are_stored(at_work: Office, crm: Answering) -> None:
    """One after the other until there is none; one without records of ours is done, too."""
    keeper = Keeper([Parcel(("lead:1", "lead:2"), "a"), Parcel((), "b"), Parcel(("lead:1",), "c")])
    crm.queue = keeper
    assert hints.has_queue(at_work.tenant)
    await hints.pull(at_work.tenant)
    assert keeper.ended == [("done", "a"), ("done", "b"), ("done", "c")]
    assert await stored(at_work) == ["lead:1", "lead:2"]


async def test_a_parcel_waits_while_its_source_cannot_be_read(at_work: Office, crm: Answering) -> None:
    """It is not done, and comes again."""
    keeper = crm.queue = Keeper([Parcel(("lead:1",), "a")])
    crm.errors = [Unavailable("502")]
    await hints.pull(at_work.tenant)
    assert keeper.ended == []
    await hints.pull(at_work.tenant)
    assert len(crm.asked) == 1
    at_work.clock.advance(MINUTE)
    await hints.pull(at_work.tenant)
    assert keeper.ended == [("done", "a")]


async def test_a_parcel_that_cannot_be_read_is_put_aside(at_work: Office, crm: Answering) -> None:
    """And the next one has its turn."""
    keeper = crm.queue = Keeper([Parcel(("lead:1",), "a"), Parcel(("lead:2",), "b")])
    crm.errors = [Drift("HTML")]
    await hints.pull(at_work.tenant)
    assert keeper.ended == [("failed", "a"), ("done", "b")]


async def test_a_queue_that_does_not_answer_is_waited_for(at_work: Office, crm: Answering) -> None:
    """Without harm to webhooks of other sources."""
    keeper = crm.queue = Keeper([Parcel(("lead:1",), "a")], [Refused("no plan")])
    await hints.pull(at_work.tenant)
    await hints.pull(at_work.tenant)
    assert keeper.ended == []
    at_work.clock.advance(MINUTE)
    await hints.pull(at_work.tenant)
    assert keeper.ended == [("done", "a")]


async def test_a_bug_in_one_queue_is_that_source_s_trouble(store: Store) -> None:
    """Logged whole once and tried again after a pause; the queue of another source is read."""
    broken, sound = Answering(), Answering()
    broken.queue, sound.queue = Keeper([], [KeyError("x"), KeyError("x")]), Keeper([Parcel(("lead:1",), "a")])
    at = office(store, sources={"broken": broken, "sound": sound})
    with captured_logs() as logged:
        for _ in range(3):
            await hints.pull(at.tenant)
        at.clock.advance(MINUTE)
        await hints.pull(at.tenant)
    assert sound.queue.ended == [("done", "a")]
    assert broken.queue.trouble == []
    assert logged.getvalue().count("loop_failed") == 1


async def test_trouble_with_a_queue_does_not_hold_up_webhooks(at_work: Office, crm: Answering) -> None:
    """Nor the other way round: each road has its own pause."""
    crm.queue = Keeper([Parcel(("lead:1",), "a")], [Refused("no plan")])
    await hints.pull(at_work.tenant)
    await name(at_work, "lead:2")
    await hints.once(at_work.tenant)
    assert await stored(at_work) == ["lead:2"]
    crm.errors = [Unavailable("502")]
    await name(at_work, "lead:3")
    await hints.once(at_work.tenant)
    at_work.clock.advance(MINUTE)
    await hints.pull(at_work.tenant)
    assert await stored(at_work) == ["lead:1", "lead:2"]


async def test_a_source_without_a_queue_is_not_pulled(at_work: Office) -> None:
    """There is no job for it either."""
    assert not hints.has_queue(at_work.tenant)
    assert (await hints.pull(at_work.tenant)).done == Counter()


# --- our webhooks ------------------------------------------------------------------------------------------------


def hooked(at: Office, vendor: Vendor, crm: Answering) -> None:
    crm.registrar = vendor
    at.tenant.sources["crm"].hook = "https://hooks.example.ru/hooks/okna/crm/secret"
    at.tenant.sources["crm"].hook_beginning = "https://hooks.example.ru/hooks/okna/crm/"


async def test_our_webhook_is_kept(at_work: Office, crm: Answering) -> None:
    """Registered, found good, found disabled and put right: told in the log and kept for the status."""
    vendor = Vendor([HookState.MISSING, HookState.GOOD, HookState.DISABLED])
    hooked(at_work, vendor, crm)
    assert hooks.has_hook(at_work.tenant)
    with captured_logs() as logged:
        for _ in range(3):
            await hooks.once(at_work.tenant)
            at_work.clock.advance(MINUTE)
    told = [line for line in lines(logged) if "hook_" in line]
    assert ["hook_registered" in told[0], "hook_restored" in told[1], len(told)] == [True, True, 2]
    assert vendor.kept[0] == (at_work.tenant.sources["crm"].hook, at_work.tenant.sources["crm"].hook_beginning)
    report = await at_work.tenant.hints.report(*HERE)
    assert (report.checked_at, report.restored_at) == (START + 2 * MINUTE, START + 2 * MINUTE)


async def test_a_bug_in_a_registrar_is_that_source_s_trouble(at_work: Office, crm: Answering) -> None:
    """Logged whole once, in the status while it lasts; the loop goes on to the other sources."""
    hooked(at_work, Vendor([KeyError("x"), KeyError("x")]), crm)
    with captured_logs() as logged:
        for _ in range(2):
            progress = await hooks.once(at_work.tenant)
    assert progress.problems == ["crm: webhook: Drift: KeyError in the adapter; the log says where"]
    assert (await at_work.tenant.hints.report(*HERE)).trouble == progress.problems[0].partition("webhook: ")[2]
    assert logged.getvalue().count("loop_failed") == 1


async def test_trouble_with_a_webhook_is_said_once_and_kept_while_it_lasts(at_work: Office, crm: Answering) -> None:
    """In the status all the time; the text is clean; the secret in the address is nowhere."""
    no = Refused("no webhooks at https://hooks.example.ru/hooks/okna/crm/secret?x=1", code="http_402")
    hooked(at_work, Vendor([no, no, HookState.GOOD]), crm)
    with captured_logs() as logged:
        first = await hooks.once(at_work.tenant)
        await hooks.once(at_work.tenant)
        trouble = (await at_work.tenant.hints.report(*HERE)).trouble
        await hooks.once(at_work.tenant)
    assert trouble is not None
    assert trouble.startswith("Refused: no webhooks at")
    assert "secret" not in trouble + logged.getvalue() + str(first.problems)
    assert sum('"hook_failed"' in line for line in lines(logged)) == 1
    assert (await at_work.tenant.hints.report(*HERE)).trouble is None


@pytest.mark.parametrize("why", ["not wanted", "no address", "no registrar"])
async def test_nobody_is_asked_for_a_webhook_that_is_not_ours(at_work: Office, crm: Answering, why: str) -> None:
    """Made by hand, without an address, or at a vendor that has no such thing."""
    vendor = Vendor([], is_wanted=why != "not wanted")
    hooked(at_work, vendor, crm)
    if why == "no address":
        at_work.tenant.sources["crm"].hook = ""
    if why == "no registrar":
        crm.registrar = None
    assert not hooks.has_hook(at_work.tenant)
    await hooks.once(at_work.tenant)
    assert vendor.kept == []

"""Offline events: everything that happened comes out of the queue, whatever ends in between."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.bitrix24.fake_schema import DEAL, LEAD
from adapters.bitrix24.offline import OfflineEvents
from adapters.bitrix24.settings import Bitrix24Settings
from adapters.bitrix24.source import Bitrix24Source
from bridge.errors import Ambiguous, BridgeError, Refused
from bridge.hints import Parcel, queue_of
from bridge.ports import Level
from bridge.sim.faults import Fault, FaultPlan
from tests.adapters.bitrix24.kit import Rig, add_deals, listed, running
from tests.support import START

DAY = timedelta(days=1)
CHANGE = {"TITLE": "x"}


def queue(source: Bitrix24Source) -> OfflineEvents:
    found = queue_of(source)
    assert isinstance(found, OfflineEvents)
    return found


@asynccontextmanager
async def application(folder: Path, **options: Any) -> AsyncIterator[tuple[Rig, OfflineEvents]]:
    """A portal with an application whose events are bound, and a queue that is empty."""
    async with running(folder, auth="oauth", **options) as rig:
        made = restarted(rig)
        rig.portal.events.has_connectors = True
        assert await made.take() is None
        yield rig, made


def restarted(rig: Rig, **settings: Any) -> OfflineEvents:
    """What a new process has."""
    return queue(rig.another(offline_events=True, **settings))


async def taken(made: OfflineEvents) -> Parcel:
    parcel = await made.take()
    assert parcel is not None
    return parcel


async def drained(made: OfflineEvents) -> list[str]:
    """Everything in the queue, done as it comes."""
    keys: list[str] = []
    while (parcel := await made.take()) is not None:
        keys += parcel.keys
        await made.done(parcel)
    return sorted(keys)


class Once(FaultPlan):
    """Faults of one method, each once."""

    def __init__(self, *faults: Fault, method: str = "event.offline.get") -> None:
        super().__init__(0)
        self.left = list(faults)
        self.method = method

    def draw(self, name: str, is_write: bool) -> Fault | None:
        return self.left.pop() if self.left and name == self.method else None


# --- reading -----------------------------------------------------------------------------------------------------


async def test_every_change_comes_out_once(tmp_path: Path) -> None:
    """Leads and deals, created, changed, moved to another pipeline, deleted: many changes of one record in one row for
    each event; what is done is gone."""
    async with application(tmp_path) as (rig, made):
        add_deals(rig.portal, 2)
        rig.portal.data.add(LEAD, START, {"STATUS_ID": "NEW"})
        for _ in range(3):
            rig.portal.data.update(DEAL, 1, rig.clock.now(), CHANGE)
        rig.portal.data.update(DEAL, 2, START, {"CATEGORY_ID": "10", "STAGE_ID": "C10:PREPAYMENT_INVOIC"})
        rig.portal.data.delete(DEAL, 2)
        assert len(rig.portal.events.rows) == 6
        assert sorted((await taken(made)).keys) == ["deal:1", "deal:2", "lead:1"]
        assert await drained(made) == ["deal:1", "deal:2", "lead:1"]
        assert rig.portal.events.rows == []


@pytest.mark.parametrize("has_connectors", [True, False])
async def test_the_connector_is_used_where_the_plan_has_it(tmp_path: Path, *, has_connectors: bool) -> None:
    """On binding and on reading alike; else the queue looks empty (contract 8.2). Two sources of one application
    then do not see each other's events."""
    async with running(tmp_path, auth="oauth") as rig:
        rig.portal.events.has_connectors = has_connectors
        made = restarted(rig)
        await made.take()
        add_deals(rig.portal, 1)
        assert await drained(made) == ["deal:1"]
        connectors = {connector for _, connector in rig.portal.events.bound}
        assert all(connector.startswith("bridge-") for connector in connectors) is has_connectors
        assert len(connectors) == 1


async def test_ids_may_be_texts(tmp_path: Path) -> None:
    """Not verified either way (contract 17)."""
    async with application(tmp_path) as (rig, made):
        rig.portal.events.sends_text = True
        add_deals(rig.portal, 1)
        assert await drained(made) == ["deal:1"]


async def test_more_than_a_page_comes_page_by_page(tmp_path: Path) -> None:
    """Fifty at a time, none twice."""
    async with application(tmp_path) as (rig, made):
        add_deals(rig.portal, 120)
        assert len((await taken(made)).keys) == 50
        assert len(await drained(made)) == 120


async def test_binding_again_is_no_error(tmp_path: Path) -> None:
    """A restarted process finds its events bound; one that runs for long binds them anew from time to time."""
    async with application(tmp_path) as (rig, made):
        assert await restarted(rig).take() is None
        rig.portal.events.bound.clear()  # the application was installed anew
        rig.clock.advance(timedelta(hours=7))
        assert await made.take() is None
        add_deals(rig.portal, 1)
        assert await drained(made) == ["deal:1"]


async def test_an_event_that_cannot_be_bound_is_told(tmp_path: Path) -> None:
    """Else its changes would be missing from the queue without a word; polls go on."""
    async with running(tmp_path, auth="oauth") as rig:
        rig.portal.events.unknown = "ONCRMDEALMOVETOCATEGORY"
        made = restarted(rig)
        for _ in range(2):  # the second time the others are bound already
            with pytest.raises(Refused, match=r"event\.bind: EVENT_NOT_FOUND"):
                await made.take()
        rig.portal.events.unknown = ""
        add_deals(rig.portal, 1)
        assert await drained(made) == ["deal:1"]


# --- crashes -----------------------------------------------------------------------------------------------------


async def test_the_same_comes_again_until_it_is_done(tmp_path: Path) -> None:
    """Whoever could not read the records now asks again later."""
    async with application(tmp_path) as (rig, made):
        add_deals(rig.portal, 1)
        parcel = await taken(made)
        assert await made.take() == parcel
        await made.done(parcel)
        assert await made.take() is None


async def test_what_a_crash_left_comes_first(tmp_path: Path) -> None:
    """Reserved rows are hidden from everybody else; the next process finds them in the list, a page or more."""
    async with application(tmp_path) as (rig, made):
        add_deals(rig.portal, 60)
        left = await taken(made)
        other = restarted(rig)
        first = await taken(other)
        assert sorted(first.keys) == sorted(left.keys)
        assert first.receipt == left.receipt
        assert len(await drained(other)) == 60
        assert rig.portal.events.rows == []


async def test_a_change_while_its_record_is_read_is_not_lost(tmp_path: Path) -> None:
    """It makes a row of its own, which confirming the first one leaves alone (contract 8.2)."""
    async with application(tmp_path) as (rig, made):
        rig.portal.data.add(DEAL, START, {"CATEGORY_ID": "1", "STAGE_ID": "C1:NEW"})
        await drained(made)
        rig.portal.data.update(DEAL, 1, START, CHANGE)
        parcel = await taken(made)
        rig.portal.data.update(DEAL, 1, START, CHANGE)
        await made.done(parcel)
        assert await drained(made) == ["deal:1"]


@pytest.mark.parametrize("fault", [Fault.LOST_ANSWER, Fault.ERROR_AFTER, Fault.CUT_BODY])
async def test_a_lost_answer_has_reserved_rows_that_are_found_again(tmp_path: Path, fault: Fault) -> None:
    """The request is not repeated by itself, which would reserve others and leave those alone for thirty days."""
    async with application(tmp_path) as (rig, made):
        add_deals(rig.portal, 1)
        rig.portal.faults = Once(fault)
        with pytest.raises(BridgeError) as failed:
            await made.take()
        assert fault is Fault.CUT_BODY or isinstance(failed.value, Ambiguous)
        assert rig.portal.events.rows[0].process
        assert await drained(made) == ["deal:1"]


async def test_a_list_that_does_not_tell_who_reserved_is_read_whole(tmp_path: Path) -> None:
    """Then nothing can be confirmed, and everything queued is read once more after a restart (not verified)."""
    async with application(tmp_path) as (rig, made):
        rig.portal.events.shows_process = False
        add_deals(rig.portal, 60)
        await taken(made)
        assert {*await drained(restarted(rig))} == {f"deal:{number}" for number in range(1, 61)}
        assert len(rig.portal.events.rows) == 50


async def test_the_portal_forgets_what_was_reserved_for_a_month(tmp_path: Path) -> None:
    """Nothing is left to find then: polls and the deep sweep have read it long since (contract 8.2)."""
    async with application(tmp_path) as (rig, made):
        add_deals(rig.portal, 1)
        await taken(made)
        rig.clock.advance(31 * DAY)
        assert await drained(restarted(rig)) == []


# --- what cannot be read -----------------------------------------------------------------------------------------


async def test_records_that_cannot_be_read_are_put_aside(tmp_path: Path) -> None:
    """They are flagged and come to nobody any more; what is behind them does."""
    async with application(tmp_path) as (rig, made):
        add_deals(rig.portal, 1)
        await made.failed(await taken(made))
        assert [row.event for row in rig.portal.events.flagged()] == ["ONCRMDEALADD"]
        rig.portal.data.update(DEAL, 1, START, CHANGE)
        assert await drained(made) == ["deal:1"]
        assert await drained(restarted(rig)) == []


async def test_an_event_without_a_record_is_put_aside(tmp_path: Path) -> None:
    """Samples of the documentation show ``EVENT_DATA: false`` (contract 8.2)."""
    async with application(tmp_path) as (rig, made):
        rig.portal.events.blind = True
        add_deals(rig.portal, 1)
        assert await made.take() is None
        assert len(rig.portal.events.flagged()) == 1


async def test_good_events_beside_one_without_a_record_are_not_forgotten(tmp_path: Path) -> None:
    """Even when putting that one aside fails: the others are reserved by then, and found again."""
    async with application(tmp_path) as (rig, made):
        add_deals(rig.portal, 1)
        rig.portal.events.rows[0].fields = {}
        rig.portal.data.add(DEAL, START, {"CATEGORY_ID": "1", "STAGE_ID": "C1:NEW"})
        rig.portal.faults = Once(*[Fault.ERROR_BEFORE] * 3, method="event.offline.error")
        with pytest.raises(BridgeError):
            await made.take()
        assert await drained(made) == ["deal:2"]
        assert rig.portal.events.rows == []


async def test_a_plan_without_confirmation_has_no_queue_for_us(tmp_path: Path) -> None:
    """Reading without it deletes, and a crash would lose the batch: polls are better than that."""
    async with running(tmp_path, auth="oauth") as rig:
        rig.portal.events.has_confirmation = False
        made = restarted(rig)
        with pytest.raises(Refused, match="offline_events = false"):
            await made.take()
        assert [finding.level for finding in await made.check()] == [Level.ERROR]
        assert rig.portal.events.bound == set()


async def test_whoever_is_no_administrator_is_read_all_the_same(tmp_path: Path) -> None:
    """403 ACCESS_DENIED concerns the queue alone: the account is not stopped."""
    async with running(tmp_path, auth="oauth") as rig:
        add_deals(rig.portal, 1)
        rig.portal.events.is_admin = False
        source = rig.another(offline_events=True)
        with pytest.raises(Refused, match="administrator"):
            await queue(source).take()
        assert len(await listed(source, rig.all_time())) == 1
        assert [finding.level for finding in await queue(source).check()] == [Level.ERROR]


async def test_checking_changes_nothing(tmp_path: Path) -> None:
    """No binding, no reservation; the finding tells of a queue that others may read as well."""
    async with running(tmp_path, auth="oauth") as rig:
        source = rig.another(offline_events=True)
        found = [finding for finding in await source.check() if finding.subject == "offline events"]
        assert [finding.level for finding in found] == [Level.OK]
        assert "no auth_connector" in found[0].message
        assert rig.portal.events.bound == set()


# --- settings and the simulator ----------------------------------------------------------------------------------


def test_an_inbound_webhook_has_no_events() -> None:
    """Said when the configuration is read, not when the portal refuses."""
    section = {"base_url": "https://x.bitrix24.ru", "auth": {"webhook": {"env": "W"}}, "offline_events": True}
    with pytest.raises(ValueError, match="needs an application"):
        Bitrix24Settings.model_validate(section)


async def test_without_the_option_nothing_is_asked(tmp_path: Path) -> None:
    """No queue, no request."""
    async with running(tmp_path, auth="oauth") as rig:
        assert queue_of(rig.source) is None
        await rig.source.check()
        assert not any(name.startswith(("event.", "feature.")) for name in rig.asked)


async def test_the_portal_keeps_events_from_webhooks(tmp_path: Path) -> None:
    """``event.*`` needs the context of an application (contract 1.1)."""
    async with running(tmp_path) as rig:
        made = OfflineEvents(rig.source._portal, [], "b24", rig.tools)
        with pytest.raises(BridgeError, match="WRONG_AUTH_TYPE"):
            await made.take()


async def test_reading_without_confirmation_deletes(tmp_path: Path) -> None:
    """The portal's default (contract 8.2): the simulator has it, we do not use it."""
    async with application(tmp_path) as (rig, made):
        add_deals(rig.portal, 1)
        connector = next(iter(rig.portal.events.bound))[1]
        reply = rig.portal.events.call("event.offline.get", {"auth_connector": connector})
        assert (reply.result["process_id"], len(reply.result["events"])) == (None, 1)
        assert await drained(made) == []

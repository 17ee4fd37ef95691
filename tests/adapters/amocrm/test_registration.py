"""Our webhook at the account: registered, found disabled or changed and put right, taken away; and what it posts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from adapters.amocrm.fake import AmoCrm
from adapters.amocrm.fake_store import FIRST_LEAD
from adapters.amocrm.registration import EVENTS
from adapters.amocrm.source import AmoCrmSource
from bridge.errors import AuthError, Refused
from bridge.hints import HookState, registrar_of
from bridge.sim.clock import ManualClock
from bridge.sim.events import Happening
from tests.adapters.amocrm.kit import CONTACTED, EVERYTHING, NEW, WON, account, lead, read, second, step
from tests.support import START, served

BEGINNING = "https://hooks.example.ru/hooks/okna/crm/"
ADDRESS = BEGINNING + "k3v0p1q8w2z7m4n6b9c5"
MINUTE = timedelta(minutes=1)
SETTINGS = {"hook": {"secret": {"env": "SIM_HOOK"}}}


async def kept(source: AmoCrmSource, address: str = ADDRESS) -> HookState:
    return await source.registrar.keep(address, BEGINNING)


# --- registration ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("created", [200, 201])
async def test_it_is_registered_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, created: int) -> None:
    """For everything that happens to a lead; looking again changes nothing. 200 or 201 is not verified."""
    async with account(monkeypatch, tmp_path, settings=SETTINGS) as (sim, source):
        sim.hooks.created = created
        assert registrar_of(source) is source.registrar
        assert await source.registrar.state(ADDRESS) is HookState.MISSING
        assert await kept(source) is HookState.MISSING
        assert await kept(source) is HookState.GOOD
        (hook,) = sim.hooks.hooks.values()
        assert (hook.destination, set(hook.settings)) == (ADDRESS, set(EVENTS))
        assert sim.requests["POST /api/v4/webhooks"] == 1


@pytest.mark.parametrize("reenables", [True, False])
@pytest.mark.parametrize("repost", ["replaces", "merges"])
async def test_a_disabled_one_is_put_right(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, reenables: bool, repost: Any
) -> None:
    """Whether posting it again wakes it or not (not verified), in the end it is on, with the events others added."""
    async with account(monkeypatch, tmp_path, settings=SETTINGS) as (sim, source):
        await kept(source)
        sim.hooks.reenables, sim.hooks.repost = reenables, repost
        hook = sim.hooks.hooks[ADDRESS]
        hook.disabled, hook.settings = True, [*EVENTS, "note_lead"]
        assert await source.registrar.state(ADDRESS) is HookState.DISABLED
        assert await kept(source) is HookState.DISABLED
        assert await source.registrar.state(ADDRESS) is HookState.GOOD
        assert set(sim.hooks.hooks[ADDRESS].settings) == {*EVENTS, "note_lead"}


async def test_events_that_somebody_took_away_come_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A webhook without them would miss what it is there for."""
    async with account(monkeypatch, tmp_path, settings=SETTINGS) as (sim, source):
        await kept(source)
        sim.hooks.hooks[ADDRESS].settings = ["add_lead"]
        assert await kept(source) is HookState.PARTIAL
        assert set(sim.hooks.hooks[ADDRESS].settings) == set(EVENTS)


async def test_one_that_stays_disabled_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever we do: a person has to look at it."""
    async with account(monkeypatch, tmp_path, settings=SETTINGS) as (sim, source):
        await kept(source)
        saved = sim.hooks._save

        def stubborn(address: str, events: list[str]) -> Any:
            hook = saved(address, events)
            hook.disabled = True
            return hook

        sim.hooks.hooks[ADDRESS].disabled = True
        sim.hooks._save = stubborn  # type: ignore[method-assign]  # an account that behaves like nothing documented
        with pytest.raises(Refused, match="keeps it disabled") as refused:
            await kept(source)
        assert refused.value.code == "hook_disabled"


async def test_a_new_secret_takes_the_old_address_away_and_leaves_others_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Only addresses that begin like ours are ours; ``remove`` takes all of these."""
    async with account(monkeypatch, tmp_path, settings=SETTINGS) as (sim, source):
        foreign = "https://hooks.example.ru/hooks/okna/crm2/abc"
        await source.registrar.keep(foreign, "https://hooks.example.ru/hooks/okna/crm2/")
        await kept(source)
        assert await kept(source, ADDRESS + "new") is HookState.MISSING
        assert set(sim.hooks.hooks) == {foreign, ADDRESS + "new"}
        assert await source.registrar.remove(BEGINNING) == 1
        assert set(sim.hooks.hooks) == {foreign}
        assert await source.registrar.remove(BEGINNING) == 0


async def test_an_account_that_is_full_of_webhooks_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A hundred is the most (contract amocrm 8.1): ours is refused, those of others stay, leads are read."""
    async with account(monkeypatch, tmp_path, settings=SETTINGS) as (sim, source):
        for number in range(100):
            sim.hooks._save(f"https://others.example/{number}", ["add_lead"])
        with pytest.raises(Refused, match="422"):
            await kept(source)
        assert len(sim.hooks.hooks) == 100
        assert await read(source, EVERYTHING) == []


async def test_one_deleted_meanwhile_is_not_missed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """404 for a webhook that is not there: so it should be."""
    async with account(monkeypatch, tmp_path, settings=SETTINGS) as (sim, source):
        await kept(source)
        label = sim.label

        def gone_by_then(request: web.Request) -> str:
            if request.method == "DELETE":
                sim.hooks.hooks.clear()
            return label(request)

        monkeypatch.setattr(sim, "label", gone_by_then)
        assert await source.registrar.remove(BEGINNING) == 1
        assert sim.requests["DELETE /api/v4/webhooks"] == 1


@pytest.mark.parametrize("switch", ["is_in_plan", "is_admin"])
async def test_an_account_without_webhooks_is_read_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, switch: str
) -> None:
    """402 (the plan) and 403 (the rights) concern the webhook only: no ``auth_failed``, and leads are read."""
    async with account(monkeypatch, tmp_path, settings=SETTINGS) as (sim, source):
        setattr(sim.hooks, switch, False)
        with pytest.raises(Refused, match=r"managed = false|administrator"):
            await kept(source)
        assert await read(source, EVERYTHING) == []


async def test_a_ban_stops_everything_here_as_well(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """HTML 403 is a ban whatever was asked for."""
    async with account(monkeypatch, tmp_path, settings=SETTINGS) as (sim, source):
        sim.ban()
        with pytest.raises(AuthError):
            await kept(source)
        sim.unban()
        with pytest.raises(AuthError):
            await read(source, EVERYTHING)


async def test_the_secret_is_in_no_address_of_a_request(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Addresses are what gateways log."""
    async with account(monkeypatch, tmp_path, settings=SETTINGS) as (sim, source):
        paths: list[str] = []
        label = sim.label

        def noted(request: web.Request) -> str:
            paths.append(request.raw_path)
            return label(request)

        monkeypatch.setattr(sim, "label", noted)
        await kept(source)
        await source.registrar.remove(BEGINNING)
        assert len(paths) == 4
        assert not any(ADDRESS[-10:] in path for path in paths)


async def test_whoever_wants_none_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without ``hook``, or when it is made by hand."""
    for settings in ({}, {"hook": {"secret": {"env": "SIM_HOOK"}, "managed": False}}):
        async with account(monkeypatch, tmp_path, settings=settings) as (_, source):
            assert not source.registrar.is_wanted


# --- the simulator -----------------------------------------------------------------------------------------------


class Handler:
    """A webhook's other end: answers with a status, after a while."""

    def __init__(self) -> None:
        self.status = 200
        self.pause = 0.0
        self.forms: list[dict[str, str]] = []
        self.address = ""

    async def take(self, request: web.Request) -> web.Response:
        self.forms.append({name: str(value) for name, value in (await request.post()).items()})
        await asyncio.sleep(self.pause)
        return web.Response(status=self.status)


@asynccontextmanager
async def handled(sim: AmoCrm) -> AsyncIterator[Handler]:
    """A server that the simulator's webhooks are posted to."""
    handler = Handler()
    async with served(handler.take, "/hook") as address:
        handler.address = address
        sim.hooks._save(address, list(EVENTS))
        yield handler


def begin(sim: AmoCrm, clock: ManualClock) -> None:
    """A lead comes in."""
    item = lead(1, step(clock.now(), NEW, 100))
    sim.happen(Happening(clock.now(), item, item.steps[0], is_new=True))


def taken(handler: Handler) -> list[str]:
    """Which kinds of webhook have come, by the first key of each."""
    return [next(iter(form)).split("[")[1].rstrip("]") for form in handler.forms]


async def test_everything_that_happens_to_a_lead_is_posted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A status change as two webhooks, everything as text, in the names of version 2 (contract amocrm 8.2)."""
    clock = ManualClock(START)
    async with account(monkeypatch, tmp_path, clock) as (sim, _), handled(sim) as handler:
        begin(sim, clock)
        own = FIRST_LEAD + 1
        sim.store.move(sim.store.leads[own], 142, second(START))
        sim.store.delete(own, second(START))
        sim.store.restore(own, second(START))
        assert await sim.hooks.deliver() == [200] * 5
        assert taken(handler) == ["add", "status", "update", "delete", "restore"]
        status = handler.forms[1]
        assert status["leads[status][0][id]"] == str(own)
        assert status["leads[status][0][status_id]"] == "142"
        assert status["leads[status][0][old_status_id]"] == "47001001"
        assert status["leads[status][0][last_modified]"] == str(second(START))
        assert status["account[id]"] == "31234567"
        assert handler.forms[3] == {
            "leads[delete][0][id]": str(own),
            "leads[delete][0][status_id]": "142",
            "leads[delete][0][pipeline_id]": "5204001",
            "account[subdomain]": "sim",
            "account[id]": "31234567",
            "account[_links][self]": "https://sim.amocrm.ru",
        }


@pytest.mark.parametrize(("status", "attempts"), [(404, 3), (302, 3), (500, 5), (499, 5), (200, 1), (299, 1)])
async def test_a_bad_answer_is_followed_by_more_attempts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: int, attempts: int
) -> None:
    """After 5 and 15 minutes always, after 15 more and an hour only for 499 and 5xx (contract amocrm 8.3)."""
    clock = ManualClock(START)
    async with account(monkeypatch, tmp_path, clock) as (sim, _), handled(sim) as handler:
        begin(sim, clock)
        handler.status = status
        seen = []
        for minute in range(120):
            seen += [minute] * len(await sim.hooks.deliver())
            clock.advance(MINUTE)
        assert seen == [0, 5, 20, 35, 95][:attempts]


async def test_an_answer_after_two_seconds_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The vendor does not wait longer."""
    clock = ManualClock(START)
    async with account(monkeypatch, tmp_path, clock) as (sim, _), handled(sim) as handler:
        begin(sim, clock)
        handler.pause = 2.5
        assert await sim.hooks.deliver() == [None]
        assert len(sim.hooks.pending) == 1


async def test_a_webhook_is_disabled_after_a_hundred_bad_answers_in_two_hours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The 101st does it; from then on nothing comes, and what was on its way is gone (contract amocrm 8.3)."""
    clock = ManualClock(START)
    async with account(monkeypatch, tmp_path, clock) as (sim, _), handled(sim) as handler:
        begin(sim, clock)
        await sim.hooks.deliver()
        hook = sim.hooks.hooks[handler.address]
        handler.status = 404
        own = sim.store.leads[FIRST_LEAD + 1]
        for _ in range(100):
            sim.hooks.tell("update", own)
        await sim.hooks.deliver()
        clock.advance(timedelta(hours=2))
        sim.hooks.pending.clear()
        sim.hooks.tell("update", own)
        await sim.hooks.deliver()
        assert not hook.disabled, "those of two hours ago do not count any more"
        for _ in range(100):
            sim.hooks.tell("update", own)
        await sim.hooks.deliver()
        assert hook.disabled
        sim.hooks.tell("update", own)
        clock.advance(timedelta(minutes=5))
        assert await sim.hooks.deliver() == []


async def test_status_webhooks_may_go_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """While those of the update arrive (contract amocrm 15.12); and who modified a lead is not always told."""
    clock = ManualClock(START)
    async with account(monkeypatch, tmp_path, clock) as (sim, _), handled(sim) as handler:
        sim.hooks.forgets_status = True
        item = lead(3, step(clock.now(), NEW), step(clock.now(), CONTACTED), step(clock.now(), WON, 500))
        for number, one in enumerate(item.steps):
            sim.happen(Happening(one.at, item, one, is_new=number == 0))
        await sim.hooks.deliver()
        assert taken(handler) == ["add", "update", "update"]
        assert {form.get("leads[update][0][modified_user_id]") for form in handler.forms[1:]} == {"0"}

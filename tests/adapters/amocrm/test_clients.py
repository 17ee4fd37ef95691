"""A client that others wrote reads our simulator: what it cannot do here, the simulator does wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from amocrm_api import AmoOAuthClient

from adapters.amocrm.fake import AmoCrm
from adapters.amocrm.fake_store import FIRST_LEAD, PIPELINE, STAGES
from adapters.amocrm.fake_tokens import CLIENT_ID, REDIRECT_URI
from bridge.sim.clock import ManualClock
from bridge.sim.events import LOSS_REASONS
from tests.adapters.amocrm.kit import HOUR, LOST, NEW, QUALIFIED, WON, account, happenings, lead, step
from tests.support import START

COUNT = 260  # more than a page
HOOK = "https://bridge.example/hooks/okna/crm/secret"
Saved = list[tuple[str, str]]


@asynccontextmanager
async def business(
    patch: pytest.MonkeyPatch, folder: Path, access: str | None = None
) -> AsyncIterator[tuple[AmoCrm, AmoOAuthClient, Saved]]:
    """Every other lead was qualified and won, every tenth lost. ``access``: another token than the good one."""
    clock = ManualClock(START)
    async with account(patch, folder, clock) as (sim, _):
        leads = [lead(number, *_steps(number)) for number in range(1, COUNT + 1)]
        for event in happenings(leads):
            clock.set(event.at)
            sim.happen(event)
        clock.advance(HOUR)
        saved: Saved = []
        yield sim, _client(sim, access, saved), saved


def _steps(number: int) -> Iterator[Any]:
    at = START + number * HOUR
    yield step(at, NEW)
    if number % 2 == 0:
        yield step(at + HOUR / 2, QUALIFIED)
        yield step(at + HOUR, WON, 100_000)
    elif number % 10 == 1:
        yield step(at + HOUR, LOST, None, LOSS_REASONS[0])


class _Client(AmoOAuthClient):
    """It hands a body to every method, which httpx takes in ``request`` alone; everything else is its own."""

    def _init_session(self, params: dict[str, str] | None = None) -> httpx.Client:
        session = super()._init_session(params)
        vars(session).update({name: partial(session.request, name.upper()) for name in ("get", "delete")})
        return session


def _client(sim: AmoCrm, access: str | None, saved: Saved) -> AmoOAuthClient:
    tokens = sim.tokens
    return _Client(
        access or tokens.long_lived,
        tokens.first_refresh,
        sim.base_url,
        CLIENT_ID,
        tokens.client_secret,
        REDIRECT_URI,
        lambda *pair: saved.append(pair),
    )


async def blocking(work: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """The client blocks, so it runs in a thread."""
    return await asyncio.to_thread(work, *given, **named)


async def test_it_lists_every_lead_page_by_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By ``page`` and ``limit`` until no next page is promised, in the order asked for, with contacts."""
    async with business(monkeypatch, tmp_path) as (_, client, _):
        found: list[dict[str, Any]] = []
        for page in (1, 2):
            named = {"page": page, "with_params": ["contacts", "loss_reason"], "order": {"id": "asc"}}
            answer = await blocking(client.get_leads, **named)
            found += answer["_embedded"]["leads"]
            assert ("next" in answer["_links"]) is (page == 1)
        assert [item["id"] for item in found] == [FIRST_LEAD + number for number in range(1, COUNT + 1)]
        won = [item for item in found if item["status_id"] == 142]
        assert len(won) == COUNT // 2
        assert {item["price"] for item in won} == {100_000}
        assert all(item["_embedded"]["contacts"] for item in found)


async def test_it_lists_by_time_of_change(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The filter of modification times picks what it says, and an empty page is no error to it."""
    async with business(monkeypatch, tmp_path) as (_, client, _):
        since = int((START + 250 * HOUR).timestamp())
        recent = await blocking(client.get_leads, filters={"updated_at__from": since})
        assert {item["id"] - FIRST_LEAD for item in recent["_embedded"]["leads"]} >= set(range(251, COUNT + 1))
        assert all(item["updated_at"] >= since for item in recent["_embedded"]["leads"])
        assert await blocking(client.get_leads, page=40) == {}


async def test_it_reads_stage_changes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Events of one type in a window of times, with the stages before and after."""
    async with business(monkeypatch, tmp_path) as (_, client, _):
        first, last = (int((START + hours * HOUR).timestamp()) for hours in (1.9, 3.1))
        times = {"filter_by_created_from": first, "filter_by_created_to": last}
        found = await blocking(client.get_events, 1, 100, filter_by_type="lead_status_changed", **times)
        events = sorted(found["_embedded"]["events"], key=lambda event: event["created_at"])
        mine = [event for event in events if event["entity_id"] == FIRST_LEAD + 2]
        stages = [event["value_after"][0]["lead_status"]["id"] for event in mine]
        assert stages == [int(STAGES[QUALIFIED]), int(STAGES[WON])]
        assert mine[0]["value_before"][0]["lead_status"]["id"] == int(STAGES[NEW])


async def test_it_reads_the_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Pipelines with stages, loss reasons, custom fields, persons."""
    async with business(monkeypatch, tmp_path) as (_, client, _):
        pipelines = (await blocking(client.get_pipelines))["_embedded"]["pipelines"]
        stages = {item["id"] for pipeline in pipelines for item in pipeline["_embedded"]["statuses"]}
        assert PIPELINE in {pipeline["id"] for pipeline in pipelines}
        assert stages >= {142, 143, int(STAGES[QUALIFIED])}
        reasons = (await blocking(client.get_loss_reasons))["_embedded"]["loss_reasons"]
        assert LOSS_REASONS[0] in {item["name"] for item in reasons}
        fields = (await blocking(client.get_leads_custom_fields))["_embedded"]["custom_fields"]
        assert all(isinstance(item["id"], int) and item["name"] for item in fields)
        persons = (await blocking(client.get_contacts))["_embedded"]["contacts"]
        assert len(persons) == 250


async def test_it_keeps_webhooks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Registered, listed by its address, taken away."""
    async with business(monkeypatch, tmp_path) as (_, client, _):
        made = await blocking(client.subscribe_webhook, HOOK, ["update_lead", "status_lead"])
        assert (made["destination"], made["disabled"]) == (HOOK, False)
        listed = (await blocking(client.get_webhooks, HOOK))["_embedded"]["webhooks"]
        assert [(item["destination"], sorted(item["settings"])) for item in listed] == [
            (HOOK, ["status_lead", "update_lead"])
        ]
        await blocking(client.unsubscribe_webhook, HOOK)
        assert not (await blocking(client.get_webhooks, HOOK)).get("_embedded", {}).get("webhooks")


async def test_it_renews_its_tokens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A refused access token is renewed by the refresh token, which rotates; then the same request succeeds."""
    async with business(monkeypatch, tmp_path, access="expired") as (sim, client, saved):
        answer = await blocking(client.get_leads, 50)
        assert len(answer["_embedded"]["leads"]) == 50
        ((access, refresh),) = saved
        assert refresh != sim.tokens.first_refresh
        assert sim.tokens.accepts(f"Bearer {access}")

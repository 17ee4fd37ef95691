"""The simulator refuses what the vendor refuses. Asked by a plain HTTP client, not by ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from adapters.amocrm.fake import AmoCrm, Quirks
from adapters.amocrm.fake_store import FIRST_LEAD, PIPELINE, STAGES
from adapters.amocrm.fake_tokens import CLIENT_ID, REDIRECT_URI
from bridge.sim.clock import ManualClock
from bridge.sim.events import Happening
from tests.adapters.amocrm.kit import CONTACTED, HOUR, LOST, NEW, WON, happenings, lead, second, step
from tests.support import START

BUSINESS = [lead(n, step(START + timedelta(seconds=n), NEW)) for n in range(1, 301)]


class Visitor:
    """A client that knows nothing of ours."""

    def __init__(self, sim: AmoCrm, session: aiohttp.ClientSession) -> None:
        self.sim = sim
        self._session = session

    async def get(self, path: str, token: str | None = None) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token or self.sim.tokens.long_lived}"}
        async with self._session.get(f"{self.sim.base_url}/api/v4/{path}", headers=headers) as answer:
            is_json = answer.content_type.endswith("json")
            return answer.status, await answer.json(content_type=None) if is_json else await answer.text()

    async def post(self, **body: str) -> tuple[int, Any]:
        full = {"client_id": CLIENT_ID, "client_secret": self.sim.tokens.client_secret, "redirect_uri": REDIRECT_URI}
        async with self._session.post(f"{self.sim.base_url}/oauth2/access_token", json=full | body) as answer:
            is_json = answer.content_type.endswith("json")
            return answer.status, await answer.json(content_type=None) if is_json else await answer.text()


@asynccontextmanager
async def visit(clock: ManualClock | None = None, *, is_limited: bool = False, **quirks: Any) -> AsyncIterator[Visitor]:
    sim = AmoCrm(clock or ManualClock(START), is_limited=is_limited, quirks=Quirks(**quirks))
    await sim.start()
    for event in happenings(BUSINESS):
        sim.happen(event)
    async with aiohttp.ClientSession() as session:
        try:
            yield Visitor(sim, session)
        finally:
            await sim.stop()


def ids(page: Any, name: str = "leads") -> list[Any]:
    return [item["id"] for item in page["_embedded"][name]]


async def test_a_row_is_skipped_for_a_client_that_counts_pages() -> None:
    """A lead of page 1 is edited before page 2 is asked for: the first row of page 2 has moved to page 1."""
    query = "leads?order[updated_at]=asc&limit=100&page="
    async with visit() as guest:
        first = ids((await guest.get(query + "1"))[1])
        edit = step(START + HOUR, CONTACTED)
        guest.sim.happen(Happening(edit.at, BUSINESS[0], edit, is_new=False))
        second_page = ids((await guest.get(query + "2"))[1])
    assert first[-1] == FIRST_LEAD + 100
    assert second_page[0] == FIRST_LEAD + 102


async def test_nothing_is_204_and_paging_promises_the_next_page_only_when_there_is_one() -> None:
    """An empty list, a missing lead, a page past the end: 204. A page may be as long as asked, up to 250."""
    async with visit() as guest:
        assert await guest.get("leads?page=4&limit=100") == (204, "")
        assert await guest.get("leads/999") == (204, "")
        assert await guest.get("contacts?filter[id][]=5") == (204, "")
        status, page = await guest.get("leads?limit=1000")
        assert (status, len(ids(page))) == (200, 250)
        assert "limit=1000&page=2" in page["_links"]["next"]["href"]
        status, page = await guest.get("leads?limit=250&page=2")
        assert "next" not in page["_links"]
        assert len(ids((await guest.get("leads"))[1])) == 50


async def test_filters_are_the_vendors() -> None:
    """A bare time is an exact match, statuses need pairs, brackets may be escaped, ranges are inclusive."""
    at = second(START) + 7
    async with visit() as guest:
        assert ids((await guest.get(f"leads?filter[updated_at]={at}"))[1]) == [FIRST_LEAD + 7]
        span = f"leads?filter%5Bupdated_at%5D%5Bfrom%5D={at}&filter[updated_at][to]={at + 2}"
        assert ids((await guest.get(span))[1]) == [FIRST_LEAD + 7, FIRST_LEAD + 8, FIRST_LEAD + 9]
        assert (await guest.get("leads?filter[statuses][]=142"))[0] == 400
        pair = f"leads?filter[statuses][0][pipeline_id]={PIPELINE}&filter[statuses][0][status_id]={STAGES[NEW]}"
        assert len(ids((await guest.get(pair))[1])) == 50
        assert (await guest.get("leads?filter[updated_at][from]=yesterday"))[0] == 400


async def test_events_come_newest_first_by_a_hundred_and_ids_need_one_entity() -> None:
    """The order is not documented; ten ids at most; the stage a lead was created in is not told."""
    async with visit() as guest:
        for event in happenings(
            [lead(1, step(START, NEW), step(START + HOUR, WON, 700), step(START + 2 * HOUR, LOST))]
        )[1:]:
            guest.sim.happen(event)
        _, page = await guest.get("events?limit=250")
        assert len(ids(page, "events")) == 100
        _, page = await guest.get(
            f"events?filter[type][]=lead_status_changed&filter[entity]=lead&filter[entity_id]={FIRST_LEAD + 1}"
        )
        newest, oldest = page["_embedded"]["events"]
        assert newest["value_after"] == [{"lead_status": {"id": 143, "pipeline_id": PIPELINE}}]
        assert oldest["value_before"] == [{"lead_status": {"id": STAGES[NEW], "pipeline_id": PIPELINE}}]
        assert oldest["created_at"] < newest["created_at"]
        assert len(newest["id"]) == 26
        assert (await guest.get("events?filter[entity_id][]=1"))[0] == 400
        eleven = "&".join(f"filter[entity_id][]={n}" for n in range(11))
        assert (await guest.get(f"events?filter[entity]=lead&{eleven}"))[0] == 400
        _, page = await guest.get("events?filter[type]=sale_field_changed,lead_deleted")
        assert page["_embedded"]["events"][0]["value_after"] == [{"sale_field_value": {"sale": 700}}]


async def test_contacts_and_reasons_come_only_when_asked_for() -> None:
    """Without ``with`` a lead names no contact; a deleted lead is a stub full of nulls."""
    async with visit() as guest:
        guest.sim.store.move(guest.sim.store.leads[FIRST_LEAD + 2], 143, second(START) + 5, "Спам")
        guest.sim.store.delete(FIRST_LEAD + 1, second(START) + 900)
        _, plain = await guest.get("leads?filter[id][]=10500002")
        assert "contacts" not in plain["_embedded"]["leads"][0]["_embedded"]
        _, rich = await guest.get("leads?filter[id][]=10500002&with=contacts,loss_reason,source")
        inner = rich["_embedded"]["leads"][0]["_embedded"]
        assert inner["loss_reason"][0]["name"] == "Спам"
        assert inner["contacts"][0]["is_main"] is True
        assert inner["source"]["name"] == "Сайт"
        assert await guest.get("leads?filter[id][]=10500001") == (204, "")
        _, stubs = await guest.get("leads?with=only_deleted")
        assert stubs["_embedded"]["leads"][0]["status_id"] is None


async def test_the_eighth_request_of_a_second_gets_a_page_of_html_and_persistence_a_ban() -> None:
    """429 without Retry-After; after many of them 403 for everything, the token endpoint too."""
    async with visit(is_limited=True, ban_after=3) as guest:
        answers = [await guest.get("leads/10500001") for _ in range(10)]
        assert [status for status, _ in answers] == [200] * 7 + [429] * 3
        assert answers[-1][1].startswith("<html>")
        assert (await guest.get("account"))[0] == 403
        assert (await guest.post(grant_type="authorization_code", code=guest.sim.tokens.code()))[0] == 403
        guest.sim.unban()
        assert (await guest.get("account"))[0] in (200, 429)


async def test_integrations_have_limits_of_their_own_and_the_account_has_one_for_all() -> None:
    """Eight integrations of seven requests each meet the account's fifty (contract amocrm 11)."""
    async with visit(is_limited=True) as guest:
        tokens = [guest.sim.tokens.another() for _ in range(8)]
        answers = await asyncio.gather(*(guest.get("leads/10500001", token) for token in tokens for _ in range(7)))
        assert sorted(status for status, _ in answers) == [200] * 50 + [429] * 6


async def test_kommo_counts_by_address_whatever_the_integration() -> None:
    """Two integrations on one machine share seven requests a second."""
    async with visit(is_limited=True, is_kommo=True) as guest:
        tokens = [guest.sim.tokens.another() for _ in range(2)]
        answers = [(await guest.get("leads/10500001", token))[0] for _ in range(5) for token in tokens]
        assert sorted(answers) == [200] * 7 + [429] * 3


async def test_the_token_endpoint_spends_refresh_tokens_once_and_keeps_old_access_alive() -> None:
    """Rotation, wrong client, wrong address, unknown grant, expiry: the bodies of contract 1.6."""
    clock = ManualClock(START)
    async with visit(clock) as guest:
        seed = guest.sim.tokens.first_refresh
        status, pair = await guest.post(grant_type="refresh_token", refresh_token=seed)
        assert (status, pair["expires_in"]) == (200, 86400)
        status, problem = await guest.post(grant_type="refresh_token", refresh_token=seed)
        assert (status, problem["hint"]) == (401, "Token has been revoked")
        status, problem = await guest.post(
            grant_type="refresh_token", refresh_token=pair["refresh_token"], client_secret="x"
        )
        assert status == 401
        assert "hint" not in problem
        wrong = {"refresh_token": pair["refresh_token"], "redirect_uri": "https://other.example"}
        assert (await guest.post(grant_type="refresh_token", **wrong))[0] == 400
        assert (await guest.post(grant_type="password"))[0] == 400
        _, newer = await guest.post(grant_type="refresh_token", refresh_token=pair["refresh_token"])
        assert (await guest.get("account", pair["access_token"]))[0] == 200
        clock.advance(timedelta(hours=25))
        assert (await guest.get("account", pair["access_token"]))[0] == 401
        clock.advance(timedelta(days=91))
        assert (await guest.post(grant_type="refresh_token", refresh_token=newer["refresh_token"]))[0] == 401
        code = guest.sim.tokens.code()
        assert (await guest.post(grant_type="authorization_code", code=code))[0] == 200
        assert (await guest.post(grant_type="authorization_code", code=code))[0] == 400


async def test_a_code_is_good_for_twenty_minutes() -> None:
    """And so is the time in which ``bridge auth`` has to be run (contract 1.1)."""
    clock = ManualClock(START)
    async with visit(clock) as guest:
        early, late = guest.sim.tokens.code(), guest.sim.tokens.code()
        clock.advance(timedelta(minutes=19))
        assert (await guest.post(grant_type="authorization_code", code=early))[0] == 200
        clock.advance(timedelta(minutes=1))
        assert (await guest.post(grant_type="authorization_code", code=late))[0] == 400


async def test_unknown_addresses_and_missing_tokens_are_problems_in_json() -> None:
    """404 and 401 in the vendor's own form."""
    async with visit() as guest:
        assert (await guest.get("nowhere"))[1]["title"] == "Not Found"
        status, problem = await guest.get("account", "wrong")
        assert (status, problem["title"]) == (401, "Unauthorized")


async def test_the_list_of_fields_comes_by_fifty_whatever_is_asked() -> None:
    """One more page than a client expects that trusts its limit."""
    async with visit() as guest:
        _, page = await guest.get("leads/custom_fields?limit=250")
        assert len(ids(page, "custom_fields")) == 50
        assert "next" in page["_links"]


@pytest.mark.parametrize(("delay", "status"), [(0, 200), (60, 204)])
async def test_an_event_may_show_late(delay: float, status: int) -> None:
    """A switch for the delay nobody has documented."""
    async with visit(ManualClock(START + timedelta(seconds=310)), event_delay=delay) as guest:
        assert (await guest.get(f"events?filter[created_at][from]={second(START) + 300}"))[0] == status

"""The vendor's own client reads our simulator: what it cannot do here, the simulator does wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hubspot import Client  # type: ignore[import-untyped]  # ships no types
from hubspot.crm.associations.v4 import BatchInputPublicFetchAssociationsBatchRequest as ManyDeals  # type: ignore[import-untyped]  # ships no types
from hubspot.crm.contacts import ApiException as ContactsError  # type: ignore[import-untyped]  # ships no types
from hubspot.crm.deals import (  # type: ignore[import-untyped]  # ships no types
    ApiException,
    BatchReadInputSimplePublicObjectId,
    BatchResponseSimplePublicObjectWithErrors,
    PublicObjectSearchRequest,
    SimplePublicObjectId,
)
from hubspot.oauth import ApiException as TokenError  # type: ignore[import-untyped]  # ships no types
from hubspot.utils.signature import Signature  # type: ignore[import-untyped]  # ships no types

from adapters.hubspot.fake_tokens import CLIENT_ID, REDIRECT_URI
from adapters.hubspot.settings import SCOPES
from tests.adapters.hubspot.kit import HOUR, LOST, NEW, QUALIFIED, WON, Rig, running
from tests.support import START

T = TypeVar("T")
COUNT = 231  # more than a page of each kind, not a round number


@asynccontextmanager
async def account(folder: Path) -> AsyncIterator[tuple[Rig, Client]]:
    """231 deals with one contact each; every third was won after it was created."""
    async with running(folder) as rig:
        for number in range(COUNT):
            at = START + number * HOUR
            rig.deal(at, {rig.contact(at, email=f"p{number}@example.com", yclid=f"1352748209471{number:04d}"): None})
            if number % 3 == 0:
                rig.change(f"deal:{501 + number}", at + HOUR, dealstage=WON, amount="100000.50")
        yield rig, Client.create(access_token=rig.portal.tokens.private, host=rig.portal.base_url)


async def blocking(work: Callable[..., T], *given: Any, **named: Any) -> T:
    """The client blocks, so it runs in a thread."""
    return await asyncio.to_thread(work, *given, **named)


async def test_it_lists_every_deal_and_contact(tmp_path: Path) -> None:
    """Its own paging by ``after``, with histories and associations."""
    async with account(tmp_path) as (_, client):
        named = {"properties": ["dealstage", "amount"], "associations": ["contacts"]}
        deals = await blocking(client.crm.deals.get_all, **named)
        assert [int(deal.id) for deal in deals] == list(range(501, 501 + COUNT))
        assert {deal.properties["dealstage"] for deal in deals} == {NEW, WON}
        assert deals[0].properties["amount"] == "100000.50"
        assert deals[7].associations["contacts"].results[0].id == "308"
        assert deals[7].associations["contacts"].results[0].type == "deal_to_contact"
        contacts = await blocking(client.crm.contacts.get_all, properties=["email", "yclid"])
        assert [contact.properties["email"] for contact in contacts] == [f"p{n}@example.com" for n in range(COUNT)]


async def test_it_reads_histories(tmp_path: Path) -> None:
    """Of one record and of a batch: newest first, times as times, who changed it."""
    async with account(tmp_path) as (_, client):
        one = await blocking(client.crm.deals.basic_api.get_by_id, "501", properties_with_history=["dealstage"])
        told = one.properties_with_history["dealstage"]
        assert [(item.value, item.timestamp - START) for item in told] == [(WON, HOUR), (NEW, 0 * HOUR)]
        assert {item.source_type for item in told} == {"CRM_UI"}
        many = BatchReadInputSimplePublicObjectId(
            properties=["amount"],
            properties_with_history=["dealstage"],
            inputs=[SimplePublicObjectId(id=str(501 + number)) for number in range(50)],
        )
        found = await blocking(client.crm.deals.batch_api.read, many)
        assert found.status == "COMPLETE"
        assert [len(deal.properties_with_history["dealstage"]) for deal in found.results[:3]] == [2, 1, 1]


async def test_it_sees_a_partial_answer_as_one(tmp_path: Path) -> None:
    """Its class for batches with errors, the missing ids in the context of one."""
    async with account(tmp_path) as (_, client):
        inputs = [SimplePublicObjectId(id="501"), SimplePublicObjectId(id="999999")]
        many = BatchReadInputSimplePublicObjectId(properties=[], properties_with_history=[], inputs=inputs)
        found = await blocking(client.crm.deals.batch_api.read, many)
        assert isinstance(found, BatchResponseSimplePublicObjectWithErrors)
        assert found.num_errors == 1
        assert found.errors[0].category == "OBJECT_NOT_FOUND"
        assert found.errors[0].context["ids"] == ["999999"]


async def test_it_searches_page_by_page(tmp_path: Path) -> None:
    """Filters, a sort, offsets, and the total."""
    async with account(tmp_path) as (_, client):
        won = {"propertyName": "dealstage", "operator": "IN", "values": [WON, LOST]}
        since = {"propertyName": "hs_lastmodifieddate", "operator": "GTE", "value": str(int(START.timestamp() * 1000))}
        found: list[int] = []
        after: str | None = "0"
        while after is not None:
            query = PublicObjectSearchRequest(
                filter_groups=[{"filters": [won, since]}],
                sorts=[{"propertyName": "hs_lastmodifieddate", "direction": "DESCENDING"}],
                properties=["dealstage"],
                limit=20,
                after=after,
            )
            page = await blocking(client.crm.deals.search_api.do_search, query)
            assert page.total == COUNT // 3
            found += [int(deal.id) for deal in page.results]
            after = page.paging.next.after if page.paging else None
        assert found == list(range(501, 501 + COUNT, 3))[::-1]


async def test_it_reads_associations(tmp_path: Path) -> None:
    """Of one deal and of many; their ids and types as its models want them."""
    async with account(tmp_path) as (rig, client):
        rig.portal.data.link(501, 310, "Primary")
        api = client.crm.associations.v4
        one = await blocking(api.basic_api.get_page, "deals", "501", "contacts")
        assert [str(link.to_object_id) for link in one.results] == ["301", "310"]
        assert one.results[1].association_types[1].label == "Primary"
        many = ManyDeals(inputs=[{"id": str(501 + number)} for number in range(COUNT)])
        found = await blocking(api.batch_api.get_page, "deals", "contacts", many)
        assert len(found.results) == COUNT
        assert {item._from.id for item in found.results} == {str(501 + number) for number in range(COUNT)}


async def test_it_reads_pipelines_and_properties(tmp_path: Path) -> None:
    """With stages, their metadata as text, labels and options."""
    async with account(tmp_path) as (_, client):
        pipelines = (await blocking(client.crm.pipelines.pipelines_api.get_all, "deals")).results
        assert [pipeline.label for pipeline in pipelines] == ["Продажи", "Сервис"]
        stages = {stage.id: stage.metadata for stage in pipelines[0].stages}
        assert stages[WON] == {"isClosed": "true", "probability": "1.0"}
        assert stages[QUALIFIED]["isClosed"] == "false"
        one = await blocking(client.crm.pipelines.pipelines_api.get_by_id, "deals", "default")
        assert one.label == "Продажи"
        known = (await blocking(client.crm.properties.core_api.get_all, "contacts")).results
        lifecycle = next(item for item in known if item.name == "lifecyclestage")
        assert lifecycle.hubspot_defined
        assert "salesqualifiedlead" in {option.value for option in lifecycle.options}
        own = await blocking(client.crm.properties.core_api.get_by_name, "contacts", "ym_client_id")
        assert (own.label, own.hubspot_defined, own.type) == ("ClientID Метрики", False, "string")


async def test_it_sees_errors_as_its_own(tmp_path: Path) -> None:
    """A missing record, a missing scope, a token that is none."""
    async with account(tmp_path) as (rig, client):
        with pytest.raises(ApiException) as caught:
            await blocking(client.crm.deals.basic_api.get_by_id, "999999")
        assert (caught.value.status, "OBJECT_NOT_FOUND" in caught.value.body) == (404, True)
        rig.portal.tokens.scopes = SCOPES[1:]
        with pytest.raises(ContactsError) as forbidden:
            await blocking(client.crm.contacts.basic_api.get_page)
        assert (forbidden.value.status, "MISSING_SCOPES" in forbidden.value.body) == (403, True)
        stranger = Client.create(access_token="wrong", host=rig.portal.base_url)
        with pytest.raises(ApiException) as refused:
            await blocking(stranger.crm.deals.basic_api.get_page)
        assert refused.value.status == 401


async def test_it_gets_tokens(tmp_path: Path) -> None:
    """A code for a pair, a refresh token for another access token; a refusal with the vendor's status."""
    async with account(tmp_path) as (rig, _):
        portal = rig.portal
        api = Client.create(host=portal.base_url).oauth.tokens_api
        app = {"client_id": CLIENT_ID, "client_secret": portal.tokens.client_secret}
        grant = {"grant_type": "authorization_code", "code": portal.tokens.code(), "redirect_uri": REDIRECT_URI}
        first = await blocking(api.create, **app, **grant)
        assert (first.expires_in, first.token_type) == (1800, "bearer")
        again = await blocking(api.create, **app, grant_type="refresh_token", refresh_token=first.refresh_token)
        assert again.access_token != first.access_token
        client = Client.create(access_token=again.access_token, host=portal.base_url)
        assert (await blocking(client.crm.deals.basic_api.get_by_id, "501")).id == "501"
        with pytest.raises(TokenError, match="BAD_REFRESH_TOKEN"):
            await blocking(api.create, **app, grant_type="refresh_token", refresh_token="wrong")


async def test_it_signs_webhooks_as_the_simulator_does(tmp_path: Path) -> None:
    """Version 3: the same bytes by the same secret."""
    async with running(tmp_path) as rig:
        hooks, body, told = rig.portal.hooks, '[{"objectId":501,"propertyValue":"Продано"}]', "1772442000000"
        url = "https://bridge.example/hooks/okna/hub/0123456789abcdef0123"
        theirs = Signature.get_signature(hooks.secret, body, "v3", http_uri=url, timestamp=told)
        assert hooks.signature(url, body.encode(), told) == theirs

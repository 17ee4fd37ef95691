"""What answers mean, and tokens: a private app's, and access tokens of half an hour."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import pytest
import respx
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from adapters.hubspot.auth import TOKEN_PATH, _until_midnight, account_setup, authorize, judge
from adapters.hubspot.fake import HubSpot
from adapters.hubspot.fake_tokens import REDIRECT_URI
from adapters.hubspot.settings import HOME, SCOPES, HubSpotSettings
from bridge.errors import AuthError, BridgeError, ConfigError, Drift, Refused, Throttled, Unavailable
from bridge.net.http import HttpClient
from bridge.net.token import grant
from bridge.ports import Authorization
from bridge.sim.faults import Fault, FaultPlan
from bridge.tools import Request, Response, Tools
from tests.adapters.hubspot.kit import HOUR, MINUTE, build, listed, read, running, sample
from tests.support import START, MemoryTokens, adapter_tools

SEARCH = Request("POST", "/crm/v3/objects/deals/search")
TOKEN = Request("POST", TOKEN_PATH)
HTML = b"<html><body>Bad Gateway</body></html>"
CALLS = partial(judge, is_static=False, midnight=lambda: 1800.0)


def answer(status: int, body: bytes = b"{}", **headers: str) -> Response:
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def error(category: str, **more: Any) -> bytes:
    return json.dumps({"status": "error", "message": "for 8 999 000-11-22", "category": category, **more}).encode()


def limit(policy: str) -> bytes:
    return sample("too_many_requests").replace(b"TEN_SECONDLY_ROLLING", policy.encode())


# --- answers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "response", "kind", "is_final"),
    [
        (SEARCH, answer(400, error("VALIDATION_ERROR")), Refused, None),
        (SEARCH, answer(401, error("INVALID_AUTHENTICATION")), AuthError, False),
        (SEARCH, answer(401, error("EXPIRED_AUTHENTICATION")), AuthError, False),
        (SEARCH, answer(403, error("MISSING_SCOPES")), Refused, None),
        (SEARCH, answer(403, HTML), Refused, None),
        (SEARCH, answer(404, error("OBJECT_NOT_FOUND")), Refused, None),
        (SEARCH, answer(409, error("CONFLICT")), Refused, None),
        (SEARCH, answer(414, HTML), Refused, None),
        (SEARCH, answer(423, error("LOCKED")), Throttled, None),
        (SEARCH, answer(429, limit("SECONDLY")), Throttled, None),
        (SEARCH, answer(429, HTML), Throttled, None),
        (SEARCH, answer(477, b""), Throttled, None),
        (SEARCH, answer(302, b""), Drift, None),
        (SEARCH, answer(200, HTML), Drift, None),
        (SEARCH, answer(200, b'{"results":[{"id":"1'), Drift, None),
        (SEARCH, answer(200, b""), Drift, None),
        *[
            (SEARCH, answer(status, HTML), Unavailable, None)
            for status in (408, 500, 502, 503, 504, 521, 522, 523, 524)
        ],
        (TOKEN, answer(400, b'{"status":"BAD_REFRESH_TOKEN"}'), AuthError, True),
        (TOKEN, answer(400, b'{"status":"BAD_CLIENT_ID"}'), AuthError, True),
        (TOKEN, answer(401, HTML), AuthError, True),
        (TOKEN, answer(429, HTML), Throttled, None),
        (TOKEN, answer(502, HTML), Unavailable, None),
    ],
)
def test_each_answer_becomes_the_error_of_its_recovery(
    request_: Request, response: Response, kind: type[BridgeError], is_final: bool | None
) -> None:
    """Contract 6 as a table. The vendor's own text, which may quote values, is never repeated."""
    with pytest.raises(kind) as caught:
        CALLS(request_, response)
    assert type(caught.value) is kind
    assert getattr(caught.value, "is_final", None) == is_final
    assert "999" not in str(caught.value)


def test_good_answers_are_quiet() -> None:
    """Whole and partial ones."""
    CALLS(SEARCH, answer(200, b'{"results":[]}'))
    CALLS(SEARCH, answer(207, b'{"results":[],"errors":[{}]}\n'))


@pytest.mark.parametrize(
    ("response", "seconds"),
    [
        (answer(429, limit("TEN_SECONDLY_ROLLING")), 10),
        (answer(429, limit("SECONDLY")), 10),
        (answer(429, limit("SECONDLY"), retry_after="20"), 20),
        (answer(429, limit("DAILY")), 1800),
        (answer(423, b"{}"), 2),
        (answer(423, b"{}", retry_after="5"), 5),
        (answer(477, b"", retry_after="120"), 120),
        (answer(477, b""), 60),
    ],
)
def test_each_refusal_for_now_says_how_long(response: Response, seconds: float) -> None:
    """A rolling limit ten seconds, a lock two, a day until midnight, a migration as long as the vendor says."""
    with pytest.raises(Throttled) as caught:
        CALLS(SEARCH, response)
    assert caught.value.retry_after == seconds


def test_a_used_up_day_is_tried_again_at_midnight_and_once_an_hour_before() -> None:
    """The account's own time zone is not known: an hour is all that is lost where it differs."""
    with pytest.raises(Throttled) as caught:
        judge(SEARCH, answer(429, limit("DAILY")), is_static=True, midnight=lambda: 80_000.0)
    assert caught.value.retry_after == 3600
    moscow = ZoneInfo("Europe/Moscow")
    assert _until_midnight(lambda: datetime(2026, 3, 5, 20, 30, tzinfo=UTC), moscow) == 1800
    berlin = ZoneInfo("Europe/Berlin")  # its clocks go forward that night
    assert _until_midnight(lambda: datetime(2026, 3, 29, 0, 0, tzinfo=UTC), berlin) == 22 * 3600


def test_a_missing_scope_is_named() -> None:
    """What is no scope's name is left out."""
    with pytest.raises(Refused, match=r"lacks a scope: crm\.objects\.deals\.read; add it") as caught:
        CALLS(SEARCH, answer(403, sample("missing_scopes")))
    assert caught.value.code == "MISSING_SCOPES"
    odd = error("MISSING_SCOPES", errors=[{"context": {"requiredGranularScopes": ["8 999 000-11-22", {"a": 1}]}}])
    with pytest.raises(Refused) as caught:
        CALLS(SEARCH, answer(403, odd))
    assert all(scope in str(caught.value) for scope in SCOPES)


def test_a_private_apps_token_that_is_refused_needs_a_human() -> None:
    """It cannot be renewed."""
    with pytest.raises(AuthError, match="private app") as caught:
        judge(SEARCH, answer(401), is_static=True)
    assert caught.value.is_final


@given(st.integers(200, 599), st.binary(max_size=40), st.booleans(), st.sampled_from([SEARCH, TOKEN]))
def test_no_answer_crashes_the_judge(status: int, body: bytes, is_static: bool, request_: Request) -> None:
    """Any status with any body passes or raises one of our own errors."""
    try:
        judge(request_, answer(status, body), is_static=is_static)
    except BridgeError:
        return
    assert status < 300


@settings(max_examples=50)
@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    ["category", "context", "errors", "policyName", "status", "requiredGranularScopes", "subCategory"]
                ),
                inner,
            )
        ),
    ),
    st.sampled_from([400, 401, 403, 423, 429, 477]),
)
def test_no_error_body_crashes_the_judge(body: Any, status: int) -> None:
    """Bodies of every shape that JSON allows."""
    with pytest.raises(BridgeError):
        CALLS(SEARCH, answer(status, json.dumps(body).encode()))


# --- tokens ------------------------------------------------------------------------------------------------------


async def test_a_private_app_sends_its_token_as_bearer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the header, never in an address; to the vendor's own host unless configured."""
    monkeypatch.setenv("HUB_TOKEN", "pat-eu1-0a1b")
    section = {"kind": "hubspot", "auth": {"token": {"env": "HUB_TOKEN"}}, "entities": ["deal"]}
    async with running(tmp_path) as rig:
        source = build(rig.tools, section)
        with respx.mock(using="httpx") as router:
            called = router.route(url__startswith=HOME).respond(json={"results": []})
            await source.catalogue()
        for call in called.calls:
            assert call.request.headers["authorization"] == "Bearer pat-eu1-0a1b"
            assert "pat-" not in str(call.request.url)


async def test_oauth_is_renewed_by_its_time_again_and_again(tmp_path: Path) -> None:
    """Half an hour each; no request is spent on a token that has ended (contract 1). One refresh token serves all."""
    async with running(tmp_path, auth="oauth") as rig:
        rig.deal()
        for _ in range(6):
            await read(rig.source, rig.all_time())
            rig.clock.advance(31 * MINUTE)
        assert rig.portal.tokens.renewals == 6
        assert rig.portal.requests[f"POST {TOKEN_PATH}"] == 6


async def test_a_refresh_token_that_is_replaced_is_followed(tmp_path: Path) -> None:
    """Not documented, but harmless: the newest one is stored before it is used, and a restarted process has it."""
    async with running(tmp_path, auth="oauth") as rig:
        rig.portal.tokens.rotates = True
        first = rig.portal.tokens.first_refresh
        await rig.source.catalogue()
        rig.portal.tokens._refresh.discard(first)
        rig.clock.advance(HOUR)
        await rig.source.catalogue()
        rig.clock.advance(HOUR)
        await rig.another().catalogue()
        assert rig.portal.tokens.renewals == 3


async def test_a_token_that_ends_early_is_renewed_once(tmp_path: Path) -> None:
    """One renewal, one repetition."""
    async with running(tmp_path, auth="oauth") as rig:
        await rig.source.catalogue()
        rig.portal.tokens.expire()
        await rig.source.catalogue()
        assert rig.portal.tokens.renewals == 2
        rig.portal.faults = FaultPlan(1, {Fault.EXPIRED: 1.0})
        with pytest.raises(AuthError):
            await rig.source.catalogue()


async def test_a_revoked_app_is_final_and_says_what_to_run(tmp_path: Path) -> None:
    """Neither token is in the message."""
    async with running(tmp_path, auth="oauth") as rig:
        rig.portal.tokens.revoke()
        with pytest.raises(AuthError, match="bridge auth hub --tenant okna") as caught:
            await rig.source.catalogue()
        assert caught.value.is_final
        assert not any(secret in str(caught.value) for secret in rig.portal.secrets().values())


# --- granting access ---------------------------------------------------------------------------------------------


@asynccontextmanager
async def asking(folder: Path, **auth: Any) -> AsyncIterator[tuple[HubSpot, Tools, Authorization, MemoryTokens]]:
    """An app that has no token yet."""
    async with running(folder, auth="oauth") as rig:
        section = rig.portal.settings()
        del section["auth"]["refresh_token"]
        settings = HubSpotSettings.model_validate({**section, "auth": {**section["auth"], **auth}})
        tokens = MemoryTokens()
        async with adapter_tools(rig.clock, folder, tokens) as tools:
            yield rig.portal, tools, authorize("hub", settings, tools), tokens


async def test_access_is_granted_by_a_code(tmp_path: Path) -> None:
    """The page asks for our scopes; the tokens are saved, and a source without a refresh token reads by them."""
    async with asking(tmp_path) as (portal, tools, asked, tokens):
        query = parse_qs(urlsplit(asked.page).query)
        assert urlsplit(asked.page).path == "/oauth/authorize"
        assert query["scope"] == [" ".join(SCOPES)]
        assert query["redirect_uri"] == [REDIRECT_URI]
        assert "bridge auth hub --tenant okna" in asked.advice
        http = tools.http
        assert isinstance(http, HttpClient)
        await grant(asked, http.door(asked.setup), portal.tokens.code(), tokens)
        section = portal.settings()
        del section["auth"]["refresh_token"]
        assert (await build(tools, section).catalogue()).pipelines
        assert portal.tokens.renewals == 0


@pytest.mark.parametrize(
    ("auth", "text"),
    [
        ({}, "works once"),
        ({"redirect_uri": "https://other.example/"}, "redirect_uri"),
        ({"client_id": "x"}, "client_id"),
    ],
)
async def test_a_code_that_is_refused_says_why(tmp_path: Path, auth: dict[str, str], text: str) -> None:
    """A spent code, another address, another app."""
    async with asking(tmp_path, **auth) as (portal, tools, asked, tokens):
        code = portal.tokens.code() if auth else "spent"
        http = tools.http
        assert isinstance(http, HttpClient)
        with pytest.raises(AuthError, match=text) as caught:
            await grant(asked, http.door(asked.setup), code, tokens)
        assert code not in str(caught.value)
        assert tokens.saved == {}


async def test_a_source_without_any_token_says_what_to_run(tmp_path: Path) -> None:
    """Before the first ``bridge auth``."""
    async with asking(tmp_path) as (portal, tools, _, __):
        section = portal.settings()
        del section["auth"]["refresh_token"]
        with pytest.raises(AuthError, match='run "bridge auth hub'):
            await build(tools, section).catalogue()


async def test_a_private_app_needs_no_code(tmp_path: Path) -> None:
    """``bridge auth`` says so."""
    async with running(tmp_path) as rig:
        settings = HubSpotSettings.model_validate(rig.portal.settings())
        with pytest.raises(ConfigError, match="needs no code"):
            authorize("hub", settings, rig.tools)


# --- limits and settings -----------------------------------------------------------------------------------------


async def test_searches_keep_their_own_pace(tmp_path: Path) -> None:
    """Real time, default rates: seven searches at four a second take six quarters of a second, others are faster."""
    async with running(tmp_path, is_limited=True) as rig:
        for number in range(1300):
            rig.deal(START + timedelta(seconds=number))
        source = rig.another(entities=["deal"])
        await source.catalogue()
        began = asyncio.get_running_loop().time()
        assert len(await listed(source, rig.all_time())) == 1300
        assert asyncio.get_running_loop().time() - began >= 6 / 4 - 0.05
        assert rig.portal.requests["POST /crm/v3/objects/deals/search"] == 7


def test_the_default_rates_are_those_of_the_smallest_account() -> None:
    """100 requests in any ten seconds, five searches in any second (contract 6)."""
    settings = HubSpotSettings.model_validate({"kind": "hubspot", "auth": {"token": {"file": "x"}}})
    assert settings.base_url == HOME
    assert settings.entities == ("contact", "deal")
    assert 10 + 10 * settings.requests_per_second <= 100
    assert 1 + settings.searches_per_second <= 5


async def test_an_account_setup_paces_searches_by_themselves(tmp_path: Path) -> None:
    """The general limit holds for them, too."""
    async with running(tmp_path) as rig:
        section = {**rig.portal.settings(), "requests_per_second": 18, "searches_per_second": 3}
        setup, app = account_setup("hub", HubSpotSettings.model_validate(section), rig.tools)
        assert app is None
        assert (setup.rate.per_second, setup.rate.burst) == (18, 10)
        assert [(name, rate.per_second, rate.burst) for name, rate in setup.scopes] == [("search", 3, 1)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_url": "https://app.hubspot.com"},
        {"base_url": "api.hubapi.com"},
        {"base_url": "https://api.hubapi.com/?hapikey=x"},
        {"objects_path": "crm/v3/objects"},
        {"objects_path": "/crm/v3/objects/"},
        {"entities": []},
        {"entities": ["deal", "deal"]},
        {"entities": ["lead"]},
        {"home_currency": "rubles"},
        {"auth": {"token": "pat-eu1-0a1b"}},
        {"auth": {"client_id": "0a1b"}},
        {"properties": ["a", "a"]},
        {"hook": {"secret": {"file": "x"}}},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    """Each with a message that says what to write; a secret in the file is never repeated."""
    section = {"kind": "hubspot", "auth": {"token": {"file": "x"}}}
    HubSpotSettings.model_validate(section)
    with pytest.raises(ValidationError) as caught:
        HubSpotSettings.model_validate({**section, **wrong})
    assert not any("pat-eu1" in item["msg"] for item in caught.value.errors())

"""An OAuth application: tokens renewed only when refused, kept before use; a renamed portal; errors that end it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import msgspec
import pytest
import respx
from structlog.testing import capture_logs

from adapters.bitrix24 import auth
from adapters.bitrix24.fake import Bitrix24
from adapters.bitrix24.settings import Bitrix24Settings
from adapters.bitrix24.source import Bitrix24Source
from bridge.errors import AuthError, BridgeError, Refused, Unavailable
from bridge.ports import Level, Window
from bridge.sim.clock import ManualClock
from bridge.tools import Tokens
from tests.adapters.bitrix24.kit import Rig, add_deals, build, listed, running
from tests.support import START, MemoryTokens, adapter_tools

BASE = "https://okna.bitrix24.ru"
SECRETS = {"B24_SECRET": "s3cr3t-of-app", "B24_REFRESH": "first-refresh"}
OAUTH = {"client_id": "local.1", "client_secret": {"env": "B24_SECRET"}, "refresh_token": {"env": "B24_REFRESH"}}
SECTION = {"kind": "bitrix24", "base_url": BASE, "auth": OAUTH, "entities": ["deal"]}
WINDOW = Window(START, START + timedelta(hours=1))


@dataclass(slots=True)
class Witness(MemoryTokens):
    """A token store that remembers what the portal had been asked when each pair was committed."""

    portal: Bitrix24

    def __post_init__(self) -> None:
        MemoryTokens.__init__(self)
        self.seen: list[dict[str, int]] = []

    async def save(self, account: str, seed: str, tokens: Tokens) -> None:
        self.seen.append(dict(self.portal.requests))
        await MemoryTokens.save(self, account, seed, tokens)


@asynccontextmanager
async def application(folder: Path) -> AsyncIterator[tuple[Rig, Witness]]:
    """A portal with one deal that is read by an application, and the store of its tokens."""
    clock = ManualClock(START)
    portal = Bitrix24(clock, is_limited=False, auth="oauth")
    await portal.start()
    add_deals(portal, 1)
    store = Witness(portal)
    with patch.dict(os.environ, portal.secrets()):
        async with adapter_tools(clock, folder, store) as tools:
            yield Rig(portal, clock, tools, build(tools, portal.settings())), store
    await portal.stop()


async def fetched(source: Bitrix24Source) -> int:
    return len((await source.fetch(["deal:1"])).heads)


# --- renewing ----------------------------------------------------------------------------------------------------


async def test_tokens_are_renewed_after_they_were_refused_and_not_by_the_clock(tmp_path: Path) -> None:
    """One renewal to begin with, none while the portal accepts the token, one after ``expired_token``."""
    async with application(tmp_path) as (rig, _):
        for _ in range(3):
            assert await fetched(rig.source) == 1
            rig.clock.advance(timedelta(minutes=19, seconds=59))
        assert rig.portal.oauth.renewals == 1
        rig.clock.advance(timedelta(minutes=1))
        assert await fetched(rig.source) == 1
        assert rig.portal.oauth.renewals == 2


async def test_a_new_pair_is_committed_before_it_is_used(tmp_path: Path) -> None:
    """When the first pair was stored, the portal had not been called with it yet."""
    async with application(tmp_path) as (rig, store):
        await fetched(rig.source)
        assert store.seen == [{"token": 1}]


async def test_a_restarted_process_goes_on_with_the_stored_pair(tmp_path: Path) -> None:
    """The configured refresh token works once; a second process must not need it, nor renew without a reason."""
    async with application(tmp_path) as (rig, _):
        await fetched(rig.source)
        assert await fetched(rig.another()) == 1
        assert rig.portal.oauth.renewals == 1
        rig.portal.oauth.expire()
        assert await fetched(rig.another()) == 1
        assert rig.portal.oauth.renewals == 2


async def test_requests_side_by_side_share_one_renewal(tmp_path: Path) -> None:
    """Four batches that find the token expired at once spend one refresh token."""
    async with application(tmp_path) as (rig, _):
        add_deals(rig.portal, 6_000)
        await fetched(rig.source)
        rig.portal.oauth.expire()
        assert len((await rig.source.fetch([f"deal:{n}" for n in range(1, 6_002)])).heads) == 6_001
        assert rig.portal.oauth.renewals == 2


async def test_the_server_named_by_the_last_answer_renews_next(tmp_path: Path) -> None:
    """``server_endpoint`` wins over the configured server (contract 1.2), after a restart, too."""
    async with application(tmp_path) as (rig, _):
        other = Bitrix24(rig.clock, is_limited=False)
        other.oauth = rig.portal.oauth
        rig.portal.oauth.server = await other.start()
        await fetched(rig.source)
        rig.portal.oauth.expire()
        assert await fetched(rig.another()) == 1
        assert (rig.portal.requests["token"], other.requests["token"]) == (1, 1)
        await other.stop()


@pytest.mark.parametrize(
    ("portal", "server"),
    [
        ("https://okna.bitrix24.ru", "https://oauth.bitrix24.tech"),
        ("https://okna.bitrix24.by", "https://oauth.bitrix24.tech"),
        ("https://acme.bitrix24.com", "https://oauth.bitrix.info"),
        ("https://acme.bitrix24.de", "https://oauth.bitrix.info"),
    ],
)
def test_the_region_of_a_portal_has_its_server(portal: str, server: str) -> None:
    """Contract 1.2."""
    assert auth.server_of(portal) == server


async def test_what_goes_over_the_wire_is_exactly_this(tmp_path: Path) -> None:
    """Secrets go to the authorization server alone; the portal gets the access token among the parameters."""
    pair = {"access_token": "acc", "refresh_token": "ref", "server_endpoint": "http://evil.example/rest/"}
    with patch.dict(os.environ, SECRETS), respx.mock(using="httpx") as mock:
        token = mock.get(url__startswith="https://oauth.bitrix24.tech/oauth/token/").respond(json=pair)
        deals = mock.post(f"{BASE}/rest/batch").respond(json={"result": {"result": {"deal": []}, "result_error": []}})
        store = MemoryTokens()
        async with adapter_tools(ManualClock(START), tmp_path, store) as tools:
            await listed(build(tools, SECTION), WINDOW)
    assert dict(token.calls.last.request.url.params) == {
        "grant_type": "refresh_token",
        "client_id": "local.1",
        "client_secret": SECRETS["B24_SECRET"],
        "refresh_token": SECRETS["B24_REFRESH"],
    }
    sent = deals.calls.last.request
    assert msgspec.json.decode(sent.content)["auth"] == "acc"
    assert not sent.url.query
    assert [tokens.refresh for tokens in store.saved.values()] == ["ref https://oauth.bitrix24.tech"]


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (httpx.Response(200, json={"error": "wrong_client"}), AuthError, "client_id and client_secret"),
        (httpx.Response(401, json={"error": "invalid_client"}), AuthError, "client_id and client_secret"),
        (httpx.Response(400, json={"error": "invalid_grant"}), AuthError, "authorize the application again"),
        (httpx.Response(401, json={"error": "PAYMENT_REQUIRED"}), AuthError, "subscription"),
        (httpx.Response(400, json={"error": ""}), AuthError, "authorize the application again"),
        (httpx.Response(502, html="<html>"), Unavailable, "502"),
        (httpx.Response(403, html="<html>"), Unavailable, "403"),
        (httpx.Response(200, text='{"access_tok'), Unavailable, "without tokens"),
        (httpx.Response(200, json={"access_token": "only"}), Unavailable, "no pair"),
    ],
)
async def test_each_refusal_of_a_renewal_has_its_recovery(
    tmp_path: Path, answer: httpx.Response, kind: type[BridgeError], words: str
) -> None:
    """``error`` counts with HTTP 200, too; only what the server says with a reason is final."""
    with patch.dict(os.environ, SECRETS), respx.mock(using="httpx") as mock:
        mock.get(url__startswith="https://oauth.bitrix24.tech").mock(return_value=answer)
        async with adapter_tools(ManualClock(START), tmp_path) as tools:
            with pytest.raises(kind, match=words) as caught:
                await listed(build(tools, SECTION), WINDOW)
    assert not any(secret in repr(caught.value) for secret in SECRETS.values())
    assert not isinstance(caught.value, AuthError) or caught.value.is_final


async def test_a_spent_refresh_token_stops_the_account_at_once(tmp_path: Path) -> None:
    """Nothing is asked again until the operator has installed the application anew."""
    async with application(tmp_path) as (rig, store):
        rig.portal.oauth.refusal = ("invalid_grant", 400)
        for _ in range(3):
            with pytest.raises(AuthError, match="authorize the application again"):
                await fetched(rig.source)
        assert rig.asked == {"token": 1}
        assert store.saved == {}


async def test_a_token_nobody_knows_is_final(tmp_path: Path) -> None:
    """``invalid_token`` means a new installation; renewing would not help (contract 1.3)."""
    async with application(tmp_path) as (rig, _):
        await fetched(rig.source)
        rig.portal.oauth._access.clear()
        with pytest.raises(AuthError, match="install it again"):
            await fetched(rig.source)
        assert rig.portal.oauth.renewals == 1


async def test_check_speaks_for_an_application(tmp_path: Path) -> None:
    """The same findings as for a webhook."""
    async with application(tmp_path) as (rig, _):
        assert {finding.level for finding in await rig.source.check()} == {Level.OK}


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": ""},
        {"client_secret": "plain"},
        {"oauth_url": "https://oauth.bitrix.info/oauth/token/"},
        {"oauth_url": "oauth.bitrix.info"},
        {"webhook": {"env": "X"}},
    ],
)
def test_wrong_settings_of_an_application_are_refused(changes: dict[str, Any]) -> None:
    """Both ways at once, a secret in the file, an address that is none."""
    with pytest.raises(ValueError, match="auth"):
        Bitrix24Settings.model_validate({**SECTION, "auth": {**OAUTH, **changes}})


# --- a renamed portal --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["webhook", "oauth"])
async def test_a_renamed_portal_is_read_at_its_new_address_in_the_same_run(tmp_path: Path, way: str) -> None:
    """The POST goes out again with its body; the log and ``check`` say what to change, and hold no secret."""
    async with running(tmp_path, auth=way) as rig:
        add_deals(rig.portal, 120)
        renamed = Bitrix24(rig.clock, is_limited=False)
        renamed.data, renamed.methods, renamed.oauth = rig.portal.data, rig.portal.methods, rig.portal.oauth
        rig.portal.moved_to = await renamed.start()
        with capture_logs() as logs:
            assert len(await listed(rig.source, rig.all_time())) == 120
            findings = {item.subject: item.message for item in await rig.source.check() if item.level is Level.WARNING}
        assert findings["address"].endswith(f'set base_url to "{renamed.base_url}"')
        assert [entry["what"] for entry in logs if entry["event"] == "quirk"] == [
            f'the portal was renamed: set base_url to "{renamed.base_url}"'
        ]
        assert sum(rig.portal.requests.values()) == 1 + (way == "oauth")
        assert not any(secret in repr((logs, findings)) for secret in rig.portal.secrets().values())
        await renamed.stop()


async def test_portals_that_redirect_to_each_other_are_refused(tmp_path: Path) -> None:
    """Three addresses are tried, then it is the operator's turn."""
    async with running(tmp_path) as rig:
        rig.portal.moved_to = rig.portal.base_url
        with pytest.raises(Refused, match="redirect to each other"):
            await listed(rig.source, rig.all_time())
        assert sum(rig.asked.values()) == 3


async def test_credentials_do_not_follow_to_plain_http(tmp_path: Path) -> None:
    """A redirect from https to http is refused."""
    hook = {"webhook": {"env": "B24_SECRET"}}
    with patch.dict(os.environ, {"B24_SECRET": "12/k3v9x2m8q4"}), respx.mock(using="httpx") as mock:
        mock.post(url__startswith=BASE).respond(
            302, headers={"location": "http://new.bitrix24.ru/rest/12/k3v9x2m8q4/x"}
        )
        async with adapter_tools(ManualClock(START), tmp_path) as tools:
            with pytest.raises(Refused, match="not followed"):
                await listed(build(tools, {**SECTION, "auth": hook}), WINDOW)


# --- a portal that cannot answer ---------------------------------------------------------------------------------


async def test_a_portal_without_a_plan_says_what_to_buy(tmp_path: Path) -> None:
    """``ACCESS_DENIED`` has two meanings; its text tells which (contract 1.3)."""
    async with running(tmp_path) as rig:
        rig.portal.has_plan = False
        found = {item.subject: item.message for item in await rig.source.check() if item.level is Level.ERROR}
        assert "Market subscription" in found["credentials"]


@pytest.mark.parametrize(("status", "kind"), [(500, Unavailable), (502, Unavailable), (403, AuthError)])
async def test_a_page_instead_of_an_answer_is_judged_by_its_status(
    tmp_path: Path, status: int, kind: type[BridgeError]
) -> None:
    """Gateways speak HTML; nothing of it is repeated."""
    async with running(tmp_path) as rig:
        rig.portal.page = (status, "<html><body>nginx</body></html>")
        with pytest.raises(kind) as caught:
            await fetched(rig.source)
        assert "nginx" not in str(caught.value)


async def test_a_request_that_hangs_is_tried_again_with_fewer_pages(tmp_path: Path) -> None:
    """The portal gives up after 60 s; a batch it cannot answer in time is halved until it can."""
    sizes: list[int] = []

    def answer(request: httpx.Request) -> httpx.Response:
        commands = msgspec.json.decode(request.content)["cmd"]
        if "deal" in commands:
            return httpx.Response(200, json={"result": {"result": {"deal": rows}, "result_error": []}})
        sizes.append(len(commands))
        if len(commands) > 12:
            raise httpx.ReadTimeout("hangs")
        return httpx.Response(200, json={"result": {"result": {name: [] for name in commands}, "result_error": []}})

    rows = [{"ID": str(number), "DATE_MODIFY": "2026-03-02T12:30:00+03:00"} for number in range(1, 51)]
    hook = {"webhook": {"env": "B24_SECRET"}}
    with patch.dict(os.environ, {"B24_SECRET": "12/k3v9x2m8q4"}), respx.mock(using="httpx") as mock:
        mock.post(url__regex=r".*/batch$").mock(side_effect=answer)
        async with adapter_tools(ManualClock(START), tmp_path) as tools:
            assert len(await listed(build(tools, {**SECTION, "auth": hook}), WINDOW)) == 50
    assert sorted(set(sizes), reverse=True) == [50, 25, 12]

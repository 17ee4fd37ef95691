"""What answers mean, and tokens: long-lived ones and rotating ones."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from adapters.amocrm.auth import account_setup, authorize, expires, expiry_of, judge
from adapters.amocrm.fake import AmoCrm, Quirks
from adapters.amocrm.fake_tokens import REDIRECT_URI
from adapters.amocrm.oauth import TOKEN_PATH, NotGrantedError
from adapters.amocrm.settings import AmoCrmSettings
from bridge.commands import code_of
from bridge.errors import AuthError, BridgeError, ConfigError, Drift, Refused, Throttled, Unavailable
from bridge.net.http import HttpClient
from bridge.net.token import grant
from bridge.ports import Authorization, Level
from bridge.sim.clock import ManualClock
from bridge.sim.faults import Fault, FaultPlan
from bridge.tools import Request, Response, Tools
from tests.adapters.amocrm.kit import EVERYTHING, account, business, happenings, read, source_of
from tests.support import START, MemoryTokens, adapter_tools

LIST = Request("GET", "/api/v4/leads?page=1")
TOKEN = Request("POST", TOKEN_PATH)
HTML = b"<html><body>Forbidden</body></html>"
REVOKED = b'{"hint":"Token has been revoked","title":"x","status":401,"detail":"y"}'


def answer(status: int, body: bytes = b"{}", **headers: str) -> Response:
    return Response(status, headers, body)


@pytest.mark.parametrize(
    ("request_", "response", "error", "is_final"),
    [
        (LIST, answer(401), AuthError, False),
        (LIST, answer(402), AuthError, True),
        (LIST, answer(403, HTML), AuthError, True),
        (LIST, answer(403, b'{"status":403}'), Refused, None),
        (LIST, answer(429, HTML), Throttled, None),
        (LIST, answer(400, HTML), Refused, None),
        (LIST, answer(404), Refused, None),
        (LIST, answer(414, HTML), Refused, None),
        (LIST, answer(302, b""), Drift, None),
        (LIST, answer(500, HTML), Unavailable, None),
        (LIST, answer(504, HTML), Unavailable, None),
        (LIST, answer(200, HTML), Drift, None),
        (LIST, answer(200, b'{"_embedded":{"leads":[{"id":1'), Drift, None),
        (LIST, answer(200, b""), Drift, None),
        (TOKEN, answer(400), NotGrantedError, True),
        (TOKEN, answer(401, REVOKED), NotGrantedError, True),
        (TOKEN, answer(404, HTML), NotGrantedError, True),
        (TOKEN, answer(502, HTML), Unavailable, None),
    ],
)
def test_each_answer_becomes_the_error_of_its_recovery(
    request_: Request, response: Response, error: type[BridgeError], is_final: bool | None
) -> None:
    """Contract amocrm 1.6, 11 and 12 as a table."""
    with pytest.raises(error) as caught:
        judge(request_, response, is_static=False)
    assert type(caught.value) is error
    assert getattr(caught.value, "is_final", None) == is_final


def test_good_answers_are_quiet_and_the_reason_of_a_refusal_is_named() -> None:
    """JSON and "nothing" pass; a validation error keeps the vendor's code and place, not its text."""
    judge(LIST, answer(200, b'{"a":[1]}'), is_static=True)
    judge(LIST, answer(204, b""), is_static=True)
    body = {
        "validation-errors": [{"request_id": "0", "errors": [{"code": "InvalidType", "path": "price", "detail": "?"}]}]
    }
    with pytest.raises(Refused, match="InvalidType") as caught:
        judge(LIST, answer(400, json.dumps(body).encode()), is_static=True)
    assert caught.value.code == "InvalidType"
    with pytest.raises(Throttled) as slow:
        judge(LIST, answer(429, HTML, **{"retry-after": "300"}), is_static=True)
    assert slow.value.retry_after == 300
    with pytest.raises(AuthError, match="long-lived") as dead:
        judge(LIST, answer(401), is_static=True)
    assert dead.value.is_final


@pytest.mark.parametrize("status", [400, 422, 500, 504])
def test_an_error_repeats_the_id_of_its_answer(status: int) -> None:
    """For the vendor's support (contract amocrm 0); a header that is no id is not repeated."""
    for sent, told in (("9f0c-77.a", True), ("", False), ("<b>", False), ("x" * 65, False)):
        with pytest.raises((Refused, Unavailable)) as caught:
            judge(LIST, answer(status, HTML, **{"x-request-id": sent}), is_static=True)
        assert (bool(sent) and sent in str(caught.value)) is told


@given(st.integers(200, 599), st.binary(max_size=40), st.booleans(), st.sampled_from([LIST, TOKEN]))
def test_no_answer_crashes_the_judge(status: int, body: bytes, is_static: bool, request_: Request) -> None:
    """Any status with any body passes or raises one of our own errors."""
    try:
        judge(request_, answer(status, body), is_static=is_static)
    except BridgeError:
        return
    assert status < 300


def test_the_end_of_a_token_is_read_from_its_claim() -> None:
    """A JWT tells when it ends; other texts do not."""
    sim = AmoCrm(ManualClock(START))
    ends = expiry_of(sim.tokens.long_lived)
    assert ends == START + timedelta(days=5 * 365)
    for text in ("", "a.b", "a.b.c", "a.eyJleHAiOiJ4In0.c", "é.é.é", "a.eyJleHAiOjk5OTk5OTk5OTk5OTk5fQ.c"):
        assert expiry_of(text) is None


async def test_oauth_survives_expiry_again_and_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Thirty days of work on one first refresh token: one renewal a day, each spent once."""
    clock = ManualClock(START)
    async with account(monkeypatch, tmp_path, clock, auth="oauth") as (sim, source):
        for event in happenings(business(20)):
            sim.happen(event)
        for _ in range(30):
            assert len(await read(source, EVERYTHING)) == 20
            clock.advance(timedelta(hours=25))
        assert sim.requests["POST /oauth2/access_token"] == 30


async def test_an_access_token_refused_early_is_renewed_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A 401 before the time is answered with one renewal and one repetition."""
    faults = FaultPlan(1, {Fault.EXPIRED: 1.0})
    async with account(monkeypatch, tmp_path, ManualClock(START), auth="oauth", faults=faults) as (sim, source):
        faults.stop()
        await source.catalogue()
        faults.is_stopped = False
        with pytest.raises(AuthError):
            await source.catalogue()
        assert sim.requests["POST /oauth2/access_token"] == 2


async def test_two_readers_at_once_spend_a_refresh_token_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Side by side requests wait for one renewal."""
    async with account(monkeypatch, tmp_path, ManualClock(START), auth="oauth") as (sim, source):
        await asyncio.gather(*(source.catalogue() for _ in range(5)))
        assert sim.requests["POST /oauth2/access_token"] == 1


async def test_a_restart_uses_the_stored_pair_and_not_the_spent_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The configured refresh token is only the first; the next process finds its successor in the store."""
    clock, store = ManualClock(START), MemoryTokens()
    sim = AmoCrm(clock, is_limited=False, auth="oauth")
    await sim.start()
    for name, value in sim.secrets().items():
        monkeypatch.setenv(name, value)
    try:
        for _ in range(3):
            async with adapter_tools(clock, tmp_path, store) as tools:
                assert (await source_of(sim, tools).catalogue()).pipelines
            clock.advance(timedelta(days=2))
    finally:
        await sim.stop()


@pytest.mark.parametrize(("grace", "is_lost"), [(timedelta(0), True), (timedelta(minutes=5), False)])
async def test_a_lost_answer_of_the_token_endpoint_is_tried_again_and_named_if_fatal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, grace: timedelta, is_lost: bool
) -> None:
    """The same token once more is the only way on; a vendor without grace says "revoked", which a human must heal."""
    faults = FaultPlan(2, {Fault.LOST_ANSWER: 1.0})
    options = {"auth": "oauth", "faults": faults, "quirks": Quirks(refresh_grace=grace)}
    async with account(monkeypatch, tmp_path, ManualClock(START), **options) as (sim, source):
        exchange = sim.tokens.exchange

        def once(body: dict[str, object]) -> tuple[int, bytes]:
            faults.stop()
            return exchange(body)

        monkeypatch.setattr(sim.tokens, "exchange", once)
        if is_lost:
            with pytest.raises(AuthError, match=r"has to be authorized again; else run .bridge auth crm --tenant okna"):
                await source.fetch(["lead:1"])
        else:
            assert (await source.fetch(["lead:1"])).heads == ()


@pytest.mark.parametrize("auth", ["token", "oauth"])
async def test_a_ban_stops_everything_with_one_alarm_until_it_may_be_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, auth: str
) -> None:
    """One request an hour at most, none of them a renewal while the access token lasts (contract amocrm 15.10)."""
    clock = ManualClock(START)
    async with account(monkeypatch, tmp_path, clock, auth=auth) as (sim, source):
        assert (await source.catalogue()).pipelines
        sim.ban()
        sim.requests.clear()
        with capture_logs() as lines:
            for _ in range(12):
                with pytest.raises(AuthError, match="support") as banned:
                    await read(source, EVERYTHING)
                assert banned.value.is_final
                clock.advance(timedelta(minutes=4))
        assert [line["event"] for line in lines] == ["auth_failed"]
        assert (sim.requests.total(), sim.requests["POST /oauth2/access_token"]) == (1, 0)
        sim.unban()
        clock.advance(timedelta(hours=1))
        assert await read(source, EVERYTHING) == []


async def test_a_renewal_that_meets_a_ban_is_not_tried_again_either(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The token endpoint of a banned account answers the same page; the pair that is stored is not lost by it."""
    clock = ManualClock(START)
    async with account(monkeypatch, tmp_path, clock, auth="oauth") as (sim, source):
        sim.ban()
        for _ in range(12):
            with pytest.raises(AuthError, match="support"):
                await source.catalogue()
            clock.advance(timedelta(minutes=4))
        assert dict(sim.requests) == {"POST /oauth2/access_token": 1}
        sim.unban()
        clock.advance(timedelta(hours=1))
        assert (await source.catalogue()).pipelines


async def test_a_missing_right_refuses_that_request_and_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """403 in JSON is no ban (contract amocrm 12): ``check`` names what may not be read, the rest answers."""
    async with account(monkeypatch, tmp_path, quirks=Quirks(hides_events=True)) as (_, source):
        refused = [finding for finding in await source.check() if finding.level is Level.ERROR]
        assert [finding.subject for finding in refused] == ["events"]
        assert "administrator" in refused[0].message
        assert (await source.catalogue()).pipelines


async def test_a_revoked_token_stops_the_account_with_advice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The error is final, and holds no token."""
    async with account(monkeypatch, tmp_path) as (sim, source):
        token = sim.tokens.long_lived
        sim.tokens.revoke()
        with pytest.raises(AuthError) as revoked:
            await source.catalogue()
    assert token not in str(revoked.value)


# --- the first tokens, and what becomes of an account later ------------------------------------------------------


def granting(sim: AmoCrm, tools: Tools) -> Authorization:
    return authorize("crm", AmoCrmSettings.model_validate(sim.settings()), tools)


async def consented(page: str) -> str:
    """The address to which the vendor's page leads a person who agrees."""
    async with aiohttp.ClientSession() as session, session.get(page, allow_redirects=False) as answer:
        return answer.headers["Location"]


async def test_a_code_becomes_stored_tokens_that_the_source_reads_with(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No refresh token is configured: before the exchange the source says what to run, after it reads for weeks."""
    clock, store = ManualClock(START), MemoryTokens()
    async with account(monkeypatch, tmp_path, clock, auth="code", tokens=store) as (sim, source):
        with pytest.raises(AuthError, match="bridge auth crm --tenant okna"):
            await source.catalogue()
        async with adapter_tools(clock, tmp_path, store) as tools:
            asked = granting(sim, tools)
            address = await consented(asked.page)
            assert address.startswith(f"{REDIRECT_URI}?code=")
            assert "state=okna.crm" in address
            http = HttpClient(clock, tools.log, store)
            await grant(asked, http.door(asked.setup), code_of(address), store)
            with pytest.raises(AuthError, match="works once") as again:
                await grant(asked, http.door(asked.setup), code_of(address), store)
            assert code_of(address) not in str(again.value)
            await http.close()
            for _ in range(3):
                assert (await source_of(sim, tools).catalogue()).pipelines
                clock.advance(timedelta(days=20))
        clock.advance(timedelta(minutes=16))
        assert (await source.catalogue()).pipelines  # the one that was refused has looked again by itself


async def test_a_code_is_asked_for_on_the_page_of_the_right_vendor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """amoCRM's and Kommo's accounts are authorized on different sites; a long-lived token needs no page."""
    monkeypatch.setenv("S", "secret")
    oauth = {"client_id": "u-1", "client_secret": {"env": "S"}, "redirect_uri": "https://a.example"}
    async with adapter_tools(ManualClock(START), tmp_path) as tools:

        def page(base_url: str, auth: dict[str, Any]) -> str:
            section = {"kind": "amocrm", "base_url": base_url, "auth": auth}
            return authorize("crm", AmoCrmSettings.model_validate(section), tools).page

        query = "/oauth?client_id=u-1&state=okna.crm&mode=popup"
        assert page("https://a.amocrm.ru", oauth) == f"https://www.amocrm.ru{query}"
        assert page("https://a.kommo.com", oauth) == f"https://www.kommo.com{query}"
        with pytest.raises(ConfigError, match="needs no code"):
            page("https://a.amocrm.ru", {"token": {"env": "S"}})


@pytest.mark.parametrize("forgets_old_address", [True, False])
async def test_a_renamed_account_is_found_and_read_at_its_new_address(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, forgets_old_address: bool
) -> None:
    """Whether the old address answers 404 or 401; ``check`` says what to change in the configuration."""
    clock = ManualClock(START)
    quirks = Quirks(forgets_old_address=forgets_old_address)
    async with account(monkeypatch, tmp_path, clock, auth="oauth", quirks=quirks) as (sim, source):
        assert (await source.catalogue()).pipelines
        sim.rename("localhost")
        clock.advance(timedelta(hours=25))
        assert (await source.catalogue()).pipelines
        assert sim.requests["GET /oauth2/account/current/subdomain"] == 1
        moved = next(finding for finding in await source.check() if finding.subject == "base_url")
        assert moved.level is Level.WARNING
        assert f'base_url = "{sim.base_url.replace("127.0.0.1", "localhost")}"' in moved.message


async def test_a_refresh_token_is_shown_to_nobody_but_the_vendor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A token whose claim names a stranger's host, or no host at all, ends in the refusal itself."""
    async with account(monkeypatch, tmp_path, ManualClock(START), auth="oauth") as (sim, source):
        assert (await source.catalogue()).pipelines
        own = source._integration
        assert own is not None
        clients = dataclasses.replace(own, base_url="https://okna.amocrm.ru")
        for host in ("evil.example", "evil.example#.amocrm.ru", "u@api.amocrm.ru", "amocrm.ru.evil.example", "", None):
            assert clients._origin(host) == ""
        assert clients._origin("api-b.amocrm.ru") == "https://api-b.amocrm.ru"
        for elsewhere in (own, dataclasses.replace(own, base_url="https://proxy.example")):
            assert elsewhere._origin("api-b.amocrm.ru") == ""
        sim.tokens.revoke()
        with pytest.raises(AuthError, match="bridge auth crm"):
            await source.catalogue()


async def test_accounts_of_kommo_share_the_limit_of_the_address_they_are_read_from(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Kommo counts by IP (contract amocrm 11): whatever is asked of one account delays the others."""
    monkeypatch.setenv("T", "t0ken")
    async with adapter_tools(ManualClock(START), tmp_path) as tools:

        def limit(base_url: str) -> str:
            section = {"kind": "amocrm", "base_url": base_url, "auth": {"token": {"env": "T"}}}
            return account_setup("crm", AmoCrmSettings.model_validate(section), tools)[0].limit

        assert limit("https://a.kommo.com") == limit("https://b.kommo.com") != ""
        assert limit("https://a.amocrm.ru") == ""


def test_the_end_of_a_configured_token_is_known_without_asking_anyone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """For ``status`` and ``/metrics``; OAuth has no end of its own."""
    sim = AmoCrm(ManualClock(START))
    monkeypatch.setenv("T", sim.tokens.another(timedelta(days=13)))
    section = {"kind": "amocrm", "base_url": "https://a.amocrm.ru", "auth": {"token": {"env": "T"}}}
    assert expires(AmoCrmSettings.model_validate(section), tmp_path) == START + timedelta(days=13)
    oauth = {**section, "auth": {"client_id": "u", "client_secret": {"env": "T"}, "redirect_uri": "https://a.example"}}
    assert expires(AmoCrmSettings.model_validate(oauth), tmp_path) is None

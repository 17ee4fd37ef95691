"""Credentials of both kinds, and the token endpoint's answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
import respx

from adapters.google_ads import auth
from adapters.google_ads import destination as client
from adapters.google_ads.answers import judge
from adapters.google_ads.fake import GoogleAds
from adapters.google_ads.fake_tokens import Kind, verified_claims
from bridge.errors import AuthError, BridgeError, ConfigError, Drift, Throttled, Unavailable
from bridge.sim.clock import ManualClock
from bridge.tools import Request
from tests.adapters.google_ads.kit import ACTION, HOUR, Bench, bench, fates, response, row, sample, settings
from tests.support import START, adapter_tools

ASK = Request("POST", "https://oauth2.googleapis.com/token", is_safe=True, scope=auth.TOKEN_CALL)
USER = {"client_id": "id", "client_secret": "s3cret", "refresh_token": "1//r3fresh"}
BOTH = pytest.mark.parametrize("kind", ["service_account", "authorized_user"])


def _key_file() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(GoogleAds(ManualClock(START)).credentials_json())
    return found


# --- reading -----------------------------------------------------------------------------------------------------


def test_both_kinds_are_recognised_and_keep_their_secrets_out_of_repr() -> None:
    """A service-account key, and a client with a refresh token, with or without ``type``."""
    service = auth.read_credentials(json.dumps(_key_file()))
    assert isinstance(service, auth.ServiceAccount)
    for info in (USER, {**USER, "type": "authorized_user"}):
        grant = auth.read_credentials(json.dumps(info))
        assert isinstance(grant, auth.UserGrant)
        assert "s3cret" not in repr(grant)
        assert "r3fresh" not in repr(grant)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("not json", "JSON"),
        ("[]", "object"),
        ("{}", "client_id, client_secret, refresh_token"),
        (json.dumps({**USER, "refresh_token": ""}), "refresh_token missing"),
        (json.dumps({"installed": USER}), "refresh_token"),
        (json.dumps({"type": "service_account"}), "client_email"),
        (json.dumps({"type": "service_account", "client_email": "a", "private_key": "junk"}), "private_key"),
        (json.dumps({"type": "service_account", "client_email": "a"}), "private_key"),
        (json.dumps({"type": "service_account", "client_email": "a", "private_key": 5}), "private_key"),
    ],
)
def test_unusable_credentials_are_a_configuration_error_that_says_what_is_missing(text: str, hint: str) -> None:
    """Whatever the operator puts there: a sentence, not a traceback."""
    with pytest.raises(ConfigError, match=hint):
        auth.read_credentials(text)


# --- requests ----------------------------------------------------------------------------------------------------


def test_an_assertion_is_signed_and_claims_what_google_asks_for() -> None:
    """RS256 over iss, scope, aud, iat, exp of one hour (contract google 6), at the injected time."""
    service = auth.read_credentials(json.dumps(_key_file()))
    form = service.form(START)
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    begin = int(START.timestamp())
    assert verified_claims(form["assertion"]) == {
        "iss": _key_file()["client_email"],
        "scope": auth.SCOPE,
        "aud": "https://oauth2.googleapis.com/token",
        "iat": begin,
        "exp": begin + 3600,
    }
    assert verified_claims(form["assertion"][:-4] + "AAAA") is None


async def test_a_refresh_token_goes_to_the_token_endpoint_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exact request: form encoded, no Authorization; the access token then opens the API."""
    monkeypatch.setenv("X", json.dumps(USER))
    with respx.mock(using="httpx") as mock:
        token = mock.post("https://oauth2.googleapis.com/token").mock(httpx.Response(200, content=sample("token")))
        upload = mock.post("https://datamanager.googleapis.com/v1/events:ingest").mock(
            httpx.Response(200, content=sample("ingest_response"))
        )
        async with adapter_tools(ManualClock(START), tmp_path) as tools:
            here = Bench(GoogleAds(tools.clock), client.build("google", settings(), tools), None)
            assert fates(await here.send(row())) == [("accepted", "")]
        asked, sent = token.calls.last.request, upload.calls.last.request
        assert parse_qs(asked.content.decode()) == {
            "grant_type": ["refresh_token"],
            **{k: [v] for k, v in USER.items()},
        }
        assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
        assert "authorization" not in asked.headers
        assert sent.headers["authorization"] == "Bearer ya29.a0AfSample"
        assert sent.headers["content-type"] == "application/json"
        assert sent.content == here.sealed([row()]).payload.body


@BOTH
async def test_both_kinds_of_credentials_upload(kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulator verifies the signature, or the client and its refresh token."""
    clock = ManualClock(START)
    async with bench(GoogleAds(clock, credentials=kind), clock, tmp_path, monkeypatch) as here:
        assert fates(await here.send(row())) == [("accepted", "")]
        await here.send(row(2))
        assert here.fake.desk.issued == 1
        clock.advance(2 * HOUR)
        await here.send(row(3))
        assert here.fake.desk.issued == 2


@BOTH
async def test_a_token_that_dies_early_is_renewed_once_and_the_upload_goes_on(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """401, one refresh, one replay."""
    clock = ManualClock(START)
    async with bench(GoogleAds(clock, credentials=kind), clock, tmp_path, monkeypatch) as here:
        await here.send(row())
        here.fake.desk.expire()
        assert fates(await here.send(row(2))) == [("accepted", "")]
        assert here.fake.desk.issued == 2


@BOTH
async def test_dead_credentials_stop_the_account_and_say_so(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``invalid_grant`` is for a human; until then no further request is made."""
    clock = ManualClock(START)
    async with bench(GoogleAds(clock, credentials=kind), clock, tmp_path, monkeypatch) as here:
        here.fake.desk.revoke()
        for _ in range(3):
            with pytest.raises(AuthError, match="invalid_grant") as caught:
                await here.send(row())
            assert caught.value.is_final
        assert sum(here.fake.requests.values()) <= 2


async def test_a_wrong_client_secret_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``invalid_client``; the secret itself is not repeated."""
    clock = ManualClock(START)
    fake = GoogleAds(clock, credentials="authorized_user")
    wrong = json.dumps({**json.loads(fake.credentials_json()), "client_secret": "wr0ng"})
    monkeypatch.setattr(fake, "credentials_json", lambda: wrong)
    async with bench(fake, clock, tmp_path, monkeypatch) as here:
        with pytest.raises(AuthError, match="invalid_client") as caught:
            await here.send(row())
        assert "wr0ng" not in str(caught.value)


async def test_a_clock_that_is_an_hour_off_gets_no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Google refuses assertions from the past or the future."""
    ours = ManualClock(START + HOUR)
    async with bench(GoogleAds(ManualClock(START)), ours, tmp_path, monkeypatch) as here:
        with pytest.raises(AuthError, match="clock"):
            await here.send(row())


async def test_consent_without_the_datamanager_box_is_noticed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user may untick a scope: the returned ``scope`` tells (contract google 6)."""
    clock = ManualClock(START)
    fake = GoogleAds(clock, credentials="authorized_user")
    fake.rules.scopes = "https://www.googleapis.com/auth/adwords"
    async with bench(fake, clock, tmp_path, monkeypatch) as here:
        with pytest.raises(AuthError, match="tick every box"):
            await here.send(row())
        assert here.fake.applied() == []


async def test_other_credentials_do_not_use_a_saved_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fingerprint of the credentials is the seed under which tokens are saved; the token survives a restart."""
    clock = ManualClock(START)
    async with bench(GoogleAds(clock, credentials="authorized_user"), clock, tmp_path, monkeypatch) as here:
        await here.send(row())
        await here.remake().send(here.sealed([row(2)]))
        assert here.fake.desk.issued == 1
        changed = json.loads(here.fake.credentials_json()) | {"note": "the same, written anew"}
        monkeypatch.setenv(next(iter(here.fake.secrets())), json.dumps(changed))
        await here.remake().send(here.sealed([row(3)]))
        assert here.fake.desk.issued == 2
        assert {item.target for item in here.fake.applied()} == {ACTION}


# --- answers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, sample("token_revoked"), AuthError),
        (401, b'{"error":"invalid_client"}', AuthError),
        (403, b'{"error":"access_denied"}', AuthError),
        (400, b"<html>", AuthError),
        (404, b"<html>", AuthError),
        (429, b"", Throttled),
        (500, b"<html>", Unavailable),
        (503, b'{"error":"internal_failure"}', Unavailable),
        (400, b'{"error":"temporarily_unavailable"}', Unavailable),
        (200, b"<html>", Drift),
        (200, sample("token")[:20], Drift),
    ],
)
def test_each_answer_of_the_token_endpoint_becomes_its_class(
    status: int, body: bytes, expected: type[BridgeError]
) -> None:
    """Through the account's own ``judge``, which knows token requests by their scope."""
    with pytest.raises(expected) as caught:
        judge(ASK, response(status, body))
    assert type(caught.value) is expected
    assert "Token has been" not in str(caught.value)


def test_a_token_lives_as_long_as_google_says() -> None:
    """``expires_in`` seconds from now, also when sent as text; an answer without a token is drift."""
    judge(ASK, response(200, sample("token")))
    tokens = auth.read_tokens(sample("token"), START)
    assert tokens.expires_at is not None
    assert (tokens.expires_at - START).total_seconds() == 3599
    assert auth.read_tokens(b'{"access_token":"x","expires_in":"60"}', START).expires_at is not None
    with pytest.raises(Drift):
        auth.read_tokens(b"{}", START)

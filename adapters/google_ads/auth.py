"""Credentials of both kinds made into access tokens (contract google 6). google-auth signs; our account sends."""

from __future__ import annotations

import json
from dataclasses import field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

import msgspec
from google.auth import crypt, jwt

from adapters.google_ads.wire import TokenAnswer
from bridge.errors import AuthError, ConfigError, Drift, Throttled, Unavailable
from bridge.frozen import frozen
from bridge.tools import Account, Clock, Refresh, Request, Response, Tokens

SCOPE = "https://www.googleapis.com/auth/datamanager"
AUDIENCE = "https://oauth2.googleapis.com/token"  # of the assertion, whatever address the request goes to
TOKEN_CALL = "token"  # noqa: S105 - a request scope, by which ``judge`` knows a token request
_JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_ASSERTION_LIFE = timedelta(hours=1)
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
# Temporary by google-auth's own list (contract google 6), whatever the status.
_TEMPORARY = frozenset({"internal_failure", "server_error", "temporarily_unavailable"})
_ADVICE = {
    "invalid_grant": "the refresh token is dead or the key is wrong (or this machine's clock is): authorise again",
    "invalid_client": "client_id and client_secret do not belong together; copy both again",
    "invalid_scope": f"authorise with the scope {SCOPE}",
    "unauthorized_client": "this client may not use the grant; create the credentials anew",
    "access_denied": "the owner of the account refused access; authorise again",
}


@frozen
class ServiceAccount:
    """A service-account key: proves itself by a signed assertion."""

    email: str
    signer: crypt.RSASigner = field(repr=False)

    def form(self, now: datetime, scope: str = SCOPE) -> dict[str, str]:
        claims = {
            "iss": self.email,
            "scope": scope,
            "aud": AUDIENCE,
            "iat": int(now.timestamp()),
            "exp": int((now + _ASSERTION_LIFE).timestamp()),
        }
        assertion = jwt.encode(self.signer, claims)  # type: ignore[no-untyped-call]  # google-auth is part-annotated
        return {"grant_type": _JWT_GRANT, "assertion": assertion.decode()}


@frozen
class UserGrant:
    """An OAuth client and a user's refresh token, which Google does not rotate."""

    client_id: str
    client_secret: str = field(repr=False)
    refresh_token: str = field(repr=False)

    def form(self, _now: datetime, _scope: str = SCOPE) -> dict[str, str]:
        return {
            "grant_type": "refresh_token",
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "refresh_token": self.refresh_token,
        }


Credentials = ServiceAccount | UserGrant


def read_credentials(text: str) -> Credentials:
    """A service-account key file, or ``client_id``, ``client_secret`` and ``refresh_token``.

    Raises:
        ConfigError: no JSON, of another kind, incomplete, or with an unusable key.
    """
    try:
        info = json.loads(text)
    except ValueError:
        raise ConfigError("Google credentials are not JSON; give the downloaded key file unchanged") from None
    if not isinstance(info, dict):
        raise ConfigError("Google credentials must be one JSON object; give the downloaded key file unchanged")
    if info.get("type") == "service_account":
        return _service_account(info)
    return _user_grant(info)


def _service_account(info: dict[str, Any]) -> ServiceAccount:
    email = info.get("client_email")
    if not isinstance(email, str) or not email:
        raise ConfigError("Google credentials: client_email is missing; download the service-account key again")
    try:
        signer = crypt.RSASigner.from_service_account_info(info)  # type: ignore[no-untyped-call]  # google-auth again
    except (ValueError, TypeError, AttributeError):
        raise ConfigError(
            "Google credentials: private_key is unusable; download the service-account key again"
        ) from None
    return ServiceAccount(email, signer)


def _user_grant(info: dict[str, Any]) -> UserGrant:
    keys = ("client_id", "client_secret", "refresh_token")
    missing = [key for key in keys if not isinstance(info.get(key), str) or not info[key]]
    if missing:
        raise ConfigError(
            f"Google credentials: {', '.join(missing)} missing; give a service-account key, or a JSON object "
            "with client_id, client_secret and refresh_token"
        )
    return UserGrant(*(info[key] for key in keys))


def fingerprint(text: str) -> str:
    """Names the credentials without telling them: tokens won by other credentials are not reused."""
    return sha256(text.encode()).hexdigest()


def refresher(credentials: Credentials, token_uri: str, clock: Clock, scope: str = SCOPE) -> Refresh:
    """A ``Refresh`` that asks ``token_uri`` for an access token. A user's grant covers what the user agreed to.

    The refresh raises AuthError, Throttled, Unavailable, Drift as ``judge_token`` and ``read_tokens`` say.
    """

    async def refresh(account: Account, _stored: Tokens | None) -> Tokens:
        now = clock.now()
        body = urlencode(credentials.form(now, scope)).encode()
        # Safe to repeat: neither grant is used up by asking twice.
        request = Request("POST", token_uri, headers=_FORM, body=body, is_safe=True, scope=TOKEN_CALL)
        response = await account.send(request)
        return read_tokens(response.body, now, scope)

    return refresh


def read_tokens(body: bytes, now: datetime, scope: str = SCOPE) -> Tokens:
    """The tokens of a good answer.

    Raises:
        Drift: it has no token.
        AuthError: the grant does not cover the scope (contract google 6: a box left unticked).
    """
    answer = _decode(body)
    if answer is None or not answer.access_token:
        raise Drift("Google's token endpoint answered without a token; check token_uri")
    if answer.scope and scope not in answer.scope.split():
        raise AuthError(f"the grant does not cover {scope}; authorise again and tick every box", is_final=True)
    return Tokens(answer.access_token, now + timedelta(seconds=answer.expires_in))


def judge_token(request: Request, response: Response) -> None:
    """What a token endpoint's answer means (contract google 6)."""
    answer = _decode(response.body)
    if response.status == 200:
        if answer is None:
            raise Drift("Google's token endpoint gave an unreadable answer; check token_uri")
        return
    error = answer.error if answer else ""
    if response.status == 429:
        raise Throttled("Google's token endpoint asks to slow down")
    if response.status in (408, 500, 502, 503, 504) or error in _TEMPORARY:
        raise Unavailable(f"Google's token endpoint answered {response.status}")
    advice = _ADVICE.get(error, "check credentials and token_uri")
    raise AuthError(f"Google gives no token ({error or response.status}): {advice}", is_final=True)


def _decode(body: bytes) -> TokenAnswer | None:
    try:
        return _ANSWERS.decode(body)
    except msgspec.DecodeError:
        return None


_ANSWERS = msgspec.json.Decoder(TokenAnswer, strict=False)

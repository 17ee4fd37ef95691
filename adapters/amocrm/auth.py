"""Tokens, and what amoCRM's answers mean. ``judge`` is pure; ``renew`` makes one request."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

import msgspec

from adapters.amocrm import wire
from adapters.amocrm.settings import AmoCrmSettings, LongLivedToken, OAuth
from bridge.errors import AuthError, Drift, Refused, Throttled, Unavailable
from bridge.model import utc
from bridge.ports import Account, AccountSetup, Clock, Rate, Refresh, Request, Response, Tokens, Tools

TOKEN_PATH = "/oauth2/access_token"  # noqa: S105 - an address, no secret
_REAUTHORIZE = "authorize the integration again and put the new refresh token into the secret"
_NEW_TOKEN = "make a new long-lived token in the integration's settings and put it into the secret"  # noqa: S105 - advice, not a secret
_LAPSED = utc(0)


def account_setup(name: str, settings: AmoCrmSettings, tools: Tools) -> AccountSetup:
    """How to talk to this account.

    Raises:
        ConfigError: a secret cannot be read.
    """
    auth = settings.auth
    is_static = isinstance(auth, LongLivedToken)
    return AccountSetup(
        name=f"{tools.tenant.name}/{name}",
        base_url=settings.base_url,
        judge=partial(judge, is_static=is_static),
        rate=Rate(settings.requests_per_second),
        tokens=_start_tokens(auth, tools),
        refresh=None if isinstance(auth, LongLivedToken) else _refresher(auth, tools),
    )


def _start_tokens(auth: LongLivedToken | OAuth, tools: Tools) -> Tokens:
    if isinstance(auth, LongLivedToken):
        return Tokens(auth.token.read(tools.folder).get_secret_value())
    return Tokens("", _LAPSED, auth.refresh_token.read(tools.folder).get_secret_value())


def _refresher(auth: OAuth, tools: Tools) -> Refresh:
    secret = auth.client_secret.read(tools.folder).get_secret_value()
    return partial(renew, _Client(auth.client_id, secret, auth.redirect_uri, tools.clock))


@dataclass(frozen=True, slots=True)
class _Client:
    """An OAuth integration."""

    client_id: str
    secret: str = field(repr=False)
    redirect_uri: str
    clock: Clock


async def renew(client: _Client, account: Account, tokens: Tokens | None) -> Tokens:
    """Spend a refresh token on a new pair (contract amocrm 1.2, 1.4).

    The request is marked repeatable although the token works once. When the answer is lost nobody knows whether the
    vendor has spent the token; trying it again is the only way on, and a vendor that has spent it says so.

    Raises:
        AuthError: final; only a new authorization helps.
    """
    if tokens is None or not tokens.refresh:
        raise AuthError(f"amoCRM: there is no refresh token; {_REAUTHORIZE}", is_final=True)
    body = {
        "client_id": client.client_id,
        "client_secret": client.secret,
        "grant_type": "refresh_token",
        "refresh_token": tokens.refresh,
        "redirect_uri": client.redirect_uri,
    }
    headers = {"content-type": "application/json"}
    answer = await account.send(
        Request("POST", TOKEN_PATH, headers=headers, body=msgspec.json.encode(body), is_safe=True)
    )
    issued = wire.read_one(answer.body, wire.Issued, "answer of the token endpoint")
    expires_at = client.clock.now() + timedelta(seconds=issued.expires_in)
    return Tokens(issued.access_token, expires_at, issued.refresh_token)


def judge(request: Request, response: Response, *, is_static: bool) -> None:
    """Raise what an answer means; quiet when it is JSON or an honest "nothing" (204).

    Gateway pages (403, 429, 5xx) are HTML and are judged by status alone (contract amocrm 11, 12).
    """
    status = response.status
    if status in (200, 201, 202):
        _insist_on_json(response)
        return
    if status == 204:
        return
    if request.url == TOKEN_PATH and status in (400, 401, 404):
        raise _refused_renewal(response)
    if status == 401:
        advice = f"; {_NEW_TOKEN}" if is_static else ""
        raise AuthError(f"amoCRM does not accept the access token{advice}", is_final=is_static)
    if status == 402:
        raise AuthError("the amoCRM subscription has ended or does not include the API; pay for it", is_final=True)
    if status == 403 and not _is_json(response):
        text = "amoCRM has banned this account or address for too many requests; only its support can lift that"
        raise AuthError(text, is_final=True)
    if status == 429:
        raise Throttled("amoCRM: too many requests", retry_after=_retry_after(response))
    if status >= 500 or status == 408:
        raise Unavailable(f"amoCRM answers {status}")
    if status < 400:
        raise Drift(f"amoCRM answers {status}; check base_url, the account may have moved")
    raise _refusal(response)


def _insist_on_json(response: Response) -> None:
    """A look at both ends: pages are large, and whoever decodes them finds what is wrong in between."""
    if not (response.body.startswith(b"{") and response.body.rstrip().endswith(b"}")):
        raise Drift("amoCRM sent something else than JSON with a good status")


def _is_json(response: Response) -> bool:
    try:
        msgspec.json.decode(response.body, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def _refused_renewal(response: Response) -> AuthError:
    """Which of the cases of contract amocrm 1.6 it is; never the vendor's own text, which may echo a token."""
    try:
        has_hint = msgspec.json.decode(response.body, type=wire.OAuthProblem).hint is not None
    except (msgspec.DecodeError, UnicodeDecodeError):
        has_hint = False
    if response.status == 404:
        reason = "amoCRM knows no account at this address; check base_url, the account may have been renamed"
    elif response.status == 400:
        reason = f"amoCRM refused the renewal; redirect_uri must equal the integration's, else {_REAUTHORIZE}"
    elif has_hint:
        reason = f"the refresh token was revoked or has been used before; {_REAUTHORIZE}"
    else:
        reason = "amoCRM does not accept client_id and client_secret; copy them from the integration's keys"
    return AuthError(reason, is_final=True)


def _retry_after(response: Response) -> float | None:
    """Usually absent (contract amocrm 11)."""
    text = response.headers.get("retry-after", "").strip()
    return float(text) if text.isascii() and text.isdigit() else None


def _refusal(response: Response) -> Refused:
    if response.status == 403:
        return Refused("amoCRM: the token's user has no right to this; use an administrator's token", code="http_403")
    try:
        problem = msgspec.json.decode(response.body, type=wire.Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        problem = wire.Problem()
    first = next((error for item in problem.items for error in item.errors), wire.FieldError())
    place = f" at {first.path[:80]}" if first.path else ""
    code = first.code[:40] or f"http_{response.status}"
    return Refused(f"amoCRM refused the request ({response.status}, {code}){place}", code=code)


def expiry_of(token: str) -> datetime | None:
    """When an access token ends, read from its ``exp`` claim without checking the signature; None if unreadable."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        payload = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        return utc(msgspec.json.decode(payload, type=wire.Claims).exp)
    except (binascii.Error, ValueError, msgspec.DecodeError, OverflowError, OSError):
        return None

"""How requests are authorized: an inbound webhook's code, or an application's tokens (contract bitrix24 1.1, 1.2)."""

from __future__ import annotations

from dataclasses import field
from functools import partial
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec

from adapters.bitrix24 import wire
from adapters.bitrix24.settings import Bitrix24Settings, OAuth, Webhook, webhook
from bridge.errors import AuthError, BridgeError, ConfigError, Drift, Throttled, Unavailable
from bridge.frozen import frozen, replace
from bridge.ports import Authorization
from bridge.tools import Account, AccountSetup, Rate, Request, Response, Tokens, Tools

BURST = 40  # the portal blocks above 50; the rest is left to other programs on this host's address
TOKEN_PATH = "/oauth/token/"  # noqa: S105 - an address, no secret
_TIMEOUT = 70.0  # seconds; the portal itself gives up after 60
_PARALLEL = 4
_EASTERN = frozenset({"ru", "by", "kz", "kg", "uz", "am", "az", "ge"})  # regions of the first server (contract 1.2)
_AGAIN = 'authorize the application again ("bridge auth"), or put a new refresh token into the secret'
_CODE_SPENT = "it did not take the code, which works once and for 30 seconds: open the page again"
_REASONS = {
    "INVALID_GRANT": f"the refresh token was used before, or is older than 180 days: {_AGAIN}",
    "WRONG_CLIENT": "it does not know client_id and client_secret: copy them from the application's page",
    "INVALID_CLIENT": "it does not know client_id and client_secret: copy them from the application's page",
    "PAYMENT_REQUIRED": "the subscription of the application or the portal has ended",
    "INVALID_SCOPE": "the application was not granted its scopes: give it CRM (crm)",
}


def account_setup(name: str, settings: Bitrix24Settings, tools: Tools) -> AccountSetup:
    """How to talk to this portal.

    Raises:
        ConfigError: a secret cannot be read, or the webhook's is not ``USER/CODE``.
    """
    setup = AccountSetup(
        name=f"{tools.tenant.name}.{name}",
        base_url=settings.base_url,
        judge=judge,
        rate=Rate(settings.requests_per_second, BURST, _PARALLEL),
        timeout=_TIMEOUT,
    )
    auth = settings.auth
    if isinstance(auth, Webhook):
        code = webhook(auth.webhook.read(tools.folder).get_secret_value())
        return replace(setup, tokens=Tokens(code), apply=_in_path)
    client = _client(name, settings, auth, tools)
    return replace(setup, tokens=_start_tokens(auth, tools), apply=_in_body, refresh=partial(renew, client))


def _client(name: str, settings: Bitrix24Settings, auth: OAuth, tools: Tools) -> _Client:
    secret = auth.client_secret.read(tools.folder).get_secret_value()
    server = auth.oauth_url or server_of(settings.base_url)
    return _Client(auth.client_id, secret, server, f"bridge auth {name} --tenant {tools.tenant.name}")


def _start_tokens(auth: OAuth, tools: Tools) -> Tokens | None:
    if auth.refresh_token is None:
        return None
    return Tokens("", refresh=auth.refresh_token.read(tools.folder).get_secret_value())


def authorize(name: str, settings: Bitrix24Settings, tools: Tools) -> Authorization:
    """See ``ports.SourceSpec.authorize``. The page leads to the address in the application's settings (contract 1.2).

    Raises:
        ConfigError: a secret cannot be read, or the portal is read through a webhook.
    """
    auth, tenant = settings.auth, tools.tenant.name
    if isinstance(auth, Webhook):
        raise ConfigError(
            f"source {name} of {tenant} reads through an inbound webhook, which is not authorized by a code: put its "
            "USER/CODE into the secret that auth.webhook names, and a new one there if the portal refuses it. With an "
            "application instead (auth.client_id, auth.client_secret), this command gets the tokens"
        )
    setup = account_setup(name, settings, tools)
    client = _client(name, settings, auth, tools)
    page = f"{settings.base_url}/oauth/authorize/?{urlencode({'client_id': auth.client_id, 'state': setup.name})}"
    advice = (
        "It leads to the address in the application's settings, with a code in it that lives for 30 seconds only. So "
        "start this first, then open the page, and paste the whole address it leads to: "
        f"{client.command} --code -"
    )
    return Authorization(setup, page, advice, partial(exchange, client))


def server_of(base_url: str) -> str:
    """The authorization server of a portal's region, judged by its domain (contract 1.2)."""
    region = (urlsplit(base_url).hostname or "").rpartition(".")[2]
    return "https://oauth.bitrix24.tech" if region in _EASTERN else "https://oauth.bitrix.info"


def _in_path(request: Request, token: str) -> Request:
    """The webhook is part of the path; it is put there only for sending, so that no error text can hold it."""
    return replace(request, url=f"/rest/{token}/{request.url}")


def _in_body(request: Request, token: str) -> Request:
    """The access token as ``auth`` among the parameters, never in the URL."""
    body = request.body or b"{}"
    comma = b"" if body == b"{}" else b","
    signed = body[:-1] + comma + b'"auth":' + msgspec.json.encode(token) + b"}"
    return replace(request, url=f"/rest/{request.url}", body=signed)


# --- renewing ----------------------------------------------------------------------------------------------------


@frozen
class _Client:
    """An application. ``server``: where its tokens are renewed until an answer names another place. ``command``: what a
    person runs to authorize it.
    """

    client_id: str
    secret: str = field(repr=False)
    server: str
    command: str


class _Issued(msgspec.Struct, frozen=True):
    """Answer of the token endpoint. ``error`` counts with HTTP 200, too: ``wrong_client`` comes so (contract 1.3)."""

    access_token: str = ""
    refresh_token: str = ""
    server_endpoint: str | None = None
    error: Any = msgspec.UNSET


_issued = msgspec.json.Decoder(_Issued)
_GRANTS = {"refresh_token": "refresh_token", "code": "authorization_code"}


async def renew(client: _Client, account: Account, tokens: Tokens | None) -> Tokens:
    """Spend a refresh token on a new pair (contract 1.2).

    The new tokens have no end: an application that renews by the clock instead of after ``expired_token`` may be
    blocked. What is kept as the refresh token is the token and, after a space, the server that it is renewed at.

    Raises:
        AuthError: final; only a new installation helps.
    """
    token, _, server = ((tokens and tokens.refresh) or "").partition(" ")
    if not token:
        raise AuthError(f'Bitrix24: this source is not authorized yet; run "{client.command}"', is_final=True)
    return await _asked(client, account, server or client.server, ("refresh_token", token))


async def exchange(client: _Client, account: Account, code: str) -> Tokens:
    """The first pair for a code, which works once and for 30 seconds (contract 1.2).

    Raises:
        AuthError: final; a new code is needed, or other settings.
    """
    return await _asked(client, account, client.server, ("code", code))


async def _asked(client: _Client, account: Account, server: str, grant: tuple[str, str]) -> Tokens:
    params = (
        ("grant_type", _GRANTS[grant[0]]),
        ("client_id", client.client_id),
        ("client_secret", client.secret),
        grant,
    )
    answer = await account.send(Request("GET", f"{server}{TOKEN_PATH}", params))
    issued = _issued.decode(answer.body)
    return Tokens(issued.access_token, refresh=f"{issued.refresh_token} {_next_server(server, issued)}")


def _next_server(server: str, issued: _Issued) -> str:
    """The server named by the last answer wins; secrets never move from https to plain http."""
    parts = urlsplit(issued.server_endpoint or "")
    is_good = bool(parts.netloc) and not parts.username and parts.scheme in ("https", urlsplit(server).scheme)
    return f"{parts.scheme}://{parts.netloc}" if is_good else server


# --- judging -----------------------------------------------------------------------------------------------------


def judge(request: Request, response: Response, wait: wire.Wait = wire.no_wait) -> None:
    """Raise what an answer of the portal or of the authorization server means; return quietly when it is good."""
    if request.url.endswith(TOKEN_PATH):
        _judge_renewal(request, response)
    else:
        wire.judge(request, response, wait)


def _judge_renewal(request: Request, response: Response) -> None:
    try:
        issued = _issued.decode(response.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _not_json(response.status) from None
    if issued.error is not msgspec.UNSET:
        code = str(issued.error).upper()
        if response.status >= 500:
            raise Unavailable(f"the authorization server answers {response.status}")
        is_code = any(name == "code" for name, _ in request.params)
        reason = _CODE_SPENT if is_code and code == "INVALID_GRANT" else _REASONS.get(code, _AGAIN)
        raise AuthError(f"the authorization server refuses: {reason}", is_final=True)
    if response.status >= 300:
        raise _not_json(response.status)
    if not (issued.access_token and issued.refresh_token):
        raise Drift("the authorization server sent no pair of tokens")


def _not_json(status: int) -> BridgeError:
    """Judged by status alone; nothing says that the refresh token is dead."""
    if status == 429:
        return Throttled("the authorization server: too many requests")
    if status >= 400:
        return Unavailable(f"the authorization server answers {status} without a reason")
    return Drift(f"the authorization server answers {status} without tokens")

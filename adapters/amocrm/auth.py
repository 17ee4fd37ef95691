"""What amoCRM's answers mean, and how an account is set up. Pure but for reading secrets."""

from __future__ import annotations

import re
from datetime import datetime
from functools import partial
from pathlib import Path

import msgspec

from adapters.amocrm import wire
from adapters.amocrm.oauth import TOKEN_PATH, Integration, NotGrantedError
from adapters.amocrm.settings import AmoCrmSettings, LongLivedToken, OAuth, vendor_of
from bridge.errors import AuthError, ConfigError, Drift, Refused, Throttled, Unavailable
from bridge.frozen import replace
from bridge.model import utc
from bridge.ports import Authorization
from bridge.tools import AccountSetup, Rate, Request, Response, Tokens, Tools

_NEW_TOKEN = "make a new long-lived token in the integration's settings and put it into the secret"  # noqa: S105 - advice, not a secret
_BY_HAND = 'make the webhook by hand in the account and set managed = false in "hook"'
HOOKS_PATH = "/api/v4/webhooks"
_LAPSED = utc(0)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_BAN = 3600.0  # seconds until a banned account is tried again: asking makes a ban worse (contract amocrm 11, 15.10)


def account_setup(name: str, settings: AmoCrmSettings, tools: Tools) -> tuple[AccountSetup, Integration | None]:
    """How to talk to this account, and the integration behind it if that is OAuth.

    Raises:
        ConfigError: a secret cannot be read.
    """
    auth = settings.auth
    is_kommo = vendor_of(settings.base_url) == "kommo.com"
    setup = AccountSetup(
        name=f"{tools.tenant.name}/{name}",
        base_url=settings.base_url,
        judge=partial(judge, is_static=isinstance(auth, LongLivedToken)),
        rate=Rate(settings.requests_per_second),
        limit="kommo.com" if is_kommo else "",  # counted per IP there (contract amocrm 11)
    )
    if isinstance(auth, LongLivedToken):
        return replace(setup, tokens=Tokens(auth.token.read(tools.folder).get_secret_value())), None
    secret = auth.client_secret.read(tools.folder).get_secret_value()
    integration = Integration(name, settings.base_url, auth, secret, tools)
    start = _start_tokens(auth, tools.folder)
    return replace(setup, tokens=start, refresh=integration.renew, apply=integration.apply), integration


def _start_tokens(auth: OAuth, folder: Path) -> Tokens | None:
    if auth.refresh_token is None:
        return None
    return Tokens("", _LAPSED, auth.refresh_token.read(folder).get_secret_value())


def authorize(name: str, settings: AmoCrmSettings, tools: Tools) -> Authorization:
    """See ``ports.SourceSpec.authorize``.

    Raises:
        ConfigError: a secret cannot be read, or the account is read with a long-lived token.
    """
    setup, integration = account_setup(name, settings, tools)
    if integration is None:
        raise ConfigError(f"{setup.name} has a long-lived token, which needs no code; make a new one in the account")
    advice = f'It leads to your redirect_uri. Within 20 minutes: {integration.command} --code "THAT ADDRESS"'
    return Authorization(setup, integration.page(), advice, integration.exchange)


def expires(settings: AmoCrmSettings, folder: Path) -> datetime | None:
    """See ``ports.SourceSpec.expires``: the end of a long-lived token.

    Raises:
        ConfigError: the token cannot be read.
    """
    auth = settings.auth
    return expiry_of(auth.token.read(folder).get_secret_value()) if isinstance(auth, LongLivedToken) else None


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
    if request.url.endswith(TOKEN_PATH) and status in (400, 401, 404):
        raise _not_granted(response)
    if status == 401:
        advice = f"; {_NEW_TOKEN}" if is_static else ""
        raise AuthError(f"amoCRM does not accept the access token{advice}", is_final=is_static)
    if status == 402 and request.url.startswith(HOOKS_PATH):
        raise Refused(f"the account's plan has no webhooks through the API; {_BY_HAND}", code="http_402")
    if status == 402:
        raise AuthError("the amoCRM subscription has ended or does not include the API; pay for it", is_final=True)
    if status == 403 and not _is_json(response):
        text = "amoCRM has banned this account or address for too many requests; only its support can lift that"
        raise AuthError(text, is_final=True, stop_for=_BAN)
    if status == 429:
        # It usually does not say how long (contract amocrm 11).
        raise Throttled("amoCRM: too many requests", retry_after=response.retry_after)
    if status >= 500 or status == 408:
        raise Unavailable(f"amoCRM answers {status}{_named(response)}")
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


def _not_granted(response: Response) -> NotGrantedError:
    """Which of the cases of contract amocrm 1.6 it is; never the vendor's own text, which may echo a token."""
    try:
        has_hint = msgspec.json.decode(response.body, type=wire.OAuthProblem).hint is not None
    except (msgspec.DecodeError, UnicodeDecodeError):
        has_hint = False
    if response.status == 404:
        reason = "amoCRM knows no account at this address; check base_url, the account may have been renamed"
    elif response.status == 400:
        reason = "amoCRM refused the renewal; redirect_uri must equal the integration's"
    elif has_hint:
        reason = "the refresh token was revoked or has been used before; the integration has to be authorized again"
    else:
        reason = "amoCRM does not accept client_id and client_secret; copy them from the integration's keys"
    return NotGrantedError(reason, response.status)


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
    return Refused(f"amoCRM refused the request ({response.status}, {code}){place}{_named(response)}", code=code)


def _named(response: Response) -> str:
    """The answer's own id, for the vendor's support (contract amocrm 0); gateways send none."""
    own_id = response.headers.get("x-request-id", "")
    return f", X-Request-Id {own_id}" if _REQUEST_ID.fullmatch(own_id) else ""


def expiry_of(token: str) -> datetime | None:
    """When an access token ends, by its ``exp`` claim (contract amocrm 1.3); None if unreadable."""
    claims = wire.claims_of(token)
    try:
        return None if claims is None else utc(claims.exp)
    except (ValueError, OverflowError, OSError):
        return None

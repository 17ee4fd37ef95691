"""How requests are authorized, and what HubSpot's answers mean (contract hubspot 1, 6)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import datetime, timedelta
from functools import partial
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from adapters.hubspot import wire
from adapters.hubspot.settings import HOME, SCOPES, HubSpotSettings, OAuth, PrivateApp
from bridge.errors import AuthError, BridgeError, ConfigError, Drift, Refused, Throttled, Unavailable
from bridge.frozen import frozen, replace
from bridge.model import utc
from bridge.ports import Authorization
from bridge.tools import Account, AccountSetup, Rate, Request, Response, Tokens, Tools

TOKEN_PATH = "/oauth/v1/token"  # noqa: S105 - an address, no secret
SEARCH = "search"  # scope of the requests that share the portal's limit of searches (contract 3)
_PAGE = "https://app.hubspot.com"
_BURST = 10
_PARALLEL = 4
_LAPSED = utc(0)
_WINDOW = 10.0  # seconds of the rolling limit (contract 6)
_LOCKED = 2.0  # seconds a locked record is left alone (contract 6)
_MOVING = 60.0  # seconds, where an account under migration names no time
_DAILY_MAX = 3600.0  # seconds; the portal's midnight is not known for sure, so it is asked once an hour
_SCOPE = re.compile(r"[a-z0-9][a-z0-9._-]{2,79}")
_NEW_TOKEN = "copy the private app's access token anew into the secret"  # noqa: S105 - advice, not a secret


@frozen
class App:
    """A public app at one portal."""

    own: str
    auth: OAuth
    secret: str = field(repr=False)
    tools: Tools

    @property
    def command(self) -> str:
        """What a person runs to authorize this source."""
        return f"bridge auth {self.own} --tenant {self.tools.tenant.name}"

    def page(self, base_url: str) -> str:
        """Where access is granted (contract 1); an address that is not the vendor's serves its own."""
        site = _PAGE if base_url == HOME else base_url
        state = f"{self.tools.tenant.name}.{self.own}"
        asked = {"client_id": self.auth.client_id, "redirect_uri": self.auth.redirect_uri, "scope": " ".join(SCOPES)}
        return f"{site}/oauth/authorize?{urlencode({**asked, 'state': state})}"

    async def exchange(self, account: Account, code: str) -> Tokens:
        """The first tokens for a code, which works once.

        Raises:
            AuthError: final; a new code is needed, or other settings.
            Ambiguous: the answer is lost, and the code is most likely spent.
        """
        grant = {"grant_type": "authorization_code", "code": code, "redirect_uri": self.auth.redirect_uri}
        return await self._ask(account, grant, is_safe=False)

    async def renew(self, account: Account, tokens: Tokens | None) -> Tokens:
        """A new access token. The refresh token stays the same unless the answer brings another (contract 1).

        Raises:
            AuthError: final; only a new authorization helps.
        """
        if tokens is None or not tokens.refresh:
            raise AuthError(f'HubSpot: this source is not authorized yet; run "{self.command}"', is_final=True)
        grant = {"grant_type": "refresh_token", "refresh_token": tokens.refresh}
        try:
            return await self._ask(account, grant, is_safe=True)
        except AuthError as error:
            raise AuthError(f'{error}; or run "{self.command}"', is_final=True) from None

    async def _ask(self, account: Account, grant: Mapping[str, str], *, is_safe: bool) -> Tokens:
        form = {**grant, "client_id": self.auth.client_id, "client_secret": self.secret}
        headers = {"content-type": "application/x-www-form-urlencoded"}
        request = Request("POST", TOKEN_PATH, headers=headers, body=urlencode(form).encode(), is_safe=is_safe)
        issued = wire.decoded((await account.send(request)).body, wire.Issued, "answer of the token endpoint")
        ends = self.tools.clock.now() + timedelta(seconds=issued.expires_in)
        return Tokens(issued.access_token, ends, issued.refresh_token)


def account_setup(name: str, settings: HubSpotSettings, tools: Tools) -> tuple[AccountSetup, App | None]:
    """How to talk to this portal, and the app behind it if that is OAuth.

    Raises:
        ConfigError: a secret cannot be read.
    """
    auth = settings.auth
    is_static = isinstance(auth, PrivateApp)
    midnight = partial(_until_midnight, tools.clock.now, ZoneInfo(tools.tenant.timezone))
    setup = AccountSetup(
        name=f"{tools.tenant.name}/{name}",
        base_url=settings.base_url,
        judge=partial(judge, is_static=is_static, midnight=midnight),
        rate=Rate(settings.requests_per_second, _BURST, _PARALLEL),
        scopes=((SEARCH, Rate(settings.searches_per_second)),),
    )
    if isinstance(auth, PrivateApp):
        return replace(setup, tokens=Tokens(auth.token.read(tools.folder).get_secret_value())), None
    app = App(name, auth, auth.client_secret.read(tools.folder).get_secret_value(), tools)
    start = None
    if auth.refresh_token is not None:
        start = Tokens("", _LAPSED, auth.refresh_token.read(tools.folder).get_secret_value())
    return replace(setup, tokens=start, refresh=app.renew), app


def authorize(name: str, settings: HubSpotSettings, tools: Tools) -> Authorization:
    """See ``ports.SourceSpec.authorize``.

    Raises:
        ConfigError: a secret cannot be read, or the portal is read with a private app's token.
    """
    setup, app = account_setup(name, settings, tools)
    if app is None:
        raise ConfigError(f"{setup.name} has a private app's token, which needs no code")
    advice = f'Choose the account. It leads to your redirect_uri; then: {app.command} --code "THAT ADDRESS"'
    return Authorization(setup, app.page(settings.base_url), advice, app.exchange)


def _until_midnight(now: Callable[[], datetime], zone: ZoneInfo) -> float:
    """Seconds until the next midnight there."""
    here = now().astimezone(zone)
    midnight = (here + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return (midnight.astimezone(_LAPSED.tzinfo) - here.astimezone(_LAPSED.tzinfo)).total_seconds()


# --- judging -----------------------------------------------------------------------------------------------------


def judge(
    request: Request, response: Response, *, is_static: bool, midnight: Callable[[], float] = lambda: _DAILY_MAX
) -> None:
    """Raise what an answer means; quiet when it is JSON, whole (200) or partial (207)."""
    status = response.status
    if status in (200, 201, 207):
        _insist_on_json(response)
        return
    if request.url.endswith(TOKEN_PATH) and status in (400, 401, 403, 404):
        raise _not_granted(response)
    if status == 401:
        raise _not_accepted(response, is_static=is_static)
    if status in (423, 429, 477):
        raise _throttled(response, midnight)
    if status >= 500 or status == 408:
        raise Unavailable(f"HubSpot answers {status}")
    if status < 400:
        raise Drift(f"HubSpot answers {status}; check base_url")
    raise _refusal(response)


def _insist_on_json(response: Response) -> None:
    """A look at both ends: pages are large, and whoever decodes them finds what is wrong in between."""
    if not (response.body.startswith(b"{") and response.body.rstrip().endswith(b"}")):
        raise Drift("HubSpot sent something else than JSON with a good status")


def _not_accepted(response: Response, *, is_static: bool) -> AuthError:
    if is_static:
        return AuthError(f"HubSpot does not accept the token; {_NEW_TOKEN}", is_final=True)
    has_ended = wire.problem(response.body).code == "EXPIRED_AUTHENTICATION"
    return AuthError("the HubSpot access token has ended" if has_ended else "HubSpot does not accept the access token")


def _not_granted(response: Response) -> AuthError:
    """Never the vendor's own text, which may echo a token. Codes: BAD_REFRESH_TOKEN, BAD_AUTH_CODE, BAD_CLIENT_..."""
    code = str(wire.problem(response.body).status or "").upper()
    if "CLIENT" in code or "HUB" in code:
        text = "HubSpot does not accept client_id and client_secret; copy them from the app's page"
    elif "CODE" in code:
        text = "HubSpot refused the code: it works once and for some minutes, and redirect_uri must equal the app's"
    elif "REDIRECT" in code:
        text = "HubSpot refused redirect_uri; it must equal the app's"
    else:
        text = "HubSpot refused the refresh token: the app was removed from the account, or the token is another app's"
    return AuthError(text, is_final=True)


def _throttled(response: Response, midnight: Callable[[], float]) -> BridgeError:
    """Nothing was applied. The end of a day's allowance is asked for once an hour, and at midnight (contract 6)."""
    told = response.retry_after
    if response.status == 423:
        return Throttled("HubSpot: the record is locked for the moment", retry_after=max(told or 0.0, _LOCKED))
    if response.status == 477:
        text = "HubSpot is moving this account to another data centre"
        return Throttled(text, retry_after=_MOVING if told is None else told)
    if str(wire.problem(response.body).policy_name).upper() == "DAILY":
        text = "HubSpot: the account's requests of today are used up, by whichever program; reading goes on tomorrow"
        return Throttled(text, retry_after=min(max(midnight(), 1.0), _DAILY_MAX))
    return Throttled("HubSpot: too many requests", retry_after=max(told or 0.0, _WINDOW))


def _refusal(response: Response) -> Refused:
    problem = wire.problem(response.body)
    code = problem.code[:60] or f"http_{response.status}"
    if response.status == 403:
        scopes = sorted({name for name in _scopes(problem) if _SCOPE.fullmatch(name)})
        wanted = f": {', '.join(scopes)}" if scopes else f"; it needs {', '.join(SCOPES)}"
        return Refused(f"HubSpot: the app lacks a scope{wanted}; add it and grant access again", code=code)
    fields = sorted({name for name in problem.listed("propertyName") if _SCOPE.fullmatch(name)})
    place = f" about {', '.join(fields[:3])}" if fields else ""
    return Refused(f"HubSpot refused the request ({response.status}, {code}){place}", code=code)


def _scopes(problem: wire.Problem) -> list[str]:
    return [*problem.listed("requiredScopes"), *problem.listed("requiredGranularScopes")]

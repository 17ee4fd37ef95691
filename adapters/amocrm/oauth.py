"""An OAuth integration: a code or a refresh token for a new pair, and an account that has moved (contract amocrm 1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlencode, urlsplit

import msgspec

from adapters.amocrm import wire
from adapters.amocrm.settings import OAuth, vendor_of
from bridge.errors import AuthError, BridgeError
from bridge.frozen import replace
from bridge.tools import Account, Request, Tokens, Tools, bearer

TOKEN_PATH = "/oauth2/access_token"  # noqa: S105 - an address, no secret
HOME_PATH = "/oauth2/account/current/subdomain"  # contract amocrm 1.5
_LOOPBACK = ("127.0.0.1", "localhost")


class NotGrantedError(AuthError):
    """The token endpoint said no; ``status`` is 400, 401 or 404 (contract amocrm 1.6). Final."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message, is_final=True)
        self.status = status


@dataclass(slots=True)
class Integration:
    """One integration at one account. ``home`` is where the account was found when ``base_url`` no longer answered."""

    own: str
    base_url: str
    auth: OAuth
    secret: str = field(repr=False)
    tools: Tools
    home: str = ""

    @property
    def command(self) -> str:
        """What a person runs to authorize this source."""
        return f"bridge auth {self.own} --tenant {self.tools.tenant.name}"

    def page(self) -> str:
        """Where access is granted (contract amocrm 1.1); an address that is not the vendor's serves its own."""
        vendor = vendor_of(self.base_url)
        state = f"{self.tools.tenant.name}.{self.own}"
        query = urlencode({"client_id": self.auth.client_id, "state": state, "mode": "popup"})
        return f"{f'https://www.{vendor}' if vendor else self.base_url}/oauth?{query}"

    def apply(self, request: Request, token: str) -> Request:
        """A request of the API, sent to where the account is now."""
        if self.home and request.url.startswith("/"):
            request = replace(request, url=f"{self.home}{request.url}")
        return bearer(request, token)

    async def exchange(self, account: Account, code: str) -> Tokens:
        """The first pair for a code, which works once and for 20 minutes (contract amocrm 1.1, 1.2).

        Raises:
            AuthError: final; a new code is needed, or other settings.
            Ambiguous: the answer is lost, and the code is most likely spent.
        """
        try:
            return await self._ask(account, {"grant_type": "authorization_code", "code": code}, is_safe=False)
        except NotGrantedError as error:
            if error.status != 400:
                raise
            text = "amoCRM refused the code: it works once and for 20 minutes, and redirect_uri must equal the"
            raise AuthError(f'{text} integration\'s; get a new one by "{self.command}"', is_final=True) from None

    async def renew(self, account: Account, tokens: Tokens | None) -> Tokens:
        """Spend a refresh token on a new pair (contract amocrm 1.2, 1.4).

        The request is marked repeatable although the token works once. When the answer is lost nobody knows whether the
        vendor has spent the token; trying it again is the only way on, and a vendor that has spent it says so.
        A renamed account answers 401 or 404 at its old address (contract amocrm 1.5): it is looked for, once.

        Raises:
            AuthError: final; only a new authorization helps.
        """
        if tokens is None or not tokens.refresh:
            raise AuthError(f'amoCRM: this source is not authorized yet; run "{self.command}"', is_final=True)
        body = {"grant_type": "refresh_token", "refresh_token": tokens.refresh}
        try:
            return await self._ask(account, body, is_safe=True)
        except NotGrantedError as error:
            if error.status == 400 or not await self._has_moved(account, tokens):
                raise AuthError(f'{error}; else run "{self.command}"', is_final=True) from None
        return await self._ask(account, body, is_safe=True)

    async def _ask(self, account: Account, grant: Mapping[str, str], *, is_safe: bool) -> Tokens:
        known = {"client_id": self.auth.client_id, "client_secret": self.secret}
        body = msgspec.json.encode({**known, **grant, "redirect_uri": self.auth.redirect_uri})
        headers = {"content-type": "application/json"}
        url = f"{self.home}{TOKEN_PATH}"
        answer = await account.send(Request("POST", url, headers=headers, body=body, is_safe=is_safe))
        issued = wire.read_one(answer.body, wire.Issued, "answer of the token endpoint")
        expires_at = self.tools.clock.now() + timedelta(seconds=issued.expires_in)
        return Tokens(issued.access_token, expires_at, issued.refresh_token)

    async def _has_moved(self, account: Account, tokens: Tokens) -> bool:
        """Whether the account answers at another address than the one just tried; from now on it is used."""
        found = await self._current_home(account, tokens)
        if found in ("", (self.home or self.base_url).lower()):
            return False
        self.home = found
        self.tools.log.warning("account_moved", base_url=self.base_url, home=found)
        return True

    async def _current_home(self, account: Account, tokens: Tokens) -> str:
        """The account's address as the vendor knows it; "" when it does not tell.

        Raises:
            AuthError: final (a ban).
        """
        claims = wire.claims_of(tokens.access)
        api = self._origin(claims.api_domain if claims else None)
        if not api or not tokens.refresh:
            return ""
        request = Request("GET", f"{api}{HOME_PATH}", headers={"x-refresh-token": tokens.refresh}, is_safe=True)
        try:
            answer = await account.send(request)
            return self._origin(wire.read_one(answer.body, wire.Home, "address of the account").domain)
        except BridgeError as error:
            if isinstance(error, AuthError) and error.stop_for:
                raise
            return ""

    def _origin(self, host: str | None) -> str:
        """The address of a host that may be sent a token: the vendor's own, or (simulators) on this machine."""
        own = urlsplit(self.base_url)
        if not host or urlsplit(f"//{host}").netloc != host or "@" in host:
            return ""
        if vendor_of(f"https://{host}") and vendor_of(self.base_url):  # whoever reads through a proxy goes on to do so
            return f"https://{host.lower()}"
        is_local = own.hostname in _LOOPBACK and urlsplit(f"//{host}").hostname in _LOOPBACK
        return f"{own.scheme}://{host}" if is_local else ""

"""The simulated authorization server: pairs of tokens whose refresh token works once (contract bitrix24 1.2, 1.3)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from adapters.bitrix24.fake_query import RestError
from bridge.tools import Clock

ACCESS_LIFE = timedelta(seconds=3600)
REFRESH_LIFE = timedelta(days=180)
CODE_LIFE = timedelta(seconds=30)
CLIENT_ID = "local.66f2a1c09d7e44.70318825"


class Desk:
    """Issues and checks an application's tokens. ``server``: the address it names for the next renewal, if any.

    ``refusal``: an error to answer every renewal with, as (code, HTTP status).
    """

    def __init__(self, clock: Clock, name: str) -> None:
        self._clock = clock
        self._name = name
        self._issued = 0
        self._access: dict[str, datetime] = {}
        self._once: dict[tuple[str, str], datetime] = {}  # refresh tokens and codes, which work once
        self.server = ""
        self.refusal: tuple[str, int] | None = None
        self.renewals = 0
        self.client_secret = self._opaque("secret")
        self.first_refresh = self._grant("refresh_token", REFRESH_LIFE)

    def code(self) -> str:
        """An authorization code, as the redirect of an installation brings it."""
        return self._grant("code", CODE_LIFE)

    def check(self, token: Any) -> None:
        """Whether a call's access token is good.

        Raises:
            RestError: there is none, it was never issued, or it has expired.
        """
        if not token:
            raise RestError("NO_AUTH_FOUND", "Wrong authorization data", 401)
        ends = self._access.get(str(token))
        if ends is None:
            raise RestError("invalid_token", "Unable to get application by token", 401)
        if ends <= self._clock.now():
            raise expired()

    def expire(self) -> None:
        """Every access token issued so far is too old."""
        self._access = dict.fromkeys(self._access, self._clock.now())

    def exchange(self, query: Mapping[str, str], portal: str) -> tuple[int, dict[str, Any]]:
        """Answer of ``GET /oauth/token/``: status and body. Errors come without a description."""
        if self.refusal is not None:
            return self.refusal[1], {"error": self.refusal[0]}
        if query.get("client_id") != CLIENT_ID or query.get("client_secret") != self.client_secret:
            return 200, {"error": "wrong_client"}
        names = {"refresh_token": "refresh_token", "authorization_code": "code"}
        name = names.get(query.get("grant_type", ""))
        if name is None:
            return 400, {"error": "invalid_request"}
        ends = self._once.pop((name, query.get(name, "")), None)
        if ends is None or ends <= self._clock.now():
            return 400, {"error": "invalid_grant"}
        self.renewals += name == "refresh_token"
        return 200, self._pair(portal)

    def _pair(self, portal: str) -> dict[str, Any]:
        ends = self._clock.now() + ACCESS_LIFE
        token = self._opaque("access")
        self._access[token] = ends
        pair = {"access_token": token, "refresh_token": self._grant("refresh_token", REFRESH_LIFE)}
        life = {"expires": int(ends.timestamp()), "expires_in": int(ACCESS_LIFE.total_seconds()), "scope": "crm"}
        server = {"server_endpoint": f"{self.server}/rest/"} if self.server else {}
        place = {"domain": "oauth.bitrix24.tech", "client_endpoint": f"{portal}/rest/", "member_id": self._name}
        return {**pair, **life, **server, **place, "status": "L", "user_id": 1}

    def _grant(self, name: str, life: timedelta) -> str:
        text = self._opaque(name)
        self._once[name, text] = self._clock.now() + life
        return text

    def _opaque(self, what: str) -> str:
        """Text that looks random and is the same in every run of the same simulation."""
        self._issued += 1
        return hashlib.sha256(f"{self._name}/{what}/{self._issued}".encode()).hexdigest()


def expired() -> RestError:
    """What a call with an old access token gets."""
    return RestError("expired_token", "The access token provided has expired.", 401)

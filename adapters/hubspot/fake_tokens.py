"""The simulated token endpoint: a private app's token, and access tokens of half an hour (contract hubspot 1)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from adapters.hubspot.fake_schema import ApiError
from adapters.hubspot.settings import SCOPES
from bridge.tools import Clock

ACCESS_LIFE = timedelta(seconds=1800)
CODE_LIFE = timedelta(minutes=5)
CLIENT_ID = "0f6c1a52-7b1d-4c7e-9a55-2f6f0f3a9e11"
REDIRECT_URI = "https://bridge.example/oauth"


class TokenDesk:
    """Issues and checks tokens. ``rotates``: each renewal brings another refresh token, the old one still works."""

    def __init__(self, clock: Clock, name: str) -> None:
        self._clock = clock
        self._name = name
        self._issued = 0
        self._access: dict[str, datetime] = {}
        self._codes: dict[str, datetime] = {}
        self._refresh: set[str] = set()
        self.scopes: tuple[str, ...] = SCOPES
        self.rotates = False
        self.renewals = 0
        self.client_secret = self._opaque("secret")
        self.private = f"pat-eu1-{self._opaque('private')}"
        self.first_refresh = self._new_refresh()
        self._is_private_good = True

    def code(self) -> str:
        """An authorization code, as the redirect brings it: minutes, once."""
        text = self._opaque("code")
        self._codes[text] = self._clock.now() + CODE_LIFE
        return text

    def revoke(self) -> None:
        """The app is removed from the account."""
        self._access.clear()
        self._refresh.clear()
        self._is_private_good = False

    def expire(self) -> None:
        """Every access token issued so far is too old."""
        self._access = dict.fromkeys(self._access, self._clock.now())

    def is_private(self, header: str) -> bool:
        return header == f"Bearer {self.private}"

    def check(self, header: str) -> None:
        """Whether a request's token is good.

        Raises:
            ApiError: there is none, it was never issued, or it has expired.
        """
        scheme, _, token = header.partition(" ")
        if scheme == "Bearer" and token == self.private and self._is_private_good:
            return
        ends = self._access.get(token) if scheme == "Bearer" else None
        if ends is None:
            raise ApiError(401, "INVALID_AUTHENTICATION", "Authentication credentials not found.")
        if ends <= self._clock.now():
            raise expired()

    def demand(self, *wanted: str) -> None:
        """Whether the app was granted one of these scopes.

        Raises:
            ApiError: none of them.
        """
        if not set(wanted) & set(self.scopes):
            context = {"requiredGranularScopes": list(wanted)}
            text = "This app hasn't been granted all required scopes to make this call."
            inner = {"message": "One or more of the following scopes are required.", "context": context}
            raise ApiError(403, "MISSING_SCOPES", text, errors=[inner])

    def exchange(self, form: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """Answer of ``POST /oauth/v1/token``: status and body."""
        if form.get("client_id") != CLIENT_ID:
            return _refused("BAD_CLIENT_ID", "missing or unknown client id")
        if form.get("client_secret") != self.client_secret:
            return _refused("BAD_CLIENT_SECRET", "missing or invalid client secret")
        if form.get("grant_type") == "refresh_token":
            token = str(form.get("refresh_token", ""))
            if token not in self._refresh:
                return _refused("BAD_REFRESH_TOKEN", "missing or invalid refresh token")
            self.renewals += 1
            return 200, self._pair(self._new_refresh() if self.rotates else token)
        if form.get("grant_type") != "authorization_code":
            return _refused("BAD_GRANT_TYPE", "missing or unknown grant type")
        if form.get("redirect_uri") != REDIRECT_URI:
            return _refused("MISMATCH_REDIRECT_URI", "redirect_uri does not match")
        ends = self._codes.pop(str(form.get("code", "")), None)
        if ends is None or ends <= self._clock.now():
            return _refused("BAD_AUTH_CODE", "missing or unknown auth code")
        return 200, self._pair(self._new_refresh())

    def _pair(self, refresh: str) -> dict[str, Any]:
        token = self._opaque("access")
        self._access[token] = self._clock.now() + ACCESS_LIFE
        life = int(ACCESS_LIFE.total_seconds())
        return {"token_type": "bearer", "refresh_token": refresh, "access_token": token, "expires_in": life}

    def _new_refresh(self) -> str:
        text = self._opaque("refresh")
        self._refresh.add(text)
        return text

    def _opaque(self, what: str) -> str:
        """Text that looks random and is the same in every run of the same simulation."""
        self._issued += 1
        return hashlib.sha256(f"{self._name}/{what}/{self._issued}".encode()).hexdigest()


def expired() -> ApiError:
    """What a request with an old access token gets."""
    context = {"expireTime": ["2026-01-01T00:00:00Z"]}
    return ApiError(401, "EXPIRED_AUTHENTICATION", "The OAuth token used to make this call expired.", context=context)


def _refused(status: str, message: str) -> tuple[int, dict[str, Any]]:
    return 400, {"status": status, "message": message, "correlationId": "00000000-0000-4000-8000-000000000002"}

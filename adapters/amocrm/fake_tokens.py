"""The simulated token endpoint: long-lived tokens, OAuth pairs whose refresh token works once (contract amocrm 1)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from bridge.tools import Clock

ACCESS_LIFE = timedelta(hours=24)
REFRESH_LIFE = timedelta(days=90)
CODE_LIFE = timedelta(minutes=20)
CLIENT_ID = "6f1c0a52-0b1d-4c7e-9a55-2f6f0f3a9e11"
REDIRECT_URI = "https://bridge.example/oauth"
_PROBLEM = "https://developers.amocrm.ru/v3/errors/OAuthProblemJson"


@dataclass(slots=True)
class _Grant:
    ends: datetime
    spent_at: datetime | None = None
    answer: bytes = b""


class TokenDesk:
    """Issues and checks tokens. ``grace``: how long a spent refresh token gives its answer again (not verified)."""

    def __init__(self, clock: Clock, name: str, grace: timedelta) -> None:
        self._clock = clock
        self._name = name
        self._grace = grace
        self._issued = 0
        self._access: dict[str, datetime] = {}
        self._refresh: dict[str, _Grant] = {}
        self._codes: dict[str, _Grant] = {}
        self._integrations: dict[str, str] = {}  # access token -> client id
        self.api_domain = "api-b.amocrm.ru"
        self.client_secret = self._opaque("secret")
        self.long_lived = self._jwt(timedelta(days=5 * 365))
        self.first_refresh = self._new_refresh()

    def code(self) -> str:
        """An authorization code, as the vendor's page would hand out: 20 minutes, once."""
        text = self._opaque("code")
        self._codes[text] = _Grant(self._clock.now() + CODE_LIFE)
        return text

    def accepts(self, header: str) -> bool:
        """Whether an Authorization header holds a valid access token; old ones stay valid after a refresh."""
        scheme, _, token = header.partition(" ")
        return scheme == "Bearer" and self._access.get(token, self._clock.now()) > self._clock.now()

    def is_live(self, refresh: str) -> bool:
        """Whether a refresh token can still be spent."""
        grant = self._refresh.get(refresh)
        return grant is not None and grant.spent_at is None and grant.ends > self._clock.now()

    def integration(self, header: str) -> str:
        """The client id of the integration whose token this Authorization header holds."""
        return self._integrations.get(header.partition(" ")[2], CLIENT_ID)

    def another(self, life: timedelta = timedelta(days=365)) -> str:
        """A long-lived token of another private integration of the account."""
        return self._jwt(life, self._opaque("client")[:36])

    def revoke(self) -> None:
        """An administrator switches the integration off: nothing issued so far works any more."""
        self._access.clear()
        self._refresh.clear()

    def exchange(self, body: dict[str, object]) -> tuple[int, bytes]:
        """Answer of ``POST /oauth2/access_token``: status and body."""
        if body.get("client_id") != CLIENT_ID or body.get("client_secret") != self.client_secret:
            return 401, _problem(401, "Некорректный клиент", "Авторизация клиента не прошла")
        is_refresh = body.get("grant_type") == "refresh_token"
        secret = body.get("refresh_token" if is_refresh else "code")
        if body.get("grant_type") not in ("refresh_token", "authorization_code") or not isinstance(secret, str):
            return 400, _invalid(400, "Check the request parameters")
        if body.get("redirect_uri") != REDIRECT_URI:
            return 400, _invalid(400, "Check the `redirect_uri` parameter")
        return self._renew(secret) if is_refresh else self._redeem(secret)

    def _renew(self, secret: str) -> tuple[int, bytes]:
        now = self._clock.now()
        grant = self._refresh.get(secret)
        if grant is not None and grant.spent_at is not None and now < grant.spent_at + self._grace:
            return 200, grant.answer
        if grant is None or grant.spent_at is not None or grant.ends <= now:
            return 401, _invalid(401, "Token has been revoked")
        grant.spent_at = now
        grant.answer = self._pair()
        return 200, grant.answer

    def _redeem(self, secret: str) -> tuple[int, bytes]:
        grant = self._codes.pop(secret, None)
        if grant is None or grant.ends <= self._clock.now():
            return 400, _invalid(400, "Authorization code has expired")
        return 200, self._pair()

    def _pair(self) -> bytes:
        answer = {
            "token_type": "Bearer",
            "expires_in": int(ACCESS_LIFE.total_seconds()),
            "server_time": int(self._clock.now().timestamp()),
            "access_token": self._jwt(ACCESS_LIFE),
            "refresh_token": self._new_refresh(),
        }
        return msgspec.json.encode(answer)

    def _new_refresh(self) -> str:
        text = self._opaque("refresh")
        self._refresh[text] = _Grant(self._clock.now() + REFRESH_LIFE)
        return text

    def _jwt(self, life: timedelta, client: str = CLIENT_ID) -> str:
        now = self._clock.now()
        ends = now + life
        header = {"typ": "JWT", "alg": "RS256", "jti": self._opaque("jti")}
        claims = {
            "aud": client,
            "iat": int(now.timestamp()),
            "nbf": int(now.timestamp()),
            "exp": int(ends.timestamp()),
            "sub": "7902001",
            "account_id": 31234567,
            "base_domain": "amocrm.ru",
            "version": 2,
            "scopes": ["crm"],
            "api_domain": self.api_domain,
        }
        token = ".".join((_part(header), _part(claims), self._opaque("signature")))
        self._access[token] = ends
        self._integrations[token] = client
        return token

    def _opaque(self, what: str) -> str:
        """Text that looks random and is the same in every run of the same simulation."""
        self._issued += 1
        return "def502" + hashlib.sha256(f"{self._name}/{what}/{self._issued}".encode()).hexdigest()


def _part(content: Mapping[str, object]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(content)).rstrip(b"=").decode()


def _problem(status: int, title: str, detail: str, **extra: str) -> bytes:
    return msgspec.json.encode({**extra, "title": title, "type": _PROBLEM, "status": status, "detail": detail})


def _invalid(status: int, hint: str) -> bytes:
    detail = "В запросе отсутствует ряд параметров или параметры невалидны"
    return _problem(status, "Некорректный запрос", detail, hint=hint)

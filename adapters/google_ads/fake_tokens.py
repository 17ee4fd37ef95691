"""The token endpoint of the simulated Google: both grants of contract google 6, with real RS256 signatures."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from adapters.google_ads.ads_api import SCOPE as ADS_SCOPE
from adapters.google_ads.auth import AUDIENCE, SCOPE
from adapters.google_ads.fake_checks import Rules
from bridge.frozen import frozen

Kind = Literal["service_account", "authorized_user"]
_EMAIL = "bridge@simulated.iam.gserviceaccount.com"
_JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@cache
def _key() -> rsa.RSAPrivateKey:
    """One key per process: making it takes a tenth of a second."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@frozen
class TokenReply:
    """Status and JSON of the token endpoint."""

    status: int
    body: dict[str, Any]


class TokenDesk:
    """Gives out access tokens and knows which are good. Life and scope come from the rules."""

    def __init__(self, kind: Kind, rules: Rules) -> None:
        self._kind = kind
        self._rules = rules
        self._good_until: dict[str, datetime] = {}
        self._scopes: dict[str, str] = {}
        self._client = ("simulated.apps.googleusercontent.com", secrets.token_hex(12))
        self._refresh_token = f"1//{secrets.token_hex(24)}"
        self.issued = 0

    def credentials_json(self) -> str:
        """What the operator downloads: a service-account key, or an OAuth client with its user's refresh token."""
        return json.dumps(self._key_file() if self._kind == "service_account" else self._user_file())

    def _key_file(self) -> dict[str, str]:
        pem = _key().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return {
            "type": "service_account",
            "project_id": "simulated",
            "private_key_id": "simulated-key",
            "private_key": pem.decode(),
            "client_email": _EMAIL,
            "token_uri": AUDIENCE,
        }

    def _user_file(self) -> dict[str, str]:
        client_id, client_secret = self._client
        return {
            "type": "authorized_user",
            "client_id": client_id,
            "client_secret": client_secret,
            "refresh_token": self._refresh_token,
        }

    def revoke(self) -> None:
        """The user withdraws consent, or the key is deleted: nothing given out is good any more."""
        self._good_until.clear()
        self._refresh_token = f"1//{secrets.token_hex(24)}"
        self._kind = "authorized_user"

    def expire(self) -> None:
        """Every access token dies early; new ones can be had."""
        self._good_until.clear()

    def is_good(self, token: str, now: datetime) -> bool:
        until = self._good_until.get(token)
        return until is not None and now < until

    def covers(self, token: str, scope: str) -> bool:
        """Whether a token was given for this scope."""
        return scope in self._scopes.get(token, "").split()

    def answer(self, form: Mapping[str, str], now: datetime) -> TokenReply:
        """The endpoint's answer to a form."""
        grant = form.get("grant_type")
        if grant == "refresh_token":
            return self._for_user(form, now)
        if grant == _JWT_GRANT:
            return self._for_service(form.get("assertion", ""), now)
        return TokenReply(400, {"error": "unsupported_grant_type", "error_description": "Invalid grant_type"})

    def _for_user(self, form: Mapping[str, str], now: datetime) -> TokenReply:
        if (form.get("client_id"), form.get("client_secret")) != self._client:
            return TokenReply(401, {"error": "invalid_client", "error_description": "Unauthorized"})
        if self._kind != "authorized_user" or form.get("refresh_token") != self._refresh_token:
            return _invalid("Token has been expired or revoked.")
        reply = self._issue(now, self._rules.scopes)
        reply.body["scope"] = self._rules.scopes
        return reply

    def _for_service(self, assertion: str, now: datetime) -> TokenReply:
        claims = verified_claims(assertion)
        if claims is None or self._kind != "service_account":
            return _invalid("Invalid JWT Signature.")
        if claims.get("iss") != _EMAIL or claims.get("aud") != AUDIENCE:
            return _invalid("Invalid JWT: wrong issuer or audience.")
        issued, expires = claims.get("iat"), claims.get("exp")
        if not isinstance(issued, int) or not isinstance(expires, int) or not self._is_timely(issued, expires, now):
            return _invalid("Invalid JWT: iat and exp must lie in a reasonable timeframe.")
        scope = str(claims.get("scope", ""))
        if not scope or not set(scope.split()) <= {SCOPE, ADS_SCOPE}:
            return TokenReply(400, {"error": "invalid_scope", "error_description": "Invalid OAuth scope."})
        return self._issue(now, scope)

    def _is_timely(self, issued: int, expires: int, now: datetime) -> bool:
        skew = self._rules.clock_skew.total_seconds()
        moment = now.timestamp()
        return issued <= moment + skew and moment - skew < expires and expires - issued <= 3600

    def _issue(self, now: datetime, scope: str) -> TokenReply:
        token = f"ya29.{secrets.token_hex(24)}"
        self._good_until = {known: until for known, until in self._good_until.items() if until > now}
        self._good_until[token] = now + self._rules.token_life
        self._scopes[token] = scope
        self.issued += 1
        # One second less than its life, as Google says 3599 of an hour.
        life = int((self._rules.token_life - timedelta(seconds=1)).total_seconds())
        return TokenReply(200, {"access_token": token, "expires_in": life, "token_type": "Bearer"})


def _invalid(description: str) -> TokenReply:
    return TokenReply(400, {"error": "invalid_grant", "error_description": description})


def verified_claims(assertion: str) -> dict[str, Any] | None:
    """The claims of an RS256 assertion signed with this process's key, None for anything else."""
    signed, _, signature = assertion.rpartition(".")
    header, _, claims = signed.partition(".")
    try:
        if json.loads(_unpadded(header)).get("alg") != "RS256":
            return None
        _key().public_key().verify(_unpadded(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        found = json.loads(_unpadded(claims))
    except (ValueError, AttributeError, InvalidSignature):
        return None
    return found if isinstance(found, dict) else None


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

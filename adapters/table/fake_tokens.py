"""The token endpoint of the simulated Google (contract tables A1). google-auth's verifier reads its signatures."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import crypt, jwt

from adapters.table.auth import AUDIENCE, GRANT, SCOPE
from bridge.tools import Clock

EMAIL = "bridge@simulated.iam.gserviceaccount.com"
LIFE = timedelta(hours=1)
_KEY_ID = "simulated-key"
_SKEW = timedelta(minutes=5)
Reply = tuple[int, dict[str, Any]]


@cache
def _key() -> rsa.RSAPrivateKey:
    """One key per process: making it takes a tenth of a second."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class TokenDesk:
    """Gives out access tokens of one service account and knows which are good."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._good_until: dict[str, datetime] = {}
        self.is_revoked = False
        self.issued = 0

    def key_file(self) -> str:
        """What the operator downloads."""
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        pem = _key().private_bytes(encoding, form, serialization.NoEncryption())
        fields = {
            "type": "service_account",
            "project_id": "simulated",
            "private_key_id": _KEY_ID,
            "private_key": pem.decode(),
            "client_email": EMAIL,
            "token_uri": AUDIENCE,
        }
        return json.dumps(fields)

    def expire(self) -> None:
        """Every token given out dies early; new ones can be had."""
        self._good_until.clear()

    def is_good(self, header: str) -> bool:
        """Whether an Authorization header holds a token that is still good."""
        until = self._good_until.get(header.removeprefix("Bearer "))
        return not self.is_revoked and until is not None and self._clock.now() < until

    def answer(self, form: Mapping[str, str]) -> Reply:
        """The endpoint's answer to a form: status and JSON."""
        if form.get("grant_type") != GRANT:
            return 400, {"error": "unsupported_grant_type", "error_description": "Invalid grant_type"}
        claims = verified_claims(form.get("assertion", ""))
        if claims is None or self.is_revoked:
            return _invalid("Invalid JWT Signature.")
        if claims.get("iss") != EMAIL or claims.get("aud") != AUDIENCE:
            return _invalid("Invalid JWT: wrong issuer or audience.")
        if not self._is_timely(claims.get("iat"), claims.get("exp")):
            return _invalid("Invalid JWT: Token must be a short-lived token and in a reasonable timeframe.")
        if claims.get("scope") != SCOPE:
            return 400, {"error": "invalid_scope", "error_description": "Invalid OAuth scope or ID token audience."}
        token = f"ya29.{secrets.token_hex(24)}"
        self._good_until[token] = self._clock.now() + LIFE
        self.issued += 1
        return 200, {"access_token": token, "expires_in": 3599, "token_type": "Bearer"}

    def _is_timely(self, issued: Any, expires: Any) -> bool:
        if not isinstance(issued, int) or not isinstance(expires, int):
            return False
        now, skew = self._clock.now().timestamp(), _SKEW.total_seconds()
        return issued <= now + skew and now - skew < expires and expires - issued <= 3600


def _invalid(description: str) -> Reply:
    return 400, {"error": "invalid_grant", "error_description": description}


def verified_claims(assertion: str) -> dict[str, Any] | None:
    """The claims of an assertion signed with this process's key (RS256), None for anything else."""
    signed, _, signature = assertion.rpartition(".")
    public = (
        _key().public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    try:
        verifier = crypt.RSAVerifier.from_string(public)  # type: ignore[no-untyped-call]  # part-annotated
        raw = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
        if not verifier.verify(signed.encode(), raw):
            return None
        header = jwt.decode_header(assertion)  # type: ignore[no-untyped-call]  # google-auth again
        # Its times are judged by the simulation's clock, not by google-auth's.
        claims = jwt.decode(assertion, verify=False)  # type: ignore[no-untyped-call]  # google-auth again
    except ValueError:
        return None
    is_ours = (header.get("alg"), header.get("kid")) == ("RS256", _KEY_ID)
    return dict(claims) if is_ours else None

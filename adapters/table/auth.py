"""A service account's key made into access tokens (contract tables A1). google-auth signs; our account sends.

Alone in reading spreadsheets with a service account: no browser, no consent screen, one sharing per spreadsheet.
"""

from __future__ import annotations

import json
from dataclasses import field
from datetime import datetime, timedelta
from hashlib import sha256
from urllib.parse import urlencode

import msgspec
from google.auth import crypt, jwt

from bridge.errors import AuthError, ConfigError, Drift, Throttled, Unavailable
from bridge.frozen import frozen
from bridge.tools import Account, Clock, Refresh, Request, Response, Tokens

SCOPE = "https://www.googleapis.com/auth/spreadsheets.readonly"
AUDIENCE = "https://oauth2.googleapis.com/token"  # of the assertion, whatever address the request goes to
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
TOKEN_CALL = "token"  # noqa: S105 - a request scope, by which ``judge`` knows a token request
_ASSERTION_LIFE = timedelta(hours=1)
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_DOWNLOAD = "download the key of the service account again and give it unchanged"


@frozen
class ServiceAccount:
    """A service account's key. ``email`` is whom a spreadsheet is shared with."""

    email: str
    signer: crypt.RSASigner = field(repr=False)

    @classmethod
    def read(cls, text: str) -> ServiceAccount:
        """The key file as it is downloaded.

        Raises:
            ConfigError: something else, or incomplete.
        """
        try:
            info = json.loads(text)
            email = info["client_email"]
            signer = crypt.RSASigner.from_service_account_info(info)  # type: ignore[no-untyped-call]  # google-auth
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ConfigError(f"credentials hold no usable service-account key; {_DOWNLOAD}") from None
        if not isinstance(email, str) or not email:
            raise ConfigError(f"credentials: client_email is missing; {_DOWNLOAD}")
        return cls(email, signer)

    def form(self, now: datetime) -> dict[str, str]:
        """What is posted for a token: an assertion about ourselves, good for an hour."""
        claims = {
            "iss": self.email,
            "scope": SCOPE,
            "aud": AUDIENCE,
            "iat": int(now.timestamp()),
            "exp": int((now + _ASSERTION_LIFE).timestamp()),
        }
        assertion = jwt.encode(self.signer, claims)  # type: ignore[no-untyped-call]  # google-auth is part-annotated
        return {"grant_type": GRANT, "assertion": assertion.decode()}


def fingerprint(text: str) -> str:
    """Names a key without telling it: tokens won by another key are not reused."""
    return sha256(text.encode()).hexdigest()


def refresher(key: ServiceAccount, token_uri: str, clock: Clock) -> Refresh:
    """A ``Refresh`` that asks ``token_uri`` for an access token."""

    async def refresh(account: Account, _stored: Tokens | None) -> Tokens:
        now = clock.now()
        body = urlencode(key.form(now)).encode()
        request = Request("POST", token_uri, headers=_FORM, body=body, is_safe=True, scope=TOKEN_CALL)
        answer = _decode((await account.send(request)).body)
        if answer is None or not answer.access_token:
            raise Drift("Google's token endpoint answered without a token; check token_uri")
        return Tokens(answer.access_token, now + timedelta(seconds=answer.expires_in))

    return refresh


class TokenAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The token endpoint's answer, good or bad. ``expires_in`` in seconds."""

    access_token: str = ""
    expires_in: float = 3600
    error: str = ""


def judge_token(_request: Request, response: Response) -> None:
    """What the token endpoint's answer means (contract tables A1)."""
    answer = _decode(response.body)
    if response.status == 200:
        if answer is None:
            raise Drift("Google's token endpoint gave an unreadable answer; check token_uri")
        return
    if response.status == 429:
        raise Throttled("Google's token endpoint asks to slow down")
    error = answer.error if answer else ""
    if response.status in (408, 500, 502, 503, 504) or error in ("internal_failure", "temporarily_unavailable"):
        raise Unavailable(f"Google's token endpoint answered {response.status}")
    advice = "is the key deleted, or this machine's clock wrong?" if error == "invalid_grant" else "check credentials"
    raise AuthError(f"Google gives no token ({error or response.status}): {advice}", is_final=True)


def _decode(body: bytes) -> TokenAnswer | None:
    try:
        return _ANSWERS.decode(body)
    except msgspec.DecodeError:
        return None


_ANSWERS = msgspec.json.Decoder(TokenAnswer, strict=False)

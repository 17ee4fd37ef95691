"""Our rows to a signed message, and an endpoint's answers to our outcomes. Pure."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256

from adapters.webhook import wire
from bridge.errors import Ambiguous, AuthError, ConfigError, Refused, Throttled
from bridge.model import TOLD, Money, Outgoing
from bridge.ports import Admission, Answer, Pass, Payload
from bridge.tools import Request, Response

KINDS = TOLD
PING = wire.encode(wire.Message(type="ping"))
_PREFIX = "whsec_"
_SHORTEST = 16  # bytes of a key worth the name
# What an endpoint says of the content of a message; everything else it refuses has another reason.
_CONTENT = frozenset(("http_400", "http_409", "http_413", "http_422"))


def key_of(secret: str) -> bytes:
    """The signing key: base64 behind ``whsec_``, as Standard Webhooks write it, or else the text itself.

    Raises:
        ConfigError: it is no base64, or too short to sign with.
    """
    try:
        encoded = secret.removeprefix(_PREFIX)
        key = base64.b64decode(encoded, validate=True) if secret.startswith(_PREFIX) else secret.encode()
    except binascii.Error:
        raise ConfigError("the secret of a webhook begins with whsec_, but no base64 follows") from None
    if len(key) < _SHORTEST:
        raise ConfigError(f"the secret of a webhook is too short to sign with; use at least {_SHORTEST} bytes")
    return key


def signed(body: bytes, label: str, now: datetime, key: bytes) -> dict[str, str]:
    """The headers of Standard Webhooks: id, time (Unix seconds), and HMAC-SHA256 over "id.time.body" in base64."""
    seconds = str(int(now.timestamp()))
    digest = hmac.digest(key, f"{label}.{seconds}.".encode() + body, sha256)
    return {
        "webhook-id": label,
        "webhook-timestamp": seconds,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
        "idempotency-key": label,
    }


def admit(row: Outgoing, now: datetime, window: timedelta, *, has_persons: bool) -> Admission:
    """Whether a row may be sent now."""
    if not row.identifiers and not (has_persons and _persons(row)):
        return Admission(Pass.REFUSED, "no_identifier")
    if row.clicked_by + window <= now:
        return Admission(Pass.EXPIRED, "window")
    return Admission(Pass.SEND)


def render(rows: Sequence[Outgoing], *, has_persons: bool) -> Payload:
    """A message of rows."""
    conversions = tuple([_conversion(row, has_persons) for row in rows])
    return Payload(wire.encode(wire.Message(type="conversions", conversions=conversions)))


def _conversion(row: Outgoing, has_persons: bool) -> wire.Conversion:
    identifiers: dict[str, str] = {}
    for identifier in row.identifiers:
        identifiers.setdefault(identifier.kind, identifier.value)
    return wire.Conversion(
        id=row.delivery,
        order=row.order_key,
        kind=row.kind,
        goal=row.goal,
        target=row.target,
        occurred_at=row.occurred_at,
        deal_created_at=row.deal_created_at,
        clicked_before=row.touched_at,
        value=_value(row.value),
        identifiers=identifiers,
        persons=_persons(row) if has_persons else (),
    )


def _value(value: Money | None) -> wire.Value | None:
    return None if value is None else wire.Value(amount=value.amount, currency=value.currency)


def _persons(row: Outgoing) -> tuple[wire.PersonDigests, ...]:
    found = [(person.phone_sha256, person.email_sha256) for person in row.persons]
    return tuple(
        [wire.PersonDigests(phone_sha256=phones, email_sha256=mails) for phones, mails in found if phones or mails]
    )


def refused_answer(refusal: Refused, rows: Sequence[str]) -> Answer | None:
    """Outcomes of a refused message, or None when the refusal has nothing to do with its rows."""
    return Answer.halved(rows, refusal.code) if refusal.code in _CONTENT else None


def judge(request: Request, response: Response) -> None:
    """The error an answer means. An endpoint promises nothing, so only a clear no counts as not applied.

    Raises:
        AuthError: 401, 403.
        Throttled: 429.
        Ambiguous: 408 and every 5xx; 503 too, since a proxy may say it after the message has gone through.
        Refused: anything else but 2xx; ``code`` is ``http_`` and the status.
    """
    status = response.status
    if 200 <= status < 300:
        return
    if status in (401, 403):
        raise AuthError(
            f"the endpoint refused the signature ({status}); compare the secret on both sides", is_final=True
        )
    if status == 429:
        raise Throttled("the endpoint asks for fewer messages", retry_after=response.retry_after)
    if status == 408 or status >= 500:
        raise Ambiguous(f"the endpoint answered {status}; the message may have been taken")
    if 300 <= status < 400:
        raise Refused(
            f"the endpoint answers with a redirect ({status}); set url to where it leads", code=f"http_{status}"
        )
    raise Refused(f"the endpoint refused the message ({status}); its own log says why", code=f"http_{status}")

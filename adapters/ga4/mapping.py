"""Rows to events, whether a row may go now, and what an answer means. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from adapters.ga4 import wire
from adapters.ga4.settings import Ga4Settings
from bridge.errors import Ambiguous, Refused, RowRejected, Throttled, Unavailable
from bridge.model import Consent, IdKind, Outgoing
from bridge.ports import Admission, Pass, Payload
from bridge.tools import Request, Response

KINDS = (IdKind.GA_CLIENT_ID, IdKind.GA_SESSION_ID)
# Recommended names of a lead's life, and the goals they are made for (contract google 5); any other valid name is an
# event of the operator's own.
LEAD_EVENTS = {
    "generate_lead": "",
    "qualify_lead": "qualified",
    "disqualify_lead": "spam",
    "working_lead": "",
    "close_convert_lead": "sale",
    "close_unconvert_lead": "",
}
_NAME = re.compile(r"(?!google_|ga_|firebase_)[A-Za-z][A-Za-z0-9_]{0,39}")
_CONSENT = {True: "GRANTED", False: "DENIED", None: None}
_TEXT_MAX = 100  # characters of a parameter's value
_ENGAGED_MS = 1  # an event without engagement does not join its session
_MICROSECOND = timedelta(microseconds=1)


def is_event_name(target: str) -> bool:
    """Whether Google takes an event of this name; it drops others without a word."""
    return _NAME.fullmatch(target) is not None


def admit(row: Outgoing, now: datetime, window: timedelta) -> Admission:
    """Whether the row may be sent now.

    Codes: ``no_identifier``, ``event_name``, ``negative_value`` refuse; ``future`` waits; ``window`` expires.
    """
    if row.first(IdKind.GA_CLIENT_ID) is None:
        return Admission(Pass.REFUSED, "no_identifier")
    if not is_event_name(row.target):
        return Admission(Pass.REFUSED, "event_name")
    if row.value is not None and row.value.minor < 0:
        return Admission(Pass.REFUSED, "negative_value")
    if row.occurred_at > now:
        return Admission(Pass.WAIT, "future", row.occurred_at)
    return Admission(Pass.EXPIRED, "window") if now - row.occurred_at > window else Admission(Pass.SEND)


def render(row: Outgoing, settings: Ga4Settings) -> Payload:
    """The body of one row: events of one request belong to one visitor.

    Raises:
        RowRejected: the row has no visitor.
    """
    visitor = row.first(IdKind.GA_CLIENT_ID)
    if visitor is None:
        raise RowRejected("no ga_client_id", code="no_identifier")
    body = wire.Body(
        client_id=visitor.value,
        timestamp_micros=_micros(row.occurred_at),
        consent=_consent(row.consent or settings.consent.default),
        events=(wire.Event(name=row.target, params=_params(row)),),
    )
    return Payload(wire.encode(body))


def render_check(target: str, at: datetime, settings: Ga4Settings) -> bytes:
    """A synthetic event for the debug path, which records nothing and is asked to be strict."""
    body = wire.Body(
        client_id="1000000000.1700000000",
        timestamp_micros=_micros(at),
        consent=_consent(settings.consent.default),
        validation_behavior="ENFORCE_RECOMMENDATIONS",
        events=(wire.Event(name=target, params=wire.Params(conversion_id="bridge-check")),),
    )
    return wire.encode(body)


def _params(row: Outgoing) -> wire.Params:
    session = row.first(IdKind.GA_SESSION_ID)
    reason = row.goal[:_TEXT_MAX]
    return wire.Params(
        currency=row.value.currency.upper() if row.value else None,
        value=row.value.amount if row.value else None,
        session_id=session.value if session else None,
        engagement_time_msec=_ENGAGED_MS if session else None,
        disqualified_lead_reason=reason if row.target == "disqualify_lead" else None,
        unconvert_lead_reason=reason if row.target == "close_unconvert_lead" else None,
        conversion_id=row.order_key,
    )


def _micros(at: datetime) -> int:
    """Unix microseconds, without a float on the way."""
    return (at - datetime.fromtimestamp(0, at.tzinfo)) // _MICROSECOND


def _consent(consent: Consent) -> wire.Consent | None:
    """None where nothing is known."""
    user_data, personalization = _CONSENT[consent.ad_user_data], _CONSENT[consent.ad_personalization]
    if user_data is None and personalization is None:
        return None
    return wire.Consent(ad_user_data=user_data, ad_personalization=personalization)


def judge(request: Request, response: Response) -> None:
    """The error an answer means. 2xx says only that it arrived (contract google 5).

    Raises:
        Throttled: 429.
        Ambiguous, for the debug path Unavailable: 408 and 5xx.
        Refused: anything else; ``code`` is ``http_`` and the status.
    """
    status = response.status
    if 200 <= status < 300:
        return
    if status == 429:
        raise Throttled("Google Analytics asks for fewer events")
    if status == 408 or status >= 500:
        lost = Unavailable if request.is_safe else Ambiguous
        raise lost(f"Google Analytics answered {status}")
    raise Refused(f"Google Analytics refused the request ({status}); check base_url", code=f"http_{status}")

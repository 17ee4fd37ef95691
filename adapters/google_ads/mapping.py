"""Rows to Data Manager events, and whether a row may go now. Pure: no clock, no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from adapters.google_ads import adjustments, wire
from adapters.google_ads.settings import GoogleAdsSettings
from bridge.model import Consent, ConversionKind, IdKind, Outgoing, Person
from bridge.ports import Admission, Pass

CLICK_KINDS = (IdKind.GCLID, IdKind.GBRAID, IdKind.WBRAID)  # one of them per event (contract google 11)
EVENTS_MAX = 2000  # per request (contract google 2.8; the enum text's 10,000 is wrong)
IDENTIFIERS_MAX = 10  # hashed identifiers per event (contract google 2.8)
ADJUSTMENT_AGE_MAX = timedelta(days=55)  # not stated for this API; the older one's limit (contract google 11)

_SEND = Admission(Pass.SEND)
_CONSENT = {True: "CONSENT_GRANTED", False: "CONSENT_DENIED", None: None}


def admit(row: Outgoing, now: datetime, settings: GoogleAdsSettings) -> Admission:
    """Whether the row may be sent now (contract google 2.13).

    Codes: ``no_identifier``, ``negative_value``, ``bad_currency`` refuse; ``future``, ``click_age`` wait;
    ``window_click``, ``window_person``, ``adjustment_55d``, ``adjustment_54d`` (of a retraction) expire.
    """
    refusal = _refusal(row, settings)
    if refusal:
        return Admission(Pass.REFUSED, refusal)
    if row.occurred_at > now:
        return Admission(Pass.WAIT, "future", row.occurred_at)
    clicked = row.clicked_by
    expiry = _expiry(row, now, clicked, settings)
    if expiry:
        return Admission(Pass.EXPIRED, expiry)
    ripe = clicked + settings.click_age_min
    return Admission(Pass.WAIT, "click_age", ripe) if now < ripe else _SEND


def _refusal(row: Outgoing, settings: GoogleAdsSettings) -> str:
    if row.first(*CLICK_KINDS) is None and not (_goes_with_persons(row, settings) and _has_digest(row.persons)):
        return "no_identifier"
    if row.value is None:
        return ""
    if row.value.minor < 0:
        return "negative_value"
    currency = row.value.currency
    return "" if len(currency) == 3 and currency.isascii() and currency.isalpha() else "bad_currency"


def _expiry(row: Outgoing, now: datetime, clicked: datetime, settings: GoogleAdsSettings) -> str:
    # A restatement meets its conversion by transactionId: the click was linked long ago, the conversion's age counts.
    if adjustments.is_one(row, settings):
        return "adjustment_54d" if now - row.occurred_at > adjustments.AGE_MAX else ""
    if row.kind is ConversionKind.RESTATEMENT:
        return "adjustment_55d" if now - row.occurred_at > ADJUSTMENT_AGE_MAX else ""
    if row.first(*CLICK_KINDS) is not None:
        return "window_click" if now - clicked > settings.window_click else ""
    return "window_person" if now - clicked > settings.window_person else ""


def _has_digest(persons: Sequence[Person]) -> bool:
    return any(person.email_sha256 or person.phone_sha256 for person in persons)


def batch_key(row: Outgoing, settings: GoogleAdsSettings) -> str:
    """Rows of different conversion actions never share a request, nor do rows of different APIs."""
    return f"retract {row.target}" if adjustments.is_one(row, settings) else row.target


def render(rows: Sequence[Outgoing], settings: GoogleAdsSettings) -> bytes:
    """The IngestEventsRequest of rows of one conversion action, byte for byte the same for the same rows.

    Retractions are an UploadConversionAdjustmentsRequest; ``batch_key`` keeps them apart.
    """
    if adjustments.is_one(rows[0], settings):
        return adjustments.render(rows, settings)
    events = tuple(_event(row, settings) for row in rows)
    return wire.encode(_request(rows[0].target, events, settings))


def render_check(target: str, at: datetime, settings: GoogleAdsSettings) -> bytes:
    """A ``validateOnly`` request with one synthetic event: basic checks at the vendor, nothing stored."""
    event = wire.Event(
        transaction_id="bridge-check",
        event_timestamp=at,
        event_source=settings.event_source,
        ad_identifiers=wire.AdIdentifiers(gclid="Cj0KCQiA_bridge-check_no-such-click_EALw_wcB"),
    )
    return wire.encode(_request(target, (event,), settings, validate_only=True))


def _request(
    target: str, events: tuple[wire.Event, ...], settings: GoogleAdsSettings, *, validate_only: bool = False
) -> wire.IngestRequest:
    login = settings.login_customer_id
    destination = wire.Destination(
        reference=f"action-{target}",
        operating_account=_account(settings.customer_id),
        login_account=_account(login) if login else None,
        product_destination_id=target,
    )
    return wire.IngestRequest(
        destinations=(destination,),
        consent=_consent(settings.consent.default),
        encoding="HEX" if any(event.user_data is not None for event in events) else None,
        validate_only=validate_only,
        events=events,
    )


def _account(number: str) -> wire.ProductAccount:
    return wire.ProductAccount(account_type="GOOGLE_ADS", account_id=number)


def _consent(consent: Consent) -> wire.ConsentChoice | None:
    """None where nothing is known. That of an event wins over the request's (contract google 2.2)."""
    user_data, personalization = _CONSENT[consent.ad_user_data], _CONSENT[consent.ad_personalization]
    if user_data is None and personalization is None:
        return None
    return wire.ConsentChoice(ad_user_data=user_data, ad_personalization=personalization)


def _event(row: Outgoing, settings: GoogleAdsSettings) -> wire.Event:
    value = row.value
    return wire.Event(
        transaction_id=row.order_key,
        event_timestamp=row.occurred_at,
        event_source=settings.event_source,
        conversion_value=value.amount if value else None,
        currency=value.currency.upper() if value else None,
        consent=_consent(row.consent) if row.consent else None,
        ad_identifiers=_click(row),
        user_data=_user_data(row.persons) if _goes_with_persons(row, settings) else None,
    )


def _goes_with_persons(row: Outgoing, settings: GoogleAdsSettings) -> bool:
    """Whether digests go along; never those of somebody who did not agree (contract google 2.13)."""
    may_go = row.consent.ad_user_data is True if row.consent else not settings.consent.is_refused
    return settings.sends_persons and may_go and bool(row.persons)


def _click(row: Outgoing) -> wire.AdIdentifiers | None:
    found = row.first(*CLICK_KINDS)
    if found is None:
        return None
    if found.kind is IdKind.GCLID:
        return wire.AdIdentifiers(gclid=found.value)
    if found.kind is IdKind.GBRAID:
        return wire.AdIdentifiers(gbraid=found.value)
    return wire.AdIdentifiers(wbraid=found.value)


def _user_data(persons: Sequence[Person]) -> wire.UserData | None:
    """E-mail and phone digests in the persons' own order, each once, at most ten."""
    found: dict[wire.UserIdentifier, None] = {}
    for person in persons:
        found.update((wire.UserIdentifier(email_address=digest), None) for digest in person.email_sha256)
        found.update((wire.UserIdentifier(phone_number=digest), None) for digest in person.phone_sha256)
    return wire.UserData(user_identifiers=tuple(found)[:IDENTIFIERS_MAX]) if found else None

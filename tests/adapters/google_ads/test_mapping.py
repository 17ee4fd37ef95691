"""Which rows may go, and what exactly goes."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from adapters.google_ads import mapping
from adapters.google_ads.fake import parse_official
from adapters.google_ads.fake_checks import Rules, violations
from adapters.google_ads.fake_schema import parse
from bridge.model import Consent, ConversionKind, Identifier, IdKind, Money, Outgoing, Person
from bridge.ports import Admission, Pass
from tests.adapters.google_ads.kit import ACTION, DAY, EMAIL, GCLID, GRANTED, HOUR, PERSON, PHONE, click, row, settings
from tests.support import START

PLAIN = settings()
OPEN = settings(consent=GRANTED)


# --- admit -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", mapping.CLICK_KINDS)
def test_a_row_with_a_ripe_click_goes(kind: IdKind) -> None:
    """gclid, gbraid and wbraid alike."""
    assert mapping.admit(row(identifiers=click(kind, "abc")), START, PLAIN).verdict is Pass.SEND


@pytest.mark.parametrize("identifiers", [(), click(IdKind.YCLID, "123"), click(IdKind.CLIENT_ID, "1.2")])
def test_without_a_google_click_and_without_persons_there_is_nothing_to_send(
    identifiers: tuple[Identifier, ...],
) -> None:
    """Other systems' identifiers are not Google's."""
    assert mapping.admit(row(identifiers=identifiers), START, OPEN) == Admission(Pass.REFUSED, "no_identifier")


def test_persons_alone_are_enough_only_if_they_may_go() -> None:
    """Digests that stay here identify nobody to Google; a person without digests does not either."""
    lone = row(identifiers=(), persons=(PERSON,))
    assert mapping.admit(lone, START, OPEN).verdict is Pass.SEND
    assert mapping.admit(lone, START, PLAIN).code == "no_identifier"
    assert mapping.admit(row(identifiers=(), persons=(Person(joins=("x",)),)), START, OPEN).code == "no_identifier"


def test_a_young_click_waits_until_six_hours_after_its_latest_possible_time() -> None:
    """Google cannot find a click younger than six hours (contract google 2.13)."""
    young = row(occurred_at=START - HOUR, touched_at=START - 2 * HOUR, deal_created_at=START - HOUR)
    assert mapping.admit(young, START, PLAIN) == Admission(Pass.WAIT, "click_age", START + 4 * HOUR)
    assert mapping.admit(young, START + 4 * HOUR, PLAIN).verdict is Pass.SEND


def test_without_a_touch_the_deals_creation_bounds_the_click() -> None:
    """A lead comes in after its click."""
    young = row(occurred_at=START - HOUR, touched_at=None, deal_created_at=START - HOUR)
    assert mapping.admit(young, START, PLAIN).until == START + 5 * HOUR


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"touched_at": START - 90 * DAY - HOUR}, "window_click"),
        ({"identifiers": (), "persons": (PERSON,), "touched_at": START - 63 * DAY - HOUR}, "window_person"),
        ({"kind": ConversionKind.RESTATEMENT, "occurred_at": START - 55 * DAY - HOUR}, "adjustment_55d"),
    ],
)
def test_a_row_expires_with_its_window(changes: dict[str, Any], code: str) -> None:
    """90 days for a click, 63 for user data, 55 for an adjustment; not a minute earlier."""
    late = row(**changes)
    assert mapping.admit(late, START, OPEN) == Admission(Pass.EXPIRED, code)
    assert mapping.admit(late, START - 2 * HOUR, OPEN).verdict is Pass.SEND


def test_a_restatement_is_not_bound_to_the_clicks_window() -> None:
    """It meets the conversion by its transaction id; the click was linked with the original."""
    late = row(kind=ConversionKind.RESTATEMENT, occurred_at=START - 30 * DAY, touched_at=START - 100 * DAY)
    assert mapping.admit(late, START, PLAIN).verdict is Pass.SEND


def test_a_conversion_of_the_future_waits_for_its_time() -> None:
    """A CRM's clock may run ahead."""
    ahead = row(occurred_at=START + HOUR)
    assert mapping.admit(ahead, START, PLAIN) == Admission(Pass.WAIT, "future", START + HOUR)


@pytest.mark.parametrize(
    ("value", "code"),
    [(Money(-1, "RUB"), "negative_value"), (Money(1, "RUBL"), "bad_currency"), (Money(1, "₽₽₽"), "bad_currency")],
)
def test_a_value_google_cannot_take_is_refused(value: Money, code: str) -> None:
    """Finite, non-negative, three Latin letters."""
    assert mapping.admit(row(value=value), START, PLAIN) == Admission(Pass.REFUSED, code)


# --- render ------------------------------------------------------------------------------------------------------


def _rendered(*rows: Outgoing, **changes: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(mapping.render(rows, settings(**changes)), parse_float=Decimal)
    return document


def test_a_request_is_what_the_contract_shows() -> None:
    """Every field in its place, nothing else."""
    document = _rendered(row(persons=(PERSON,)), consent=GRANTED, login_customer_id="9876543210")
    assert document == {
        "destinations": [
            {
                "reference": f"action-{ACTION}",
                "operatingAccount": {"accountType": "GOOGLE_ADS", "accountId": "1234567890"},
                "loginAccount": {"accountType": "GOOGLE_ADS", "accountId": "9876543210"},
                "productDestinationId": ACTION,
            }
        ],
        "consent": {"adUserData": "CONSENT_GRANTED", "adPersonalization": "CONSENT_GRANTED"},
        "encoding": "HEX",
        "events": [
            {
                "transactionId": row().order_key,
                "eventTimestamp": "2026-03-01T09:00:00Z",
                "eventSource": "WEB",
                "conversionValue": Decimal("1500.50"),
                "currency": "RUB",
                "adIdentifiers": {"gclid": GCLID},
                "userData": {"userIdentifiers": [{"emailAddress": EMAIL}, {"phoneNumber": PHONE}]},
            }
        ],
    }


def test_without_consent_nothing_is_said_about_it_and_no_digest_leaves() -> None:
    """Unspecified is not sent; user data stays here."""
    document = _rendered(row(persons=(PERSON,)))
    assert set(document) == {"destinations", "events"}
    assert "userData" not in document["events"][0]


def test_denied_consent_is_told_as_denied() -> None:
    """And takes the user data out."""
    document = _rendered(row(persons=(PERSON,)), consent={"ad_user_data": "denied"})
    assert document["consent"] == {"adUserData": "CONSENT_DENIED"}
    assert "userData" not in document["events"][0]


@pytest.mark.parametrize(
    ("own", "told"),
    [
        (Consent(True, True), {"adUserData": "CONSENT_GRANTED", "adPersonalization": "CONSENT_GRANTED"}),
        (Consent(False, False), {"adUserData": "CONSENT_DENIED", "adPersonalization": "CONSENT_DENIED"}),
        (Consent(True, None), {"adUserData": "CONSENT_GRANTED"}),
    ],
)
def test_a_deals_own_consent_goes_with_its_event_and_decides_about_its_person(
    own: Consent, told: dict[str, str]
) -> None:
    """It wins over the request's (contract google 2.2); digests go with a yes alone, whatever was planned."""
    document = _rendered(row(persons=(PERSON,), consent=own), consent={**GRANTED, "field": "agreed"})
    event = document["events"][0]
    assert event["consent"] == told
    assert ("userData" in event) == (own.ad_user_data is True)
    lone = row(identifiers=(), persons=(PERSON,), consent=own)
    code = mapping.admit(lone, START, settings(consent={"field": "agreed"})).code
    assert code == ("" if own.ad_user_data else "no_identifier")


def test_where_deals_should_say_it_silence_sends_no_person() -> None:
    """Unless the settings grant it for those that say nothing."""
    for consent, goes in (({"field": "agreed"}, False), ({"field": "agreed", "ad_user_data": "granted"}, True)):
        assert ("userData" in _rendered(row(persons=(PERSON,)), consent=consent)["events"][0]) == goes


def test_exactly_one_click_id_goes_the_gclid_first() -> None:
    """One of gclid, gbraid, wbraid per event (contract google 11)."""
    both = (Identifier(IdKind.WBRAID, "w"), Identifier(IdKind.GBRAID, "b"), Identifier(IdKind.GCLID, "g"))
    assert _rendered(row(identifiers=both))["events"][0]["adIdentifiers"] == {"gclid": "g"}
    assert _rendered(row(identifiers=both[:2]))["events"][0]["adIdentifiers"] == {"gbraid": "b"}


def test_at_most_ten_different_digests_go() -> None:
    """Google takes ten user identifiers per event; a digest known twice counts once."""
    many = tuple(Person(email_sha256=(f"{number:064x}", EMAIL)) for number in range(20))
    sent = _rendered(row(persons=many), consent=GRANTED)["events"][0]["userData"]["userIdentifiers"]
    assert len(sent) == 10
    assert sent.count({"emailAddress": EMAIL}) == 1


def test_a_value_of_zero_is_a_value() -> None:
    """A restatement to nothing must not read as "no value given"."""
    assert _rendered(row(value=Money(0, "RUB")))["events"][0]["conversionValue"] == 0
    assert "conversionValue" not in _rendered(row(value=None))["events"][0]


def test_a_restatement_differs_from_its_original_by_the_value_alone() -> None:
    """Same transaction id, same time, same click: else Google would count it anew (contract google 2.10)."""
    original = _rendered(row())["events"][0]
    restated = _rendered(row(kind=ConversionKind.RESTATEMENT, value=Money.of(7, "RUB")))["events"][0]
    assert {key for key in original if original[key] != restated[key]} == {"conversionValue"}


@given(st.integers(0, 10**14), st.sampled_from(["RUB", "JPY", "KWD", "USD"]))
def test_money_arrives_digit_for_digit(minor: int, currency: str) -> None:
    """The number on the wire is the amount itself, not its nearest float."""
    value = Money(minor, currency)
    event = _rendered(row(value=value))["events"][0]
    assert str(event["conversionValue"]) == str(value.amount)


TEXT = st.text("abcXYZ019_-", min_size=1, max_size=60)
DIGEST = st.text("0123456789abcdef", min_size=64, max_size=64)
PERSONS = st.builds(
    Person,
    email_sha256=st.lists(DIGEST, max_size=8).map(tuple),
    phone_sha256=st.lists(DIGEST, max_size=8).map(tuple),
)
MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2026, 3, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone
ROWS = st.builds(
    row,
    st.integers(1, 10**6),
    occurred_at=MOMENTS,
    value=st.none() | st.builds(Money, st.integers(0, 10**12), st.sampled_from(["RUB", "JPY", "KWD"])),
    identifiers=st.lists(
        st.builds(Identifier, st.sampled_from([*mapping.CLICK_KINDS, IdKind.YCLID]), TEXT), max_size=4
    ).map(tuple),
    persons=st.lists(PERSONS, max_size=3).map(tuple),
    consent=st.none() | st.builds(Consent, st.none() | st.booleans(), st.none() | st.booleans()),
)
CHOICES = st.sampled_from([None, "granted", "denied"])


@examples(deadline=None)  # the first example imports Google's messages
@given(st.lists(ROWS, min_size=1, max_size=5), CHOICES, CHOICES, st.booleans())
def test_every_admitted_row_parses_into_the_official_message_and_passes_every_check(
    rows: list[Outgoing], user_data: str | None, personalization: str | None, is_managed: bool
) -> None:
    """Whatever the ledger plans: Google's own parser and the simulator's checks have nothing to say about it."""
    consent = {"ad_user_data": user_data, "ad_personalization": personalization}
    given_ = settings(consent=consent, login_customer_id="9876543210" if is_managed else None)
    admitted = [item for item in rows if mapping.admit(item, START, given_).verdict is Pass.SEND]
    if not admitted:
        return
    body = mapping.render(admitted, given_)
    message = parse_official(body)
    assert [event.transaction_id for event in message.events] == [item.order_key for item in admitted]
    assert [event.event_timestamp.ToDatetime(UTC) for event in message.events] == [r.occurred_at for r in admitted]
    assert violations(parse(body), Rules(), START) == []


def test_the_same_rows_give_the_same_bytes() -> None:
    """What is sealed can be rendered again, anywhere, and compared."""
    rows = [row(number, persons=(PERSON,)) for number in range(50)]
    assert mapping.render(rows, OPEN) == mapping.render(list(rows), OPEN)


def test_the_check_request_stores_nothing_and_is_valid() -> None:
    """``validateOnly`` with an event that passes the synchronous checks."""
    body = mapping.render_check(ACTION, START - DAY, settings(login_customer_id="9876543210"))
    assert parse_official(body).validate_only
    assert violations(parse(body), Rules(), START) == []


def test_twenty_thousand_rows_render_in_a_moment() -> None:
    """A fifth of a second of processor time where it was measured; the bound is loose because machines differ."""
    rows = [row(number, persons=(PERSON,)) for number in range(20_000)]
    begin = time.process_time()
    sizes = [len(mapping.render(rows[start : start + 2000], OPEN)) for start in range(0, len(rows), 2000)]
    assert len(sizes) == 10
    assert time.process_time() - begin < 2

"""Settings of the Google Ads destination."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ValidationError

from tests.adapters.google_ads.kit import GRANTED, settings


@pytest.mark.parametrize("text", ["123-456-7890", "1234567890", " 1234567890 ", 1234567890])
def test_account_numbers_are_digits_however_they_are_written(text: object) -> None:
    """People copy the number with dashes; the wire takes digits as text."""
    assert settings(customer_id=text, login_customer_id=text).customer_id == "1234567890"


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"customer_id": "abc"}, "customer_id"),
        ({"customer_id": True}, "customer_id"),
        ({"credentials": "{...}"}, "credentials"),
        ({"consent": {"ad_user_data": "yes"}}, "consent"),
        ({"event_source": "web"}, "event_source"),
        ({"single_below": -1}, "single_below"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_wrong_value_is_refused_under_its_key(changes: dict[str, object], place: str) -> None:
    """The error names the key."""
    with pytest.raises(ValidationError) as caught:
        settings(**changes)
    assert caught.value.errors()[0]["loc"][0] == place


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, False),
        ({"consent": GRANTED}, True),
        ({"consent": {"ad_personalization": "granted"}}, False),
        ({"consent": GRANTED, "send_persons": False}, False),
        ({"send_persons": True}, True),
        ({"consent": {"ad_user_data": "denied"}}, False),
    ],
)
def test_hashed_persons_go_out_only_with_consent_or_on_request(changes: dict[str, object], expected: bool) -> None:
    """Nobody's digest leaves by default."""
    assert settings(**changes).sends_persons is expected


def test_denied_consent_cannot_be_overruled() -> None:
    """``send_persons = true`` beside a denial is a mistake of the operator, not a choice."""
    with pytest.raises(ValidationError, match="send_persons"):
        settings(consent={"ad_user_data": "denied"}, send_persons=True)


def test_persons_alone_needs_that_persons_may_go_at_all() -> None:
    """A lead without any click goes out for its digests only if asked for, and only with consent."""
    assert settings(consent=GRANTED, persons_alone=True).sends_persons_alone
    assert not settings(consent=GRANTED).sends_persons_alone
    assert not settings(persons_alone=True).sends_persons_alone


def test_defaults_are_googles_own_windows() -> None:
    """Contract google 2.13 and 2.9."""
    given = settings()
    windows = (given.click_age_min, given.window_click, given.window_person, given.verify_first)
    assert windows == (timedelta(hours=6), timedelta(days=90), timedelta(days=63), timedelta(minutes=30))
    assert (given.base_url, given.event_source) == ("https://datamanager.googleapis.com", "WEB")


def test_what_is_not_documented_or_costs_a_verdict_is_off_by_default() -> None:
    """Retractions by the other API; a border of the operator's for what goes alone."""
    given = settings()
    assert (given.retract, given.single_below, given.requests_per_day) == (False, None, 100_000)


def test_deals_that_say_it_themselves_let_persons_go_whatever_the_others_get() -> None:
    """A plan leaves out the persons of those that said no."""
    for consent in ({"field": "agreed"}, {"field": "agreed", "ad_user_data": "denied"}):
        assert settings(consent=consent).sends_persons
        assert settings(consent=consent, send_persons=True).sends_persons
        assert not settings(consent=consent, send_persons=False).sends_persons

"""CRM orders, pure: which row may go when, its exact line, what answers mean, and what a good status is."""

from __future__ import annotations

import csv
import io
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.yandex_metrica.fake_file import file_of
from adapters.yandex_metrica.mapping import refused_answer
from adapters.yandex_metrica.orders_mapping import (
    HEADER,
    admit,
    after,
    answer,
    fault_of,
    render,
    status_findings,
    zone_fault,
)
from adapters.yandex_metrica.wire import (
    Condition,
    Counter,
    Goal,
    OrderStatus,
    OrdersUploading,
    OrdersUploadingReply,
    read,
)
from bridge.errors import Ambiguous, Refused
from bridge.identity import md5_hex, metrica_email, metrica_phone, seal_contacts
from bridge.model import Contact, ConversionKind, Deal, DealKind, IdKind, Money, Outcome, Outgoing, Person
from bridge.ports import Fate, Level, Pass
from bridge.tools import Response
from tests.adapters.yandex_metrica.helpers import CLIENT_ID, DAY, HOUR, LABEL, YCLID, roubles, row, sample
from tests.support import START

MOSCOW = ZoneInfo("Europe/Moscow")
LINK, UPDATE = 21 * DAY, 111 * DAY
PERSON = Person(phone_md5=("f09f2c3d48f31e2a802944ade2e5aec5",), email_md5=("3c56ff8fef0f6c65b36b2d25720fe276",))
SECOND = timedelta(seconds=1)


def order(**changes: Any) -> Outgoing:
    """A row of an order that was created an hour ago and is paid."""
    changes = {"target": "PAID", "rank": 2, **changes}
    return row(*changes.pop("ids", [(IdKind.CLIENT_ID, CLIENT_ID)]), **changes)


def cells(*rows: Outgoing, zone: ZoneInfo = MOSCOW) -> list[dict[str, str]]:
    payload = render(rows, LABEL, zone)
    return list(csv.DictReader(io.StringIO(file_of(payload.content_type, payload.body).decode())))


# --- persons -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phone", "normal"),
    [
        ("+7 (999) 555-11-11", "79995551111"),
        ("8 999 555 11 11", "79995551111"),
        ("9995551111", "79995551111"),
        ("+49 30 901820", "4930901820"),
    ],
)
def test_phones_are_hashed_in_metricas_normal_form(phone: str, normal: str) -> None:
    """Digits with the country code, 8 and nothing become 7 (contract yandex 4.2), and so it is in a sealed contact."""
    assert metrica_phone(phone, "RU") == normal
    assert _sealed(Contact("1", phones=(phone,))).phone_md5 == (md5_hex(normal),)


@pytest.mark.parametrize(
    ("email", "normal"),
    [
        (" Mail@Yandex.RU ", "mail@yandex.ru"),
        ("some.body+shop@ya.ru", "some-body@yandex.ru"),
        ("some.body@yandex.com", "some-body@yandex.ru"),
        ("Some.Body+x@googlemail.com", "somebody@gmail.com"),
        ("some.body+x@example.com", "some.body@example.com"),
    ],
)
def test_emails_are_hashed_in_metricas_normal_form(email: str, normal: str) -> None:
    """Lower case, no suffix, Gmail without dots, one Yandex with dashes (contract yandex 4.2)."""
    assert metrica_email(email) == normal
    assert _sealed(Contact("1", emails=(email,))).email_md5 == (md5_hex(normal),)


def test_the_check_values_of_the_contract() -> None:
    """Contract yandex 4.2."""
    assert md5_hex("mail@yandex.ru") == "3c56ff8fef0f6c65b36b2d25720fe276"
    assert md5_hex("79995551111") == "f09f2c3d48f31e2a802944ade2e5aec5"


def _sealed(contact: Contact) -> Person:
    deal = Deal(DealKind.LEAD, "1", "v", START, START, "", "", Outcome.OPEN, contacts=(contact,))
    return seal_contacts(deal, b"key", "crm", "RU").persons[0]


# --- admission ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "verdict", "code"),
    [
        ({}, Pass.SEND, ""),
        ({"ids": [(IdKind.YCLID, YCLID)]}, Pass.REFUSED, "bad_identifier"),
        ({"identifiers": ()}, Pass.REFUSED, "no_identifier"),
        ({"identifiers": (), "persons": (PERSON,)}, Pass.SEND, ""),
        ({"identifiers": (), "persons": (Person(phone_md5=("7999",)),)}, Pass.REFUSED, "no_identifier"),
        ({"ids": [(IdKind.CLIENT_ID, "1,7E+18")]}, Pass.REFUSED, "bad_identifier"),
        ({"value": Money(-1, "RUB")}, Pass.REFUSED, "negative_value"),
        ({"target": ""}, Pass.REFUSED, "bad_status"),
        ({"target": "611000001"}, Pass.REFUSED, "bad_status"),
        ({"occurred_at": START + HOUR}, Pass.WAIT, "in_future"),
        ({"deal_created_at": START + HOUR}, Pass.WAIT, "in_future"),
    ],
)
def test_what_may_be_sent(changes: dict[str, Any], verdict: Pass, code: str) -> None:
    """A ClientID or a hashed phone or e-mail; a yclid means nothing to orders (contract yandex 4.2)."""
    admission = admit(order(**changes), START, LINK, UPDATE)
    assert (admission.verdict, admission.code) == (verdict, code)


@pytest.mark.parametrize(("age", "verdict"), [(21 * DAY - SECOND, Pass.SEND), (21 * DAY, Pass.EXPIRED)])
def test_the_first_row_of_an_order_comes_within_21_days_of_its_deal(age: timedelta, verdict: Pass) -> None:
    """An order that is first sent on day 22 is never linked (contract yandex 4.6)."""
    first = order(deal_created_at=START - age, touched_at=START - age - 5 * DAY)
    assert admit(first, START, LINK, UPDATE).verdict is verdict


@pytest.mark.parametrize(("age", "verdict"), [(111 * DAY - SECOND, Pass.SEND), (111 * DAY, Pass.EXPIRED)])
def test_an_order_that_is_there_may_be_changed_for_111_days(age: timedelta, verdict: Pass) -> None:
    """Counted from its visit (contract yandex 4.6)."""
    later = order(deal_created_at=START - 100 * DAY, touched_at=START - age, follows=True)
    admission = admit(later, START, LINK, UPDATE)
    assert (admission.verdict, admission.code) == (verdict, "window_111d" if verdict is Pass.EXPIRED else "")


# --- rendering ---------------------------------------------------------------------------------------------------


def test_a_row_is_the_whole_order() -> None:
    """Its id, its creation in the counter's own time, who, the state, what it is worth; optional cells are empty."""
    (told,) = cells(order(value=roubles("1500.50"), persons=(PERSON, PERSON), deal_created_at=START - HOUR))
    assert told == {
        **dict.fromkeys(HEADER.split(","), ""),
        "id": f"{1001:032x}",
        "create_date_time": "2026-03-02 11:00:00",
        "client_ids": CLIENT_ID,
        "emails_md5": PERSON.email_md5[0],
        "phones_md5": PERSON.phone_md5[0],
        "order_status": "PAID",
        "revenue": "1500.50",
        "currency": "RUB",
    }


def test_several_of_a_kind_share_a_cell() -> None:
    """Contract yandex 4.2: with commas, inside quotes."""
    other = "1712345678000000002"
    people = (PERSON, Person(phone_md5=("0" * 32,)))
    (told,) = cells(order(ids=[(IdKind.CLIENT_ID, CLIENT_ID), (IdKind.CLIENT_ID, other)], persons=people))
    assert told["client_ids"] == f"{CLIENT_ID},{other}"
    assert told["phones_md5"] == f"{PERSON.phone_md5[0]},{'0' * 32}"


@pytest.mark.parametrize(
    ("kind", "value", "status"),
    [
        (ConversionKind.ORIGINAL, "0", "PAID"),
        (ConversionKind.RESTATEMENT, "700", "PAID"),
        (ConversionKind.RESTATEMENT, "0", "CANCELLED"),
    ],
)
def test_a_sale_that_is_worth_nothing_any_more_is_cancelled(kind: ConversionKind, value: str, status: str) -> None:
    """A refund; a deal that was won for nothing is paid all the same."""
    assert cells(order(kind=kind, value=roubles(value)))[0]["order_status"] == status
    assert cells(order(value=roubles("0"), retracted_at=START))[0]["order_status"] == "CANCELLED", "it was never sold"


def test_only_a_sale_is_cancelled_by_a_refund() -> None:
    """Other states stay what they are when their value goes."""
    told = cells(order(target="qualified_lead", kind=ConversionKind.RESTATEMENT, value=roubles("0")))
    assert told[0]["order_status"] == "qualified_lead"


def test_an_order_is_never_twice_in_a_file() -> None:
    """Metrica applies the rows of a file in random order (contract yandex 4.1)."""
    with pytest.raises(ValueError, match="random order"):
        render([order(), order(number=2, order_key=f"{1001:032x}")], LABEL, MOSCOW)


@given(st.sampled_from(["", " ", "1", "PAID ", "OTHER", "paid", "a/b"]))
def test_no_row_goes_without_a_good_status(target: str) -> None:
    """An empty one would be taken for paid (contract yandex 4.2)."""
    with pytest.raises(ValueError, match="no status"):
        render([order(target=target)], LABEL, MOSCOW)


def test_summer_time_is_the_counters() -> None:
    """Another zone, another date; the second stays."""
    at = datetime.fromisoformat("2026-07-01T21:30:15+00:00")
    assert (
        cells(order(deal_created_at=at), zone=ZoneInfo("Europe/Berlin"))[0]["create_date_time"] == "2026-07-01 23:30:15"
    )


# --- answers -----------------------------------------------------------------------------------------------------


def uploading(**changes: Any) -> OrdersUploading:
    given: dict[str, Any] = {"uploading_id": "u", "api_validation_status": "PASSED", "elements_count": 2}
    return OrdersUploading(**{**given, **changes})


@pytest.mark.parametrize(
    ("changes", "fate", "code"),
    [
        ({}, Fate.ACCEPTED, ""),
        ({"elements_count": None}, Fate.ACCEPTED, ""),
        ({"api_validation_status": None}, Fate.ACCEPTED, ""),
        ({"api_validation_status": "SOMETHING_NEW"}, Fate.ACCEPTED, ""),
        ({"api_validation_status": "FAILED"}, Fate.SPLIT, "validation_failed"),
        ({"elements_count": 1}, Fate.SPLIT, "row_refused"),
    ],
)
def test_what_an_answer_means(changes: dict[str, Any], fate: Fate, code: str) -> None:
    """HTTP 200 may be a refusal (contract yandex 4.3); which row is bad it does not say."""
    told = answer(uploading(**changes), ["a", "b"])
    assert {(outcome.fate, outcome.code) for outcome in told.outcomes} == {(fate, code)}


def test_a_bad_row_that_stands_alone_is_the_bad_row() -> None:
    """Halving ends there."""
    (outcome,) = answer(uploading(api_validation_status="FAILED", elements_count=0), ["a"]).outcomes
    assert outcome.fate is Fate.REJECTED
    refused = refused_answer(Refused("", code="invalid_uploading"), ["a"])
    assert refused is not None
    assert refused.outcomes[0].fate is Fate.REJECTED


def test_an_answer_that_says_nothing_is_no_answer() -> None:
    """Neither passed nor counted: the same bytes go again."""
    with pytest.raises(Ambiguous):
        answer(uploading(api_validation_status=None, elements_count=None), ["a"])


def test_the_vendors_own_sample_is_read() -> None:
    """The receipt is what verification asks by."""
    made = read(OrdersUploadingReply, Response(200, {}, sample("orders_uploading.json"))).uploading
    receipt = answer(made, ["a"]).receipt
    assert receipt == {"uploading_id": "3f0c1a2b-0000-4000-8000-000000000001", "datetime": "2026-03-02 14:45:09"}
    assert after(receipt["datetime"]) == "2026-03-02 14:45:10"


@pytest.mark.parametrize("text", ["", "yesterday", "2026-03-02T14:45:09Z"])
def test_a_time_that_is_not_the_counters_is_no_cursor(text: str) -> None:
    """Then the newest uploads are looked at."""
    assert after(text) == ""


# --- check -------------------------------------------------------------------------------------------------------

GOALS = [
    Goal(1, "Qualified", "action", [Condition("exact", "qualified_lead")]),
    Goal(2, "Any", "action", [Condition("contain", "lead")]),
]
MAPPED = [OrderStatus("won", "PAID")]


@pytest.mark.parametrize(
    ("target", "level", "text"),
    [
        ("IN_PROGRESS", Level.OK, "Metrica's own"),
        ("SPAM", Level.OK, "Metrica's own"),
        ("won", Level.OK, "type PAID"),
        ("qualified_lead", Level.OK, "goal 1"),
        ("lead", Level.WARNING, '"matches"'),
        ("paid", Level.ERROR, 'write "PAID"'),
        ("OTHER", Level.ERROR, "not a status"),
        ("611000001", Level.ERROR, "event identifier"),
        ("", Level.ERROR, "take for PAID"),
        ("qualified lead?", Level.ERROR, "not allowed"),
        ("CANCELED", Level.ERROR, 'is "CANCELLED" meant?'),
        ("qualified_laed", Level.ERROR, "nearest: qualified_lead"),
    ],
)
def test_check_knows_a_good_status(target: str, level: Level, text: str) -> None:
    """One of the four, an event of an own goal, or a mapped status; all else is told how to be put right."""
    finding = status_findings({"goal": target, "created": "IN_PROGRESS"}, GOALS, MAPPED)[0]
    assert finding.level is level
    assert text in finding.message


def test_check_asks_for_orders_to_begin_early() -> None:
    """An order is linked only if it comes within 21 days of its deal."""
    found = status_findings({"sale": "PAID"}, GOALS, MAPPED)
    assert [(item.level, item.subject) for item in found] == [
        (Level.OK, "goal sale -> PAID"),
        (Level.WARNING, "orders"),
    ]


@pytest.mark.parametrize("status", ["IN_PROGRESS", "PAID", "CANCELLED", "SPAM", "qualified_lead", "Квал"])
def test_good_statuses_have_no_fault(status: str) -> None:
    """Names may be in any alphabet."""
    assert fault_of(status) == ""


@pytest.mark.parametrize(
    ("name", "offset", "is_wrong"),
    [
        ("Europe/Moscow", 180, False),
        ("Europe/Minsk", 180, False),
        ("Europe/Helsinki", 180, True),
        ("Asia/Yekaterinburg", 300, True),
        (None, 180, False),
        (None, 300, True),
        ("Nowhere/Land", 300, True),
        (None, None, False),
    ],
)
def test_a_counter_in_another_time_zone_is_told(name: str | None, offset: int | None, is_wrong: bool) -> None:
    """The same clock under another name is no fault; one that differs in half of the year is."""
    summer = datetime.fromisoformat("2026-07-01T12:00:00+00:00")
    fault = zone_fault(Counter(1, time_zone_name=name, time_zone_offset=offset), MOSCOW, summer)
    assert bool(fault) is is_wrong

"""Fields, clues, money and versions: pure."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.amocrm import wire
from adapters.amocrm.history import Moves
from adapters.amocrm.mapping import Lexicon, Terms, Whole, card_of, deal_of, text_of, value_of
from adapters.amocrm.scan import head_of
from bridge.errors import Drift, RecordInvalid
from bridge.model import Clue, Deal, IdKind, Money
from tests.adapters.amocrm.kit import raw_lead

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def field(own_id: int, name: str, *values: Any, code: str | None = None, kind: str = "text") -> dict[str, Any]:
    listed = [{"value": value} for value in values]
    return {"field_id": own_id, "field_name": name, "field_code": code, "field_type": kind, "values": listed}


def page(*leads: object, **changes: Any) -> bytes:
    return json.dumps({"_page": 1, "_links": {}, "_embedded": {"leads": leads}, **changes}).encode()


def deal(raw: dict[str, Any], contacts: dict[int, wire.Contact] | None = None, **fields: list[str]) -> Deal:
    (lead,) = wire.LEADS.read(page(raw)).items
    terms = Terms("RUB", Lexicon({IdKind(kind): names for kind, names in fields.items()}))
    cards = {own_id: card_of(contact, terms.lexicon) for own_id, contact in (contacts or {}).items()}
    return deal_of(Whole(head_of(lead), wire.details_of(lead), ()), cards, terms)


def test_clues_come_in_the_order_of_preference() -> None:
    """Configured fields, predefined codes, telling names, the main contact's, then texts to be searched."""
    raw = raw_lead(
        1,
        5,
        custom_fields_values=[
            field(1, "utm_content", "yclid:7", code="UTM_CONTENT", kind="tracking_data"),
            field(2, "комментарий", "см. https://a.example/?yclid=1"),
            field(3, "referrer", "https://ya.ru", code="REFERRER", kind="tracking_data"),
            field(4, "GBRAID", "g1"),
            field(5, "yclid", "111", code="YCLID", kind="tracking_data"),
            field(6, "yclid", "222"),
            field(7, "Мой ClientID", "333"),
            field(8, "просто", "текст"),
        ],
        _embedded={"contacts": [{"id": 8, "is_main": False}, {"id": 9, "is_main": True}]},
    )
    on_contact = wire.CustomField(70, "Мой ClientID", None, "text", [wire.FieldValue("444")])
    found = deal(raw, {9: wire.Contact(9, [on_contact])}, yclid=["6"], client_id=["мой clientid"])
    assert found.clues == (
        Clue("field yclid", "222", IdKind.YCLID),
        Clue("field Мой ClientID", "333", IdKind.CLIENT_ID),
        Clue("field YCLID", "111", IdKind.YCLID),
        Clue("field GBRAID", "g1", IdKind.GBRAID),
        Clue("contact field Мой ClientID", "444", IdKind.CLIENT_ID),
        Clue("field REFERRER", "https://ya.ru"),
        Clue("field комментарий", "см. https://a.example/?yclid=1"),
        Clue("utm_content", "yclid:7"),
    )


def test_two_fields_of_one_name_share_the_name_and_keep_their_ids() -> None:
    """The predefined field and a hand-made one are both called "roistat"."""
    raw = raw_lead(
        1, 5, custom_fields_values=[field(1, "roistat", "12", code="ROISTAT"), field(2, "roistat", "13", "12")]
    )
    assert deal(raw).fields == {"roistat": ("12", "13"), "ROISTAT": ("12",), "1": ("12",), "2": ("13", "12")}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (" 12345678901234567890 ", "12345678901234567890"),
        (12345678901234567890123, "12345678901234567890123"),
        (True, "true"),
        (1760000000, "1760000000"),
        ({"a": 1}, ""),
        ([1], ""),
        (None, ""),
    ],
)
def test_values_keep_every_digit(value: Any, text: str) -> None:
    """An identifier is text whatever JSON type carries it; composites are no text."""
    (lead,) = wire.LEADS.read(page(raw_lead(1, 5, custom_fields_values=[field(1, "x", value)]))).items
    (custom,) = wire.details_of(lead).custom_fields or []
    assert text_of((custom.values or [])[0].value) == text


def test_a_fraction_in_a_field_is_read_digit_by_digit() -> None:
    """No binary float comes between the vendor's number and our text."""
    body = page(raw_lead(1, 5, custom_fields_values=[field(1, "x", "@")])).replace(
        b'"@"', b"1.77511000000000000001E+18"
    )
    (lead,) = wire.LEADS.read(body).items
    (custom,) = wire.details_of(lead).custom_fields or []
    assert text_of((custom.values or [])[0].value) == "1.77511000000000000001E+18"


@given(st.integers(0, 10**14), st.integers(0, 99))
def test_money_is_exact_with_and_without_minor_units(whole: int, cents: int) -> None:
    """Whole roubles on amoCRM, exact kopecks where Kommo gives them."""
    exact = f"{whole}.{cents:02d}"
    lead = msgspec.json.decode(page(raw_lead(1, 5, price=whole)), type=wire.Page[list[wire.Lead]]).embedded["leads"][0]
    assert value_of(lead, "RUB") == Money(whole * 100, "RUB")
    both = msgspec.structs.replace(lead, price_with_minor_units=Decimal(exact))
    assert value_of(both, "RUB") == Money(whole * 100 + cents, "RUB")


@pytest.mark.parametrize("price", ['"NaN"', "1e400", "-1e20"])
def test_an_absurd_budget_quarantines_the_lead(price: str) -> None:
    """No number too large for the ledger gets past the mapping."""
    body = page(raw_lead(1, 5, price="@")).replace(b'"@"', price.encode())
    (lead,) = wire.LEADS.read(body).items
    with pytest.raises(RecordInvalid, match="budget"):
        value_of(lead, "RUB")


def test_loss_reason_is_read_as_array_as_object_and_by_id_alone() -> None:
    """The vendor sends an array; digests of its documentation show an object."""
    reason = {"id": 7, "name": "Спам", "sort": 1}
    assert deal(raw_lead(1, 5, _embedded={"loss_reason": [reason]})).loss_reason == ("7", "Спам")
    assert deal(raw_lead(1, 5, _embedded={"loss_reason": reason})).loss_reason == ("7", "Спам")
    assert deal(raw_lead(1, 5, _embedded={"loss_reason": []}, loss_reason_id=7)).loss_reason == ("7", "")
    assert deal(raw_lead(1, 5, _embedded={"loss_reason": []})).loss_reason is None


def test_a_version_ignores_links_names_and_the_order_of_tags() -> None:
    """What does not concern us must not cause a second reading."""
    one = raw_lead(
        1, 5, name="a", _links={"self": {"href": "?page=1"}}, _embedded={"tags": [{"name": "x"}, {"name": "y"}]}
    )
    two = raw_lead(
        1, 5, name="b", _links={"self": {"href": "?page=2"}}, _embedded={"tags": [{"name": "y"}, {"name": "x"}]}
    )
    three = raw_lead(1, 5, _embedded={"tags": [{"name": "x"}]})
    assert deal(one).version == deal(two).version != deal(three).version


def test_a_version_ignores_the_query_in_the_link_of_a_contact() -> None:
    """Another page size of the same list changes nothing; another contact does."""
    versions = [
        deal(raw_lead(1, 5, _embedded={"contacts": [{"id": own, "_links": {"self": {"href": f"/c?{query}"}}}]})).version
        for own, query in ((7, "limit=250"), (7, "limit=50"), (8, "limit=50"))
    ]
    assert versions[0] == versions[1] != versions[2]


@given(st.lists(st.dictionaries(st.sampled_from(sorted(raw_lead(1, 1))), JSON), max_size=4))
def test_any_json_in_a_list_of_leads_is_read_or_set_aside(changes: list[dict[str, Any]]) -> None:
    """One result per item, good or bad, and no exception but our own."""
    rows = [raw_lead(number, 5, **change) for number, change in enumerate(changes, start=1)]
    found = wire.LEADS.read(page(*rows))
    assert len(found.items) + len(found.bad) == len(rows)
    for lead in found.items:
        try:
            whole = Whole(head_of(lead), wire.details_of(lead), ())
            made = deal_of(whole, {}, Terms("RUB", Lexicon({})))
        except RecordInvalid:
            continue
        assert made.key == f"lead:{lead.id}"


@given(st.binary(max_size=60) | JSON.map(lambda item: json.dumps(item).encode()))
def test_any_bytes_are_a_page_or_drift(body: bytes) -> None:
    """HTML, cut JSON and strangers never end in a parse error."""
    try:
        wire.LEADS.read(body)
    except Drift as error:
        assert "leads" in str(error)  # noqa: PT017 - reading may also succeed


def test_a_deleted_stub_is_set_aside_and_not_an_error_of_the_page() -> None:
    """Rows full of nulls (contract amocrm 2.5) are no leads."""
    stub = raw_lead(2, 5, status_id=None, pipeline_id=None, created_at=None, is_deleted=True)
    found = wire.LEADS.read(page(raw_lead(1, 5), stub))
    assert [lead.id for lead in found.items] == [1]
    assert found.bad[0].id == "2"


def test_the_main_contact_comes_first_and_empty_or_repeated_phones_are_dropped() -> None:
    """Contacts are linked in any order; values are stored as typed."""
    raw = raw_lead(1, 5, _embedded={"contacts": [{"id": 8}, {"id": 9, "is_main": True}, {"id": 10}]})
    phones = [wire.FieldValue("+7 900"), wire.FieldValue(""), wire.FieldValue("+7 900"), wire.FieldValue(89001112233)]
    card = wire.Contact(9, [wire.CustomField(1, "Телефон", "PHONE", "multitext", phones)])
    first, second = deal(raw, {8: wire.Contact(8), 9: card}).contacts
    assert (first.id, first.is_main, first.phones) == ("9", True, ("+7 900", "89001112233"))
    assert (second.id, second.is_main) == ("8", False)


def test_predefined_fields_are_known_by_their_codes() -> None:
    """Whatever they are called (contract 3.2); the number of a counter and the ids of no click are none."""
    codes = ("YCLID", "GCLID", "_YM_UID", "GCLIENTID", "FBCLID", "ROISTAT", "_YM_COUNTER", "OPENSTAT_AD", "FROM")
    fields = [field(n, f"Имя {n}", f"v{n}", code=code, kind="tracking_data") for n, code in enumerate(codes)]
    assert [(clue.text, clue.kind) for clue in deal(raw_lead(1, 5, custom_fields_values=fields)).clues] == [
        ("v0", IdKind.YCLID),
        ("v1", IdKind.GCLID),
        ("v2", IdKind.CLIENT_ID),
        ("v3", IdKind.GA_CLIENT_ID),
        ("v4", IdKind.FBCLID),
        ("v5", IdKind.ROISTAT),
    ]


def test_of_contacts_none_of_which_is_marked_the_first_is_the_main_one() -> None:
    """Its identifiers serve the lead, those of the others do not (contract 4)."""
    raw = raw_lead(1, 5, _embedded={"contacts": [{"id": 8}, {"id": 9}]})
    card = {n: wire.Contact(n, [wire.CustomField(1, "yclid", None, "text", [wire.FieldValue(str(n))])]) for n in (8, 9)}
    made = deal(raw, card)
    assert [(contact.id, contact.is_main) for contact in made.contacts] == [("8", True), ("9", False)]
    assert made.clues == (Clue("contact field yclid", "8", IdKind.YCLID),)


@pytest.mark.parametrize("empty", [None, []])
def test_what_is_empty_is_nothing(empty: Any) -> None:
    """Fields are null or an empty array, a budget may be null (contract 3); 0 is a budget of 0."""
    made = deal(raw_lead(1, 5, price=None, custom_fields_values=empty, closed_at=None, loss_reason_id=None))
    assert (made.value, dict(made.fields), made.clues, made.closed_at, made.loss_reason) == (None, {}, (), None, None)
    assert deal(raw_lead(1, 5, price=0)).value == Money(0, "RUB")


def test_a_listed_lead_may_say_that_it_is_deleted() -> None:
    """``is_deleted`` counts wherever it comes (contract 3)."""
    assert deal(raw_lead(1, 5, is_deleted=True)).is_deleted
    assert not deal(raw_lead(1, 5, is_deleted=None)).is_deleted


def test_events_of_other_kinds_spoil_no_page() -> None:
    """Their values have shapes of their own, with numbers for types (contract 6): read past, none set aside."""
    values = [{"custom_field_value": {"field_id": 7, "field_type": 8, "enum_id": None, "text": "x"}}]
    event = {"entity_id": 1, "created_at": 5, "value_before": [], "entity_type": "lead"}
    events = [
        {**event, "id": "01j9w8y7t6p04ymgsgfbmfyfy1", "type": "custom_field_value_changed", "value_after": values},
        {**event, "id": "01j9w8y7t6p04ymgsgfbmfyfy2", "type": "lead_linked", "value_after": [{"link": {"entity": {}}}]},
        {**event, "id": "01j9w8y7t6p04ymgsgfbmfyfy3", "type": "lead_added", "value_after": [{"note": {"id": 3}}]},
    ]
    found = wire.EVENTS.read(json.dumps({"_embedded": {"events": events}}).encode())
    kept = Moves()
    kept.add(found.items)
    assert (len(found.items), found.bad, kept.of(1)) == (3, [], [])

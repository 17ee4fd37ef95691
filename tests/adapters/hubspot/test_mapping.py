"""The vendor's records become the domain's values: money, fields, contacts, and whose click it was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.hubspot import directory, mapping, times, wire
from adapters.hubspot.clues import clues
from adapters.hubspot.entities import CONTACT, DEAL
from adapters.hubspot.fake_schema import CURRENCY, DEALS
from adapters.hubspot.mapping import Read
from adapters.hubspot.plan import Plan, Rules, plan
from adapters.hubspot.wire import Change, Record
from bridge.errors import Drift, RecordInvalid
from bridge.identity import read as read_clues
from bridge.model import Clue, IdKind, Money, Outcome
from tests.adapters.hubspot.kit import DAY, GCLID, HOUR, MINUTE, NEW, WON, YCLID, read, running, sample
from tests.support import START

OTHER = "13527482094718002"
CLIENT = "1741082400123456789"


def names_of(**more: Any) -> directory.Directory:
    """The names of the samples, with more properties of deals and contacts by name and type."""
    known = [*wire.properties(sample("properties")), *(wire.Property(name, name, kind) for name, kind in more.items())]
    standard = [
        wire.Property(name, name, "string", hubspot_defined=True) for name in (*CONTACT.standard, *DEAL.standard)
    ]
    have = {one.name for one in known}
    everything = [*known, *(one for one in standard if one.name not in have)]
    return directory.build({CONTACT: everything, DEAL: everything}, wire.pipelines(sample("pipelines")))


def plan_of(entity: Any, fields: dict[IdKind, tuple[str, ...]] | None = None, **rules: Any) -> Plan:
    made = Rules(fields or {}, (), rules.pop("loss_reason_field", "closed_lost_reason"), "RUB", **rules)
    return plan(entity, names_of(closed_lost_reason="string"), made)


def stamp(after: timedelta) -> str:
    return f"{START + after:%Y-%m-%dT%H:%M:%S}.000Z"


def contact(history: dict[str, list[tuple[timedelta, str]]], **values: str) -> Record:
    """A contact created at the start; histories are given oldest first."""
    told = {name: [Change(stamp(after), text) for after, text in changes][::-1] for name, changes in history.items()}
    now = {name: changes[-1][1] for name, changes in history.items()}
    return Record("301", {"createdate": stamp(0 * HOUR), **now, **values}, told)


# --- samples -----------------------------------------------------------------------------------------------------


def test_a_sample_deal_becomes_a_deal() -> None:
    """History oldest first, money in the home currency, its main contact's click and phone, the contact as parent."""
    found = wire.batch(sample("deals"), frozenset({"501", "599"}))
    people = wire.batch(sample("contacts"), frozenset({"301"})).rows.records
    assert found.missing == {"599"}
    made = mapping.deal(Read(found.rows.records[0], "v", people), plan_of(DEAL, needs_values=True), plan_of(CONTACT))
    assert [(change.stage, change.outcome) for change in made.history] == [
        ("appointmentscheduled", Outcome.OPEN),
        ("qualifiedtobuy", Outcome.OPEN),
        ("closedwon", Outcome.WON),
    ]
    assert made.history[-1].at == made.closed_at == datetime(2026, 3, 10, 9, 0, 0, 400_000, UTC)
    assert made.value == Money(10_000_050, "RUB")
    assert [change.value.minor for change in made.value_changes] == [5_000_000, 0, 10_000_050]
    assert made.parent == "lead:301"
    assert (made.contacts[0].id, made.contacts[0].is_main) == ("301", True)
    values = {item.kind: item.value for item in read_clues(made).identifiers}
    assert values == {IdKind.YCLID: YCLID, IdKind.CLIENT_ID: CLIENT}


def test_sample_associations_are_read_as_text_with_their_label() -> None:
    """Ids are numbers there; deals without contacts are named in a partial answer, which is no error (contract 5)."""
    found, more = wire.links(sample("associations"), frozenset({"501", "502"}))
    assert {deal: [(link.number, link.is_primary) for link in links] for deal, links in found.items()} == {
        "501": [("302", False), ("301", True)]
    }
    assert more == []


def test_a_sample_search_promises_more() -> None:
    """By its paging, or because it counts more than it sent."""
    page = wire.page(sample("search"))
    assert [record.number for record in page.rows.records] == ["501", "502"]
    assert page.has_more
    assert not wire.page(b'{"total":1,"results":[{"id":"1","properties":{}}]}').has_more
    assert wire.page(b'{"total":2,"results":[{"id":"1","properties":{}}]}').has_more


def test_a_record_of_another_shape_is_bad_alone() -> None:
    """Values are text or null (contract 2); a number has lost digits already. Its id is kept where it has one."""
    page = wire.page(
        b'{"total":3,"results":[{"id":"1","properties":{"yclid":1.77511e18}},{"id":2,"properties":{"yclid":null}},{}]}'
    )
    assert [record.number for record in page.rows.records] == ["2"]
    assert page.rows.bad == ["1", ""]


@pytest.mark.parametrize("body", [b"", b"[]", b'{"total":1}', b'{"results":{}}', b"\xff"])
def test_an_answer_of_another_shape_is_drift(body: bytes) -> None:
    """Never a parse error of somebody else's."""
    for read_it in (wire.page, wire.properties, wire.pipelines, lambda b: wire.batch(b, frozenset({"1"}))):
        with pytest.raises(Drift):
            read_it(body)


def test_odd_errors_of_a_partial_answer_are_read_for_what_they_are() -> None:
    """Documented by example only (contract 6): what is not understood names nothing and breaks nothing."""
    odd = b'[{"category":null,"context":[1],"errors":{"a":1}},{"category":5},{},{"category":"OBJECT_NOT_FOUND"}]'
    body = b'{"results":[{"id":1,"properties":{}}],"errors":' + odd + b"}"
    assert wire.batch(body, frozenset({"1", "2"})).missing == {
        "2"
    }  # an error without ids is about all that are missing
    named = b'{"results":[],"errors":[{"category":"OBJECT_NOT_FOUND","errors":[{"context":{"ids":["2"]}}]}]}'
    found = wire.batch(named, frozenset({"1", "2"}))
    assert (sorted(found.missing), sorted(found.silent)) == (["2"], ["1"])
    with pytest.raises(Drift, match="INTERNAL"):
        wire.links(b'{"results":[],"errors":[{"category":"INTERNAL"}]}', frozenset({"1"}))


def test_a_record_without_a_creation_property_has_its_own_time() -> None:
    """``createdAt`` stands beside the properties."""
    body = (
        f'{{"results":[{{"id":"1","createdAt":"{stamp(0 * HOUR)}","properties":{{"hs_lastmodifieddate":"{stamp(HOUR)}",'
    )
    body += '"createdate":null,"dealstage":"closedwon","pipeline":"default"}}]}'
    (record,) = wire.batch(body.encode(), frozenset({"1"})).rows.records
    assert mapping.deal(Read(record, "v"), plan_of(DEAL), plan_of(CONTACT)).created_at == START


# --- times and money ---------------------------------------------------------------------------------------------


def test_times_come_as_iso_or_as_milliseconds() -> None:
    """And one without a zone is none."""
    at = datetime(2026, 3, 5, 6, 7, 31, 120_000, UTC)
    assert times.moment("2026-03-05T06:07:31.120Z") == times.moment(str(times.millis(at))) == at
    assert times.moment("") is times.moment(None) is None
    for text in ("2026-03-05", "yesterday", "9" * 40):
        with pytest.raises(RecordInvalid):
            times.moment(text)


@given(st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - hypothesis adds the zone
def test_milliseconds_never_round_up(at: datetime) -> None:
    """A window's start that was rounded up would lose a record."""
    whole = times.moment(str(times.millis(at)))
    assert whole is not None
    assert timedelta(0) <= at - whole < timedelta(milliseconds=1)


async def test_a_deals_own_currency_wins_over_the_home_currency(tmp_path: Path) -> None:
    """Accounts with one currency name none (contract 4): the settings' counts, else the tenant's. Zero is no value."""
    async with running(tmp_path) as rig:
        rig.portal.data.properties[DEALS]["deal_currency_code"] = CURRENCY
        rig.deal(amount="1500")
        rig.deal(amount="1500.5", deal_currency_code="KZT")
        rig.deal(amount="0")
        rig.deal()
        deals = await read(rig.another(home_currency="USD"), rig.all_time())
        assert [deals[f"deal:{number}"].value for number in (501, 502, 503, 504)] == [
            Money(150_000, "USD"),
            Money(150_050, "KZT"),
            None,
            None,
        ]
        assert (await read(rig.source, rig.all_time()))["deal:501"].value == Money(150_000, "RUB")


async def test_fields_have_names_labels_and_options(tmp_path: Path) -> None:
    """What goals look at: the account's own properties and those of the settings, several choices one by one."""
    async with running(tmp_path) as rig:
        rig.deal(object_kind="flat;house", utm_source="yandex", dealname="Окна", hs_analytics_source="PAID_SEARCH")
        deal = (await read(rig.source, rig.all_time()))["deal:501"]
        assert deal.fields["object_kind"] == deal.fields["Тип объекта"] == ("Квартира", "Дом")
        assert deal.options["object_kind"] == deal.options["Тип объекта"] == ("flat", "house")
        assert "utm_source" not in deal.options
        assert deal.fields["utm_source"] == ("yandex",)
        assert "dealname" not in deal.fields
        assert deal.origin == ("PAID_SEARCH", "Paid Search")
        more = (await read(rig.another(properties=["Deal Name"]), rig.all_time()))["deal:501"]
        assert more.fields["dealname"] == more.fields["Deal Name"] == ("Окна",)
        catalogue = await rig.source.catalogue()
        assert {"object_kind", "Тип объекта", "hs_lead_status"} <= set(catalogue.fields)
        assert catalogue.choices["object_kind"] == catalogue.choices["Тип объекта"] == ("Квартира", "Дом")


async def test_a_list_of_loss_reasons_is_used_where_the_account_has_one(tmp_path: Path) -> None:
    """Else any reason may be written: goals are not told that a name is unknown."""
    async with running(tmp_path) as rig:
        rig.deal(dealstage="closedlost", object_kind="flat")
        assert (await rig.source.catalogue()).has_free_reasons
        listed = rig.another(loss_reason_field="Тип объекта")
        catalogue = await listed.catalogue()
        assert not catalogue.has_free_reasons
        assert ("flat", "Квартира") in catalogue.loss_reasons
        assert (await read(listed, rig.all_time()))["deal:501"].loss_reason == ("flat", "Квартира")
        plain = (await read(rig.source, rig.all_time()))["deal:501"]
        assert plain.loss_reason == ("closedlost", "Закрыто и не реализовано")


@pytest.mark.parametrize(
    ("metadata", "outcome"),
    [
        ({"isClosed": "true", "probability": "1.0"}, Outcome.WON),
        ({"isClosed": "true", "probability": "1"}, Outcome.WON),
        ({"isClosed": "true", "probability": "0.0"}, Outcome.LOST),
        ({"isClosed": True, "probability": 0}, Outcome.LOST),
        ({"isClosed": "true"}, Outcome.LOST),
        ({"isClosed": "false", "probability": "1.0"}, Outcome.OPEN),
        ({}, Outcome.OPEN),
    ],
)
def test_stages_end_as_their_metadata_says(metadata: dict[str, Any], outcome: Outcome) -> None:
    """Its values are text (contract 4); a certain deal that is not closed is not won yet."""
    assert directory.outcome_of(wire.Stage("1", "x", metadata)) is outcome


# --- clues -------------------------------------------------------------------------------------------------------


def clues_at(record: Record, after: timedelta, **fields: Any) -> dict[IdKind, str]:
    """Identifier properties of a contact as they count for what began then."""
    found = clues(record, plan_of(CONTACT, fields.get("fields")), START + after)
    return {clue.kind: clue.text for clue in found if clue.kind is not None}


def texts_at(record: Record, after: timedelta) -> list[str]:
    """Texts of a contact that may hide an identifier of what began then."""
    return [clue.text for clue in clues(record, plan_of(CONTACT), START + after) if clue.kind is None]


def test_a_deal_has_the_click_that_its_contact_had_when_it_began() -> None:
    """The person clicked again later: that click belongs to later deals. The browser stays the same."""
    record = contact(
        {"hs_google_click_id": [(0 * HOUR, GCLID), (DAY, GCLID[::-1])], "ym_client_id": [(0 * HOUR, CLIENT)]}
    )
    assert clues_at(record, HOUR) == {IdKind.GCLID: GCLID, IdKind.CLIENT_ID: CLIENT}
    assert clues_at(record, 2 * DAY) == {IdKind.GCLID: GCLID[::-1], IdKind.CLIENT_ID: CLIENT}


def test_click_ids_of_two_visits_are_never_mixed() -> None:
    """First Google, then Yandex: what began after the second visit came by that one alone."""
    record = contact({"hs_google_click_id": [(0 * HOUR, GCLID)], "ym_client_id": [(DAY, CLIENT)]})
    assert clues_at(record, HOUR) == {IdKind.GCLID: GCLID}
    names = {IdKind.YCLID: ("yclid_page",)}
    record = contact({"hs_google_click_id": [(0 * HOUR, GCLID)], "yclid_page": [(DAY, YCLID)]})
    told = plan(CONTACT, names_of(yclid_page="string"), Rules(names, (), "", "RUB"))
    kinds = [clue.kind for clue in clues(record, told, START + 2 * DAY)]
    assert kinds == [IdKind.YCLID]


def test_a_click_that_is_told_a_little_late_counts() -> None:
    """A form's deal is made before a workflow has copied the id; one that comes long after another visit does not."""
    record = contact({"hs_google_click_id": [(MINUTE, ""), (5 * MINUTE, GCLID)]})
    assert clues_at(record, 0 * HOUR) == {IdKind.GCLID: GCLID}
    late = contact({"ym_client_id": [(0 * HOUR, CLIENT)], "hs_google_click_id": [(3 * DAY, GCLID)]})
    assert clues_at(late, HOUR) == {IdKind.CLIENT_ID: CLIENT}
    assert clues_at(late, 4 * DAY) == {IdKind.CLIENT_ID: CLIENT, IdKind.GCLID: GCLID}


def test_a_click_of_long_ago_is_not_that_of_a_new_deal() -> None:
    """No destination takes one older than 90 days; the browser's id stays good. The same for a first page seen then."""
    record = contact(
        {"hs_google_click_id": [(0 * HOUR, GCLID)], "ym_client_id": [(0 * HOUR, CLIENT)]},
        hs_analytics_first_url=f"https://okna.example/?yclid={YCLID}",
    )
    assert clues_at(record, 90 * DAY) == {IdKind.GCLID: GCLID, IdKind.CLIENT_ID: CLIENT}
    assert clues_at(record, 91 * DAY) == {IdKind.CLIENT_ID: CLIENT}
    assert texts_at(record, HOUR) == []  # the click id is known
    silent = contact({}, hs_analytics_first_url=f"https://okna.example/?yclid={YCLID}")
    assert [len(texts_at(silent, days * DAY)) for days in (90, 91)] == [1, 0]


def test_junk_is_no_visit() -> None:
    """A form without a click writes "undefined" over nothing: it neither counts nor hides what came before."""
    record = contact({"hs_google_click_id": [(0 * HOUR, GCLID)], "hs_facebook_click_id": [(DAY, "undefined")]})
    found = clues_at(record, 2 * DAY)
    assert found[IdKind.GCLID] == GCLID
    page = f"https://okna.example/?yclid={YCLID}"
    spoilt = contact({"hs_google_click_id": [(0 * HOUR, "undefined")]}, hs_analytics_first_url=page)
    assert texts_at(spoilt, HOUR) == [page]


def test_campaign_tags_are_those_of_the_visit() -> None:
    """As they were when the deal began; tags that came by a later visit are none, nor any where a click id is known."""
    told = plan(CONTACT, names_of(utm_content="string"), Rules({}, (), "", "RUB"))
    assert "utm_content" in told.histories
    record = contact({"utm_content": [(HOUR, f"yclid:{YCLID}"), (DAY, f"yclid:{OTHER}")]})
    texts = [[clue.text for clue in clues(record, told, START + hours * HOUR)] for hours in (0, 0.8, 2, 48)]
    assert texts == [[], [f"yclid:{YCLID}"], [f"yclid:{YCLID}"], [f"yclid:{OTHER}"]]
    known = contact({"utm_content": [(0 * HOUR, f"yclid:{YCLID}")], "hs_google_click_id": [(0 * HOUR, GCLID)]})
    assert [clue.kind for clue in clues(known, told, START)] == [IdKind.GCLID]


def test_without_history_what_stands_there_counts() -> None:
    """The vendor need not tell one."""
    record = Record("1", {"createdate": stamp(0 * HOUR), "hs_google_click_id": GCLID, "ym_client_id": CLIENT})
    assert clues_at(record, HOUR) == {IdKind.GCLID: GCLID, IdKind.CLIENT_ID: CLIENT}


async def test_clicks_are_found_wherever_forms_put_them(tmp_path: Path) -> None:
    """Configured by label, the vendor's own, the first page, utm tags, a text with an address in it."""
    async with running(tmp_path) as rig:
        first = f"https://okna.example/?utm_source=yandex&yclid={OTHER}"
        rig.contact(ym_client_id=CLIENT, hs_google_click_id=GCLID)
        rig.contact(utm_content=f"cid-1|yclid={YCLID}", hs_facebook_click_id="test")
        rig.contact(ym_client_id=CLIENT, hs_analytics_first_url=first)
        rig.contact(hs_facebook_click_id="IwAR0a1B2c3D4e5F6g7H8i9J0k")
        rig.deal(yclid=YCLID)
        deals = await read(rig.source, rig.all_time())
        found = {key: {item.kind: item.value for item in read_clues(deal).identifiers} for key, deal in deals.items()}
        assert found == {
            "lead:301": {IdKind.CLIENT_ID: CLIENT, IdKind.GCLID: GCLID},
            "lead:302": {IdKind.YCLID: YCLID},
            "lead:303": {IdKind.CLIENT_ID: CLIENT, IdKind.YCLID: OTHER},
            "lead:304": {IdKind.FBCLID: "IwAR0a1B2c3D4e5F6g7H8i9J0k"},
            "deal:501": {IdKind.YCLID: YCLID},
        }


async def test_a_deal_with_a_click_of_its_own_takes_none_of_its_contact(tmp_path: Path) -> None:
    """Two clicks never mix; junk of its own is no click."""
    async with running(tmp_path) as rig:
        who = rig.contact(hs_google_click_id=GCLID, ym_client_id=CLIENT)
        rig.deal(START, {who: None}, yclid=YCLID)
        rig.deal(START, {who: None}, yclid="undefined")
        deals = await read(rig.source, rig.all_time())
        kinds = {key: {item.kind for item in read_clues(deals[key]).identifiers} for key in ("deal:501", "deal:502")}
        assert kinds == {"deal:501": {IdKind.YCLID}, "deal:502": {IdKind.GCLID, IdKind.CLIENT_ID}}
        assert Clue("contact property hs_google_click_id", GCLID, IdKind.GCLID) in deals["deal:502"].clues


# --- contacts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "main"),
    [
        ((None, None, None), 302),  # the oldest that shows a click
        ((None, None, "Primary"), 303),
        (("Buyer", "primary ", None), 302),
        (("PRIMARY", None, None), 301),
    ],
)
async def test_the_main_contact_of_several(tmp_path: Path, labels: tuple[str | None, ...], main: int) -> None:
    """Labelled primary, else the oldest with a click id (contract 5); phones and e-mails are read of all."""
    async with running(tmp_path) as rig:
        for number, yclid in enumerate((None, YCLID, OTHER)):
            rig.contact(
                START + number * HOUR, yclid=yclid, phone=f"+7999000000{number}", email=f"p{number}@example.com"
            )
        rig.deal(START + DAY, dict(zip((301, 302, 303), labels, strict=True)))
        deal = (await read(rig.source, rig.all_time()))["deal:501"]
        assert [one.id for one in deal.contacts if one.is_main] == [str(main)]
        assert deal.parent == f"lead:{main}"
        assert {phone for one in deal.contacts for phone in one.phones} == {f"+7999000000{n}" for n in range(3)}
        assert {mail for one in deal.contacts for mail in one.emails} == {f"p{n}@example.com" for n in range(3)}


async def test_of_contacts_without_a_click_the_oldest_is_the_main_one(tmp_path: Path) -> None:
    """By creation, not by id."""
    async with running(tmp_path) as rig:
        rig.contact(START, createdate=stamp(2 * HOUR))
        rig.contact(START, createdate=stamp(HOUR))
        rig.deal(START + DAY, {301: None, 302: None})
        assert (await read(rig.source, rig.all_time()))["deal:501"].parent == "lead:302"


async def test_without_leads_deals_have_no_parent_but_their_contacts_click(tmp_path: Path) -> None:
    """``entities = ["deal"]``: nothing could be counted on the contact."""
    async with running(tmp_path, entities=["deal"]) as rig:
        rig.deal(START, {rig.contact(yclid=YCLID): None})
        deals = await read(rig.source, rig.all_time())
        assert set(deals) == {"deal:501"}
        assert deals["deal:501"].parent is None
        assert [item.value for item in read_clues(deals["deal:501"]).identifiers] == [YCLID]
        assert [pipeline.id for pipeline in (await rig.source.catalogue()).pipelines] == ["default", "74120931"]


async def test_very_many_contacts_are_read_page_by_page_and_twenty_of_them_used(tmp_path: Path) -> None:
    """More than a batch of associations tells of one deal; the primary one is found among them."""
    async with running(tmp_path) as rig:
        people = [rig.contact() for _ in range(120)]
        rig.portal.links_page = 50
        rig.deal(START + DAY, {one: "Primary" if one == people[110] else None for one in people})
        deal = (await read(rig.another(entities=["deal"]), rig.all_time()))["deal:501"]
        assert len(deal.contacts) == 20
        assert deal.contacts[0].id == str(people[110])


async def test_a_deleted_contact_is_left_out(tmp_path: Path) -> None:
    """Its association is still there for a while."""
    async with running(tmp_path) as rig:
        rig.contact(START, yclid=YCLID)
        rig.contact(START + HOUR, phone="+79990000001")
        rig.deal(START + DAY, {301: None, 302: None})
        rig.portal.data.archive("contacts", 301, START + DAY)
        deal = (await read(rig.source, rig.all_time()))["deal:501"]
        assert [one.id for one in deal.contacts] == ["302"]
        assert deal.parent == "lead:302"


# --- history -----------------------------------------------------------------------------------------------------


def test_a_current_stage_without_history_is_dated_by_the_last_change() -> None:
    """``explain`` then says "from record"."""
    values = {"dealstage": WON, "pipeline": "default", "createdate": stamp(0 * HOUR)}
    record = Record("1", {**values, "hs_lastmodifieddate": stamp(HOUR)})
    made = mapping.deal(Read(record, "v"), plan_of(DEAL), plan_of(CONTACT))
    assert [(change.at, change.source) for change in made.history] == [(START + HOUR, "record")]
    assert made.outcome is Outcome.WON


def test_a_stage_saved_twice_is_entered_once() -> None:
    """Equal neighbours are one entry, at the first of their times; later re-entries count."""
    told = [Change(stamp(hours * HOUR), stage) for hours, stage in ((0, NEW), (1, NEW), (2, WON), (3, NEW))]
    values = {"dealstage": NEW, "pipeline": "default", "createdate": stamp(0 * HOUR)}
    record = Record("1", {**values, "hs_lastmodifieddate": stamp(3 * HOUR)}, {"dealstage": told[::-1]})
    made = mapping.deal(Read(record, "v"), plan_of(DEAL), plan_of(CONTACT))
    assert [(change.stage, (change.at - START) / HOUR) for change in made.history] == [(NEW, 0), (WON, 2), (NEW, 3)]


@given(
    st.lists(st.tuples(st.integers(0, 10**9), st.sampled_from([NEW, WON, "closedlost", "gone", ""])), max_size=8),
    st.sampled_from([NEW, WON, "gone"]),
)
def test_any_history_is_in_time_order_and_ends_with_the_current_stage(
    told: list[tuple[int, str]], current: str
) -> None:
    """Whatever the vendor sends: goals are judged over it."""
    changes = [Change(f"{times.moment(str(at)):%Y-%m-%dT%H:%M:%S}.{at % 1000:03d}Z", stage) for at, stage in told]
    values = {"dealstage": current, "pipeline": "default", "createdate": stamp(0 * HOUR)}
    record = Record("1", {**values, "hs_lastmodifieddate": stamp(HOUR)}, {"dealstage": changes})
    made = mapping.deal(Read(record, "v"), plan_of(DEAL), plan_of(CONTACT))
    assert list(made.history) == sorted(made.history, key=lambda change: change.at)
    assert made.history[-1].stage == made.stage == current
    assert {change.stage for change in made.history} <= {stage for _, stage in told} | {current}


# --- versions ----------------------------------------------------------------------------------------------------


def test_a_version_is_of_what_is_read() -> None:
    """Not of other properties, their order, or one that begins to be read and is empty; of each value that is read."""
    changed = DEAL.changed
    record = Record("1", {changed: stamp(HOUR), "dealstage": NEW, "noise": "1", "fresh": None})
    same = Record("1", {"noise": "2", "dealstage": NEW, changed: stamp(HOUR)})
    version = mapping.version(record, ("dealstage", "amount"), changed)
    assert version == mapping.version(same, ("amount", "fresh", "dealstage"), changed)
    moved = Record("1", {**record.properties, "amount": "1"})
    assert version != mapping.version(moved, ("dealstage", "amount"), changed)
    later = Record("1", {**record.properties, changed: stamp(2 * HOUR)})
    assert version != mapping.version(later, ("dealstage", "amount"), changed)

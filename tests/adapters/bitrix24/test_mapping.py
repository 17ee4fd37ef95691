"""Rows of the portal become deals with true times, exact money and nothing invented."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from adapters.bitrix24 import directory, mapping, wire
from adapters.bitrix24.entities import DEAL, LEAD, Entity
from adapters.bitrix24.fake_rest import _fields
from adapters.bitrix24.fake_schema import Schema, Status
from adapters.bitrix24.wire import FIELDS, HISTORY, Category, ContactRow, FieldInfo, HistoryRow, MultiField, StatusRow
from bridge.clues import read as identify
from bridge.consent import ConsentSettings
from bridge.errors import RecordInvalid
from bridge.model import Consent, Deal, IdKind, Money, Outcome, StageChange
from bridge.ports import BadRecord, Head
from bridge.rules.consent import Terms, decide
from tests.adapters.bitrix24.kit import YCLID, sample

T0 = datetime(2026, 8, 10, 9, 0, tzinfo=UTC)


def names() -> directory.Directory:
    lead_fields = {
        "UF_CRM_YCLID": FieldInfo(list_label="Клик Яндекса", title="UF_CRM_YCLID"),
        "UF_CRM_1751203344": FieldInfo("enumeration", list_label="Причина", items=[wire.Option("44", "Спам")]),
    }
    leads = [StatusRow("NEW", "Новая"), StatusRow("CONVERTED", "Хороший", "S"), StatusRow("JUNK", "Плохой", "F")]
    deals = [StatusRow("C1:NEW", "Новая"), StatusRow("C1:UC_7QV3KD", "Квалифицирован"), StatusRow("C1:WON", "Ура", "S")]
    fields = {"lead": lead_fields, "deal": {"UF_CRM_YCLID": FieldInfo()}}
    return directory.build(leads, [(DEAL, Category(1, "Продажи"), deals)], [StatusRow("WEBFORM", "CRM-форма")], fields)


def rules(**changes: Any) -> mapping.Rules:
    given_rules = {"fields": {IdKind.YCLID: ("UF_CRM_YCLID",)}, "loss_reason_field": None, "currency": "RUB"}
    return mapping.Rules(**{**given_rules, **changes})


def listed(row: dict[str, Any]) -> wire.Listed:
    """The row as a classic list brings it."""
    return wire.listed([msgspec.Raw(msgspec.json.encode(row))], "crm.deal.list")[0]


def deal(entity: Entity, row: dict[str, Any], history: str = "", **changes: Any) -> Deal:
    contact = changes.pop("contact", None)
    rows = HISTORY.decode(msgspec.json.encode(sample(history))).items if history else []
    known = names()
    return mapping.deal(mapping.Read(row, "v", rows, contact), mapping.plan(entity, known, rules(**changes)))


# --- whole records -----------------------------------------------------------------------------------------------


def test_a_deal_is_read_whole() -> None:
    """Money, times in UTC, stage, parent, source and the full history of a won deal."""
    contact = ContactRow(3391, [MultiField("8 999 123 45 67")], [MultiField("kim@okna.example")])
    made = deal(DEAL, sample("deal"), "stage_history", contact=contact)
    assert (made.key, made.pipeline, made.stage, made.outcome) == ("deal:7310", "1", "C1:WON", Outcome.WON)
    assert made.value == Money(4850050, "RUB")
    assert made.created_at == datetime(2026, 8, 10, 11, 59, 11, tzinfo=UTC)
    assert made.closed_at == datetime(2026, 8, 14, 8, 2, 41, tzinfo=UTC)
    assert (made.parent, made.origin) == ("lead:5123", ("WEBFORM", "CRM-форма"))
    assert [change.stage for change in made.history] == ["C1:NEW", "C1:UC_7QV3KD", "C1:WON"]
    assert made.history[1].at == datetime(2026, 8, 12, 6, 15, tzinfo=UTC)
    assert {change.source for change in made.history} == {"stage history"}
    assert made.contacts[0].id == "3391"
    assert made.contacts[0].phones == ("8 999 123 45 67",)


def test_a_lost_lead_names_its_failure_stage_as_the_reason() -> None:
    """Leads have no loss reason of their own: the failure stage is it."""
    made = deal(LEAD, sample("lead"), "lead_history")
    assert (made.outcome, made.loss_reason) == (Outcome.LOST, ("JUNK", "Плохой"))
    assert made.contacts[0].phones == ("+7 (999) 123-45-67",)
    assert made.contacts[0].id == ""
    assert made.history[-1].stage == "JUNK"


def test_a_converted_lead_is_no_sale() -> None:
    """Success of a lead means that it lives on as a deal; the sale must not be counted twice."""
    row = sample("lead") | {"STATUS_ID": "CONVERTED", "STATUS_SEMANTIC_ID": "S"}
    made = deal(LEAD, row)
    assert made.outcome is Outcome.OPEN
    assert made.history[-1].outcome is Outcome.OPEN


def test_a_filled_loss_reason_field_wins_over_the_stage() -> None:
    """The field is found by code or label; an enumeration gives its option's text."""
    for name in ("UF_CRM_1751203344", "причина"):
        assert deal(LEAD, sample("lead"), loss_reason_field=name).loss_reason == ("44", "Спам")
    empty = sample("lead") | {"UF_CRM_1751203344": None}
    assert deal(LEAD, empty, loss_reason_field="Причина").loss_reason == ("JUNK", "Плохой")


def test_custom_fields_are_found_under_code_and_label() -> None:
    """Goals may name a field either way and an option by its text or id; false and [] are empty."""
    made = deal(LEAD, sample("lead"))
    fields = made.fields
    assert fields["UF_CRM_1751203344"] == fields["Причина"] == ("Спам",)
    assert made.options == {"UF_CRM_1751203344": ("44",), "Причина": ("44",)}
    assert fields["UF_CRM_TAGS"] == ("a", "b")
    assert "UF_CRM_EMPTY" not in fields
    assert fields["Клик Яндекса"] == (YCLID,)


WINDOWS = FieldInfo(
    "enumeration",
    is_multiple=True,
    list_label="Окон",
    items=[wire.Option("1", "5"), wire.Option("5", "Нет"), wire.Option("144", "1")],
)


@pytest.mark.parametrize(
    ("value", "texts", "options"),
    [
        ("144", ("1",), ("144",)),
        (["144", "5"], ("1", "Нет"), ("144",)),
        ("1", ("5",), ()),
        ("146", ("option 146",), ("146",)),
        ([], None, None),
    ],
)
def test_options_are_their_labels_and_their_ids_stand_beside_them(
    value: Any, texts: tuple[str, ...] | None, options: tuple[str, ...] | None
) -> None:
    """An id that is another option's label names that one; of an option that is not listed the id is no number."""
    known = directory.build(None, [], [], {"deal": {"UF_CRM_N": WINDOWS}})
    row = sample("deal") | {"UF_CRM_N": value}
    made = mapping.deal(mapping.Read(row, "v", (), None), mapping.plan(DEAL, known, rules()))
    assert directory.catalogue(known, None).choices["Окон"] == ("5", "Нет", "1")
    for name in ("UF_CRM_N", "Окон"):
        assert (made.fields.get(name), made.options.get(name)) == (texts, options)


@pytest.mark.parametrize(("field", "yes"), [("Согласие", "44"), ("UF_CRM_OK", "1")])
def test_a_consent_that_was_given_is_a_yes(field: str, yes: str) -> None:
    """By a list field, whose option has an id, and by a field of the type yes/no."""
    known = {
        "UF_CRM_CONS": FieldInfo("enumeration", list_label="Согласие", items=[wire.Option("44", "Да")]),
        "UF_CRM_OK": FieldInfo("boolean"),
    }
    named = directory.build(None, [], [], {"deal": known})
    assert directory.catalogue(named, None).choices[field] == (("Да",) if field == "Согласие" else ("Y", "N"))
    plan = mapping.plan(DEAL, named, rules())
    asking = Terms.of(ConsentSettings(field=[field]), "DE")
    for value, expected in ((yes, Consent(True, True)), ("0", Consent(False, False)), ("", None)):
        row = sample("deal") | {"UF_CRM_CONS" if field == "Согласие" else field: value}
        assert decide(asking, mapping.deal(mapping.Read(row, "v", (), None), plan))[0] == expected


def test_clues_come_in_order_of_preference_and_only_where_ids_may_hide() -> None:
    """Configured fields with their kind, then texts with a URL or click id, then utm tags; other comments never."""
    found = deal(LEAD, sample("lead")).clues
    assert [(clue.where, clue.kind) for clue in found] == [
        ("field UF_CRM_YCLID", IdKind.YCLID),
        ("field SOURCE_DESCRIPTION", None),
        ("utm_source", None),
        ("utm_medium", None),
        ("utm_campaign", None),
    ]
    hidden = deal(DEAL, sample("deal")).clues
    assert [clue.where for clue in hidden] == ["field UF_CRM_68F1C0DE4A7B2", "utm_content"]


@pytest.mark.parametrize(
    "text",
    [
        f"[URL=https://okna.example/?yclid={YCLID}]Страница[/URL]",
        f"[url]https://okna.example/?utm_source=ya&yclid={YCLID}[/url]",
        f"Заявка[br][B]https://okna.example/?yclid={YCLID}[/B]",
        f"yclid={YCLID}[/P]",
    ],
)
def test_bb_codes_do_not_stick_to_a_click_id(text: str) -> None:
    """Comments are written with BB codes (contract 15.20)."""
    made = deal(DEAL, sample("deal") | {"UF_CRM_68F1C0DE4A7B2": None, "UTM_CONTENT": None, "COMMENTS": text})
    assert [item.value for item in identify(made).identifiers] == [YCLID]


def test_a_sum_in_a_custom_field_can_be_compared() -> None:
    """Fields of the type money hold sum, stroke and currency (contract 4.3)."""
    fields = {"deal": {"UF_CRM_SUM": FieldInfo("money", list_label="Маржа")}}
    known = directory.build(None, [], [], fields)
    row = sample("deal") | {"UF_CRM_SUM": "300.50|RUB"}
    made = mapping.deal(mapping.Read(row, "v", (), None), mapping.plan(DEAL, known, rules()))
    assert made.fields["Маржа"] == made.fields["UF_CRM_SUM"] == ("300.50",)


def test_a_field_can_be_configured_by_label() -> None:
    """Codes made in the UI cannot be guessed; people know the label."""
    clues = deal(LEAD, sample("lead"), fields={IdKind.YCLID: ("клик яндекса",)}).clues
    assert (clues[0].where, clues[0].text, clues[0].kind) == ("field UF_CRM_YCLID", YCLID, IdKind.YCLID)


# --- values ------------------------------------------------------------------------------------------------------


@given(st.integers(946_684_800, 3_786_912_000), st.integers(-12, 14))
def test_a_portal_time_is_the_same_instant_whatever_its_offset(seconds: int, hours: int) -> None:
    """Portals differ in zone, not in time."""
    exact = datetime.fromtimestamp(seconds, UTC)
    shown = exact.astimezone(timezone(timedelta(hours=hours))).isoformat()
    assert mapping.moment(shown) == exact


@pytest.mark.parametrize("value", ["yesterday", "2026-08-10T12:00:00", 17, ["2026-08-10T12:00:00+03:00"], {}])
def test_a_time_without_offset_or_sense_is_refused_or_empty(value: Any) -> None:
    """A guess would move a conversion by hours; the record is set aside instead."""
    if not value:
        assert mapping.moment(value) is None
        return
    with pytest.raises(RecordInvalid):
        mapping.moment(value)


@pytest.mark.parametrize(
    ("amount", "minor"),
    [("48500.50", 4850050), ("0.00", None), ("", None), (None, None), (1500, 150000), ("19.995", 2000)],
)
def test_an_amount_is_exact_and_zero_is_none(amount: Any, minor: int | None) -> None:
    """A deal without a sum has no value, not a value of nothing."""
    value = deal(DEAL, sample("deal") | {"OPPORTUNITY": amount}).value
    assert (value.minor if value else None) == minor


@pytest.mark.parametrize("amount", ["много", "NaN", "Infinity", []])
def test_an_amount_that_is_none_sets_the_record_aside(amount: Any) -> None:
    """[] is PHP's empty; words and infinities are an error with a code."""
    if amount == []:
        assert deal(DEAL, sample("deal") | {"OPPORTUNITY": amount}).value is None
        return
    with pytest.raises(RecordInvalid) as caught:
        deal(DEAL, sample("deal") | {"OPPORTUNITY": amount})
    assert caught.value.code == "bad_amount"


def test_a_record_without_a_time_of_change_is_bad_not_fatal() -> None:
    """One unreadable row of a page does not stop the page."""
    assert isinstance(mapping.head(DEAL, listed({"ID": "5"})), BadRecord)
    assert isinstance(mapping.head(DEAL, listed(sample("deal"))), Head)


row_values = st.one_of(st.none(), st.booleans(), st.text(max_size=8), st.lists(st.text(max_size=4), max_size=2))


@given(st.sampled_from(sorted(sample("deal"))), row_values)
def test_any_change_of_a_row_changes_its_version(name: str, value: Any) -> None:
    """The version is a digest of all we read, so nothing that matters slips through."""
    row = sample("deal")
    changed = row | {name: value}
    assume(name != "ID")
    assert (mapping.version(listed(changed)) == mapping.version(listed(row))) == (changed == row)


@settings(max_examples=400)
@example({"STAGE_SEMANTIC_ID": []})
@given(st.dictionaries(st.sampled_from(sorted(sample("deal"))), row_values, max_size=4))
def test_a_broken_row_is_a_deal_or_a_named_error(changes: dict[str, Any]) -> None:
    """Whatever a portal sends in whatever field, nothing else than RecordInvalid is raised."""
    with suppress(RecordInvalid):
        made = deal(DEAL, sample("deal") | changes | {"ID": "1"}, "stage_history")
        assert made.history[-1].stage == made.stage


# --- history -----------------------------------------------------------------------------------------------------


def entry(minute: int, stage: str, category: int = 1, number: int = 0) -> HistoryRow:
    at = (T0 + timedelta(minutes=minute)).isoformat()
    return HistoryRow(number or minute + 1, 7, at, 2, category, stage, "P")


def history(
    rows: list[HistoryRow], stage: str, moved: int, updated: int, pipeline: str = "1"
) -> list[tuple[str, int, str]]:
    current = StageChange(T0 + timedelta(minutes=moved), pipeline, stage, Outcome.OPEN, "record")
    found = mapping.stage_history(DEAL, rows, current, T0 + timedelta(minutes=updated))
    return [(change.stage, int((change.at - T0).total_seconds() // 60), change.source) for change in found]


def test_a_stage_that_was_left_and_entered_again_is_there_twice() -> None:
    """Every entry counts with its own time."""
    rows = [entry(0, "A"), entry(5, "B"), entry(9, "A")]
    assert history(rows, "A", 9, 9) == [(stage, at, "stage history") for stage, at in (("A", 0), ("B", 5), ("A", 9))]


def test_entries_made_after_the_row_was_listed_wait_for_the_next_version() -> None:
    """The row says B; the history already knows C. C belongs to the row's next version, with its own time."""
    rows = [entry(0, "A"), entry(5, "B"), entry(9, "C")]
    assert history(rows, "B", 5, 5) == [("A", 0, "stage history"), ("B", 5, "stage history")]


def test_a_stage_the_history_lacks_is_dated_by_the_record() -> None:
    """After a change of pipeline the portal hides entries; the record still knows when it entered its stage."""
    assert history([], "B", 5, 8) == [("B", 5, "record")]
    assert history([entry(0, "A")], "B", 5, 8) == [("A", 0, "stage history"), ("B", 5, "record")]
    assert history([entry(0, "B", category=0)], "B", 4, 8) == [("B", 0, "stage history"), ("B", 4, "record")]


@given(
    st.lists(st.tuples(st.integers(0, 50), st.sampled_from("ABC")), max_size=6),
    st.sampled_from("ABC"),
    st.integers(0, 50),
)
def test_a_history_is_ordered_and_ends_with_the_current_stage(
    moves: list[tuple[int, str]], stage: str, moved: int
) -> None:
    """Whatever the portal sends and in whatever order, goals see a history that ends where the deal is."""
    rows = [entry(minute, name, number=index + 1) for index, (minute, name) in enumerate(moves)]
    found = history(rows[::-1], stage, moved, 50)
    assert found[-1][0] == stage
    assert [at for _, at, _ in found] == sorted(at for _, at, _ in found)


# --- names -------------------------------------------------------------------------------------------------------


def test_the_catalogue_lists_failure_stages_and_options_as_reasons() -> None:
    """What goals may name: pipelines with their stages, reasons, custom fields by code and label."""
    found = directory.catalogue(names(), "Причина")
    assert found.choices == {"UF_CRM_1751203344": ("Спам",), "Причина": ("Спам",)}
    assert [pipeline.id for pipeline in found.pipelines] == ["leads", "1"]
    assert ("JUNK", "Плохой") in found.loss_reasons
    assert ("44", "Спам") in found.loss_reasons
    assert {"UF_CRM_YCLID", "Клик Яндекса", "Причина"} <= set(found.fields)


def test_fields_of_the_simulator_have_the_vendors_shape() -> None:
    """The decoder reads what ``crm.deal.fields`` of the simulator answers."""
    schema = Schema.of("deal", ())
    decoded = FIELDS.decode(msgspec.json.encode(_fields(schema)))
    assert isinstance(decoded, dict)
    assert decoded["STAGE_ID"].type == "crm_status"
    assert Status("SOURCE", "WEB", "Сайт").as_row(1, 10)["SEMANTICS"] is None


def test_a_window_is_widened_to_whole_seconds() -> None:
    """Portal times have no fraction: a bound inside a second must not hide that second's records."""
    start, end = T0 + timedelta(microseconds=700_000), T0 + timedelta(seconds=9, microseconds=1)
    assert mapping.whole_seconds(start, end) == (T0, T0 + timedelta(seconds=10))
    assert mapping.whole_seconds(T0, T0) == (T0, T0)

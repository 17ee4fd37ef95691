"""What is made of a field's names and sampled values: counts, a guess, and never a value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.model import IdKind
from bridge.survey import FieldSample, Sampler, Shape, guess, merged, name_kind, shape_of

CLICKS = st.from_regex(r"[2-9][0-9]{17,19}", fullmatch=True)  # 18 to 20 digits, no time in front
VISITORS = st.from_regex(r"1[4-9][0-9]{15,17}", fullmatch=True)  # 17 to 19 digits: Unix time and a random number
GCLIDS = st.from_regex(r"[A-Za-z0-9_\-]{50,90}", fullmatch=True).map(lambda text: f"Cj0K{text}EALw_wcB")
PHONES = st.from_regex(r"(\+?7|8)[ (\-]{0,2}9[0-9]{2}[ )\-]{0,2}[0-9]{3}-?[0-9]{2}-?[0-9]{2}", fullmatch=True)
NUMBERS = st.integers(0, 10**12).map(str)
WORDS = st.text("абвгдежзийклмнопрстуфхцчшщъыьэюя ABCDEFabcdef,.!", min_size=1, max_size=60)
UUIDS = st.uuids().map(str)
DATES = st.dates().map(lambda day: f"{day:%d.%m.%Y}")
EMAILS = st.emails()
ORDINARY = st.one_of(PHONES, NUMBERS, WORDS, UUIDS, DATES, EMAILS)
PLAIN_NAMES = st.sampled_from(["Город", "Комментарий", "Номер заказа", "Телефон 2", "UF_CRM_1751203344", "Поле 7"])


def sampled(name: str, values: list[str], known: IdKind | None = None) -> FieldSample:
    """A field of this name with one value in each record."""
    sampler = Sampler(name, (name,), "lead", known)
    for value in values:
        sampler.add([value])
    return sampler.sample(len(values))


# --- shapes ------------------------------------------------------------------------------------------------------


@given(CLICKS)
def test_eighteen_to_twenty_digits_have_the_shape_of_a_click(value: str) -> None:
    """Whatever they are, and with spaces around."""
    assert shape_of(value) is shape_of(f" {value} ") is Shape.DIGITS


@given(VISITORS)
def test_a_visitor_is_told_from_a_click_by_the_time_in_front(value: str) -> None:
    """A ClientID begins with Unix seconds."""
    assert shape_of(value) is Shape.TIMED


@given(GCLIDS)
def test_a_gclid_is_a_long_token_until_its_case_is_lost(value: str) -> None:
    """Lower-cased it is worth nothing any more."""
    assert shape_of(value) is Shape.TOKEN
    assert shape_of(value.lower()) is Shape.OTHER


@given(ORDINARY)
def test_what_people_write_has_no_shape(value: str) -> None:
    """Phones, numbers of orders, names, dates, e-mails and UUIDs are something else."""
    assert shape_of(value) is Shape.OTHER


@pytest.mark.parametrize("value", ["1,77511E+18", "1.7751E18", "17751100000000001.0"])
def test_what_a_spreadsheet_destroyed_is_seen(value: str) -> None:
    """Such a field once held identifiers: worth a word."""
    assert shape_of(value) is Shape.BROKEN


# --- counting ----------------------------------------------------------------------------------------------------


@given(st.lists(st.one_of(ORDINARY, CLICKS, GCLIDS), max_size=20), st.randoms(use_true_random=False))
def test_a_sample_holds_counts_and_no_value_and_forgets_the_order(values: list[str], dice: object) -> None:
    """Whatever was in a field, nothing of it is in the sample."""
    sample = sampled("Город", values)
    shuffled = list(values)
    dice.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis' random.Random
    assert sampled("Город", shuffled) == sample
    assert sample.filled == sum(bool(value.strip()) for value in values) == sum(sample.shapes.values())
    assert not [value for value in values if len(value.strip()) > 12 and value.strip() in repr(sample)]


@given(st.lists(CLICKS, min_size=1, max_size=9), st.lists(ORDINARY, max_size=9))
def test_merging_the_halves_of_a_sample_is_sampling_the_whole(clicks: list[str], others: list[str]) -> None:
    """A field of leads and that of deals, configured as one, are judged as one."""
    whole = sampled("UF_CRM_YCLID", [*clicks, *others])
    assert merged([sampled("UF_CRM_YCLID", clicks), sampled("UF_CRM_YCLID", others)]) == [whole]


def test_identifiers_inside_texts_are_counted_by_kind() -> None:
    """A landing page in a field named like anything."""
    sample = sampled("Страница", ["https://okna.example/?yclid=17751100000000009", "https://okna.example/"])
    assert dict(sample.holding) == {IdKind.YCLID: 1}


# --- the judgement -----------------------------------------------------------------------------------------------


@given(PLAIN_NAMES, st.lists(ORDINARY, max_size=30))
def test_an_ordinary_field_is_never_taken_for_an_identifier(name: str, values: list[str]) -> None:
    """No name that says so, no value that looks so: no guess."""
    assert guess(sampled(name, values)) is None


@given(PLAIN_NAMES, st.lists(CLICKS, min_size=3, max_size=30), st.lists(ORDINARY, max_size=1))
def test_values_alone_make_a_guess_but_never_a_certain_one(name: str, clicks: list[str], others: list[str]) -> None:
    """A yclid under any name is found, with its count, and left to a human."""
    found = guess(sampled(name, [*clicks, *others]))
    assert found is not None
    assert (found.kind, found.is_sure) == (IdKind.YCLID, False)
    assert f"17-20 digits in {len(clicks)} of {len(clicks) + len(others)} filled" == found.evidence


@given(st.sampled_from(["yclid", "UF_CRM_YCLID", "Yclid", "поле yclid"]), st.lists(CLICKS, max_size=9))
def test_name_and_values_together_are_certain(name: str, clicks: list[str]) -> None:
    """Also while nothing is in it yet."""
    found = guess(sampled(name, clicks))
    assert found is not None
    assert (found.kind, found.is_sure) == (IdKind.YCLID, True)


@given(st.lists(ORDINARY.filter(lambda text: text.strip() != "" and not text.strip().isdigit()), min_size=2))
def test_a_promising_name_over_other_values_is_not_certain(values: list[str]) -> None:
    """Somebody keeps something else in the field "yclid"."""
    found = guess(sampled("yclid", values))
    assert found is not None
    assert not found.is_sure
    assert f"in 0 of {len(values)} filled" in found.evidence


def test_fewer_than_three_values_say_nothing() -> None:
    """One strange number is chance."""
    assert guess(sampled("Город", ["9" * 9 + "123456789"] * 2)) is None


def test_a_field_the_source_reads_by_itself_stays_what_it_is() -> None:
    """It needs no setting, whatever is in it."""
    found = guess(sampled("yclid", ["undefined"], IdKind.YCLID))
    assert found is not None
    assert found.is_sure
    assert found.evidence == "found by itself; a good yclid in 0 of 1 filled"


def test_a_client_id_field_with_google_values_is_not_called_metricas() -> None:
    """The bare name says nothing; two numbers with a dot are Google's."""
    found = guess(sampled("ClientID", ["1234567890.1775110000"] * 3))
    assert found is not None
    assert (found.kind, found.is_sure) == (IdKind.GA_CLIENT_ID, False)


def test_an_eleven_digit_phone_is_no_client_id() -> None:
    """The recogniser takes ten digits and more; a survey does not."""
    found = guess(sampled("ClientID", ["79990000001"] * 5))
    assert found is not None
    assert not found.is_sure


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("yclid", IdKind.YCLID),
        ("UF_CRM_YCLID", IdKind.YCLID),
        ("Метка yclid", IdKind.YCLID),
        ("ysclid", None),
        ("yadclid", None),
        ("gclid", IdKind.GCLID),
        ("GCLIENTID", IdKind.GA_CLIENT_ID),
        ("ClientID Метрики", IdKind.CLIENT_ID),
        ("Яндекс Client ID", IdKind.CLIENT_ID),
        ("UF_CRM_YM_CLIENT_ID", IdKind.CLIENT_ID),
        ("Google Client ID", IdKind.GA_CLIENT_ID),
        ("_ym_uid", IdKind.CLIENT_ID),
        ("ClientID", IdKind.CLIENT_ID),
        ("wbraid", IdKind.WBRAID),
        ("rb_clickid", IdKind.RB_CLICKID),
        ("roistat", IdKind.ROISTAT),
        ("Клиент", None),
        ("Client", None),
        ("ID сделки", None),
    ],
)
def test_names_promise_what_people_mean_by_them(name: str, kind: IdKind | None) -> None:
    """Names and codes as they are met in accounts (contract amocrm 14.5); markers of search are no click ids."""
    assert name_kind([name]) is kind

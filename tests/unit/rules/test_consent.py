"""What a deal's person agreed to: read from its fields, part of the promise, and a reason to withhold it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bridge.catalogue import Catalogue
from bridge.config import TenantSettings
from bridge.consent import ConsentedSettings, ConsentSettings
from bridge.frozen import replace
from bridge.model import Consent, Deal
from bridge.ports import Level
from bridge.rules.consent import ASKING, WITHHELD, Terms, asking_fields, decide, for_deal, handed_on
from bridge.states import DeliveryState
from bridge.unsent import withheld, without_yes
from tests.unit.rules.kit import deal, money
from tests.unit.rules.test_plan import GOOGLE, METRICA, PERSON, Book, sold, to

FIELD = "Согласие на рекламу"
YES, NO = Consent(True, True), Consent(False, False)
GRANTED = {"ad_user_data": "granted", "ad_personalization": "granted"}


def terms(region: str = "RU", **settings: Any) -> Terms:
    return Terms.of(ConsentSettings.model_validate(settings), region)


def saying(*texts: str, name: str = FIELD, **others: str) -> Deal:
    """A deal whose field holds these texts."""
    return deal(fields={name: texts, **{key: (text,) for key, text in others.items()}})


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("Да",), YES),
        ((" YES ",), YES),
        (("1",), YES),
        (("Y",), YES),
        (("N",), NO),
        (("нет",), NO),
        (("0",), NO),
        (("может быть",), NO),
        (("да", "нет"), NO),
        (("",), None),
        ((), None),
    ],
)
def test_a_yes_is_a_listed_text_and_everything_else_but_nothing_is_a_no(
    texts: tuple[str, ...], expected: Consent | None
) -> None:
    """Whatever the case and spaces; of two answers both have to be a yes."""
    assert decide(terms(field=FIELD), saying(*texts)) == (expected, "")


def test_a_field_is_found_as_goals_find_theirs() -> None:
    """By another spelling of its name; of several names each that is filled counts."""
    assert decide(terms(field="согласие на рекламу"), saying("да"))[0] == YES
    assert decide(terms(field=["UF_CRM_1", FIELD]), saying("да"))[0] == YES
    assert decide(terms(field=["UF_CRM_1", FIELD]), saying("да", UF_CRM_1="нет"))[0] == NO


def test_a_deal_that_says_nothing_has_what_the_settings_say() -> None:
    """None: no consent of its own goes along. An answer stands even where it repeats the settings: they may change."""
    assert decide(terms(field=FIELD, **GRANTED), saying())[0] is None
    assert decide(terms(field=FIELD, **GRANTED), saying("да"))[0] == YES
    denied = {"ad_user_data": "denied", "ad_personalization": "denied"}
    for settings in (GRANTED, denied):
        assert decide(terms(field=FIELD, **settings), saying("нет"))[0] == NO


def test_an_option_is_what_people_see_of_it() -> None:
    """Its id is neither a second answer nor a yes."""
    asking = terms(field=FIELD)
    assert decide(asking, replace(saying("Да"), options={FIELD: ("44",)}))[0] == YES
    assert decide(asking, replace(saying("Нет"), options={FIELD: ("1",)}))[0] == NO


LEAD = "lead:5"


@pytest.mark.parametrize(
    ("lead", "own", "expected"),
    [
        ("нет", (), NO),
        ("нет", ("да",), NO),
        ("да", (), YES),
        ("да", ("нет",), NO),
        ("", ("да",), YES),
        ("", (), None),
    ],
)
def test_a_no_of_the_lead_or_of_its_deal_is_a_no(lead: str, own: tuple[str, ...], expected: Consent | None) -> None:
    """Whoever is silent leaves it to the other; the reason names whose field refused."""
    asking = terms("DE", field=FIELD)
    learnt = handed_on({"google": asking}, replace(saying(lead), id="5")).get("consent of google")
    assert (learnt is None) == (not lead)
    assert learnt is None or learnt.known_from == LEAD
    consent, why = decide(asking, saying(*own), learnt)
    assert consent == expected
    assert (f"the field {FIELD} of {LEAD} does not say yes" in why) == (lead == "нет")
    assert (f"the field {FIELD} does not say yes" in why) == (own == ("нет",))


def test_a_lead_says_each_of_two_answers_by_itself_and_nothing_where_no_field_is_asked() -> None:
    """Its no to personalization is none to the rest."""
    both = terms(field=FIELD, personalization_field="Персонализация")
    lead = saying("да", Персонализация="нет")
    (learnt,) = handed_on({"google": both}, lead).values()
    assert learnt.values == ("ad_user_data granted", "ad_personalization denied")
    assert decide(both, saying(), learnt)[0] == Consent(True, False)
    routes = {"sale": (replace(to("google", GOOGLE), terms=terms(**GRANTED)), to("metrica", METRICA))}
    assert asking_fields(routes) == {}


def test_personalization_may_have_a_field_of_its_own_and_is_never_more_than_agreed() -> None:
    """Denied by the settings stays denied; without ad_user_data there is no personalization."""
    own = terms(field=FIELD, personalization_field="Персонализация")
    assert decide(own, saying("да", Персонализация="нет"))[0] == Consent(True, False)
    assert decide(own, saying("нет", Персонализация="да"))[0] == NO
    assert decide(terms(field=FIELD, ad_personalization="denied"), saying("да"))[0] == Consent(True, False)


@pytest.mark.parametrize(
    ("region", "settings", "texts", "told"),
    [
        ("RU", {"ad_user_data": "denied"}, (), ""),
        ("DE", GRANTED, (), ""),
        ("DE", {}, (), "consent.ad_user_data is not set (the tenant's region"),
        ("CH", {"ad_user_data": "denied"}, (), "consent.ad_user_data is denied (the tenant's region"),
        ("DE", {"required": False}, (), ""),
        ("RU", {"required": True}, (), "consent.ad_user_data is not set"),
        ("PL", {"field": FIELD}, (), f"is not set and the field {FIELD} is empty"),
        ("PL", {"field": FIELD, **GRANTED}, ("нет",), f"the field {FIELD} does not say yes"),
        ("PL", {"field": FIELD}, ("да",), ""),
    ],
)
def test_without_consent_nothing_goes_where_it_is_required(
    region: str, settings: dict[str, Any], texts: tuple[str, ...], told: str
) -> None:
    """In the EEA, the UK and Switzerland unless the settings say otherwise; the reason says what to do."""
    why = decide(terms(region, **settings), saying(*texts))[1]
    assert why.startswith("withheld: no consent: ") if told else why == ""
    assert told in why


def test_the_regions_are_those_that_google_names() -> None:
    """27 of the Union, three more of the Economic Area, the United Kingdom and Switzerland."""
    assert len(ASKING) == 32
    assert {"NO", "IS", "LI", "GB", "CH"} < ASKING
    assert not ASKING & {"RU", "BY", "KZ", "TR", "UA", "US"}


@given(st.text(max_size=20))
def test_no_text_becomes_a_yes_that_is_not_listed_and_none_is_repeated(text: str) -> None:
    """Whatever people write into the field."""
    consent, why = decide(terms("DE", field=FIELD, granted=["oui"]), saying(text))
    assert (consent == YES) == (text.strip().casefold() == "oui")
    assert not why or why == decide(terms("DE", field=FIELD, granted=["oui"]), saying("-" if text.strip() else ""))[1]


@pytest.mark.parametrize(
    ("region", "consent", "is_wrong"),
    [
        ("DE", {}, True),
        ("DE", {"ad_user_data": "denied"}, True),
        ("DE", {"ad_user_data": "granted"}, False),
        ("DE", {"field": FIELD}, False),
        ("DE", {"required": False}, False),
        ("RU", {}, False),
        ("RU", {"required": True}, True),
    ],
)
def test_check_tells_when_no_deal_at_all_may_go(region: str, consent: dict[str, Any], is_wrong: bool) -> None:
    """Before the first lead is lost to it."""
    section = ConsentedSettings.model_validate({"kind": "ads", "consent": consent})
    settings = TenantSettings(region=region, destinations={"google": section})
    assert [finding.subject for finding in withheld(settings)] == (["consent of google"] if is_wrong else [])


CHOICES = {FIELD: ("Согласен", "Отказ"), "UF_CRM_OK": ("Y", "N"), "Много": tuple(map(str, range(30, 50)))}


@pytest.mark.parametrize(
    ("consent", "told"),
    [
        ({"field": FIELD}, f"every answer in the field {FIELD} is a no: it can hold Согласен or Отказ, and none"),
        ({"field": "согласие  на рекламу", "granted": ["да"]}, "it can hold Согласен or Отказ"),
        ({"field": FIELD, "granted": ["СОГЛАСЕН"]}, ""),
        ({"field": "UF_CRM_OK"}, ""),
        ({"field": ["UF_CRM_OK", "Текст"], "granted": ["да"]}, "the field UF_CRM_OK is a no: it can hold Y or N"),
        ({"field": "Текст"}, ""),
        ({"field": "Много"}, "39 or 10 others, and none"),
    ],
)
def test_check_tells_of_a_field_that_can_hold_no_yes(consent: dict[str, Any], told: str) -> None:
    """Whoever answers there would refuse; what people may write freely is not known."""
    section = ConsentedSettings.model_validate({"kind": "ads", "consent": consent})
    found = without_yes(TenantSettings(destinations={"google": section}), Catalogue(choices=CHOICES))
    assert [(one.level, one.subject) for one in found] == ([(Level.WARNING, "consent of google")] if told else [])
    assert all(told in one.message for one in found)


def test_a_second_field_alone_is_refused() -> None:
    """It would leave open what the first one says."""
    with pytest.raises(ValidationError, match="needs field"):
        ConsentSettings.model_validate({"personalization_field": "x"})


# --- in plans ----------------------------------------------------------------------------------------------------


class Asked(Book):
    """A deal with a field that says what its person agreed to, and a destination that asks."""

    def say(self, text: str, region: str = "DE", **settings: Any) -> None:
        asking = replace(to("google", GOOGLE), terms=terms(region, field=FIELD, **settings))
        routes = for_deal({"sale": (to("metrica", METRICA), asking)}, saying(text))
        self.routes = routes["sale"]


def test_destinations_that_do_not_ask_cost_nothing() -> None:
    """The very same routes come back."""
    routes = {"sale": (to("metrica", METRICA),)}
    assert for_deal(routes, saying("нет")) is routes


def test_what_is_withheld_is_named_and_promised_once_its_person_agrees() -> None:
    """The other destination goes its way; nothing is promised twice."""
    book = Asked(persons=(PERSON,))
    book.say("")
    plan = book.judge(sold())
    assert [made.destination for made in plan.deliveries] == ["metrica"]
    assert [(skip.destination, skip.reason[:8]) for skip in plan.skipped] == [("google", "withheld")]
    book.say("да")
    (made,) = book.judge(sold()).deliveries
    assert (made.destination, made.content.consent, len(made.content.persons)) == ("google", YES, 1)
    assert not book.judge(sold()).deliveries


def test_a_promise_is_taken_back_with_its_consent_and_restored_with_it() -> None:
    """Before it was sent; under the same id."""
    book = Asked()
    book.say("да")
    (promised,) = [made for made in book.judge(sold()).deliveries if made.destination == "google"]
    book.say("нет")
    plan = book.judge(sold())
    assert [(row.id, code) for row, code in plan.withdrawn] == [(promised.content.delivery, WITHHELD)]
    assert len(plan.skipped) == 1
    book.say("да")
    assert [content.delivery for _, content in book.judge(sold()).restored] == [promised.content.delivery]


def test_after_sending_a_withdrawn_consent_keeps_corrections_back() -> None:
    """The row stays as it was sent; a correction would say "granted" of somebody who no longer is."""
    book = Asked()
    book.say("да")
    book.judge(sold())
    book.move(DeliveryState.ACCEPTED)
    book.say("нет")
    assert not book.judge(sold()).skipped
    plan = book.judge(sold("700"))
    assert [made.destination for made in plan.deliveries] == ["metrica"]
    assert [skip.destination for skip in plan.skipped] == ["google"]


def test_where_it_is_not_required_a_no_goes_along_without_the_person() -> None:
    """Google is told "denied"; a correction later says what holds then."""
    book = Asked(persons=(PERSON,))
    book.say("да", "RU")
    book.judge(sold())
    book.move(DeliveryState.ACCEPTED)
    book.say("нет", "RU")
    book.judge(sold("700"))
    first, second = book.contents("google")
    assert (first.consent, first.persons != ()) == (YES, True)
    assert (second.consent, second.persons, second.value) == (NO, (), money("700"))

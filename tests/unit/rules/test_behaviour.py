"""Forms and visits around a deal: which form is its own, how many visits came before, what conditions make of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bridge.clues import Reading
from bridge.frozen import replace
from bridge.model import Background, Deal, Identifier, IdKind, Learnt, Method, Person, Touch, Verdict
from bridge.rules import graph
from bridge.rules.behaviour import forms, keys_of, visits_before
from bridge.rules.definitions import RULE, digests
from bridge.rules.facts import learnt
from bridge.rules.graph import Reach
from bridge.scoring import When
from tests.unit.rules.kit import START, deal, goal, verdict

DAY = timedelta(days=1)
REACH = Reach(90 * DAY)
PHONE, EMAIL, OTHER_EMAIL, BROWSER, KEY = "phone:1", "email:1", "email:2", "client_id:17", "lead_key:bl1"
ASKER = replace(deal(), persons=(Person(joins=(PHONE, EMAIL)),))
VISITOR = Reading(
    ((Method.FIELD, Identifier(IdKind.CLIENT_ID, "17")), (Method.FIELD, Identifier(IdKind.LEAD_KEY, "bl1")))
)


def record(name: str, days: float, *keys: str) -> Touch:
    return Touch(name, START - days * DAY, (), keys)


def around(*touches: Touch) -> tuple[Deal, tuple[str, ...], graph.Around]:
    keys = keys_of(ASKER, VISITOR, None, Reading())
    others = {key: [touch for touch in touches if key in touch.keys] for key in keys}
    return ASKER, keys, graph.around(ASKER, keys, others, REACH)


def test_the_form_of_the_lead_key_comes_before_a_nearer_one_of_the_person() -> None:
    """Then the nearest; never that of somebody with another e-mail, nor one that may be theirs, nor a call."""
    found = forms(
        *around(
            record("site/form:person", 1, PHONE, EMAIL),
            record("site/form:whose", 0.9, PHONE),
            record("site/form:older", 2, BROWSER),
            record("site/form:other", 0.5, PHONE, OTHER_EMAIL),
            record("site/form:own", 9, KEY),
            record("calls/call:1", 0.1, PHONE),
            record("site/form:past", 91, PHONE),
        )
    )
    assert found == ["site/form:own", "site/form:person", "site/form:older"]


def test_a_phone_of_many_people_leads_to_no_form() -> None:
    """They are somebody's, and nobody knows whose."""
    many = [record(f"site/form:{n}", n / 10, PHONE, f"email:x{n}") for n in range(20)]
    _, _, near = around(*many)
    assert PHONE in near.shared
    assert forms(*around(*many)) == []


@given(
    st.permutations([record("site/form:a", 1, PHONE), record("site/form:b", 1, EMAIL), record("form:c", -1, BROWSER)])
)
def test_the_order_of_arrival_never_chooses_the_form(touches: list[Touch]) -> None:
    """Also of equally near ones."""
    assert forms(*around(*touches)) == ["site/form:a", "site/form:b"]


def test_visits_before_are_those_remembered_or_those_stored() -> None:
    """Whichever are more; the visit that the deal itself came of is none of them, nor is a later one."""
    form = {"visits": Learnt(("2",), "site/form:own")}
    visits = [record(f"site/visit:{n}", n, BROWSER) for n in (1, 2, 3)]
    nothing = around()
    assert visits_before(*nothing, {}) is None
    assert visits_before(*nothing, form) == Learnt(("1",), "site/form:own")
    assert visits_before(*around(*visits[:1]), form) == Learnt(("1",), "site/form:own")
    assert visits_before(*around(*visits), form) == Learnt(("3",), "site/visit:1, site/visit:2, site/visit:3")
    assert visits_before(*around(record("site/visit:9", -1, BROWSER)), {}) is None
    roistat = Reading(((Method.FIELD, Identifier(IdKind.ROISTAT, "5")),))
    keys = keys_of(ASKER, roistat, None, Reading())
    own = record("roistat/visit:5", 0.1, "roistat:5")
    near = graph.around(ASKER, keys, {"roistat:5": [own]}, REACH)
    assert visits_before(ASKER, keys, near, {}) is None


def test_a_deals_own_word_counts_before_its_leads_and_that_before_its_forms() -> None:
    """An unknown channel is no word; what nobody asks for is not learnt."""
    lead = replace(deal(), noted={"landing": ("/lead",), "utm_source": ("a",)})
    form = replace(deal(), noted={"landing": ("/form",), "utm_campaign": ("b",)})
    own = replace(deal(), noted={"utm_source": ("own",)}, persons=(Person(joins=("x",), phone_sha256=("y",)),))
    origins = [("lead:1", lead, Reading(channel="vk")), ("site/form:1", form, Reading(channel="google_ads"))]
    asked = frozenset(("landing", "utm_source", "utm_campaign", "channel", "has_phone", "has_email"))
    assert learnt(own, Reading(channel="unknown"), origins, asked) == {
        "landing": Learnt(("/lead",), "lead:1"),
        "utm_campaign": Learnt(("b",), "site/form:1"),
        "channel": Learnt(("vk",), "lead:1"),
    }
    assert learnt(own, Reading(channel="telegram"), origins, frozenset(("channel",))) == {}


def visited(**facts: tuple[str, ...]) -> Deal:
    return deal(
        "1", background=Background(learnt={name: Learnt(values, "site/form:1") for name, values in facts.items()})
    )


@pytest.mark.parametrize(
    ("when", "is_met"),
    [
        ({"fact": {"visits": ">= 3"}}, True),
        ({"fact": {"visits": "3"}}, True),
        ({"fact": {"visits": {">": 3}}}, False),
        ({"fact": {"visits": ">= 2", "pages_seen": {"contains": "/price"}}}, True),
        ({"pages": {"/price": ">= 2"}}, True),
        ({"pages": {"/price": 2, "/": "< 4"}}, True),
        ({"pages": {"/Price/Windows": 1}}, True),
        ({"pages": {"/price": ">= 3"}}, False),
        ({"pages": {"/sale": 0}}, True),
        ({"fact": {"visits_before": "<= 9"}}, False),
    ],
)
def test_conditions_count_visits_and_views(when: dict[str, Any], is_met: bool) -> None:
    """Each view counts, as far as the form tells of them."""
    known = visited(visits=("3",), pages_seen=("/price", "/", "/price/windows"))
    assert (verdict(when, known).verdict is Verdict.QUALIFIED) is is_met
    assert verdict(when, deal("1")).verdict is Verdict.EXCLUDED  # of whom nothing is known


def test_a_number_that_is_none_is_refused_by_name() -> None:
    """It would never hold."""
    for when in ({"fact": {"visits": "many"}}, {"pages": {"/price": "=> 2"}}):
        with pytest.raises(ValidationError, match=r'is a number: write .* = ">= 2"'):
            When.model_validate(when)


def test_one_spelling_of_a_count_means_the_same_as_another() -> None:
    """So the goal has not changed."""

    def rule(when: dict[str, Any]) -> str:
        return digests([goal("a", when)], "RUB")["a"][RULE]

    assert rule({"pages": {"/price": ">= 2"}}) == rule({"pages": {"/Price": {">=": 2}}})
    assert rule({"pages": {"/price": ">= 2"}}) != rule({"pages": {"/price": ">= 3"}})
    assert rule({"fact": {"visits": "= 2"}}) == rule({"fact": {"visits": 2}})

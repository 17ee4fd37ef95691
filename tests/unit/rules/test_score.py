"""Criteria and scores: what they add up to, when goals that ask for them are reached, and what is told of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bridge.config import TenantSettings
from bridge.frozen import replace
from bridge.model import Deal, Identifier, IdKind, Judgement, Match, Method, Person, Verdict
from bridge.rules import steps
from bridge.rules.definitions import digests
from bridge.rules.floor import Floor
from bridge.rules.goals import Compiled, compile_goals
from bridge.rules.qualify import judge
from bridge.rules.reach import Account, account, criteria, points
from bridge.rules.score import on_day, table
from bridge.scoring import Decay, Score
from tests.unit.rules.kit import CATALOGUE, START, case, deal, goal, hour

DAY = timedelta(days=1)
BUDGET = {"field": {"Бюджет": {">=": 100_000}}}
CITY = {"field": {"Город": "Москва"}}
TALKED = {"stage": "Первичный контакт"}
MET = {"stage": "Квалифицирован"}
RICH = {"Бюджет": ("150 000",), "Город": ("Москва",)}

Rules = Sequence[Mapping[str, Any]]


def ready(when: Mapping[str, Any], rules: Rules = (), bands: Mapping[str, int] | None = None) -> Compiled:
    scores = {"fit": Score.model_validate({"rules": list(rules), "bands": bands or {}})} if rules else {}
    made = compile_goals([goal("mql", dict(when))], CATALOGUE, "RUB", scores=scores)
    assert made.problems == ()
    return made


def says(made: Compiled, subject: Deal, now: datetime | None = None, **known: Any) -> Judgement:
    given_now: dict[str, Any] = {} if now is None else {"looked_at": now}
    return judge(made.goals[0], case(subject, **given_now, **known), Floor())


def account_of(made: Compiled, subject: Deal, now: datetime | None = None, **known: Any) -> Account:
    given_now: dict[str, Any] = {} if now is None else {"looked_at": now}
    return account(made.scores[0], case(subject, **given_now, **known))


# --- criteria ----------------------------------------------------------------------------------------------------

FOUR: dict[str, Any] = {"at_least": 2, "of": [TALKED, MET, BUDGET, {"tag": "срочно"}]}


class TestCriteria:
    def test_it_is_reached_when_the_last_of_so_many_is_met(self) -> None:
        """The stage that comes second decides; a third changes nothing."""
        for stages in (("1", "2", "3"), ("1", "2", "3", "142")):
            said = says(ready(FOUR), deal(*stages))
            assert (said.verdict, said.occurred_at) == (Verdict.QUALIFIED, hour(2))
            assert (said.rule, said.reason) == ("2 of 4 criteria", "from its criteria and scores")

    def test_what_has_no_time_of_its_own_counts_from_the_first_entry(self) -> None:
        """A field that is filled now makes the first stage enough."""
        said = says(ready(FOUR), deal("1", "2", "3", fields=RICH))
        assert said.occurred_at == hour(1)
        assert says(ready(FOUR), deal("1", fields=RICH, tags=("Срочно",))).occurred_at == START

    def test_too_few_are_told_with_their_number(self) -> None:
        said = says(ready(FOUR), deal("1", "2"))
        assert (said.verdict, said.rule) == (Verdict.EXCLUDED, "at least 2 of 4 criteria")
        assert said.reason == "1 of 4 criteria are met"

    def test_beside_a_stage_both_must_have_come(self) -> None:
        """The later of the two is the moment."""
        late = ready({**FOUR, "stage": "Новая заявка"})
        assert says(late, deal("1", "2", "3")).occurred_at == hour(2)
        early = ready({**FOUR, "outcome": "won"})
        assert says(early, deal("1", "2", "3", "142")).occurred_at == hour(3)
        assert says(early, deal("1", "2", "3")).reason == "outcome never won"

    def test_criteria_may_hold_criteria(self) -> None:
        nested = {"at_least": 2, "of": [TALKED, {"at_least": 1, "of": [MET, {"outcome": "won"}]}]}
        assert says(ready(nested), deal("1", "2", "142")).occurred_at == hour(2)
        assert says(ready(nested), deal("1", "2")).verdict is Verdict.EXCLUDED

    def test_each_is_told_as_met_or_not(self) -> None:
        """With the moment it is met since, or the reason; never with a value of the deal."""
        told = criteria(ready(FOUR).goals[0].block, case(deal("1", "2", fields={"Бюджет": ("77",)})))
        assert [(one.rule, one.is_met, one.reason, one.since) for one in told] == [
            ("stage Первичный контакт", True, "", hour(1)),
            ("stage Квалифицирован", False, "stage never reached", None),
            ("field Бюджет >= 100000", False, "field Бюджет is not >= 100000", None),
            ("tag срочно", False, "no tag срочно", None),
        ]

    @given(st.permutations(FOUR["of"]), st.lists(st.sampled_from(["1", "2", "3", "142"]), min_size=1, max_size=5))
    def test_their_order_never_matters(self, of: list[Any], stages: list[str]) -> None:
        """Neither for the verdict nor for the moment."""
        subject = deal(*stages, fields=RICH)
        assert says(ready({**FOUR, "of": of}), subject) == says(ready(FOUR), subject)

    @pytest.mark.parametrize(
        ("when", "told"),
        [
            ({"at_least": 2}, "belong together"),
            ({"of": [MET]}, "belong together"),
            ({"at_least": 3, "of": [MET, TALKED]}, "no deal can meet so many"),
            ({"at_least": 1, "of": [{}]}, "at least one condition"),
        ],
    )
    def test_what_cannot_be_met_is_refused(self, when: dict[str, Any], told: str) -> None:
        with pytest.raises(ValidationError, match=told):
            goal("mql", when)


# --- scores ------------------------------------------------------------------------------------------------------

RULES = (
    {"points": 30, "when": BUDGET},
    {"points": 20, "when": TALKED},
    {"points": 25, "when": MET},
    {"points": -40, "when": {"tag": "конкурент"}},
)
BANDS = {"cold": 0, "warm": 30, "hot": 60}


class TestScores:
    def test_points_come_with_what_they_are_given_for(self) -> None:
        """Each at its own moment; those without one from the first entry on."""
        made = ready({"score": {"fit": ">= 60"}}, RULES, BANDS)
        subject = deal("1", "2", "3", fields=RICH)
        assert points(made.scores[0], case(subject)) == ((START, 30), (hour(1), 50), (hour(2), 75))
        said = says(made, subject)
        assert (said.verdict, said.occurred_at) == (Verdict.QUALIFIED, hour(2))
        assert said.rule == "score fit is 75 (hot)"

    @pytest.mark.parametrize(
        ("test", "at"),
        [("hot", hour(2)), ("warm", START), (">= warm", START), ("> 50", hour(2)), ("< 60", START), ("cold", None)],
    )
    def test_a_goal_asks_for_a_threshold_or_a_band(self, test: str, at: datetime | None) -> None:
        """The first moment at which the deal was there."""
        said = says(ready({"score": {"fit": test}}, RULES, BANDS), deal("1", "2", "3", fields=RICH))
        assert said.occurred_at == at

    def test_a_score_that_is_missed_is_told_with_its_band(self) -> None:
        said = says(ready({"score": {"fit": "hot"}}, RULES, BANDS), deal("1", "2", fields=RICH, tags=("конкурент",)))
        assert (said.verdict, said.rule, said.reason) == (Verdict.EXCLUDED, "score fit hot", "score fit is 10 (cold)")

    def test_every_summand_is_told(self) -> None:
        """What it gives, what it would give, since when or why not; they add up to the score."""
        told = account_of(ready(MET, RULES, BANDS), deal("1", "2", fields=RICH))
        assert (told.points, told.band) == (50, "warm")
        assert [(one.points, one.most, one.rule, one.reason, one.since) for one in told.summands] == [
            (30, 30, "field Бюджет >= 100000", "", START),
            (20, 20, "stage Первичный контакт", "", hour(1)),
            (0, 25, "stage Квалифицирован", "stage never reached", None),
            (0, -40, "tag конкурент", "no tag конкурент", None),
        ]

    def test_a_score_may_be_a_criterion(self) -> None:
        when = {"at_least": 2, "of": [TALKED, {"score": {"fit": ">= 50"}}]}
        assert says(ready(when, RULES), deal("1", "2", "3", fields=RICH)).occurred_at == hour(1)

    @pytest.mark.parametrize(
        ("when", "told"),
        [
            ({"score": {"fat": ">= 1"}}, 'there is no score "fat" \\(known: fit\\)'),
            ({"score": {"fit": "boiling"}}, 'no band "boiling" \\(known: warm\\)'),
            ({"at_least": 1, "of": [{"score": {"fat": "1"}}]}, "there is no score"),
            ({"score": {"fit": "about 60"}}, "write a threshold"),
        ],
    )
    def test_what_is_not_there_cannot_be_asked_for(self, when: dict[str, Any], told: str) -> None:
        scores = {"fit": {"rules": [{"points": 5, "when": MET}], "bands": {"warm": 1}}}
        with pytest.raises(ValidationError, match=told):
            TenantSettings.model_validate({"scores": scores, "goals": [{"name": "mql", "when": when}]})

    def test_a_score_looks_at_no_score(self) -> None:
        with pytest.raises(ValidationError, match="cannot look at a score"):
            Score.model_validate({"rules": [{"points": 5, "when": {"score": {"fit": "1"}}}]})

    def test_names_that_the_source_does_not_know_are_told(self) -> None:
        """Of the score, for ``bridge check``; the rule gives nothing, the others go on."""
        rules = (
            {"points": 5, "when": {"stage": "Квалифицированн"}},
            {"points": 7, "when": {"expression": "deal.x > 1"}},
        )
        scores = {"fit": Score.model_validate({"rules": [*rules, {"points": 9, "when": MET}]})}
        made = compile_goals([], CATALOGUE, "RUB", scores=scores)
        assert [line.partition(": ")[0] for line in made.problems] == ['score "fit"'] * 2
        assert 'nearest: "Квалифицирован"' in made.problems[0]
        assert account_of(made, deal("3")).points == 9

    def test_another_score_is_another_goal(self) -> None:
        """Its points, conditions and decay are part of each goal that asks for it; order and names of bands are not."""

        def digest(rules: Rules, test: str = ">= 60", bands: Mapping[str, int] = BANDS) -> str:
            scores = {"fit": Score.model_validate({"rules": list(rules), "bands": dict(bands)})}
            return digests([goal("mql", {"score": {"fit": test}})], "RUB", scores)["mql"]["rule"]

        same = digest(RULES)
        assert digest(RULES[::-1]) == same == digest(RULES, ">= hot") == digest(RULES, bands={})
        fading = {**RULES[0], "decay": {"per_day": 1}}
        others = [(*RULES[1:], {**RULES[0], "points": 31}), RULES[1:], (*RULES[1:], fading), (*RULES, RULES[0])]
        assert len({same, digest(RULES, ">= 61"), *map(digest, others)}) == 6


# --- facts -------------------------------------------------------------------------------------------------------

FOUND = Match(Method.URL, "", (Identifier(IdKind.YCLID, "1775110000000000001"),), START - 2 * DAY)


@pytest.mark.parametrize(
    ("wanted", "holds"),
    [
        ({"has_phone": True}, True),
        ({"has_email": True}, False),
        ({"has_email": False}, True),
        ({"contacts": {">=": 2}}, True),
        ({"identifier": ["gclid", "yclid"]}, True),
        ({"identifier": "gclid"}, False),
        ({"method": ["field", "url"]}, True),
        ({"landing": {"contains": "/price"}}, True),
        ({"landing": {"contains": ["/about", "/contacts"]}}, False),
        ({"utm_campaign": "brand"}, False),
        ({"utm_campaign": {"!=": "brand"}}, True),
    ],
)
def test_facts_are_compared_like_fields(wanted: dict[str, Any], holds: bool) -> None:
    """Of the contact, the match, and what was noted at the border."""
    people = (Person(phone_sha256=("a",)), Person())
    subject = deal("1", persons=people, noted={"landing": ("/price/windows",), "utm_campaign": ("summer",)})
    assert (says(ready({"fact": wanted}), subject, match=FOUND).verdict is Verdict.QUALIFIED) is holds


# --- fading ------------------------------------------------------------------------------------------------------


def fading(number: int = 40, **decay: Any) -> list[dict[str, Any]]:
    return [{"points": number, "when": MET, "decay": decay}]


class TestFading:
    def test_points_halve_by_whole_days(self) -> None:
        """Rounded half up; nothing is left in the end."""
        found = table(40, Decay(half_life="10d"))  # type: ignore[arg-type]  # written as in the file
        assert [on_day(found, day) for day in (-3, 0, 9, 10, 20, 40, 63, 64, 999)] == [40, 40, 21, 20, 10, 3, 1, 0, 0]

    def test_points_fall_by_the_day(self) -> None:
        found = table(-10, Decay(per_day=4))
        assert found == ((0, -10), (1, -6), (2, -2), (3, 0))

    @settings(max_examples=40)
    @given(
        st.integers(1, 1000),
        st.one_of(
            st.builds(Decay, per_day=st.integers(1, 1000)), st.builds(Decay, half_life=st.timedeltas(DAY, 900 * DAY))
        ),
    )
    def test_they_never_rise_and_end_at_nothing(self, number: int, decay: Decay) -> None:
        """Whatever the points and the pace; each number stands once."""
        values = [value for _, value in table(number, decay)]
        assert (values[0], values[-1]) == (number, 0)
        assert all(later < earlier for earlier, later in pairwise(values))

    @pytest.mark.parametrize(
        ("since", "days"),
        [("met", 0), ("created", 0), ("touched", 2), ({"field": "Дата договора"}, -4)],
    )
    def test_from_which_day_they_fade(self, since: Any, days: int) -> None:
        """A day before the points were given has already taken its share; one to come takes none yet."""
        made = ready(MET, fading(per_day=1, since=since))
        subject = deal("3", fields={"Дата договора": ("05.03.2026",)}, created_at=START)
        told = account_of(made, subject, START + 10 * DAY, match=FOUND)
        assert told.points == 40 - 10 - days

    def test_without_the_day_there_are_no_points(self) -> None:
        """And it is said why."""
        for since, why in (("touched", "the click is not known"), ({"field": "Город"}, "no date in field Город")):
            (one,) = account_of(ready(MET, fading(per_day=1, since=since)), deal("3", fields=RICH)).summands
            assert (one.points, one.reason) == (0, why)

    def test_a_goal_reached_while_it_was_warm_stays_reached(self) -> None:
        """At the moment it was reached, whenever it is looked at."""
        made = ready({"score": {"fit": ">= 30"}}, fading(half_life="10d"))
        found = {says(made, deal("1", "3"), hour(1) + days * DAY) for days in (0, 5, 400)}
        assert {(one.verdict, one.occurred_at) for one in found} == {(Verdict.QUALIFIED, hour(1))}

    def test_too_late_for_it_is_never(self) -> None:
        """What faded before the stage came does not count with it."""
        made = ready({"score": {"fit": ">= 30"}, "stage": "Успешно реализовано"}, fading(half_life="10d"))
        history = (*deal("1", "3").history, replace(deal("142").history[0], at=hour(1) + 30 * DAY))
        said = says(made, replace(deal("1", "3", "142"), history=history))
        assert (said.verdict, said.reason) == (Verdict.EXCLUDED, "score fit is 0")

    def test_what_will_be_reached_by_itself_waits_for_its_day(self) -> None:
        """The day is told beforehand, and is the moment of the goal however late it is looked at."""
        rules = [{"points": 50, "when": MET}, {"points": -30, "when": {"tag": "думает"}, "decay": {"per_day": 5}}]
        made = ready({"score": {"fit": ">= 40"}}, rules)
        subject = deal("3", tags=("думает",))
        before = says(made, subject, START + 3 * DAY)
        assert (before.verdict, before.recheck_at) == (Verdict.WAITING, START + 4 * DAY)
        assert before.reason == "score fit is 35"
        for late in (4 * DAY, 90 * DAY):
            said = says(made, subject, START + late)
            assert (said.verdict, said.occurred_at, said.recheck_at) == (Verdict.QUALIFIED, START + 4 * DAY, None)

    def test_a_lead_that_cools_down_reaches_the_colder_band_on_its_day(self) -> None:
        made = ready({"score": {"fit": "cold"}}, fading(per_day=1), {"cold": 0, "warm": 20})
        said = says(made, deal("3"), START + 5 * DAY)
        assert (said.verdict, said.recheck_at) == (Verdict.WAITING, START + 21 * DAY)


# --- all together ------------------------------------------------------------------------------------------------

_WHEN = st.sampled_from([BUDGET, CITY, TALKED, MET, {"outcome": "won"}, {"tag": "срочно"}])
_DECAY = st.one_of(
    st.none(),
    st.builds(lambda days: {"half_life": f"{days}d"}, st.integers(1, 60)),
    st.builds(lambda number: {"per_day": number, "since": "created"}, st.integers(1, 20)),
)


def _rules(number: st.SearchStrategy[int]) -> st.SearchStrategy[list[dict[str, Any]]]:
    one = st.builds(lambda n, when, decay: {"points": n, "when": when, "decay": decay}, number, _WHEN, _DECAY)
    return st.lists(one, min_size=1, max_size=6)


_ANY = st.integers(-100, 100).filter(bool)
_STAGES = st.lists(st.sampled_from(["1", "2", "3", "142", "143"]), min_size=1, max_size=5)
_FIELDS = st.sampled_from([{}, RICH, {"Город": ("Москва",)}])


@settings(max_examples=40)
@given(_rules(_ANY), _rules(st.integers(1, 100)), _STAGES, _FIELDS, st.integers(0, 200))
def test_a_rule_with_points_to_give_never_lowers_a_score(
    rules: Rules, more: Rules, stages: list[str], fields: dict[str, Any], days: int
) -> None:
    """At no moment, whatever else is there; and what conditions of the deal are met in addition only adds."""
    subject, now = deal(*stages, fields=fields), START + days * DAY
    before = account_of(ready(MET, rules), subject, now).points
    assert account_of(ready(MET, [*rules, *more]), subject, now).points >= before
    richer = replace(subject, fields=RICH, tags=("срочно",))
    assert account_of(ready(MET, more), richer, now).points >= account_of(ready(MET, more), subject, now).points


@given(
    _rules(_ANY).flatmap(lambda rules: st.tuples(st.just(rules), st.permutations(rules))), _STAGES, st.integers(0, 200)
)
def test_the_order_of_rules_never_matters(pair: tuple[Rules, Rules], stages: list[str], days: int) -> None:
    """Neither for the score nor for the goal."""
    subject, now = deal(*stages, fields=RICH), START + days * DAY
    one, other = (ready({"score": {"fit": ">= 20"}}, rules) for rules in pair)
    assert account_of(one, subject, now).points == account_of(other, subject, now).points
    assert says(one, subject, now) == says(other, subject, now)


@settings(max_examples=40)
@given(_rules(_ANY), st.integers(-100, 100), _STAGES, st.lists(st.integers(0, 300), min_size=2, max_size=5))
def test_whenever_it_is_looked_at_the_moment_is_the_same(
    rules: Rules, least: int, stages: list[str], looks: list[int]
) -> None:
    """Waiting names the moment that will be; from then on it is that moment; once reached, it stays so."""
    made, subject = ready({"score": {"fit": f">= {least}"}}, rules), deal(*stages, fields=RICH)
    found = [says(made, subject, hour(len(stages)) + days * DAY) for days in sorted(looks)]
    moments = {one.occurred_at or one.recheck_at for one in found}
    assert len(moments) == 1
    verdicts = [one.verdict for one in found]
    assert (
        Verdict.WAITING not in verdicts[verdicts.index(Verdict.QUALIFIED) :] if Verdict.QUALIFIED in verdicts else True
    )
    for one, days in zip(found, sorted(looks), strict=True):
        now = hour(len(stages)) + days * DAY
        assert one.recheck_at is None or one.recheck_at > now
        assert one.occurred_at is None or one.occurred_at <= now


@settings(max_examples=40)
@given(_rules(_ANY), _STAGES, st.integers(0, 200))
def test_the_summands_are_the_score(rules: Rules, stages: list[str], days: int) -> None:
    """What is told adds up to what goals are judged by; no rule gives more than its points."""
    made, subject, now = ready(MET, rules), deal(*stages, fields=RICH), START + days * DAY
    told = account_of(made, subject, now)
    assert told.points == steps.at(points(made.scores[0], case(subject)), now)
    assert all(min(0, one.most) <= one.points <= max(0, one.most) for one in told.summands)

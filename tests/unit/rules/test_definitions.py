"""What a goal was judged by: when it is another, since when, and what is kept back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.config import Goal
from bridge.rules.definitions import (
    Digests,
    Part,
    Seen,
    changes,
    differs,
    digests,
    fingerprint,
    guard,
    left,
    lifted,
    noted,
    opened,
)
from bridge.rules.floor import Floor, Period
from tests.unit.rules.kit import goal, hour

WON = {"outcome": "won"}


def one(when: dict[str, Any] = WON, **facts: Any) -> Goal:
    return goal("sale", when, **{"send": {"metrica": "won"}, **facts})


def parts(made: Goal, currency: str = "RUB") -> dict[str, str]:
    return dict(digests([made], currency)["sale"])


SAME = [
    (one({"stage": ["A", "B"]}), one({"stage": ["B", "A", "A"]})),
    (one({"stage": "Продажи / Всё"}), one({"stage": ["продажи/все"]})),
    (one({"stage": "A", "outcome": "won"}), one({"outcome": ["won"], "stage": "A"})),
    (one({"stage": 142}), one({"stage": ["142"]})),
    (one({"field": {"Бюджет": 5}}), one({"field": {" бюджет": {"=": 5.0}}})),
    (one({"field": {"x": ["a", "b"]}}), one({"field": {"x": {"in": ["B", "a"]}}})),
    (one({"field": {"x": {">": "1 000,0"}}}), one({"field": {"x": {">": 1000}}})),
    (
        one({"created_after": datetime(2026, 3, 1, 3, tzinfo=UTC)}),
        one({"created_after": datetime.fromisoformat("2026-03-01T06:00:00+03:00")}),
    ),
    (one({"expression": 'deal.value  >  1 && "a  b" != ""'}), one({"expression": ' deal.value > 1 && "a  b" != ""'})),
    (one(value="deal"), one(value="deal", currency="USD")),  # the deal's own value has its own currency
    (one(value="500"), one(value=500)),
    (one(value="500.00", currency="RUB"), one(value=500)),
    (one(send={"a": "1", "b": "2"}), one(send={"b": 2, "a": 1})),
    (one(), one(per="deal")),
]


@pytest.mark.parametrize(("first", "second"), SAME)
def test_what_means_the_same_is_no_change(first: Goal, second: Goal) -> None:
    """Order, case, spaces, one name or a list of it, numbers and times however they are written."""
    assert parts(first) == parts(second)


RULE, VALUE, SEND = "rule", "value", "to metrica"
OTHER = [
    (one({"outcome": "lost"}), {RULE}),
    (one({"outcome": "won", "tag": "vip"}), {RULE}),
    (one({"expression": 'deal.value > 1 && "a b" != ""'}), {RULE}),
    (one(value="deal"), {RULE, VALUE}),
    (one(value=1), {RULE, VALUE}),
    (one(value="payment", per="payment"), {RULE, VALUE}),
    (one(send={"metrica": "another"}), {SEND}),
]


@pytest.mark.parametrize(("changed", "which"), OTHER)
def test_what_means_something_else_changes_its_own_parts(changed: Goal, which: set[str]) -> None:
    """The rule changes with everything but the names at destinations."""
    before, after = parts(one()), parts(changed)
    assert {part for part in before if before[part] != after[part]} == which


def test_a_value_of_another_currency_or_moment_is_another() -> None:
    """A number in another currency; the tenant's, where the goal names none; the moment that a value is taken at."""
    assert parts(one(value=5)) != parts(one(value=5, currency="USD"))
    assert parts(one(value=5)) != parts(one(value=5), "USD")
    then = [parts(one(when, value="deal_at_goal")) for when in (WON, {"stage": "A"})]
    assert then[0][VALUE] != then[1][VALUE]
    assert fingerprint({"sale": then[0]}, ["sale"]) != fingerprint({"sale": then[1]}, ["sale"])


# --- what was seen -----------------------------------------------------------------------------------------------

FIRST: Digests = {"sale": {"rule": "r1", "value": "v1", "to metrica": "m1"}}


def after(*present: Digests) -> Seen:
    """These configurations, an hour after each other."""
    seen: Seen | None = None
    for number, found in enumerate(present):
        seen = noted(seen, found, hour(number))
    assert seen is not None
    return seen


def test_the_first_sight_is_no_change() -> None:
    """Nothing is kept back, however late it is; seeing the same again writes nothing else."""
    assert changes(after(FIRST)) == []
    assert after(FIRST, FIRST) == after(FIRST)
    assert guard(after(FIRST), "sale", "metrica", UTC).promises(hour(-1000))


def test_a_change_keeps_back_what_was_reached_before_it_was_seen() -> None:
    """Up to that moment and not from it on; a destination of its own, a rule for all; seen again, it does not move."""
    named = after(FIRST, {"sale": {**FIRST["sale"], "to google": "g1"}}, {"sale": {**FIRST["sale"], "to google": "g1"}})
    assert not guard(named, "sale", "google", UTC).promises(hour(0))
    assert guard(named, "sale", "google", UTC).promises(hour(1))
    assert guard(named, "sale", "metrica", UTC).promises(hour(0))
    ruled = after(FIRST, {"sale": {**FIRST["sale"], "rule": "r2"}})
    assert not guard(ruled, "sale", "metrica", UTC).promises(hour(0))
    assert guard(ruled, "sale", "metrica", UTC).value.is_open(hour(0))
    assert [change.since for change in changes(ruled)] == [hour(1)]


@pytest.mark.parametrize("gone", [{}, {"sale": {"rule": "r1", "value": "v1"}}])
def test_what_went_and_came_back_is_a_change(gone: Digests) -> None:
    """While it was not there nothing was promised; that is not made up for."""
    assert not guard(after(FIRST, gone, FIRST), "sale", "metrica", UTC).promises(hour(1))
    assert changes(after(FIRST, gone)) == []


def test_a_decision_ends_the_question() -> None:
    """``lifted`` counts what was reached before; ``left`` only asks no more, until the goal changes again."""
    changed = after(FIRST, {"sale": {**FIRST["sale"], "rule": "r2"}})
    assert guard(lifted(changed, ["sale"]), "sale", "metrica", UTC).promises(hour(-1))
    assert lifted(changed, []) == changed
    quiet = left(changed, ["sale"])
    assert (changes(quiet), guard(quiet, "sale", "metrica", UTC).promises(hour(0))) == ([], False)
    again = noted(quiet, {"sale": {**FIRST["sale"], "rule": "r3"}}, hour(5))
    assert [change.since for change in changes(again)] == [hour(5)]


def test_a_backfill_opens_its_period_for_what_has_changed_by_then() -> None:
    """A later change closes it again; what never changed is open anyway."""
    period = Period(hour(-5), hour(-3))
    changed = opened(after(FIRST, {"sale": {**FIRST["sale"], "rule": "r2"}}), period)
    kept = guard(changed, "sale", "metrica", UTC)
    assert [kept.promises(hour(at)) for at in (-6, -5, -4, -3, 0, 1)] == [False, True, True, False, False, True]
    again = noted(changed, {"sale": {**FIRST["sale"], "rule": "r3"}}, hour(5))
    assert not guard(again, "sale", "metrica", UTC).promises(hour(-4))
    assert opened(after(FIRST), period) == after(FIRST)


def test_only_another_definition_differs() -> None:
    """Before the first look nothing does."""
    assert differs(None, FIRST) == []
    assert differs(after(FIRST), FIRST) == []
    assert differs(after(FIRST), {**FIRST, "spam": {"rule": "s"}}) == ["spam"]
    assert differs({"sale": {"rule": Part("r1", Floor(hour(1)))}}, {"sale": {"rule": "r1"}}) == []


versions = st.lists(st.sampled_from(["a", "b", ""]), min_size=2, max_size=8)


@given(versions)
def test_no_order_of_changes_opens_what_was_reached_before_the_last(seen: Sequence[str]) -> None:
    """Whatever the goal was before, and whether it was there: only the time since the last change counts."""
    present: list[Digests] = [{"sale": {"rule": version}} if version else {} for version in seen]
    known = after(*present)
    if seen[-1]:
        run = next((n for n, version in enumerate(reversed(seen)) if version != seen[-1]), len(seen))
        since = len(seen) - run
        first = next(n for n, version in enumerate(seen) if version)
        for at in range(-1, len(seen)):
            is_first = since == first
            assert guard(known, "sale", "metrica", UTC).promises(hour(at)) == (is_first or at >= since)

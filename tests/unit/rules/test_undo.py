"""A goal that another one undoes: a lead that was qualified and is spam."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bridge.config import TenantSettings
from bridge.frozen import replace
from bridge.model import ConversionKind, Judgement, Money, Verdict
from bridge.ports import DestinationTraits, Proof
from bridge.rules.definitions import Guard
from bridge.rules.floor import Floor
from bridge.rules.plan import RETRACTED
from bridge.rules.undo import undone
from bridge.states import DeliveryState
from tests.unit.rules.kit import START, hour, money
from tests.unit.rules.test_plan import GCLID, GOAL, RIGID, SOLD_AT, Book, sold, to

BY = {GOAL: ["spam"]}
FINAL = DestinationTraits(Proof.ROW, (GCLID.kind,), adjusts=True, retracts=True)


def spam(at: int = 5) -> Judgement:
    return sold(None, hour(at), goal="spam")


def judged(*judgements: Judgement) -> Judgement:
    """What becomes of the first."""
    return undone(judgements, BY, "RUB")[0]


def test_a_goal_is_undone_by_another_that_is_reached_later() -> None:
    """Excluded, with a reason that names the goal and its rule; worth nothing in its own currency."""
    made = judged(sold(), spam())
    assert (made.verdict, made.is_retracted, made.value) == (Verdict.EXCLUDED, True, Money(0, "RUB"))
    assert made.reason.startswith('undone by the goal "spam" at 2026-03-01 14:00 UTC (outcome won)')
    assert judged(sold(None), spam()).value == Money(0, "RUB")


def test_what_was_reached_after_the_spam_stands() -> None:
    """A lead that was spam by mistake and is sold now."""
    assert judged(sold(), spam(at=2)).verdict is Verdict.QUALIFIED
    assert judged(sold(), replace(spam(), verdict=Verdict.EXCLUDED)).verdict is Verdict.QUALIFIED
    assert undone([sold()], {}, "RUB") == [sold()]


def test_before_it_is_sent_it_is_withdrawn_and_comes_back_with_the_lead() -> None:
    """Nothing is told to anybody; no longer spam, it is promised again."""
    book = Book()
    book.judge(sold())
    plan = book.judge(judged(sold(), spam()))
    assert [code for _, code in plan.withdrawn] == [RETRACTED, RETRACTED]
    assert len(book.judge(sold()).restored) == 2


def test_after_it_was_sent_it_becomes_worth_nothing_and_then_its_value_again() -> None:
    """By a correction each; a destination that does not correct is named."""
    book = Book(routes=(to("metrica", RIGID), to("google", FINAL)))
    book.judge(sold())
    book.move(DeliveryState.ACCEPTED)
    plan = book.judge(judged(sold(), spam()))
    assert [skip.reason for skip in plan.skipped] == ["no_adjust"]
    zero = book.contents("google")[-1]
    assert (zero.kind, zero.value, zero.retracted_at) == (ConversionKind.RESTATEMENT, money("0"), START)
    assert not book.judge(judged(sold(), spam())).deliveries


def test_what_is_retracted_for_good_is_not_told_again() -> None:
    """Where a retraction cannot be undone, a lead that comes back is named, not sent; elsewhere it is corrected."""
    for traits, told in ((FINAL, 2), (replace(FINAL, retracts=False), 3)):
        book = Book(routes=(to("google", traits),))
        for judgement in (sold(), judged(sold(), spam()), sold()):
            plan = book.judge(judgement)
            book.move(DeliveryState.ACCEPTED)
        assert len(book.contents("google")) == told
        assert bool(plan.skipped) == traits.retracts


def test_a_conversion_worth_nothing_is_retracted_all_the_same_where_that_is_possible() -> None:
    """Its count is what has to go; where only values are corrected there is nothing to tell."""
    for traits, told in ((FINAL, 2), (replace(FINAL, retracts=False), 1)):
        book = Book(routes=(to("google", traits),))
        book.judge(sold("0"))
        book.move(DeliveryState.ACCEPTED)
        book.judge(judged(sold("0"), spam()))
        assert len(book.contents("google")) == told


def test_a_lead_that_comes_back_without_a_value_is_named() -> None:
    """Zero was told; "no value" cannot be told after it."""
    book = Book(routes=(to("google", replace(FINAL, retracts=False)),))
    for judgement in (sold(None), judged(sold(None), spam())):
        book.judge(judgement)
        book.move(DeliveryState.ACCEPTED)
    assert [skip.reason[:8] for skip in book.judge(sold(None)).skipped] == ["no value"]


def test_a_change_of_the_goal_undoes_nothing_of_before_by_itself() -> None:
    """Old deals wait for ``bridge plan``, as with any other change of a goal; a refund does not wait."""
    book = Book()
    book.judge(sold())
    book.move(DeliveryState.ACCEPTED)
    guard = Guard(rule=Floor(SOLD_AT + timedelta(days=1)))
    book.routes = tuple(replace(route, guard=guard) for route in book.routes)
    plan = book.judge(judged(sold(), spam()))
    assert (plan.deliveries, len(plan.skipped)) == ([], 2)
    assert plan.skipped[0].reason.startswith("before_change")
    refund = replace(judged(sold(), spam()), is_undone=False)
    assert len(book.judge(refund).deliveries) == 2


@pytest.mark.parametrize(
    ("goal", "told"),
    [
        ({"undone_by": "spam"}, "no other goal"),
        ({"undone_by": "sale"}, "no other goal"),
        ({"undone_by": "sale", "per": "payment", "value": "payment"}, "refund"),
    ],
)
def test_what_cannot_undo_a_goal_is_refused(goal: dict[str, str], told: str) -> None:
    """Unknown goals, the goal itself, and goals per payment."""
    sale = {"name": "sale", "when": {"outcome": "won"}, **goal}
    with pytest.raises(ValueError, match=told):
        TenantSettings.model_validate({"goals": [sale]})

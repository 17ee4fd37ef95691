"""Goals per payment: each payment counts once, at its own time, whatever is read when; refunds are taken back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.frozen import replace
from bridge.model import ConversionKind, DealKind, Judgement, Money, Payment, PaymentState, Verdict
from bridge.rules import payments
from bridge.rules.floor import Floor
from bridge.rules.plan import RETRACTED, Plan, Skip, promised
from bridge.rules.qualify import judgements
from bridge.states import DeliveryState
from tests.unit.rules.kit import case, compiled, deal, hour, money
from tests.unit.rules.test_plan import BOTH, GOAL, METRICA, RIGID, Book, is_empty, sold, to

WON = {"outcome": "won"}
PAID, REFUNDED, UNPAID = PaymentState.PAID, PaymentState.REFUNDED, PaymentState.UNPAID
ANY_STATE = {"stage": "Новая заявка"}


def paid(number: int, at: int = 5, amount: str = "1000", state: PaymentState = PAID) -> Payment:
    """A payment of the fifth hour (``at``: another)."""
    return Payment(f"payment:{number}", state, money(amount), hour(at))


def judged(
    *made: Payment, when: dict[str, Any] | None = None, floor: Floor | None = None, **facts: Any
) -> list[Judgement]:
    """What a goal per payment says of a won deal with these payments."""
    goal = compiled(when or WON, per="payment", **{"value": "payment", **facts})
    assert goal.problems == ()
    subject = deal("1", "142", payments=tuple(sorted(made, key=payments.by_time)))
    return [replace(item, goal=GOAL) for item in judgements(goal.goals[0], case(subject), floor or Floor())]


def fail(book: Book) -> None:
    """Everything pending was tried, and waits for another try."""
    book.move(DeliveryState.SEALED)
    book.move(DeliveryState.PENDING)


# --- judging -----------------------------------------------------------------------------------------------------


def test_each_paid_payment_is_an_occurrence_with_its_own_time_and_value() -> None:
    """A prepayment counts at its own time, though the deal was won later."""
    first, second = judged(paid(7, 0, "300"), paid(8, 9, "700"))
    assert (first.occurrence, first.occurred_at, first.value) == ("payment:7", hour(0), money("300"))
    assert (second.occurrence, second.occurred_at, second.value) == ("payment:8", hour(9), money("700"))
    assert (first.rule, first.reason, first.verdict) == (
        "outcome won, payment 7",
        "from the payment",
        Verdict.QUALIFIED,
    )


@pytest.mark.parametrize(
    ("payment", "reason", "is_retracted"),
    [
        (paid(7, state=UNPAID), "not paid", False),
        (paid(7, state=REFUNDED), "refunded", True),
        (paid(7, amount="0"), "nothing was paid", True),
        (paid(7, amount="-5"), "nothing was paid", True),
        (replace(paid(7), paid_at=None), "paid, but its source tells no time", False),
    ],
)
def test_what_is_no_payment_says_why(payment: Payment, reason: str, is_retracted: bool) -> None:
    """Excluded, each with its own reason; what might have been promised before is worth nothing."""
    (judgement,) = judged(payment)
    assert (judgement.verdict, judgement.reason, judgement.is_retracted) == (Verdict.EXCLUDED, reason, is_retracted)
    assert judgement.occurrence == "payment:7"


def test_a_deal_that_does_not_satisfy_the_goal_has_no_occurrence_but_its_refunds() -> None:
    """One verdict for the deal; a refund has to be told even where the deal was taken out of the goal since."""
    whole, refund = judged(paid(7), paid(8, state=REFUNDED), when={"outcome": "lost"})
    assert (whole.occurrence, whole.verdict, whole.is_retracted) == ("once", Verdict.EXCLUDED, False)
    assert (refund.occurrence, refund.is_retracted) == ("payment:8", True)


@pytest.mark.parametrize(("found", "reason"), [(None, "its payments are not read"), ((), "no payments yet")])
def test_a_deal_without_payments_says_so(found: tuple[Payment, ...] | None, reason: str) -> None:
    """Not read, and none there, are two things."""
    goal = compiled(WON, per="payment", value="payment").goals[0]
    (judgement,) = judgements(goal, case(deal("142", payments=found)), Floor())
    assert (judgement.verdict, judgement.reason) == (Verdict.EXCLUDED, reason)


def test_a_payment_before_the_start_names_the_backfill_that_lists_its_deal() -> None:
    """A payment does not move the deal: the backfill has to begin where the deal was modified, if that is earlier."""
    (judgement,) = judged(paid(7, 30), floor=Floor(hour(99)))
    assert judgement.reason.startswith("before_start: reached 2026-03-02 15:00 (UTC)")
    assert judgement.reason.endswith('--since 2026-03-01"')


@pytest.mark.parametrize(
    ("value", "worth"), [(500, "500"), ("payment.value * 0.3", "300"), ('payment.currency == "RUB" ? 1 : 2', "1")]
)
def test_the_value_may_be_worked_out_from_the_payment(value: Any, worth: str) -> None:
    """A number, or CEL over the payment and the deal."""
    assert judged(paid(7), value=value)[0].value == money(worth)


def test_an_expression_of_a_goal_per_deal_sees_no_payment() -> None:
    """The name is unknown there, and `bridge check` says so."""
    (problem,) = compiled(WON, value="payment.value").problems
    assert "payment" in problem


# --- what is known, reading after reading -------------------------------------------------------------------------


def test_a_payment_that_is_not_paid_any_more_was_refunded() -> None:
    """The time of the payment is kept; paid once more, it counts once more."""
    undone = replace(paid(7, state=UNPAID), paid_at=None)
    refunded = payments.merge((paid(7),), (undone,))
    assert refunded == (paid(7, state=REFUNDED),)
    assert payments.merge(refunded, (undone,)) == refunded
    assert payments.merge(refunded, (paid(7),)) == (paid(7),)
    assert payments.merge((undone,), (undone,)) == (undone,)


def test_a_payment_that_is_not_listed_any_more_stays_as_it_was() -> None:
    """Whoever lost the right to read it sees it no more: no reason to take revenue back."""
    assert payments.merge((paid(7), paid(8)), (paid(8),)) == (paid(7), paid(8))
    assert payments.merge((paid(7),), None) == (paid(7),)
    assert payments.merge((paid(7),), ()) == (paid(7),)
    assert payments.merge(None, (paid(7),)) == (paid(7),)


def test_payments_of_two_kinds_do_not_stand_side_by_side() -> None:
    """The source was set up to read invoices: what was read as payments is the same money."""
    invoice = Payment("invoice:15", PAID, money("1000"), hour(5))
    assert payments.merge((paid(7),), (invoice,)) == (invoice,)


# --- promising ---------------------------------------------------------------------------------------------------

few = st.lists(st.builds(paid, st.integers(1, 6), st.integers(3, 5), st.sampled_from(["100", "250"])), max_size=6)


def by_number(made: Sequence[Payment]) -> dict[str, Payment]:
    return {payment.id: payment for payment in made}


@given(few, st.data())
def test_any_order_and_repetition_of_readings_gives_the_same_conversions(made: list[Payment], data: Any) -> None:
    """Partial readings in any order, then the same at once: the same ids, values and seconds."""
    whole = by_number(made)
    some = st.lists(st.sampled_from(list(whole.values()))) if whole else st.just([])
    book, known = Book(), None
    for part in [*data.draw(st.lists(some, max_size=5)), *([payment] for payment in whole.values())]:
        known = payments.merge(known, tuple(by_number(part).values()))
        book.judge(*judged(*known or ()))
    once = Book()
    once.judge(*judged(*whole.values()))
    for destination in ("metrica", "google"):
        one, other = book.contents(destination), once.contents(destination)
        assert {(row.order_key, row.delivery, row.value) for row in one} == {
            (row.order_key, row.delivery, row.value) for row in other
        }
        assert len(one) == len(other) == len(whole)
        assert sorted(row.occurred_at for row in one) == sorted(row.occurred_at for row in other)
    assert is_empty(book.plan(*judged(*whole.values())))


@given(few, st.builds(paid, st.integers(7, 9), st.integers(3, 5)), st.booleans())
def test_one_more_payment_never_changes_those_already_planned(made: list[Payment], more: Payment, sent: bool) -> None:
    """Neither before nor after sending, whenever the new one was paid."""
    before = list(by_number(made).values())
    book = Book()
    book.judge(*judged(*before))
    if sent:
        book.move(DeliveryState.ACCEPTED)
    plan = book.plan(*judged(*before, more))
    assert (plan.replaced, plan.revised) == ([], [])
    assert [(made.occurrence, made.kind) for made in plan.conversions] == [(more.id, ConversionKind.ORIGINAL)]


@given(few)
def test_no_two_payments_share_a_key_or_a_second(made: list[Payment]) -> None:
    """Metrica knows a conversion by visitor, goal and second; every other destination by its order key."""
    book = Book()
    book.judge(*judged(*made))
    rows = book.contents("metrica")
    assert len({row.order_key for row in rows}) == len({row.occurred_at for row in rows}) == len(rows)
    shifts = [row.occurred_at - hour(row.occurred_at.hour - 9) for row in rows]
    assert all(timedelta(0) <= shift < timedelta(seconds=len(rows)) for shift in shifts)


def test_a_payment_whose_time_was_corrected_moves_with_it_until_it_is_sent() -> None:
    """As the time of a goal reached once does."""
    book = Book()
    book.judge(*judged(paid(7, 5), paid(8, 5)))
    book.judge(*judged(paid(7, 6), paid(8, 5)))
    assert [row.occurred_at for row in book.contents("metrica")] == [hour(6), hour(5) + timedelta(seconds=1)]
    book.move(DeliveryState.ACCEPTED)
    assert is_empty(book.judge(*judged(paid(7, 4), paid(8, 5))))


# --- refunds -----------------------------------------------------------------------------------------------------


def test_a_refund_after_sending_becomes_a_restatement_to_nothing() -> None:
    """Of that payment alone, with its key and time; told once."""
    book = Book()
    book.judge(*judged(paid(7), paid(8, 6)))
    book.move(DeliveryState.VERIFIED)
    refund = judged(paid(7, state=REFUNDED), paid(8, 6))
    plan = book.judge(*refund)
    (conversion,) = plan.conversions
    assert (conversion.occurrence, conversion.kind, conversion.value) == (
        "payment:7",
        ConversionKind.RESTATEMENT,
        Money(0, "RUB"),
    )
    originals = {row.order_key: row for row in book.contents("metrica")[:2]}
    for made in plan.deliveries:
        assert made.content.value == Money(0, "RUB")
        assert made.content.occurred_at == originals[made.content.order_key].occurred_at == hour(5)
    assert len(plan.deliveries) == 2
    assert is_empty(book.judge(*refund))


def test_a_refund_where_nothing_can_be_corrected_is_named() -> None:
    """``no_adjust``, with the payment."""
    book = Book(routes=[to("metrica", RIGID)])
    book.judge(*judged(paid(7)))
    book.move(DeliveryState.ACCEPTED)
    plan = book.judge(*judged(paid(7, state=REFUNDED)))
    assert is_empty(plan)
    assert plan.skipped == [Skip(GOAL, "metrica", "no_adjust", "payment:7")]


def test_a_refund_before_sending_is_not_sent_and_can_be_paid_again() -> None:
    """The pending row of that payment is withdrawn at once; paid again it is promised under the same id, as it was."""
    book = Book()
    book.judge(*judged(paid(7), paid(8, 6)))
    first = book.contents("metrica")
    plan = book.judge(*judged(paid(7, state=REFUNDED), paid(8, 6)))
    assert {code for _, code in plan.withdrawn} == {RETRACTED}
    assert [row.value for row in plan.revised] == [Money(0, "RUB")]
    assert book.contents("metrica") == first[1:]
    assert is_empty(book.plan(*judged(paid(7, state=REFUNDED), paid(8, 6))))
    again = book.judge(*judged(paid(7), paid(8, 6)))
    assert (len(again.restored), again.deliveries) == (2, [])
    assert book.contents("metrica") == first
    assert is_empty(book.plan(*judged(paid(7), paid(8, 6))))
    book.move(DeliveryState.ACCEPTED)
    (last, _) = book.judge(*judged(paid(7, state=REFUNDED), paid(8, 6))).deliveries
    assert (last.content.kind, last.content.value) == (ConversionKind.RESTATEMENT, Money(0, "RUB"))


def test_a_payment_that_is_paid_again_at_another_time_counts_at_that_time() -> None:
    """Nothing of it was ever sent."""
    book = Book(routes=[to("metrica", METRICA)])
    book.judge(*judged(paid(7)))
    book.judge(*judged(paid(7, state=REFUNDED)))
    book.judge(*judged(paid(7, 9)))
    assert [row.occurred_at for row in book.contents("metrica")] == [hour(9)]


def test_a_refund_of_what_was_tried_before_is_sent_worth_nothing() -> None:
    """A file that had to be split may have been counted in part: not to send it would leave that part."""
    book = Book(routes=[to("metrica", METRICA)])
    book.judge(*judged(paid(7)))
    fail(book)
    plan = book.judge(*judged(paid(7, state=REFUNDED)))
    assert plan.withdrawn == []
    assert [row.value for row in book.contents("metrica")] == [Money(0, "RUB")]
    book.judge(*judged(paid(7)))
    assert [row.value for row in book.contents("metrica")] == [money("1000")]


def test_a_row_that_was_sent_worth_nothing_is_put_right_when_it_is_paid_again() -> None:
    """It went out after a try that had failed: a correction, not a second original."""
    book = Book()
    book.judge(*judged(paid(7)))
    fail(book)
    book.judge(*judged(paid(7, state=REFUNDED)))
    book.move(DeliveryState.ACCEPTED)
    assert is_empty(book.plan(*judged(paid(7, state=REFUNDED))))
    for made in book.judge(*judged(paid(7))).deliveries:
        assert (made.content.kind, made.content.value) == (ConversionKind.RESTATEMENT, money("1000"))


def test_a_refund_while_the_row_is_under_way_is_told_by_a_correction() -> None:
    """Unlike a deletion it can be told, so the row is not recalled."""
    book = Book(routes=[to("metrica", METRICA)])
    book.judge(*judged(paid(7)))
    book.move(DeliveryState.SEALED)
    plan = book.judge(*judged(paid(7, state=REFUNDED)))
    assert (plan.recalled, plan.withdrawn) == ([], [])
    assert [made.content.value for made in plan.deliveries] == [Money(0, "RUB")]


@pytest.mark.parametrize("is_tried", [False, True])
def test_a_deal_that_comes_back_restores_its_payments_but_those_refunded_meanwhile(is_tried: bool) -> None:
    """Each payment for itself, under the id it had; one that may have been counted in part is sent worth nothing."""
    book = Book(routes=[to("metrica", METRICA)])
    book.judge(*judged(paid(7), paid(8, 6)))
    first, second = book.contents("metrica")
    if is_tried:
        fail(book)
    book.is_deleted = True
    book.judge()
    assert book.states() == [DeliveryState.CANCELLED] * 2
    book.is_deleted = False
    book.judge(*judged(paid(7, state=REFUNDED), paid(8, 6)))
    worthless = [replace(first, value=Money(0, "RUB"))] if is_tried else []
    assert book.contents("metrica") == [*worthless, second]
    assert is_empty(book.plan(*judged(paid(7, state=REFUNDED), paid(8, 6))))
    book.judge(*judged(paid(7), paid(8, 6)))
    assert book.contents("metrica") == [first, second]


def test_a_refunded_payment_does_not_come_back_with_its_deal() -> None:
    """Withdrawn for the refund first, the deal deleted and restored then: only the payment itself brings it back."""
    book = Book(routes=[to("metrica", METRICA)])
    book.judge(*judged(paid(7)))
    book.judge(*judged(paid(7, state=REFUNDED)))
    book.is_deleted = True
    assert is_empty(book.judge())
    book.is_deleted = False
    assert is_empty(book.judge(*judged(paid(7, state=REFUNDED))))
    assert len(book.judge(*judged(paid(7))).restored) == 1


def test_what_is_withdrawn_of_one_payment_leaves_the_others_promised() -> None:
    """Whoever asks what is promised after a plan is told of those."""
    book = Book(routes=[to("metrica", METRICA)])
    book.judge(*judged(paid(7), paid(8, 6)))
    one = book.plan(*judged(paid(7, state=REFUNDED), paid(8, 6)))
    assert promised(book.known, one) == {(GOAL, "metrica")}
    both = book.plan(*judged(paid(7, state=REFUNDED), paid(8, 6, state=REFUNDED)))
    assert promised(book.known, both) == set()


def test_what_an_operator_cancelled_is_not_promised_again() -> None:
    """Only what was withdrawn for a refund is."""
    book = Book()
    book.judge(*judged(paid(7)))
    book.move(DeliveryState.CANCELLED)
    assert is_empty(book.plan(*judged(paid(7, state=REFUNDED))))
    assert is_empty(book.plan(*judged(paid(7))))


def test_a_payment_refunded_before_it_was_ever_promised_is_never_promised() -> None:
    """Also not to a destination that the goal is sent to since."""
    assert is_empty(Book().plan(*judged(paid(7, state=REFUNDED))))
    book = Book(routes=BOTH[:1])
    book.judge(*judged(paid(7)))
    book.move(DeliveryState.ACCEPTED)
    book.routes = BOTH
    plan = book.judge(*judged(paid(7, state=REFUNDED)))
    assert [made.destination for made in plan.deliveries] == ["metrica"]
    assert plan.skipped == [Skip(GOAL, "google", "refunded", "payment:7")]


AFTER = st.sampled_from(["keep", "fail", "send"])


@given(st.lists(st.tuples(st.sampled_from([PAID, REFUNDED]), st.booleans(), AFTER), max_size=8))
def test_whatever_comes_and_goes_the_vendor_ends_with_the_truth(steps: list[tuple[PaymentState, bool, str]]) -> None:
    """What was sent last of a payment is its worth now, or nothing was sent at all and nothing is to be; whether its
    deal is deleted and restored in between, or a try fails. It is one row with its corrections."""
    book = Book(routes=[to("metrica", METRICA)])
    state, tries = PAID, 0
    for state, book.is_deleted, then in [*steps, (steps[-1][0] if steps else PAID, False, "send")]:
        book.judge(*judged(paid(7, state=state)))
        if then == "fail":
            tries += DeliveryState.PENDING in book.states()
            fail(book)
        if then == "send":
            book.move(DeliveryState.ACCEPTED)
    sent = [d.content for one in book.known for d in one.deliveries if d.state is DeliveryState.ACCEPTED]
    worth = sent[-1].value if sent else None
    assert worth == (money("1000") if state is PAID else Money(0, "RUB") if sent else None)
    assert sum(row.kind is ConversionKind.ORIGINAL for row in sent) == bool(sent)
    assert len(sent) < 2 or sent[0].kind is ConversionKind.ORIGINAL
    assert tries or not sent or sent[0].value == money("1000"), "worth nothing from the first, though never tried"
    assert is_empty(book.plan(*judged(paid(7, state=state))))


# --- the same money in another guise ------------------------------------------------------------------------------


def kinds(plan: Plan) -> set[str]:
    return {skip.reason for skip in plan.skipped}


def test_a_deal_is_not_counted_by_payment_after_it_was_counted_as_a_whole() -> None:
    """Nor the other way round: whoever changes a goal does not tell the same revenue twice."""
    book = Book()
    book.judge(sold())
    book.move(DeliveryState.VERIFIED)
    plan = book.plan(*judged(paid(7), paid(8)))
    assert is_empty(plan)
    assert kinds(plan) == {"counted on the deal as a whole"}
    other = Book()
    other.judge(*judged(paid(7)))
    assert kinds(other.plan(sold())) == {"counted on its payments"}


def test_a_deal_is_not_counted_by_a_payment_and_its_invoice() -> None:
    """The source was set up to read invoices after a payment was promised."""
    book = Book()
    book.judge(*judged(paid(7)))
    plan = book.plan(*judged(Payment("invoice:15", PAID, money("1000"), hour(5))))
    assert is_empty(plan)
    assert kinds(plan) == {"counted on its payments"}


def test_leads_and_deals_are_judged_alike() -> None:
    """A lead without payments simply has none."""
    goal = compiled(ANY_STATE, per="payment", value="payment").goals[0]
    (judgement,) = judgements(goal, case(deal("1", kind=DealKind.LEAD)), Floor())
    assert judgement.reason == "its payments are not read"

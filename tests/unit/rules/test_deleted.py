"""Plans of deals that are deleted in the CRM, and restored there. (Any history of both: ``test_plan``.)"""

from __future__ import annotations

from bridge.model import ConversionKind
from bridge.rules.plan import DELETED, Skip
from bridge.states import DeliveryState
from tests.unit.rules.kit import hour, money
from tests.unit.rules.test_plan import GOAL, METRICA, Book, is_empty, sold, to


def test_what_was_not_sent_of_a_deleted_deal_never_is_and_what_was_sent_is_named() -> None:
    """The pending row is withdrawn; the one that was sent stays, with a reason; nothing new is promised."""
    book = Book()
    book.judge(sold())
    book.move(DeliveryState.ACCEPTED, "metrica")
    book.is_deleted = True
    plan = book.judge(sold("1200"))
    assert [(row.destination, code) for row, code in plan.withdrawn] == [("google", DELETED)]
    (skip,) = plan.skipped
    assert (skip.goal, skip.destination) == (GOAL, "metrica")
    assert skip.reason.startswith("deleted in the CRM after it was sent")
    assert not plan.conversions
    assert not plan.deliveries
    assert is_empty(book.plan(sold("1200")))


def test_a_restored_deal_is_promised_again_under_the_same_id_as_it_is_now() -> None:
    """One row for each destination, never a second one; its content is today's."""
    book = Book(routes=[to("metrica", METRICA)])
    (first,) = book.judge(sold()).deliveries
    book.is_deleted = True
    book.judge(sold())
    book.is_deleted = False
    plan = book.judge(sold("1200", hour(4)))
    ((row, content),) = plan.restored
    assert row.id == content.delivery == first.content.delivery
    assert (content.value, content.occurred_at) == (money("1200"), hour(4))
    assert not plan.deliveries
    assert book.states() == [DeliveryState.PENDING]
    assert is_empty(book.plan(sold("1200", hour(4))))


def test_a_restored_deal_that_is_counted_elsewhere_meanwhile_stays_as_it_is() -> None:
    """The deal made from a deleted lead has counted the sale: the lead does not count it again."""
    book = Book(routes=[to("metrica", METRICA)])
    book.judge(sold())
    book.is_deleted = True
    book.judge()
    book.is_deleted, book.counted = False, {(GOAL, "metrica"): "deal:7"}
    plan = book.judge(sold())
    assert not plan.restored
    assert plan.skipped == [Skip(GOAL, "metrica", "counted on deal:7")]


def test_what_is_under_way_when_its_deal_is_deleted_is_not_tried_again() -> None:
    """It is marked so, and the mark goes when the deal comes back first."""
    book = Book(routes=[to("metrica", METRICA)])
    book.judge(sold())
    book.move(DeliveryState.SEALED)
    book.is_deleted = True
    assert [is_recalled for _, is_recalled in book.judge().recalled] == [True]
    assert is_empty(book.plan())
    book.is_deleted = False
    assert [is_recalled for _, is_recalled in book.judge(sold()).recalled] == [False]
    book.is_deleted = True
    book.judge()
    book.move(DeliveryState.PENDING)
    assert book.states() == [DeliveryState.CANCELLED]
    book.is_deleted = False
    assert len(book.judge(sold()).restored) == 1


def test_a_correction_that_was_withdrawn_is_made_anew() -> None:
    """The original was sent, its correction was not: restored, the deal corrects it once."""
    book = Book(routes=[to("metrica", METRICA)])
    book.judge(sold())
    book.move(DeliveryState.ACCEPTED)
    book.judge(sold("1200"))
    book.is_deleted = True
    book.judge()
    book.is_deleted = False
    (made,) = book.judge(sold("1200")).deliveries
    assert (made.content.kind, made.content.value) == (ConversionKind.RESTATEMENT, money("1200"))
    assert is_empty(book.plan(sold("1200")))


def test_what_an_operator_cancelled_is_not_restored() -> None:
    """Only what a deletion has withdrawn comes back."""
    book = Book(routes=[to("metrica", METRICA)])
    book.judge(sold())
    book.move(DeliveryState.CANCELLED)
    assert is_empty(book.plan(sold()))

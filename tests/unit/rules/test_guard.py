"""Plans of a goal that was changed: nothing new of before, and what was promised goes on as it was."""

from __future__ import annotations

from datetime import datetime

from bridge.frozen import replace
from bridge.model import Money
from bridge.rules.definitions import Guard
from bridge.rules.floor import Floor
from bridge.rules.plan import Route
from bridge.states import DeliveryState
from tests.unit.rules.kit import hour, money
from tests.unit.rules.test_plan import BOTH, Book, sold

SINCE = hour(5)  # the deal is sold before, at hour(3)
CHANGED = Floor(SINCE)
RULE, VALUE, SEND = Guard(rule=CHANGED), Guard(rule=CHANGED, value=CHANGED), Guard(send=CHANGED)


def kept(guard: Guard, *, target: str = "") -> tuple[Route, ...]:
    """Both destinations behind a guard, under another name if one is given."""
    return tuple([replace(route, guard=guard, target=target or route.target) for route in BOTH])


def values(book: Book, destination: str = "metrica") -> list[Money | None]:
    return [content.value for content in book.contents(destination)]


def test_a_changed_goal_promises_nothing_of_before() -> None:
    """No conversion either; every destination gets the reason, with both moments and the command."""
    plan = Book(routes=kept(RULE)).plan(sold())
    assert (plan.conversions, plan.deliveries) == ([], [])
    assert {skip.destination for skip in plan.skipped} == {"metrica", "google"}
    assert plan.skipped[0].reason == (
        "before_change: reached 2026-03-01 12:00, before this goal was changed (2026-03-01 14:00); "
        '"bridge plan" shows what it would send'
    )


def test_it_promises_what_is_reached_from_the_change_on() -> None:
    """The very moment of the change counts."""
    assert len(Book(routes=kept(VALUE)).plan(sold(at=SINCE)).deliveries) == 2


def test_a_destination_that_was_added_gets_nothing_of_before() -> None:
    """The one that was there before is promised as ever, now and after the first promise."""
    book = Book(routes=(BOTH[0], replace(BOTH[1], guard=SEND)))
    assert [new.destination for new in book.judge(sold()).deliveries] == ["metrica"]
    again = book.plan(sold())
    assert again.deliveries == []
    assert "before this destination was given to it" in again.skipped[0].reason


def test_a_value_that_the_crm_changes_is_told_while_the_goals_own_is_the_same() -> None:
    """Other conditions do not make corrections stop."""
    book = Book()
    book.judge(sold())
    book.move(DeliveryState.ACCEPTED)
    book.routes = kept(RULE)
    book.judge(sold("700"))
    assert values(book) == [money("1000"), money("700")]


def test_another_value_of_the_goal_corrects_nothing_that_was_promised() -> None:
    """Neither sent nor pending, and says so; without the guard it does."""
    for state in (DeliveryState.PENDING, DeliveryState.ACCEPTED):
        book = Book()
        book.judge(sold())
        if state is not DeliveryState.PENDING:
            book.move(state)
        book.routes = kept(VALUE)
        plan = book.judge(sold("700"))
        assert (values(book), len(plan.skipped)) == ([money("1000")], 2)
        assert plan.skipped[0].reason.startswith("before_change: promised before the goal's value was changed")
        book.routes = BOTH
        book.judge(sold("700"))
        assert values(book)[-1] == money("700")


def test_a_refund_is_told_whatever_the_goal_is_worth_now() -> None:
    """Nothing paid is nothing by any rule; and paid again, it is worth what it was."""
    book = Book()
    book.judge(sold())
    book.move(DeliveryState.ACCEPTED)
    book.routes = kept(VALUE)
    book.judge(replace(sold("0"), is_retracted=True))
    book.move(DeliveryState.ACCEPTED)
    book.judge(sold("700"))
    assert values(book) == [money("1000"), money("0"), money("1000")]


def test_what_is_pending_keeps_its_moment_and_its_name() -> None:
    """The changed goal would have been reached later, under another name; a better click is taken all the same."""

    def moved(book: Book, at: datetime) -> tuple[datetime, str]:
        book.judge(sold(at=at))
        (content,) = book.contents("metrica")
        return content.occurred_at, content.target

    book = Book()
    before = moved(book, hour(3))
    book.routes = kept(replace(RULE, send=CHANGED), target="new name")
    assert moved(book, hour(4)) == before
    book.routes = kept(Guard(), target="new name")
    assert moved(book, hour(4)) == (hour(4), "new name")


def test_a_deal_that_nothing_was_promised_of_may_still_reach_a_changed_goal() -> None:
    """It had no click when it reached the goal of before; it reaches that of today when it has one."""
    book = Book(routes=())
    book.judge(sold())
    book.routes = kept(VALUE)
    assert book.plan(sold(at=hour(4))).deliveries == []
    assert {new.content.occurred_at for new in book.judge(sold("7", at=hour(6))).deliveries} == {hour(6)}


def test_what_is_kept_back_is_promised_once_when_it_is_let_go() -> None:
    """As if the goal had never been another; and not a second time."""
    book = Book(routes=kept(VALUE))
    for _ in range(2):
        book.judge(sold())
    book.routes = BOTH
    book.judge(sold())
    never_changed = Book()
    never_changed.judge(sold())
    assert [book.contents(name) for name in ("metrica", "google")] == [
        never_changed.contents(name) for name in ("metrica", "google")
    ]
    assert book.plan(sold()).deliveries == []

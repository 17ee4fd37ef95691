"""Destinations that keep one order per deal: its key, the place of each row, what is told of a deal that comes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.frozen import replace
from bridge.identity import deal_order_key
from bridge.model import ConversionKind, Deal, DealKind, Identifier, IdKind, Judgement, Match, Method, Outgoing, Verdict
from bridge.ports import DealOrders, DestinationTraits, Proof
from bridge.rules.deal_orders import Root
from bridge.rules.plan import KnownConversion, KnownDelivery, Plan, Route, Subject, make
from bridge.states import DeliveryState
from tests.unit.rules.kit import START, deal, hour, money

CLIENT = Identifier(IdKind.CLIENT_ID, "1712345678123456789", "field ClientID")
MATCH = Match(Method.FIELD, "client_id in field ClientID", (CLIENT,), START)
ORDERS = DealOrders(frozenset({"NEW"}), frozenset({"PAID", "LOST"}))
TRAITS = DestinationTraits(Proof.ROW, (IdKind.CLIENT_ID,), adjusts=True, deal_orders=ORDERS)
PLAIN = DestinationTraits(Proof.TAG, (IdKind.CLIENT_ID,), adjusts=True)
GOALS = {"created": "NEW", "qualified": "lead", "sale": "PAID", "lost": "LOST"}
ROUTES = {goal: (Route("shop", target, TRAITS), Route("ads", goal, PLAIN)) for goal, target in GOALS.items()}
ARRIVED = DeliveryState.ACCEPTED


def reached(goal: str, at: int, value: str | None = None, again: int | None = None) -> Judgement:
    """A goal reached so many hours after the start."""
    worth = None if value is None else money(value)
    back = None if again is None else hour(again)
    return Judgement(goal, Verdict.QUALIFIED, goal, "", hour(at), worth, again_at=back)


@dataclass(slots=True)
class Book:
    """What the store knows of one deal."""

    deal: Deal = field(default_factory=deal)
    root: Root | None = None
    known: list[KnownConversion] = field(default_factory=list)

    def judge(self, *judgements: Judgement, state: DeliveryState = ARRIVED) -> list[Outgoing]:
        """Plan and write, let everything come into that state; what the shop is told."""
        subject = Subject("okna", "crm", self.deal, MATCH, root=self.root)
        plan = make(subject, judgements, self.known, ROUTES)
        self._write(plan, state)
        return [made.content for made in plan.deliveries if made.destination == "shop"]

    def _write(self, plan: Plan, state: DeliveryState) -> None:
        self.known += [KnownConversion(one, ()) for one in plan.conversions]
        for made in plan.deliveries:
            promised = KnownDelivery(made.content.delivery, made.destination, state, made.content)
            number = next(n for n, one in enumerate(self.known) if one.conversion.id == made.conversion)
            before = self.known[number]
            self.known[number] = replace(before, deliveries=(*before.deliveries, promised))


def test_all_goals_of_a_deal_are_one_order_and_each_is_a_conversion_of_its_own_elsewhere() -> None:
    """One key for the order, under the deal's name; the other destination keeps its keys per goal, without a rank."""
    book = Book()
    rows = book.judge(reached("created", 0), reached("qualified", 1), reached("sale", 2, "1000"))
    assert {row.order_key for row in rows} == {deal_order_key("okna", "crm", "lead:5")}
    assert [row.rank for row in rows] == [0, 1, 2]
    others = [d.content for one in book.known for d in one.deliveries if d.destination == "ads"]
    assert len({row.order_key for row in others}) == 3
    assert {row.rank for row in others} == {None}


def test_a_deal_carries_the_order_of_its_lead_on() -> None:
    """Under the key of the lead, and from the moment the lead came."""
    own = deal(kind=DealKind.DEAL, created_at=hour(3), parent="lead:4")
    rows = Book(own, Root("lead:4", START)).judge(reached("sale", 5, "1000"))
    assert [(row.order_key, row.deal_created_at) for row in rows] == [(deal_order_key("okna", "crm", "lead:4"), START)]


def test_an_order_keeps_the_key_it_was_first_told_under() -> None:
    """A lead that becomes known later does not split it; the vendor would not let its creation be changed either."""
    book = Book(deal(kind=DealKind.DEAL, created_at=hour(3)))
    (first,) = book.judge(reached("qualified", 4))
    book.root = Root("lead:4", START)
    (later,) = book.judge(reached("qualified", 4), reached("sale", 5, "1000"))
    assert (later.order_key, later.deal_created_at) == (first.order_key, hour(3))
    assert (first.follows, later.follows) == (False, True)


def test_a_goal_per_payment_is_not_told_and_says_why() -> None:
    """One order cannot show two payments."""
    paid = replace(reached("sale", 2, "1000"), occurrence="payment:1")
    plan = make(Subject("okna", "crm", deal(), MATCH), [paid], (), ROUTES)
    assert [made.destination for made in plan.deliveries] == ["ads"]
    assert [(skip.destination, skip.reason.partition(":")[0]) for skip in plan.skipped] == [
        ("shop", "one order per deal")
    ]


def test_a_changed_value_restates_the_order_in_the_place_it_had() -> None:
    """The same key, state and time; what was told later stays later."""
    book = Book()
    (sale,) = book.judge(reached("sale", 2, "1000"))
    (again,) = book.judge(reached("sale", 2, "700"))
    assert again.kind is ConversionKind.RESTATEMENT
    assert (again.order_key, again.target, again.place) == (sale.order_key, "PAID", sale.place)
    assert again.value == money("700")


def test_a_deal_won_lost_and_won_again_ends_as_won() -> None:
    """Neither goal is reached a second time, so the order is told again what it is; once."""
    book = Book()
    book.judge(reached("sale", 2, "1000"))
    book.judge(reached("sale", 2, "1000"), reached("lost", 4))
    back = (reached("sale", 2, "1000", again=6), reached("lost", 4))
    (told,) = book.judge(*back)
    assert (told.target, told.kind, told.place) == ("PAID", ConversionKind.RESTATEMENT, (hour(6), 2))
    assert book.judge(*back) == []
    others = [d for one in book.known for d in one.deliveries if d.destination == "ads"]
    assert len(others) == 2, "a destination without orders hears of no return"


def test_a_return_and_a_new_value_are_one_row() -> None:
    """Otherwise the value would come in the old place and be overtaken."""
    book = Book()
    book.judge(reached("sale", 2, "1000"))
    book.judge(reached("sale", 2, "1000"), reached("lost", 4))
    (told,) = book.judge(reached("sale", 2, "800", again=6), reached("lost", 4))
    assert (told.value, told.place) == (money("800"), (hour(6), 2))


def test_only_an_end_is_come_back_to() -> None:
    """A deal that is qualified again after it was paid does not take that back."""
    book = Book()
    book.judge(reached("qualified", 1), reached("sale", 2, "1000"))
    assert book.judge(reached("qualified", 1, again=5), reached("sale", 2, "1000")) == []


@pytest.mark.parametrize("state", [DeliveryState.PENDING, DeliveryState.SEALED, DeliveryState.HELD, ARRIVED])
def test_coming_back_waits_for_nothing_but_is_planned_once(state: DeliveryState) -> None:
    """Whatever became of the rows before: the queue sees to the order of things."""
    book = Book()
    book.judge(reached("sale", 2, "1000"), reached("lost", 4), state=state)
    back = (reached("sale", 2, "1000", again=6), reached("lost", 4))
    assert len(book.judge(*back, state=state)) == 1
    assert book.judge(*back, state=state) == []


@given(st.lists(st.sampled_from(["won", "lost", "open"]), min_size=1, max_size=7), st.integers(0, 3))
def test_an_order_ends_in_the_end_its_deal_reached_last(stages: Sequence[str], seen_every: int) -> None:
    """Whenever the bridge looks: of all rows, the one in the last place tells where the deal was last."""
    book, told = Book(), list[Outgoing]()
    for number in range(len(stages)):
        if number % (seen_every + 1) == 0 or number == len(stages) - 1:
            told += book.judge(*_judgements(stages[: number + 1]))
    ends = [stage for stage in stages if stage != "open"]
    if ends:
        assert max(told, key=lambda row: row.place).target == {"won": "PAID", "lost": "LOST"}[ends[-1]]
    else:
        assert told == []


def _judgements(stages: Sequence[str]) -> list[Judgement]:
    """What two goals by outcome say of a deal that was in these stages, an hour each."""
    found = []
    for goal, stage in (("sale", "won"), ("lost", "lost")):
        at = [n for n, name in enumerate(stages) if name == stage and (n == 0 or stages[n - 1] != stage)]
        if at:
            found.append(reached(goal, at[0], "1000", again=at[-1] if len(at) > 1 else None))
    return found


def test_rows_of_one_moment_go_from_the_beginning_to_the_end() -> None:
    """A deal that is created as won."""
    rows = Book().judge(reached("sale", 0, "5"), reached("created", 0), reached("qualified", 0))
    ordered: list[datetime | str] = [row.target for row in sorted(rows, key=lambda row: row.place)]
    assert ordered == ["NEW", "lead", "PAID"]
    assert {row.place[0] for row in rows} == {START + timedelta(0)}

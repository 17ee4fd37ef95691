"""A deal that comes back to an end: its order ends there, whatever of the way was seen, sent or withdrawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.frozen import replace
from bridge.model import ConversionKind, Judgement, Outgoing, Verdict
from bridge.rules.deal_orders import OVERTAKEN
from bridge.rules.plan import KnownConversion, KnownDelivery, Plan, Subject, make
from bridge.states import DeliveryState
from tests.unit.rules.kit import deal, money
from tests.unit.rules.test_deal_orders import ARRIVED, MATCH, ROUTES, _judgements, reached

PENDING = DeliveryState.PENDING


@dataclass(slots=True)
class Shop:
    """What the store knows of one deal, and the rows that its order was told, in their order."""

    known: list[KnownConversion] = field(default_factory=list)
    order: list[Outgoing] = field(default_factory=list)

    def judge(self, *judgements: Judgement, withheld: str = "") -> Plan:
        """Plan and write."""
        routes = {goal: [replace(route, withheld=withheld) for route in to] for goal, to in ROUTES.items()}
        plan = make(Subject("okna", "crm", deal(), MATCH), judgements, self.known, routes)
        self.known += [KnownConversion(one, ()) for one in plan.conversions]
        for made in plan.deliveries:
            fresh = KnownDelivery(made.content.delivery, made.destination, PENDING, made.content)
            self.known = [
                replace(one, deliveries=(*one.deliveries, fresh)) if one.conversion.id == made.conversion else one
                for one in self.known
            ]
        revised = {one.id: one for one in plan.revised}
        self.known = [replace(one, conversion=revised.get(one.conversion.id, one.conversion)) for one in self.known]
        changed: dict[str, dict[str, Any]] = {key: {"content": content} for key, content in plan.replaced}
        changed |= {row.id: {"state": DeliveryState.CANCELLED, "code": code} for row, code in plan.withdrawn}
        changed |= {row.id: {"state": PENDING, "code": "", "content": content} for row, content in plan.restored}
        self._change(changed)
        return plan

    def send(self) -> None:
        """What the core does with what is pending: in its place, unless something later is there already."""
        while waiting := [row for row in self.rows if row.state is PENDING]:
            mine = min(waiting, key=lambda row: row.content.place)  # rows of one place: in the order of their revisions
            if any(row.content.place > mine.content.place for row in self.rows if row.state is ARRIVED):
                self._change({mine.id: {"state": DeliveryState.REJECTED, "code": OVERTAKEN}})
            else:
                self._change({mine.id: {"state": ARRIVED, "is_tried": True}})
                self.order.append(mine.content)

    @property
    def rows(self) -> list[KnownDelivery]:
        return [row for one in self.known for row in one.deliveries if row.destination == "shop"]

    def _change(self, changed: dict[str, dict[str, Any]]) -> None:
        self.known = [
            replace(one, deliveries=tuple(replace(row, **changed.get(row.id, {})) for row in one.deliveries))
            for one in self.known
        ]


def lost_again() -> Judgement:
    """What a sale is while its deal is lost."""
    facts: dict[str, Any] = {
        "reason": "won, and lost again",
        "occurred_at": None,
        "value": money("0"),
        "is_retracted": True,
    }
    return replace(reached("sale", 0), verdict=Verdict.EXCLUDED, **facts)


def looked(stages: Sequence[str]) -> list[Judgement]:
    """What two goals by outcome say of a deal that was in these stages, an hour each."""
    found = _judgements(stages)
    return [lost_again() if one.goal == "sale" and stages[-1] == "lost" else one for one in found]


def test_a_correction_that_waits_becomes_the_return() -> None:
    """The sale was sent, its retraction was not: the pending row tells the sale's worth again, after the loss."""
    shop = Shop()
    shop.judge(reached("sale", 2, "1000"))
    shop.send()
    shop.judge(lost_again(), reached("lost", 4))
    shop.judge(reached("sale", 2, "1000", again=6), reached("lost", 4))
    shop.send()
    assert [(row.target, row.value) for row in shop.order[1:]] == [("LOST", None), ("PAID", money("1000"))]
    assert shop.order[-1].kind is ConversionKind.RESTATEMENT


def test_a_sale_that_was_withdrawn_comes_back_behind_the_loss() -> None:
    """Nothing was sent yet: restored, it takes the place of the return, not that of the first sale."""
    shop = Shop()
    shop.judge(reached("sale", 2, "1000"))
    shop.judge(lost_again(), reached("lost", 4))
    shop.judge(reached("sale", 2, "1000", again=6), reached("lost", 4))
    shop.send()
    assert [row.target for row in shop.order] == ["LOST", "PAID"]


@pytest.mark.parametrize("is_waiting", [False, True])
def test_a_loss_takes_its_sale_back_by_itself(is_waiting: bool) -> None:
    """The order needs not be cancelled first, even where the loss is found out later than that the sale is none."""
    shop = Shop()
    shop.judge(reached("sale", 2, "1000"))
    shop.send()
    if is_waiting:
        shop.judge(lost_again())
    plan = shop.judge(lost_again(), reached("lost", 4))
    assert shop.judge(lost_again(), reached("lost", 4)).changes_known is False
    shop.send()
    assert [(row.target, row.value) for row in shop.order] == [("PAID", money("1000")), ("LOST", None)]
    assert {skip.reason for skip in plan.skipped if skip.destination == "shop"} == {
        'nothing to take back: its order tells of the goal "lost", which came later'
    }


@pytest.mark.parametrize("is_told", [False, True])
def test_a_sale_that_may_have_arrived_is_cancelled_not_paid_with_nothing(is_told: bool) -> None:
    """It was in a file that had to be split; where the loss is told, that says it all."""
    shop = Shop()
    shop.judge(reached("sale", 2, "1000"))
    shop.known = [
        replace(one, deliveries=tuple(replace(row, is_tried=True) for row in one.deliveries)) for one in shop.known
    ]
    said = [lost_again(), reached("lost", 4)] if is_told else [lost_again()]
    shop.judge(*said)
    shop.judge(*said)
    shop.send()
    told = [(row.target, row.value, row.retracted_at is not None) for row in shop.order]
    assert told == ([("LOST", None, False)] if is_told else [("PAID", money("0"), True)])


def test_nothing_is_told_of_a_return_without_consent() -> None:
    """What was sent stays as it is, uncorrected."""
    shop = Shop()
    shop.judge(reached("sale", 2, "1000"), reached("lost", 4))
    shop.send()
    plan = shop.judge(reached("sale", 2, "1000", again=6), reached("lost", 4), withheld="no consent")
    assert plan.deliveries == []


@example(
    [("won", False, False), ("lost", False, False), ("open", True, False), ("won", True, False), ("lost", True, False)]
)
@given(st.lists(st.tuples(st.sampled_from(["won", "lost", "open"]), st.booleans(), st.booleans()), max_size=8))
def test_an_order_ends_where_its_deal_ends(steps: Sequence[tuple[str, bool, bool]]) -> None:
    """However much was seen, and however much of that was sent before the next look; a second look adds nothing."""
    shop, stages = Shop(), list[str]()
    for number, (stage, is_seen, is_sent) in enumerate(steps):
        stages.append(stage)
        if is_seen or number == len(steps) - 1:
            shop.judge(*looked(stages))
            again = shop.judge(*looked(stages))
            assert not again.deliveries
            assert not again.changes_known
        if is_sent:
            shop.send()
    shop.send()
    ends = [stage for stage in stages if stage != "open"]
    if ends and shop.order:
        told = shop.order[-1]
        assert (told.target, told.value) == ({"won": "PAID", "lost": "LOST"}[ends[-1]], money("1000"))

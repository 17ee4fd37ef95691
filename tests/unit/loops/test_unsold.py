"""A sale that is lost again is taken back: withdrawn, restated to zero, or said to stay; and it can come back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bridge.config import Goal
from bridge.errors import Throttled
from bridge.frozen import replace
from bridge.loops import deliver, poll
from bridge.model import Clue, Deal, DealKind, IdKind, Money, Outcome, StageChange
from bridge.ports import Proof
from bridge.store import Store, codec
from tests.store.kit import ADS, SOURCE
from tests.support import START
from tests.unit.loops.kit import HOUR, TRAITS, Ads, Crm, Office, accept, office

SALE: dict[str, Any] = {"name": "sale", "when": {"outcome": "won"}, "value": "deal", "send": {ADS: "deal_won"}}


def deal(*steps: tuple[str, Outcome]) -> Deal:
    """A deal that went through these stages, one an hour."""
    history = tuple(
        StageChange(START - (len(steps) - number) * HOUR, "7", stage, outcome, "events")
        for number, (stage, outcome) in enumerate(steps)
    )
    return Deal(
        DealKind.DEAL,
        "1",
        f"v{len(steps)}",
        START - timedelta(days=2),
        START,
        "7",
        history[-1].stage,
        history[-1].outcome,
        Money(150_000, "RUB"),
        clues=(Clue("field YCLID", "17751100000000000001", IdKind.YCLID),),
        history=history,
    )


WON = [("Good", Outcome.OPEN), ("Won", Outcome.WON)]
LOST = [*WON, ("Lost", Outcome.LOST)]


class Life:
    """One deal, read again and again, with a turn of sending after each reading."""

    def __init__(self, store: Store, goal: dict[str, Any], *, adjusts: bool = True) -> None:
        self.ads = Ads(replace(TRAITS, proof=Proof.ROW, adjusts=adjusts))
        self.crm = Crm()
        self.office: Office = office(store, {ADS: self.ads}, {SOURCE: self.crm}, [Goal.model_validate(goal)])
        self.store = store

    async def read(self, one: Deal, *, sends: bool = True) -> None:
        self.office.clock.advance(HOUR)
        fresh = replace(one, version=f"{one.version} {self.office.clock.now()}", updated_at=self.office.clock.now())
        self.crm.scans = [[self.crm.shows(fresh)]]
        await poll.once(self.office.tenant, force=True)
        if sends:
            await deliver.once(self.office.tenant, force=True)

    async def told(self) -> list[tuple[str, int | None, str | None]]:
        """Deliveries in order: state, value in roubles, code."""
        rows = sorted((await self.office.rows()).values(), key=lambda row: row["planned_at"])
        found = []
        for row in rows:
            value = codec.outgoing(row["content"]).value
            found.append((row["state"], None if value is None else value.minor // 100, row["code"]))
        return found

    async def explained(self) -> dict[str, Any]:
        return await self.office.explained("deal:1")


async def test_a_sale_that_is_lost_again_is_worth_nothing(store: Store) -> None:
    """Without any setting: sent, then restated to zero; won once more, it is worth what it was."""
    life = Life(store, SALE)
    await life.read(deal(*WON))
    await life.read(deal(*LOST))
    assert await life.told() == [("accepted", 1500, None), ("accepted", 0, None)]
    (judged,) = (await life.explained())["judgements"]
    assert judged["reason"] == "won, and lost again"
    await life.read(deal(*LOST, ("Won", Outcome.WON)))
    assert [value for _, value, _ in await life.told()] == [1500, 0, 1500]


async def test_what_was_not_sent_yet_is_not_sent(store: Store) -> None:
    """The promise is withdrawn, and made again when the sale stands again."""
    life = Life(store, SALE)
    await life.read(deal(*WON), sends=False)
    await life.read(deal(*LOST))
    assert await life.told() == [("cancelled", 1500, "retracted")]
    await life.read(deal(*LOST, ("Won", Outcome.WON)))
    assert await life.told() == [("accepted", 1500, None)]


async def test_a_sale_lost_before_it_was_read_was_never_one(store: Store) -> None:
    """Nothing is promised for it, and explain says why."""
    life = Life(store, SALE)
    await life.read(deal(*LOST))
    assert await life.told() == []
    (judged,) = (await life.explained())["judgements"]
    assert (judged["verdict"], judged["reason"]) == ("excluded", "won, and lost again")


async def test_where_nothing_can_be_taken_back_explain_says_so(store: Store) -> None:
    """A destination that corrects nothing keeps the conversion, and the reason is named."""
    life = Life(store, SALE, adjusts=False)
    await life.read(deal(*WON))
    await life.read(deal(*LOST))
    assert await life.told() == [("accepted", 1500, None)]
    (skipped,) = (await life.explained())["not_promised"]
    assert skipped["reason"] == "no_adjust"


@pytest.mark.parametrize(("adjusts", "told"), [(True, [0]), (False, [])])
async def test_what_was_tried_is_told_as_nothing_only_where_that_corrects(
    adjusts: bool, told: list[int], store: Store
) -> None:
    """Its first sending was put off; meanwhile the sale is lost. What corrects nothing would count it now."""
    life = Life(store, SALE, adjusts=adjusts)
    life.ads.sends = [Throttled("slow down", retry_after=5400.0), accept]
    await life.read(deal(*WON))
    await life.read(deal(*LOST), sends=False)
    for _ in range(3):
        await life.read(deal(*LOST))
    assert [value for state, value, _ in await life.told() if state == "accepted"] == told

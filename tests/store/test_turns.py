"""Whose turn it is among the rows of one deal's order: never two at once, never out of order, never back."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import pytest

from bridge.frozen import replace
from bridge.identity import conversion_id, delivery_id, order_key
from bridge.model import Conversion, ConversionKind, Money, Outgoing
from bridge.rules.plan import NewDelivery, Plan
from bridge.states import Move
from bridge.store import Store, schema
from bridge.store.ledger import Ledger, Settlement
from bridge.store.moves import Shift
from bridge.store.records import Records
from bridge.store.windows import Windows
from tests.store import kit
from tests.support import START

MINUTE = timedelta(minutes=1)
APART = 5 * MINUTE
RANKS = {"created": 0, "qualified": 1, "sale": 2, "spam": 2}


def conversion(lead: int, goal: str, minute: int, revision: int = 0) -> Conversion:
    """A lead reached a goal so many minutes after the start."""
    place = (kit.TENANT, kit.SOURCE, f"lead:{lead}", goal, "once")
    kind = ConversionKind.RESTATEMENT if revision else ConversionKind.ORIGINAL
    key = conversion_id(*place, kind, revision)
    return Conversion(
        key, order_key(*place), place[2], goal, kind, revision, START + minute * MINUTE, Money.of(1, "RUB"), goal
    )


def content(made: Conversion, again: int | None = None) -> Outgoing:
    """A row of the lead's order."""
    back = None if again is None else START + again * MINUTE
    row = replace(kit.content(made), order_key=f"order {made.deal}", target=made.goal)
    return replace(row, rank=RANKS[made.goal], again_at=back)


async def promise(store: Store, *made: Conversion, again: int | None = None) -> None:
    """Write a page that promises these."""
    items = []
    for number, one in enumerate(made):
        plan = Plan([one], [NewDelivery(one.id, kit.ADS, content(one, again))])
        items.append(kit.assessed(kit.deal(number, one.id), plan))
    await Records(store).write_page(kit.page(*items))


async def due(ledger: Ledger, minute: int) -> list[str]:
    """Goals whose turn it is then, with what is said of them."""
    rows = await ledger.due(kit.ADS, START + minute * MINUTE, 100, APART)
    told = [(row.content.goal, row.content.order_key[-1], row.refusal) for row in rows]
    return [f"{goal}{lead} {refusal}".rstrip() for goal, lead, refusal in sorted(told)]


async def end(ledger: Ledger, minute: int, move: Move = Move.ACCEPT) -> None:
    """Send everything whose turn it is then, and record one end for all."""
    now = START + minute * MINUTE
    rows = await ledger.due(kit.ADS, now, 100, APART)
    sealed = await ledger.seal(kit.ADS, kit.label(rows), rows, kit.render, now)
    sealed = await ledger.mark(sealed, now, now)
    shifts = [Shift(row, move, due=now) for row in sealed.rows]
    await ledger.record(Settlement(sealed, shifts, {}, None), now)


async def test_of_one_order_the_earliest_goes_first_and_alone(store: Store) -> None:
    """Other orders do not wait for it; the next comes a while after the last has arrived."""
    ledger = Ledger(store, kit.TENANT)
    await promise(store, conversion(1, "sale", 9), conversion(1, "created", 1), conversion(1, "qualified", 5))
    await promise(store, conversion(2, "qualified", 5))
    assert await due(ledger, 10) == ["created1", "qualified2"]
    await end(ledger, 10)
    assert await due(ledger, 14) == []
    assert await due(ledger, 15) == ["qualified1"]
    await end(ledger, 15)
    assert await due(ledger, 20) == ["sale1"]


async def test_a_row_that_failed_holds_up_those_behind_it(store: Store) -> None:
    """Pending again or in doubt: nothing overtakes it, nor does it wait for what is behind."""
    ledger = Ledger(store, kit.TENANT)
    await promise(store, conversion(1, "created", 1), conversion(1, "sale", 2))
    now = START + 10 * MINUTE
    rows = await ledger.due(kit.ADS, now, 100, APART)
    sealed = await ledger.seal(kit.ADS, kit.label(rows), rows, kit.render, now)
    assert await due(ledger, 60) == [], "on the wire"
    sealed = await ledger.mark(sealed, now, now)
    shifts = [Shift(row, Move.AGAIN, due=START + 120 * MINUTE) for row in sealed.rows]
    await ledger.record(Settlement(sealed, shifts, {}, None), now)
    assert await due(ledger, 60) == [], "pending for later"
    assert await due(ledger, 120) == ["created1"]


async def test_a_row_that_was_refused_for_good_holds_up_nothing(store: Store) -> None:
    """The order goes on without it."""
    ledger = Ledger(store, kit.TENANT)
    await promise(store, conversion(1, "created", 1), conversion(1, "sale", 2))
    await end(ledger, 10, Move.REJECT)
    assert await due(ledger, 10) == ["sale1"]


async def test_what_is_found_out_late_never_overwrites_what_came_later(store: Store) -> None:
    """It is named as overtaken; a correction of the last state is not, nor is one that came back to its end."""
    ledger = Ledger(store, kit.TENANT)
    await promise(store, conversion(1, "sale", 9))
    await end(ledger, 10)
    await promise(store, conversion(1, "qualified", 5))
    assert await due(ledger, 20) == ["qualified1 overtaken"]
    await ledger.move([Shift(kit_key(conversion(1, "qualified", 5)), Move.REFUSE, "overtaken")], START)
    await promise(store, conversion(1, "sale", 9, 1))
    assert await due(ledger, 20) == ["sale1"]
    await end(ledger, 20)
    await promise(store, conversion(1, "spam", 15))
    await end(ledger, 30)
    await promise(store, conversion(1, "sale", 9, 2))
    assert await due(ledger, 40) == ["sale1 overtaken"]
    await ledger.move([Shift(kit_key(conversion(1, "sale", 9, 2)), Move.REFUSE, "overtaken")], START)
    await promise(store, conversion(1, "sale", 9, 3), again=35)
    assert await due(ledger, 40) == ["sale1"]


def kit_key(made: Conversion) -> str:
    return delivery_id(made.id, kit.ADS)


async def test_a_correction_of_a_cancelled_row_is_moot(store: Store) -> None:
    """What a human has cancelled is not told in another way."""
    ledger = Ledger(store, kit.TENANT)
    await promise(store, conversion(1, "sale", 9))
    await end(ledger, 10, Move.DROP)
    await promise(store, conversion(1, "sale", 9, 1))
    assert await due(ledger, 20) == ["sale1 original_cancelled"]


async def test_a_row_knows_whether_its_order_is_there_already(store: Store) -> None:
    """Its window differs; and it is no part of what is stored."""
    ledger = Ledger(store, kit.TENANT)
    await promise(store, conversion(1, "created", 1), conversion(1, "sale", 2))
    assert [row.content.follows for row in await ledger.due(kit.ADS, START + 10 * MINUTE, 100, APART)] == [False]
    await end(ledger, 10)
    assert [row.content.follows for row in await ledger.due(kit.ADS, START + 20 * MINUTE, 100, APART)] == [True]
    stored = await kit.rows(store, schema.delivery)
    assert {row["deal_order"] for row in stored} == {"order lead:1"}


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_comes_when_an_order_only_goes_forward(store: Store, seed: int) -> None:
    """Rows are promised in any order, some fail first: each that is taken was reached after those taken before it."""
    dice, ledger = random.Random(seed), Ledger(store, kit.TENANT)
    taken: list[tuple[datetime, int]] = []
    overtaken = 0
    for number in range(24):
        now = START + (100 + 10 * number) * MINUTE
        if number < 10:
            await promise(store, conversion(1, dice.choice(sorted(RANKS)), dice.randint(1, 40), number))
        rows = await ledger.due(kit.ADS, now, 100, APART)
        assert len(rows) <= 1
        if rows and rows[0].refusal:
            overtaken += 1
            await ledger.move([Shift(rows[0].content.delivery, Move.REFUSE, "overtaken")], now)
        elif rows:
            move = dice.choice((Move.ACCEPT, Move.AGAIN))
            taken += [rows[0].content.place] if move is Move.ACCEPT else []
            await end(ledger, 100 + 10 * number, move)
    assert taken == sorted(taken)
    assert overtaken > 0


async def test_a_row_promised_before_its_order_came_follows_it_for_its_window_too(store: Store) -> None:
    """What was stored says nothing of the order: whoever asks for its window must see that it is there by now."""
    ledger, seen = Ledger(store, kit.TENANT), Windows(store, kit.TENANT)
    await promise(store, conversion(1, "created", 1), conversion(1, "sale", 9), conversion(2, "sale", 9))

    async def follows() -> dict[str, bool]:
        pages = [page async for page in seen.waiting(kit.ADS)]
        return {f"{one.row.goal}{one.row.order_key[-1]}": one.row.follows for page in pages for one in page}

    assert await follows() == {"created1": False, "sale1": False, "sale2": False}
    rows = [row for row in await ledger.due(kit.ADS, START + 10 * MINUTE, 100, APART) if row.content.goal == "created"]
    now = START + 10 * MINUTE
    sealed = await ledger.mark(await ledger.seal(kit.ADS, kit.label(rows), rows, kit.render, now), now, now)
    await ledger.record(Settlement(sealed, [Shift(row, Move.ACCEPT, due=now) for row in sealed.rows], {}, None), now)
    assert await follows() == {"sale1": True, "sale2": False}

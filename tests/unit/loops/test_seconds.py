"""Two deals of one visitor that reach a goal in one second: to Metrica they would be one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import permutations

import pytest

from bridge.loops import deliver
from bridge.model import Deal
from bridge.store import Store, codec, schema
from tests.store import kit as rows_kit
from tests.unit.loops.kit import MINUTE, Crm, Office
from tests.unit.loops.test_family import at_work, made_from, read
from tests.unit.loops.test_poll import lead

SECOND = timedelta(seconds=1)
FIRST = lead(1)


def same_visitor(number: int) -> Deal:
    """Another deal with the click of the first, won in the same second."""
    return replace(lead(number), clues=FIRST.clues, history=FIRST.history, updated_at=FIRST.updated_at)


THREE = [FIRST, same_visitor(2), same_visitor(3)]


async def told(store: Store) -> dict[str, float]:
    """Seconds after the first deal's own at which each deal's sale is told."""
    of = {row["id"]: row for row in await rows_kit.rows(store, schema.conversion)}
    found = [(row["conversion"], codec.outgoing(row["content"])) for row in await rows_kit.rows(store, schema.delivery)]
    at = min(content.occurred_at for _, content in found)
    return {of[key]["deal"]: (content.occurred_at - at) / SECOND for key, content in found}


async def sent(made: Office) -> None:
    made.clock.advance(MINUTE)
    await deliver.once(made.tenant, force=True)


@pytest.mark.parametrize("pages", [[THREE], [[deal] for deal in THREE], *([[*order]] for order in permutations(THREE))])
@pytest.mark.parametrize("is_sent", [True, False])
async def test_each_has_a_second_of_its_own_and_keeps_it(
    pages: Sequence[Sequence[Deal]], is_sent: bool, store: Store
) -> None:
    """On one page or on several, in whatever order they are read again."""
    crm = Crm()
    made = at_work(store, crm)
    for page in pages:
        await read(made, crm, *page)
        if is_sent:
            await sent(made)
    first = await told(store)
    assert sorted(first.values()) == [0, 1, 2]
    for number, deal in enumerate([*reversed(THREE), *THREE]):
        await read(made, crm, replace(deal, version=f"again {number}"))
    assert await told(store) == first


async def test_visitors_of_their_own_share_a_second(store: Store) -> None:
    """A pile of leads closed at once stays in the second it was closed in."""
    crm = Crm()
    made = at_work(store, crm)
    await read(made, crm, *(replace(lead(number), history=FIRST.history) for number in (1, 2, 3)))
    assert set((await told(store)).values()) == {0}


async def test_a_lead_and_its_deal_do_not_stand_in_each_others_way(store: Store) -> None:
    """They are one sale, told once, at its own second."""
    crm = Crm()
    made = at_work(store, crm)
    deal = replace(made_from(FIRST, 7310), clues=FIRST.clues, history=FIRST.history)
    await read(made, crm, FIRST, deal)
    await read(made, crm, replace(FIRST, version="gone", is_deleted=True))
    await read(made, crm, replace(deal, version="v2"))
    assert set((await told(store)).values()) == {0}


def later(deal: Deal, part: timedelta) -> Deal:
    history = tuple([replace(change, at=change.at + part) for change in deal.history])
    return replace(deal, history=history, updated_at=deal.updated_at + part)


@pytest.mark.parametrize("parts", [(200, 700), (700, 200)])
async def test_parts_of_a_second_are_one_second(parts: tuple[int, int], store: Store) -> None:
    """HubSpot tells milliseconds, Metrica knows none: two deals on two pages are told in two seconds all the same."""
    crm = Crm()
    made = at_work(store, crm)
    for deal, part in zip((FIRST, same_visitor(2)), parts, strict=True):
        await read(made, crm, later(deal, timedelta(milliseconds=part)))
    rows = await rows_kit.rows(store, schema.delivery)
    moments = [codec.outgoing(row["content"]).occurred_at for row in rows]
    assert len({at.replace(microsecond=0) for at in moments}) == 2


async def test_however_many_there_are_each_has_a_second(store: Store) -> None:
    """Read one by one, the sixth looks past all that the five before it have taken."""
    crm = Crm()
    made = at_work(store, crm)
    for number in range(1, 7):
        await read(made, crm, same_visitor(number))
    assert sorted((await told(store)).values()) == [0, 1, 2, 3, 4, 5]

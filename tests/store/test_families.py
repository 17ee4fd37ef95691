"""All stored deals, family by family, and what their goals were judged by."""

from __future__ import annotations

import pytest

from bridge.frozen import replace
from bridge.model import DealKind
from bridge.rules.definitions import Part
from bridge.rules.floor import Floor, Period
from bridge.store import Store
from bridge.store.families import count, families
from bridge.store.records import Records
from tests.store import kit
from tests.store.kit import TENANT
from tests.support import START
from tests.unit.loops.kit import DAY


@pytest.mark.parametrize("size", [1, 2, 100])
async def test_every_deal_is_listed_once_and_with_its_lead(size: int, store: Store) -> None:
    """On one page with it, however small pages are; one whose lead is not stored stands for itself."""
    records = Records(store)
    leads = [kit.deal(number) for number in (1, 2, 3)]
    made = [replace(kit.deal(number), kind=DealKind.DEAL, parent=parent) for number, parent in _PARENTS.items()]
    await records.write_page(kit.page(*[kit.assessed(deal) for deal in (*leads, *made)]))
    pages = [page async for page in families(store, TENANT, "crm", "", size)]
    listed = [key for page in pages for key in page.keys]
    assert (sorted(listed), len(listed)) == (sorted({deal.key for deal in (*leads, *made)}), 7)
    for deal in made:
        (page,) = [page for page in pages if deal.key in page.keys]
        assert deal.parent in page.keys or deal.parent == "lead:99"
    assert await count(store, TENANT, "crm") == 7
    rest = [key async for page in families(store, TENANT, "crm", pages[0].last, size) for key in page.keys]
    assert rest == listed[len(pages[0].keys) :]
    assert [page async for page in families(store, TENANT, "other", "", size)] == []


_PARENTS = {10: "lead:1", 11: "lead:1", 12: "lead:3", 13: "lead:99"}


async def test_definitions_come_back_as_they_were_kept(store: Store) -> None:
    """With their floors and decisions, beside a floor of the source that is set apart from them."""
    records = Records(store)
    assert (await records.source_state(TENANT, "crm")).goals is None
    floor = Floor(START, (Period(START - 3 * DAY, START - DAY),))
    goals = {"sale": {"rule": Part("0a1b", floor, is_left=True), "to metrica": Part("")}, "spam": {}}
    await records.set_goals(TENANT, "crm", goals)
    await records.set_floor(TENANT, "crm", Floor(START))
    state = await records.source_state(TENANT, "crm")
    assert (state.goals, state.floor) == (goals, Floor(START))


async def test_a_source_is_empty_until_a_deal_is_stored(store: Store) -> None:
    """Of that tenant and that source."""
    records = Records(store)
    await records.write_page(kit.page(kit.assessed(kit.deal(1))))
    assert [await records.is_empty(TENANT, name) for name in ("crm", "other")] == [False, True]
    assert await records.is_empty("other", "crm")

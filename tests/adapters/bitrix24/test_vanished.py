"""Records that lists do not show any more: which of them are deleted, and what asking costs."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from adapters.bitrix24.fake_schema import DEAL, LEAD
from bridge.model import Deal
from bridge.ports import Window
from tests.adapters.bitrix24.kit import Rig, add_deals, add_leads, read, running

CLASSIC = {"lead:1": LEAD, "deal:1": DEAL}


async def fetched(rig: Rig, *keys: str) -> dict[str, Deal]:
    listing = await rig.source.fetch(keys)
    assert listing.bad == ()
    deals = await rig.source.complete(listing.heads, frozenset(), rig.all_time())
    return {deal.key: deal for deal in deals if isinstance(deal, Deal)}


@pytest.mark.parametrize("key", CLASSIC)
async def test_a_deleted_record_is_told_from_one_that_may_not_be_read(tmp_path: Path, key: str) -> None:
    """The lists leave out both; the record itself is asked for, and says "Not found" or "Access denied"."""
    kind, prefix = CLASSIC[key], key.partition(":")[0]
    async with running(tmp_path) as rig:
        (add_leads if kind == LEAD else add_deals)(rig.portal, 3)
        rig.portal.data.delete(kind, 1)
        rig.portal.data.tables[kind].hide(2)
        rig.clock.advance(timedelta(minutes=5))
        found = await fetched(rig, *(f"{prefix}:{number}" for number in (1, 2, 3)))
        assert {name: deal.is_deleted for name, deal in found.items()} == {key: True, f"{prefix}:3": False}
        assert found[key].updated_at == rig.clock.now()
        assert set(await read(rig.source, rig.all_time())) == {f"{prefix}:3"}


async def test_an_item_is_deleted_or_hidden_in_the_words_of_the_universal_method(tmp_path: Path) -> None:
    """By codes there, and its key names its process."""
    async with running(tmp_path, processes=(1032,)) as rig:
        for _ in range(3):
            rig.portal.data.add("item:1032", rig.clock.now(), {"CATEGORY_ID": "5", "STAGE_ID": "DT1032_5:NEW"})
        rig.portal.data.delete("item:1032", 1)
        rig.portal.data.tables["item:1032"].hide(2)
        found = await fetched(rig, "item:1032-1", "item:1032-2", "item:1032-3")
        assert {name: deal.is_deleted for name, deal in found.items()} == {"item:1032-1": True, "item:1032-3": False}


async def test_records_are_fetched_and_completed_in_few_requests(tmp_path: Path) -> None:
    """A thousand: one request for the lists, and those of a scan for contacts and histories; one more for each fifty
    that are missing."""
    async with running(tmp_path) as rig:
        add_deals(rig.portal, 1000)
        await rig.source.catalogue()
        before = sum(rig.asked.values())
        keys = [f"deal:{number}" for number in range(1, 1001)]
        listing = await rig.source.fetch(keys)
        assert (len(listing.heads), sum(rig.asked.values()) - before) == (1000, 1)
        window = Window(rig.all_time().start, rig.clock.now())
        assert len(await rig.source.complete(listing.heads, frozenset(), window)) == 1000
        assert sum(rig.asked.values()) - before <= 4
        for number in range(1, 61):
            rig.portal.data.delete(DEAL, number)
        before = sum(rig.asked.values())
        assert len((await rig.source.fetch(keys)).heads) == 1000
        assert sum(rig.asked.values()) - before == 1 + 2


async def test_keys_that_are_none_of_the_portals_are_passed_over(tmp_path: Path) -> None:
    """A hint may name anything; each key is asked for once."""
    async with running(tmp_path) as rig:
        add_deals(rig.portal, 1)
        assert list(await fetched(rig, "deal:1", "deal:1", "deal:x", "deal:", "item:9-1", "contact:1", "")) == [
            "deal:1"
        ]

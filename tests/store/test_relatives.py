"""Chains of merges, as both databases follow them."""

from __future__ import annotations

from bridge.frozen import replace
from bridge.model import Deal
from bridge.store import Store, relatives
from bridge.store.records import Records
from tests.store import kit
from tests.store.kit import ADS, SOURCE, TENANT


def merged(number: int, into: int) -> Deal:
    return replace(kit.deal(number, "v2"), is_deleted=True, merged_into=f"lead:{into}")


async def test_what_is_promised_is_found_along_chains_of_merges(store: Store) -> None:
    """1 and 2 went into 3, that into 4; 5 is of another source; 8 and 9 say that each went into the other."""
    for number in (1, 5, 8):
        await kit.plan(store, kit.conversion(number))
    gone = [merged(1, 3), merged(2, 3), merged(3, 4), merged(8, 9), merged(9, 8)]
    records = Records(store)
    await records.write_page(kit.page(*map(kit.assessed, gone)))
    await records.write_page(replace(kit.page(kit.assessed(merged(5, 4))), source="other"))
    told = ("sale", ADS)
    keys = [f"lead:{number}" for number in (3, 4, 7, 9)]
    found = await relatives.of_merged(store, TENANT, SOURCE, keys)
    assert found == {"lead:3": {told: "lead:1"}, "lead:4": {told: "lead:1"}, "lead:9": {told: "lead:8"}}
    taken_in, own = await relatives.around_merges(store, TENANT, SOURCE, ["lead:4"])
    assert {key: len(known) for key, known in taken_in["lead:4"].items()} == {"lead:1": 1, "lead:2": 0, "lead:3": 0}
    assert own == {"lead:4": ()}
    onward = await relatives.onward(store, TENANT, SOURCE, ["lead:1", "lead:7", "lead:8"])
    assert onward == {"lead:1": "lead:3", "lead:3": "lead:4", "lead:8": "lead:9", "lead:9": "lead:8"}

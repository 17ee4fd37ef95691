"""Visits that are forgotten leave no row, and take none of a deal with them."""

from __future__ import annotations

from datetime import timedelta

from bridge.frozen import replace
from bridge.model import Deal, DealKind, Identifier, IdKind, Touch, Unmatched
from bridge.store import Store, schema, visits
from bridge.store.records import Assessed, Records
from tests.store import kit
from tests.support import START

DAY = timedelta(days=1)
TABLES = (schema.deal, schema.touch, schema.touch_key)


def _hung(made: Deal) -> Assessed:
    """A record that hangs on a page's key, and on a visitor's."""
    shown = (Identifier(IdKind.CLIENT_ID, f"17{made.id:0>16}", "clientID"),)
    keys = (f"page:abc:{made.id}", f"client_id:{shown[0].value}")
    found = kit.assessed(made, match=Unmatched("no_identifier", ""))
    return replace(found, touch=Touch(made.key, made.created_at, shown, keys))


async def test_old_visits_are_forgotten_with_their_keys_and_nothing_else(store: Store) -> None:
    """Those of before the given time, of one source; whatever else hangs on such keys stays."""
    old = [(n, START - n * DAY) for n in range(1, 7)]
    made = [replace(kit.deal(n), kind=DealKind.VISIT, created_at=at, updated_at=at) for n, at in old]
    await Records(store).write_page(replace(kit.page(*map(_hung, made)), source="visits"))
    await Records(store).write_page(replace(kit.page(*map(_hung, made[-2:])), source="other"))
    lead = replace(kit.deal(6), created_at=START - 300 * DAY)
    await Records(store).write_page(replace(kit.page(_hung(lead)), source="visits"))
    assert await visits.forget(store, kit.TENANT, "visits", START - 3 * DAY) == 3
    assert await visits.forget(store, kit.TENANT, "visits", START - 3 * DAY) == 0
    for table in TABLES:
        left = {(row["source"], row["deal"]) for row in await kit.rows(store, table)}
        kept = {("visits", f"visit:{n}") for n in (1, 2, 3)} | {("other", "visit:5"), ("other", "visit:6")}
        assert left == {*kept, ("visits", lead.key)}

"""The records around deals that show no click of their own: those stored, and those that are just being stored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from bridge.frozen import replace
from bridge.model import Touch, frozen
from bridge.rules import graph, match
from bridge.rules.choice import Want
from bridge.rules.graph import LOOKED_AT
from bridge.rules.match import Search
from bridge.store.records import Records
from bridge.store.touches import Wanted


@frozen
class Place:
    """Where to look: one source's view of a tenant's records, and the page that is not stored yet."""

    records: Records
    tenant: str
    source: str
    page: Sequence[Touch]


async def found(place: Place, searches: Sequence[Search], wants: Sequence[Want]) -> dict[str, dict[str, list[Touch]]]:
    """For each of these deals (by key): the records on its keys, and one step beyond where that may help."""
    if not searches:
        return {}
    fresh = _by_key(place.page)
    replaced = {touch.deal for touch in place.page}
    steps = {search.deal.key: (*search.keys, *search.pages) for search in searches}
    around = await _around(place, searches, steps, fresh, replaced)
    steps = {}
    for search in searches:
        keys = match.steps_beyond(replace(search, others=around[search.deal.key]), wants)
        if keys:
            steps[search.deal.key] = keys
    further = await _around(place, [search for search in searches if search.deal.key in steps], steps, fresh, replaced)
    return {key: others | further.get(key, {}) for key, others in around.items()}


async def on_keys(
    place: Place, searches: Sequence[Search], keys: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, list[Touch]]]:
    """For each of these deals (by key): the records on these keys."""
    if not searches:
        return {}
    return await _around(place, searches, keys, _by_key(place.page), {touch.deal for touch in place.page})


def _by_key(touches: Iterable[Touch]) -> Mapping[str, list[Touch]]:
    index: defaultdict[str, list[Touch]] = defaultdict(list)
    for touch in touches:
        for key in touch.keys:
            index[key].append(touch)
    return index


async def _around(
    place: Place,
    searches: Sequence[Search],
    steps: Mapping[str, Sequence[str]],
    fresh: Mapping[str, list[Touch]],
    replaced: set[str],
) -> dict[str, dict[str, list[Touch]]]:
    """Records on these keys of each deal.

    One look for all deals that have a key; where it shows as many as may be looked at, each of them has a look of its
    own, for what is the latest differs.
    """
    wanted: dict[str, datetime] = {}
    for search in searches:
        for key in steps[search.deal.key]:
            until = graph.latest(search.deal, key, search.reach)
            wanted[key] = max(wanted.get(key, until), until)
    stored = await _stored(place, list(wanted.items()))
    found: dict[str, dict[str, list[Touch]]] = {}
    for search in searches:
        others = {key: stored[key, wanted[key]] for key in steps[search.deal.key]}
        narrow = [
            (key, graph.latest(search.deal, key, search.reach)) for key, all in others.items() if len(all) >= LOOKED_AT
        ]
        for (key, _), touches in (await _stored(place, narrow)).items():
            others[key] = touches
        found[search.deal.key] = {
            key: [*(touch for touch in touches if touch.deal not in replaced), *fresh.get(key, ())]
            for key, touches in others.items()
        }
    return found


async def _stored(place: Place, looks: Sequence[tuple[str, datetime]]) -> dict[tuple[str, datetime], list[Touch]]:
    if not looks:
        return {}
    wanted = [Wanted(key, until) for key, until in looks]
    return dict(zip(looks, await place.records.near(place.tenant, place.source, wanted), strict=True))

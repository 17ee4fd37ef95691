"""The records around deals that show no click of their own: those stored, and those that are just being stored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, KeysView, Mapping, Sequence
from datetime import datetime

from bridge.model import Deal, Touch, frozen
from bridge.rules import graph, match
from bridge.rules.choice import Want
from bridge.rules.graph import LOOKED_AT, Others, Reach
from bridge.rules.match import Search
from bridge.store.records import Records
from bridge.store.touches import Wanted

_Look = tuple[str, datetime]  # a key, and up to when its records are of use


@frozen
class Place:
    """Where to look, and how far: one source's view of a tenant's records, and, by deal, the page not stored yet."""

    records: Records
    tenant: str
    source: str
    reach: Reach
    page: Mapping[str, Touch]


async def learn(place: Place, searches: Sequence[Search], wants: Sequence[Want]) -> None:
    """Tell these searches of the records on their keys, and one step beyond where that may help."""
    around = await on_keys(place, [(search.deal, (*search.keys, *search.pages)) for search in searches])
    steps: list[tuple[Search, tuple[str, ...]]] = []
    for search, others in zip(searches, around, strict=True):
        search.others = others
        if keys := match.steps_beyond(search, wants):
            steps.append((search, keys))
    further = await on_keys(place, [(search.deal, keys) for search, keys in steps])
    for (search, _), others in zip(steps, further, strict=True):
        search.others = {**search.others, **others}


async def on_keys(place: Place, asked: Sequence[tuple[Deal, Sequence[str]]]) -> list[Others]:
    """For each of these deals: the records on its keys, without keys on which there is nothing but itself.

    One look for all deals that have a key; where it shows as many as may be looked at, each of them has a look of its
    own, for what is the latest differs.
    """
    if not asked:
        return []
    ends = [graph.ends(deal, keys, place.reach) for deal, keys in asked]
    last: dict[str, datetime] = {}
    for own in ends:
        for key, until in own.items():
            last[key] = max(last.get(key, until), until)
    stored = await _stored(place, last.items())
    many = {key for (key, _), touches in stored.items() if len(touches) >= LOOKED_AT}
    if many:
        looks = dict.fromkeys(look for own in ends for look in own.items() if look[0] in many and look not in stored)
        stored |= await _stored(place, looks)
    fresh = _by_key(place.page.values(), last.keys())
    found: list[Others] = []
    for (deal, _), own in zip(asked, ends, strict=True):
        others: dict[str, Sequence[Touch]] = {}
        for key, until in own.items():
            touches = fresh.get(key, [])
            if before := stored.get((key, until if key in many else last[key])):
                touches = [*[touch for touch in before if touch.deal not in place.page], *touches]
            if len(touches) > 1 or (touches and touches[0].deal != deal.key):
                others[key] = touches
        found.append(others)
    return found


def _by_key(touches: Iterable[Touch], wanted: KeysView[str]) -> Mapping[str, list[Touch]]:
    """Hardly any of a page hangs on one of them."""
    index: defaultdict[str, list[Touch]] = defaultdict(list)
    is_apart = wanted.isdisjoint
    for touch in [touch for touch in touches if not is_apart(touch.keys)]:
        for key in touch.keys:
            if key in wanted:
                index[key].append(touch)
    return index


async def _stored(place: Place, looks: Collection[_Look]) -> dict[_Look, list[Touch]]:
    """Where there are any."""
    if not looks:
        return {}
    found = await place.records.near(place.tenant, place.source, [Wanted(key, until) for key, until in looks])
    return {look: touches for look, touches in zip(looks, found, strict=True) if touches}

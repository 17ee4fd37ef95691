"""What an account's properties are, and what the latest contacts and deals hold in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from adapters.hubspot.api import PAGE, Api
from adapters.hubspot.directory import Directory
from adapters.hubspot.entities import CLICK_IDS, SUGGESTED, Entity
from adapters.hubspot.wire import Record
from bridge.survey import FieldSample, Sampler
from bridge.unbroken import together

_SPOKEN = ("string", "number")  # types of properties that can hold an identifier
_KNOWN = {**CLICK_IDS, **SUGGESTED}


async def survey(api: Api, entities: Iterable[Entity], names: Directory) -> tuple[FieldSample, ...]:
    """The properties of each entity that could hold an identifier, with what its latest records hold; a search each.

    Raises:
        AuthError, Throttled, Unavailable, Refused, Drift: the account's answer.
    """
    found = await together(*(_of(api, entity, names) for entity in entities))
    return tuple(sample for samples in found for sample in samples)


async def _of(api: Api, entity: Entity, names: Directory) -> list[FieldSample]:
    """One entity's; personal properties are the vendor's own, so they are never looked at."""
    own = [name for name in names.own(entity) if (about := names.about(entity, name)) and about.type in _SPOKEN]
    wanted = [*own, *(name for name in CLICK_IDS if names.has(entity, name) and name not in own)]
    newest = [{"propertyName": entity.changed, "direction": "DESCENDING"}]
    page = await api.search(entity, {"filterGroups": [], "sorts": newest, "properties": wanted, "limit": PAGE})
    return [_sample(entity, name, page.rows.records, names) for name in wanted]


def _sample(entity: Entity, name: str, records: Sequence[Record], names: Directory) -> FieldSample:
    about = names.about(entity, name)
    label = (about.label or "") if about is not None else ""
    sampler = Sampler(name, (name, label), entity.name, _KNOWN.get(name))
    for record in records:
        sampler.add((record.get(name),))
    return sampler.sample(len(records))

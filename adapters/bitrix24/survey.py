"""What a portal's custom fields are, and what the latest records hold in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from adapters.bitrix24 import wire
from adapters.bitrix24.directory import Directory
from adapters.bitrix24.entities import Entity
from adapters.bitrix24.mapping import texts_of
from adapters.bitrix24.portal import PAGE, Command, Portal
from bridge.survey import SAMPLE, FieldSample, Sampler

_SPOKEN = ("string", "integer", "double", "url", "char")  # types of fields that can hold an identifier


async def survey(portal: Portal, entities: Sequence[Entity], names: Directory) -> tuple[FieldSample, ...]:
    """The custom fields of every entity that is read, with what its latest records hold; two requests.

    Raises:
        AuthError, Throttled, Unavailable, Refused, Drift: the portal's answer.
    """
    wanted = {entity: _codes(entity, names) for entity in entities}
    pages = [(entity, start) for entity in entities if wanted[entity] for start in range(0, SAMPLE, PAGE)]
    done = await portal.all([_page(entity, wanted[entity], start) for entity, start in pages])
    rows: dict[Entity, list[wire.Row]] = {entity: [] for entity in entities}
    for (entity, _), answer in zip(pages, done, strict=True):
        rows[entity] += [wire.ROW.decode(item.json) for item in answer.listed()]
    return tuple(sample for entity in entities for sample in _samples(entity, wanted[entity], rows[entity], names))


def _codes(entity: Entity, names: Directory) -> list[str]:
    known = names.fields.get(entity.name, {})
    return [code for code in names.custom(entity) if known[code].type in _SPOKEN]


def _page(entity: Entity, codes: Iterable[str], start: int) -> Command:
    """Newest first. A page behind the end is empty, or repeats nothing: ``start`` counts rows (contract 3.2)."""
    select = [entity.id_field, entity.time_field, *codes]
    params = {**entity.params, "select": select, "filter": {}, "order": {entity.id_field: "DESC"}, "start": start}
    return Command(entity.list_method, params)


def _samples(entity: Entity, codes: Iterable[str], rows: Sequence[wire.Row], names: Directory) -> list[FieldSample]:
    distinct = list({str(row.get(entity.id_field)): row for row in rows}.values())
    made = []
    for code in codes:
        sampler = Sampler(code, (*sorted(names.fields[entity.name][code].labels()), code), entity.name)
        for row in distinct:
            sampler.add(texts_of(row.get(code)))
        made.append(sampler.sample(len(distinct)))
    return made

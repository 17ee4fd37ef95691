"""Marks on records: a text in a custom field, by ``crm.item.update``, which takes every entity (contract bitrix24 11).

Each batch is read, written and read again. A record that shows its mark already is not written. An unknown field is
ignored by the portal without an error, so what was written is looked for; and only where the second reading differs
from the first in nothing but the time of change was our write all that happened, and the record is no news.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

from adapters.bitrix24.directory import Directory
from adapters.bitrix24.entities import Entity, id_of, prefix_of
from adapters.bitrix24.mapping import texts_of
from adapters.bitrix24.portal import PAGE, Command, Done, Portal
from adapters.bitrix24.settings import Bitrix24Settings
from adapters.bitrix24.wire import ROW, Listed, meaning
from bridge.errors import BridgeError, Refused
from bridge.frozen import replace
from bridge.marks import Mark, Marked, MarkFate
from bridge.model import frozen
from bridge.ports import Finding, Level

UPDATE = "crm.item.update"
_GONE = "not_found"


@frozen
class Seen:
    """Records as they are, by key: what their field shows, and their versions without it."""

    names: Directory
    shown: Mapping[str, str]
    versions: Mapping[str, str]


def field_of(settings: Bitrix24Settings) -> str:
    """Code of the field that marks go to; "" without write-back."""
    return settings.write_back.field if settings.write_back is not None else ""


def shown(row: Listed, own: str) -> str:
    """What a record's field holds; "" for nothing."""
    return next(iter(texts_of(ROW.decode(row.json).get(own))), "")


def without(names: Directory, own: str) -> Directory:
    """The directory without our own field: no goal may look at it."""
    if not own:
        return names
    fields = {name: {code: info for code, info in known.items() if code != own} for name, known in names.fields.items()}
    return replace(names, fields=fields)


class RecordMarker:
    """``marks.Marker`` of one portal. ``look`` is the source's own reading, ``entities`` are by prefix of key."""

    most = PAGE

    def __init__(
        self,
        portal: Portal,
        own: str,
        entities: Mapping[str, Entity],
        look: Callable[[Sequence[str]], Awaitable[Seen]],
    ) -> None:
        self._portal = portal
        self._own = own
        self._entities = entities
        self._look = look

    async def mark(self, marks: Sequence[Mark]) -> list[Marked]:
        """See ``marks.Marker.mark``."""
        before = await self._look([mark.deal for mark in marks])
        found: dict[str, Marked] = {}
        wanted: list[Mark] = []
        for mark in marks:
            if mark.deal not in before.shown:
                found[mark.deal] = Marked(mark.deal, MarkFate.GONE)
            elif before.shown[mark.deal] == mark.text:
                found[mark.deal] = Marked(mark.deal, MarkFate.DONE)
            elif self._own not in before.names.fields.get(self._entity(mark).name, {}):
                found[mark.deal] = Marked(mark.deal, MarkFate.REFUSED, "no_field")
            else:
                wanted.append(mark)
        found |= await self._write(wanted, before)
        return [found[mark.deal] for mark in marks]

    def _entity(self, mark: Mark) -> Entity:
        return self._entities[prefix_of(mark.deal)]

    async def _write(self, wanted: Sequence[Mark], before: Seen) -> dict[str, Marked]:
        if not wanted:
            return {}
        answers = await self._portal.all([self._command(mark) for mark in wanted])
        found = {mark.deal: _refused(mark, done) for mark, done in zip(wanted, answers, strict=True) if done.error}
        written = [mark for mark in wanted if mark.deal not in found]
        after = await self._look([mark.deal for mark in written])
        return found | {mark.deal: _marked(mark, before, after) for mark in written}

    def _command(self, mark: Mark) -> Command:
        """Only the changed field; custom fields keep their upper-case names (contract 3.3)."""
        about = {"entityTypeId": self._entity(mark).type_id, "id": id_of(mark.deal), "useOriginalUfNames": "Y"}
        return Command(UPDATE, {**about, "fields": {self._own: mark.text}})

    async def check(self, read_names: Callable[[], Awaitable[Directory]]) -> list[Finding]:
        """For ``bridge check``: which entities have the field, and does it take a text? Changes nothing."""
        try:
            return list(self._findings(await read_names()))
        except BridgeError as error:
            return [Finding(Level.ERROR, "write_back", str(error))]

    def _findings(self, names: Directory) -> Iterator[Finding]:
        text = "the credentials' user must be allowed to edit these records; marks tell if not"
        yield Finding(Level.OK, "write_back", text)
        lacking = []
        for entity in self._entities.values():
            info = names.fields.get(entity.name, {}).get(self._own)
            if info is None:
                lacking.append(entity)
            elif info.type != "string" or info.is_multiple:
                kind = f"multiple {info.type}" if info.is_multiple else info.type
                text = f'"{self._own}" of {entity.title} is of type {kind}: make a field of type string, one value'
                yield Finding(Level.ERROR, "write_back.field", text)
            else:
                yield Finding(Level.OK, "write_back.field", f'"{self._own}" of {entity.title} takes text')
        level = Level.ERROR if len(lacking) == len(self._entities) else Level.WARNING
        for entity in lacking:
            text = f'{entity.title} have no field "{self._own}" and are not marked: make one of type string'
            yield Finding(level, "write_back.field", text)


def _refused(mark: Mark, done: Done) -> Marked:
    """What an error of one record means.

    Raises:
        AuthError, Throttled, Unavailable: it is not about this record.
    """
    assert done.error is not None
    error = meaning(done.error, UPDATE)
    if not isinstance(error, Refused):
        raise error
    return Marked(mark.deal, MarkFate.GONE if error.code == _GONE else MarkFate.REFUSED, error.code)


def _marked(mark: Mark, before: Seen, after: Seen) -> Marked:
    if after.shown.get(mark.deal, mark.text) != mark.text:
        return Marked(mark.deal, MarkFate.REFUSED, "not_written")
    old, new = before.versions.get(mark.deal, ""), after.versions.get(mark.deal, "")
    is_only_ours = bool(old) and _content(old) == _content(new)
    return Marked(mark.deal, MarkFate.DONE, "", *((old, new) if is_only_ours else ("", "")))


def _content(version: str) -> str:
    """What of a version is not the time of change (``mapping.unmarked``)."""
    return version.partition("#")[2]

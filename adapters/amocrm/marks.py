"""Marks on leads: a text in a custom field, a tag (contract amocrm 9.1).

Each batch is read, written and read again. Leads that show their mark already are not written, so that a repetition
leaves no trace; and only where the second reading differs from the first in nothing but the time of the change was our
write all that happened, and the lead is no news.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

from adapters.amocrm import api, wire
from adapters.amocrm.api import Api
from adapters.amocrm.scan import head_of
from adapters.amocrm.settings import AmoCrmSettings
from adapters.amocrm.wire import CustomField, FieldInfo, Lead, OwnMark
from bridge.errors import ConfigError, RecordInvalid, Refused
from bridge.marking import WriteBackSettings
from bridge.marks import Mark, Marked, MarkFate
from bridge.ports import Finding, Level

_MOST = 50  # leads of one PATCH: more than the vendor recommends risks a 504 (contract amocrm 9.1)
_TEXTS = ("text", "textarea")
_RIGHTS = "http_403"


def own_mark(wanted: WriteBackSettings | None) -> OwnMark:
    """What reading leaves out."""
    if wanted is None:
        return wire.NO_MARK
    return OwnMark((wanted.field or "").casefold(), wanted.tag or "")


def is_own(field: FieldInfo, own: OwnMark) -> bool:
    """Whether it is the field that marks go to."""
    return own.owns(CustomField(field.id, field.name, field.code))


class LeadMarker:
    """``marks.Marker`` of one account."""

    most = _MOST

    def __init__(self, client: Api, wanted: WriteBackSettings) -> None:
        self._api = client
        self._wanted = wanted
        self._own = own_mark(wanted)
        self._field = 0  # the field's id, once it was looked up

    async def mark(self, marks: Sequence[Mark]) -> list[Marked]:
        """See ``marks.Marker.mark``.

        Raises:
            ConfigError: the field does not exist, or takes no text.
        """
        by_id = {int(mark.deal.partition(":")[2]): mark for mark in marks}
        if self._wanted.field is not None and not self._field:
            self._field = await _field_id(self._api, self._wanted.field)
        before, refused = await self._read(by_id)
        changes = [change for own, lead in before.items() if (change := self._change(lead, by_id[own]))]
        refused |= await self._write(changes)
        written = [change["id"] for change in changes if change["id"] not in refused]
        after = (await self._read(written))[0] if written else {}
        return [self._marked(mark, before.get(own), after.get(own), refused.get(own)) for own, mark in by_id.items()]

    async def _read(self, ids: Iterable[int]) -> tuple[dict[int, Lead], dict[int, str]]:
        """The leads as they are; codes of those that cannot be read."""
        good: dict[int, Lead] = {}
        bad: dict[int, str] = {}
        async for rows in self._api.by_ids(api.LEADS, ids):
            for lead in rows.items:
                try:
                    wire.details_of(lead)
                    good[lead.id] = lead
                except RecordInvalid as error:
                    bad[lead.id] = error.code
            bad |= {int(row.id): wire.UNREADABLE for row in rows.bad if row.id.isdecimal()}
        return good, bad

    def _marked(self, mark: Mark, before: Lead | None, after: Lead | None, refused: str | None) -> Marked:
        if refused is not None:
            return Marked(mark.deal, MarkFate.REFUSED, refused)
        if before is None:
            return Marked(mark.deal, MarkFate.GONE)
        if after is None:  # nothing had to be written, or it vanished just now
            return Marked(mark.deal, MarkFate.DONE)
        old, new = (head_of(lead, self._own).version for lead in (before, after))
        is_only_ours = old.partition("-")[2] == new.partition("-")[2]
        return Marked(mark.deal, MarkFate.DONE, "", *((old, new) if is_only_ours else ("", "")))

    def _change(self, lead: Lead, mark: Mark) -> dict[str, Any]:
        """What to send, and nothing else: an omitted field keeps its value (contract amocrm 9.1). Empty: nothing."""
        change: dict[str, Any] = {}
        if self._wanted.field is not None and self._shown(lead) != mark.text:
            values = [{"value": mark.text}] if mark.text else None
            change["custom_fields_values"] = [{"field_id": self._field, "values": values}]
        tag = self._wanted.tag
        if tag is not None and mark.is_sent != any(item.name == tag for item in lead.embedded.tags or ()):
            change["tags_to_add" if mark.is_sent else "tags_to_delete"] = [{"name": tag}]
        return {"id": lead.id, **change, "request_id": str(lead.id)} if change else {}

    def _shown(self, lead: Lead) -> str:
        fields = wire.details_of(lead).custom_fields or ()
        values = next((item.values for item in fields if item.field_id == self._field), None)
        return str(values[0].value) if values else ""

    async def _write(self, changes: Sequence[dict[str, Any]]) -> dict[int, str]:
        """Write; codes of those that the account does not take. A refused batch is tried in halves.

        Raises:
            Refused: the token's user may not change leads.
        """
        if not changes:
            return {}
        try:
            await self._api.patch_leads(changes)
        except Refused as error:
            if error.code == _RIGHTS:
                raise
            if len(changes) == 1:
                return {changes[0]["id"]: error.code}
            half = len(changes) // 2
            return {**await self._write(changes[:half]), **await self._write(changes[half:])}
        return {}


def _found(fields: Sequence[FieldInfo], name: str) -> FieldInfo:
    """The lead field of this id, code or name, in this order: a hand-made field may share a name (contract 15.20).

    Raises:
        ConfigError: there is none, or it takes no text.
    """
    named = [(str(item.id), item.code or "", item.name) for item in fields]
    for place in range(3):
        for item, texts in zip(fields, named, strict=True):
            if texts[place].casefold() == name.casefold():
                if item.type and item.type not in _TEXTS:
                    raise ConfigError(f'write_back: field "{name}" is of type {item.type}; make one of type text')
                return item
    names = [text for item in fields for text in (item.name, item.code or "") if text]
    near = get_close_matches(name, names, n=3)
    hint = f"; nearest: {', '.join(near)}" if near else ""
    raise ConfigError(f'write_back: leads have no field "{name}"; make one of type text in the account{hint}')


async def _field_id(client: Api, name: str) -> int:
    return _found(await client.everything(api.LEAD_FIELDS), name).id


async def findings(client: Api, settings: AmoCrmSettings) -> list[Finding]:
    """For ``bridge check``: does the field exist, does it take text, is nothing else read from it? Changes nothing.

    The right to change leads shows only when one is changed; that is said.
    """
    wanted = settings.write_back
    if wanted is None:
        return []
    found = [Finding(Level.OK, "write_back", "the token's user must be allowed to edit every lead; marks tell if not")]
    if wanted.tag is not None:
        found.append(Finding(Level.OK, "write_back.tag", f'leads get the tag "{wanted.tag}"'))
    if wanted.field is None:
        return found
    try:
        field = _found(await client.everything(api.LEAD_FIELDS), wanted.field)
    except ConfigError as error:
        return [*found, Finding(Level.ERROR, "write_back.field", str(error))]
    names = {text.casefold() for text in (str(field.id), field.code or "", field.name) if text}
    for kind, configured in settings.fields.items():
        if names & {name.casefold() for name in configured}:
            text = f'"{wanted.field}" is also fields.{kind}, which marks would overwrite; make another one'
            return [*found, Finding(Level.ERROR, "write_back.field", text)]
    return [*found, Finding(Level.OK, "write_back.field", f'field "{field.name}" ({field.id}) takes text')]

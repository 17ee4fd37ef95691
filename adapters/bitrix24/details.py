"""What a listed row does not hold: stage history and contacts, in as few requests as the API permits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import TypeVar

from adapters.bitrix24 import wire
from adapters.bitrix24.entities import LEAD, Entity, id_of, prefix_of
from adapters.bitrix24.mapping import wanted_contact
from adapters.bitrix24.portal import PAGE, Command, Done, Portal
from bridge.frozen import replace
from bridge.model import frozen
from bridge.ports import Head

T = TypeVar("T")
_OWNERS_MIN = 12  # about a page of entries
_OWNERS_MAX = 400  # PHP reads at most 1,000 variables of a query by default


@frozen
class Details:
    """Stage entries by record key, contacts by id."""

    history: Mapping[str, Sequence[wire.HistoryRow]]
    contacts: Mapping[str, wire.ContactRow]


@dataclass(slots=True)
class _Group:
    """Owners asked for together: what was read of their history and how many pages are left of it."""

    entity: Entity
    owners: Sequence[str]
    rows: list[wire.HistoryRow] = field(default_factory=list)
    left: int = 0
    is_counted: bool = True  # else pages are asked for one by one until a short one

    def first(self) -> Command:
        """The first page; the portal counts the others."""
        params = {"entityTypeId": self.entity.type_id, "filter": {"@OWNER_ID": self.owners}, "order": {"ID": "ASC"}}
        return Command("crm.stagehistory.list", params)

    def after(self, last: str) -> Command:
        first = self.first()
        return replace(first, params={**first.params, "filter": {**first.params["filter"], ">ID": last}})

    def chain(self, name: str) -> dict[str, Command]:
        """The pages left (at most fifty), each behind the last entry of the page before."""
        commands = {f"{name}p0": self.after(str(self.rows[-1].id))}
        for page in range(1, min(self.left, PAGE)):
            commands[f"{name}p{page}"] = self.after(f"$result[{name}p{page - 1}][items][{PAGE - 1}][ID]")
        return commands

    def take_first(self, done: Done) -> None:
        page = done.rows(wire.HISTORY).items
        self.rows = list(page)
        self.is_counted = bool(done.total)
        self.left = 0 if len(page) < PAGE else ceil(done.total / PAGE) - 1 if done.total else 1

    def take(self, pages: Iterable[Done]) -> None:
        """Further pages. All after a short one are ignored: their references pointed nowhere (contract 7)."""
        for done in pages:
            page = done.rows(wire.HISTORY).items
            self.rows += page
            self.left -= 1
            if len(page) < PAGE:
                self.left = 0
                return
        if not self.is_counted:
            self.left = 1


async def read(portal: Portal, heads: Sequence[Head], entities: Mapping[str, Entity]) -> Details:
    """History and contacts of these records (``entities`` by prefix). The first pages of both share requests.

    The first page of a group of owners tells how many entries they have; the other pages are then asked for exactly.

    Raises:
        AuthError, Throttled, Unavailable, Refused, Drift: the portal's answer.
    """
    people = [_people(ids) for ids in chunks(_wanted(heads), PAGE)]
    groups = list(_groups(heads, entities, len(people)))
    answers = await portal.all([*(group.first() for group in groups), *people])
    for group, done in zip(groups, answers, strict=False):
        group.take_first(done)
    await _rest(portal, groups)
    history: dict[str, list[wire.HistoryRow]] = defaultdict(list)
    for group in groups:
        for row in group.rows:
            history[group.entity.key(row.owner_id)].append(row)
    contacts = {str(row.id): row for done in answers[len(groups) :] for row in done.rows(wire.CONTACTS)}
    return Details(history, contacts)


async def _rest(portal: Portal, groups: Sequence[_Group]) -> None:
    while unfinished := [group for group in groups if group.left]:
        chains = {f"g{index}": group for index, group in enumerate(unfinished)}
        packs = list(_packed({name: group.chain(name) for name, group in chains.items()}))
        for pack, answer in zip(packs, await portal.batches(packs), strict=True):
            for name in dict.fromkeys(key.partition("p")[0] for key in pack):
                chains[name].take(done for key, done in answer.items() if key.partition("p")[0] == name)


def _packed(chains: Mapping[str, Mapping[str, Command]]) -> Iterator[dict[str, Command]]:
    """Whole chains side by side, longest first, up to fifty commands per request."""
    packs: list[dict[str, Command]] = []
    for chain in sorted(chains.values(), key=len, reverse=True):
        room = next((pack for pack in packs if len(pack) + len(chain) <= PAGE), None)
        if room is None:
            packs.append(dict(chain))
        else:
            room.update(chain)
    yield from packs


def _groups(heads: Sequence[Head], entities: Mapping[str, Entity], others: int) -> Iterator[_Group]:
    """Owners spread so that their first pages and the ``others`` (commands for contacts) just fill their requests,
    but not thinner than about a page of entries each.
    """
    room = PAGE - others % PAGE
    room += PAGE if room < PAGE // 2 else 0
    size = min(max(ceil(len(heads) / room), _OWNERS_MIN), _OWNERS_MAX)
    owners: dict[str, list[str]] = defaultdict(list)
    for head in heads:
        owners[prefix_of(head.key)].append(id_of(head.key))
    for prefix, ids in owners.items():
        yield from (_Group(entities[prefix], chunk) for chunk in chunks(ids, size))


def _wanted(heads: Sequence[Head]) -> list[str]:
    wanted = {wanted_contact(head.row, is_lead=head.key.startswith(LEAD.prefix)) for head in heads} - {""}
    return sorted(wanted, key=lambda text: (len(text), text))


def _people(ids: Sequence[str]) -> Command:
    params = {"select": ["ID", "PHONE", "EMAIL"], "filter": {"@ID": ids}, "order": {"ID": "ASC"}, "start": -1}
    return Command("crm.contact.list", params)


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items in pieces of at most this size."""
    return (items[at : at + size] for at in range(0, len(items), size))

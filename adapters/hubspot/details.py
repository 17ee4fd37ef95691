"""What a listed record does not hold: histories, and the contacts of deals, in as few requests as the API permits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field

from adapters.hubspot.api import Api, by_number
from adapters.hubspot.entities import CONTACT, DEAL, Entity, id_of
from adapters.hubspot.plan import Plan
from adapters.hubspot.wire import Found, Link, Record
from bridge.model import frozen
from bridge.ports import Head
from bridge.unbroken import together

_PEOPLE = 20  # contacts of one deal that are read: primary ones, then the oldest


@frozen
class Details:
    """Records with their histories by key, keys of those that are gone, contacts by id, links by deal id."""

    records: Mapping[str, Record] = field(default_factory=dict)
    gone: frozenset[str] = frozenset()
    links: Mapping[str, Sequence[Link]] = field(default_factory=dict)
    people: Mapping[str, Record] = field(default_factory=dict)


async def read(api: Api, heads: Sequence[Head], plans: Mapping[Entity, Plan]) -> Details:
    """All that completes these heads. Contacts that are heads themselves are not asked for again.

    Raises:
        AuthError, Throttled, Unavailable, Refused, Drift: the portal's answer.
    """
    wanted = {entity: [id_of(h.key) for h in heads if h.key.startswith(entity.prefix)] for entity in (CONTACT, DEAL)}
    found_contacts, found_deals, links = await _first(api, wanted, plans)
    people = by_number(found_contacts.rows.records)
    chosen = {deal: _chosen(all_links) for deal, all_links in links.items()}
    missing = {link.number for some in chosen.values() for link in some} - set(people) - set(wanted[CONTACT])
    if missing:
        plan = plans[CONTACT]
        more = await api.records(CONTACT, sorted(missing, key=_by_age), plan.requested, plan.histories)
        people |= by_number(more.rows.records)
    records = {CONTACT.key(one.number): one for one in found_contacts.rows.records}
    records |= {DEAL.key(one.number): one for one in found_deals.rows.records}
    gone = {CONTACT.key(number) for number in found_contacts.missing}
    gone |= {DEAL.key(number) for number in found_deals.missing}
    return Details(records, frozenset(gone), chosen, people)


async def _first(
    api: Api, wanted: Mapping[Entity, Sequence[str]], plans: Mapping[Entity, Plan]
) -> tuple[Found, Found, dict[str, list[Link]]]:
    """The records themselves and who belongs to the deals, side by side."""

    async def records(entity: Entity) -> Found:
        return await api.records(entity, wanted[entity], plans[entity].requested, plans[entity].histories)

    async def linked() -> dict[str, list[Link]]:
        return await api.contacts_of(wanted[DEAL])

    results: list[Found | dict[str, list[Link]]] = await together(records(CONTACT), records(DEAL), linked())
    contacts, deals, links = results
    assert isinstance(contacts, Found)
    assert isinstance(deals, Found)
    assert isinstance(links, dict)
    return contacts, deals, links


def _chosen(links: Sequence[Link]) -> list[Link]:
    """Of very many contacts the primary ones and those that came first."""
    return sorted(links, key=lambda link: (not link.is_primary, _by_age(link.number)))[:_PEOPLE]


def _by_age(number: str) -> tuple[int, str]:
    """Ids are numbers that grow."""
    return len(number), number

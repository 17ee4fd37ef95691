"""Microseconds per lead of every pure step from amoCRM's bytes to planned deliveries, and of storing them.

No sockets: pages are fetched first, then each step runs alone over all of them, several times; the best time counts.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from adapters.amocrm import mapping, wire
from adapters.amocrm.history import Moves, entries_of, until
from adapters.amocrm.mapping import Whole
from adapters.amocrm.scan import head_of
from bridge.frozen import replace
from bridge.identity import read, seal_contacts
from bridge.loops import assess
from bridge.model import Deal
from bridge.rules import match
from bridge.rules.floor import Floor
from bridge.store.records import Page
from bridge.tenant import Tenant
from tests.bench import child, ours
from tests.bench.child import Watch

_ROUNDS = 5


class _Table:
    """Best times by step."""

    def __init__(self, leads: int) -> None:
        self._leads = leads
        self.best: dict[str, float] = {}

    def time(self, step: str, work: Callable[[], Any]) -> Any:
        """Run it and keep the best microseconds per lead; its last result."""
        result = None
        for _ in range(_ROUNDS):
            gc.collect()
            began = time.process_time()
            result = work()
            took = (time.process_time() - began) / self._leads * 1e6
            self.best[step] = min(self.best.get(step, took), took)
        return result


async def _bodies(who: Tenant, told: dict[str, Any]) -> dict[str, list[bytes]]:
    """Raw pages of everything, as the source would get them."""
    port: Any = who.sources["crm"].port
    shapes = {wire.LEADS: "leads", wire.CONTACTS: "contacts", wire.EVENTS: "events"}
    found: dict[str, list[bytes]] = {name: [] for name in shapes.values()}
    shape_class: Any = wire.Shape
    kept = shape_class.read

    def keep(shape: Any, body: bytes) -> Any:
        if shape in shapes:
            found[shapes[shape]].append(body)
        return kept(shape, body)

    shape_class.read = keep  # looks over the decoder's shoulder
    try:
        window = ours.everything(who, told)
        async for listing in port.scan(window):
            await port.complete(listing.heads, frozenset(), window)
    finally:
        shape_class.read = kept
    return found


async def main(told: dict[str, Any], watch: Watch) -> None:
    """One line of JSON with the table."""
    async with ours.tenant(told) as who:
        bodies = await _bodies(who, told)
        await ours.read(who, told)  # names and catalogue
        pages = [wire.LEADS.read(body) for body in bodies["leads"]]
        count = sum(len(page.items) for page in pages)
        table = _Table(count)
        deals = _left(table, bodies)
        await _right(table, who, told, _once(deals))
    child.report(watch, count, best=table.best)


def _once(pages: list[list[Deal]]) -> list[list[Deal]]:
    """Without the leads that stand on two pages."""
    kept = {deal.key: number for number, page in enumerate(pages) for deal in page}
    return [[deal for deal in page if kept[deal.key] == number] for number, page in enumerate(pages)]


def _left(table: _Table, bodies: dict[str, list[bytes]]) -> list[list[Deal]]:
    """The adapter's part."""
    pages = table.time("decode leads", lambda: [wire.LEADS.read(body) for body in bodies["leads"]])
    contacts = table.time("decode contacts", lambda: [wire.CONTACTS.read(body) for body in bodies["contacts"]])
    events = table.time("decode events", lambda: [wire.EVENTS.read(body) for body in bodies["events"]])
    heads = table.time("heads and versions", lambda: [[head_of(lead) for lead in page.items] for page in pages])

    def collect() -> Moves:
        moves = Moves()
        for rows in events:
            moves.add(rows.items)
        moves.of(0)
        return moves

    moves = table.time("collect stage events", collect)

    def histories() -> list[list[Any]]:
        return [
            [entries_of(lead, until(lead, moves.of(lead.id)), is_known=False) for lead in page.items] for page in pages
        ]

    found = table.time("stage histories", histories)
    terms = mapping.Terms("RUB", mapping.Lexicon({}))
    people = {contact.id: mapping.card_of(contact, terms.lexicon) for rows in contacts for contact in rows.items}
    return list(
        table.time(
            "map to deals",
            lambda: [
                [
                    mapping.deal_of(Whole(head, wire.details_of(head.row), entries), people, terms)
                    for head, entries in zip(*both, strict=True)
                ]
                for both in zip(heads, found, strict=True)
            ],
        )
    )


async def _right(table: _Table, who: Tenant, told: dict[str, Any], pages: list[list[Deal]]) -> None:
    """The core's part."""
    unit = who.sources["crm"]
    readings = table.time("read clues", lambda: [[read(deal) for deal in page] for page in pages])
    sealed = table.time(
        "seal contacts", lambda: [[seal_contacts(deal, who.join_key, "crm", "RU") for deal in page] for page in pages]
    )
    table.time(
        "own touches and matches",
        lambda: [
            [(match.touch_of(*pair), match.find(*pair, None, {}, who.reach)) for pair in zip(*both, strict=True)]
            for both in zip(sealed, readings, strict=True)
        ],
    )
    desk = await assess.desk_for(who, unit, Floor(datetime.fromisoformat(told["since"])))
    cases = [
        [assess.case_of(desk, deal, reading, match.find(deal, reading, None, {}, who.reach)) for deal, reading in pairs]
        for pairs in (list(zip(*both, strict=True)) for both in zip(sealed, readings, strict=True))
    ]
    table.time("judge goals", lambda: [[assess.judge(desk, case) for case in page] for page in cases])
    for number in range(_ROUNDS):
        copy = f"copy{number}"  # another source each time, so that everything is new again
        desk = replace(desk, source=copy)
        began = time.process_time()
        judged = [await assess.judge_all(desk, assess.enter(who, "crm", page).entered, frozenset()) for page in pages]
        took = (time.process_time() - began) * 1e6
        _keep(table, "assess (border, clues, match, judge, plan)", took, pages)
        began = time.process_time()
        for page in judged:
            await who.records.write_page(Page(who.name, copy, who.clock.now(), page.assessed))
        _keep(table, "write pages (both threads)", (time.process_time() - began) * 1e6, pages)


def _keep(table: _Table, step: str, micros: float, pages: list[list[Deal]]) -> None:
    each = micros / sum(map(len, pages))
    table.best[step] = min(table.best.get(step, each), each)


if __name__ == "__main__":
    asyncio.run(main(child.arguments(), Watch()))

"""Businesses that do not stand still while they are read, under every trap of paging, for tests and benchmarks."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from adapters.amocrm.fake import AmoCrm, Quirks
from adapters.bitrix24.fake import Bitrix24
from adapters.bitrix24.fake_schema import DEAL, LEAD
from adapters.hubspot.fake import HubSpot
from adapters.hubspot.fake_schema import CONTACTS, DEALS
from tests.simulation.kit import Play

# What is not verified about amoCRM's lists and may cost a careless reader some rows (contract amocrm 2.4, 6, 17).
QUIRKS = Quirks(event_order="shuffled", has_inclusive_bounds=False, shuffles_ties=True, lost_pages=3, event_delay=2.0)
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "amocrm": {"quirks": QUIRKS},
    "bitrix24": {},
    "hubspot": {"lag": timedelta(seconds=110)},  # a search shows a change up to so late (contract hubspot 3)
    "table": {},
}
_PER_REQUEST = timedelta(minutes=2)
_LOOK_EVERY = 0.0005  # seconds; a request takes longer


async def restless(made: Play, step: timedelta) -> None:
    """A turn during which the business does not stand still: leads move while pages are read, minutes a request."""
    crm = made.stage.scenes[0].crm
    made.stage.advance(made.stage.told_until + step)
    asked = crm.requests.total()
    turn = asyncio.create_task(made.cycle())
    while not turn.done():
        await asyncio.sleep(_LOOK_EVERY)
        made.stage.advance(made.stage.told_until + _PER_REQUEST * (crm.requests.total() - asked))
        asked = crm.requests.total()
    await turn


def edit_in_bulk(made: Play) -> None:
    """Somebody changes some 400 open records in one second. In a table nobody can: its rows have no times."""
    crm, now = made.stage.scenes[0].crm, made.stage.clock.now()
    if isinstance(crm, AmoCrm):
        second = int(now.timestamp())
        for lead in [lead for lead in crm.store.leads.values() if lead.status not in (142, 143)][:400]:
            crm.store.move(lead, lead.status, second)
    elif isinstance(crm, HubSpot):
        for kind in (CONTACTS, DEALS):
            for number in list(crm.data.records[kind])[:400]:
                crm.data.touch(kind, number, now)
    elif isinstance(crm, Bitrix24):
        for kind in (LEAD, DEAL):
            for number in crm.data.tables[kind].ids[:200]:
                crm.data.update(kind, number, now, {"TITLE": "Заявка"})

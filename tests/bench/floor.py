"""The floor: the least that any program must do for the same job, with nothing around it.

The same requests as the bridge makes, the JSON decoded (by the standard library, or by msgspec), one SQLite outbox
table with ``synchronous=FULL`` (a page is a transaction), one CSV after another to Metrica. No matching beyond the two
identifier fields, no persons, no versions, no proof: killed at the wrong moment it loses or doubles.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from tests.bench import child
from tests.bench.child import Watch

TARGETS = {47001003: "qualified_lead", 142: "deal_won"}
_SPAM = ("Спам", "Дубль")
_ROWS = 10_000  # of one upload


_DECODERS: dict[str, Callable[[bytes], Any]] = {"json": json.loads, "msgspec": msgspec.json.decode}


class Floor:
    """One run."""

    def __init__(self, told: dict[str, Any], session: aiohttp.ClientSession) -> None:
        self._told = told
        self._session = session
        self._decode = _DECODERS[told.get("decoder", "json")]
        self._first = int(datetime.fromisoformat(told["since"]).timestamp()) - 86400
        self._last = int(datetime.fromisoformat(told["now"]).timestamp())
        self._outbox = sqlite3.connect(Path(told["config"]).with_name("outbox.db"))
        self._outbox.execute("PRAGMA journal_mode=WAL")
        self._outbox.execute("PRAGMA synchronous=FULL")
        self._outbox.execute(
            "CREATE TABLE outbox (lead INTEGER, target TEXT, yclid TEXT, client_id TEXT, at INTEGER, price INTEGER, "
            "sent INTEGER DEFAULT 0, PRIMARY KEY (lead, target))"
        )

    async def run(self) -> int:
        """Day by day: the events, then the leads page by page with their contacts; then upload."""
        count = 0
        entered: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for start in range(self._first, self._last, 86400):
            end = min(start + 86399, self._last)
            async for events in self._pages("events", start, end, 100):
                for event in events:
                    stage = event["value_after"][0]["lead_status"]["id"]
                    entered[event["entity_id"]].append((stage, event["created_at"]))
            async for leads in self._pages("leads", start, end, 250):
                await self._contacts({link["id"] for lead in leads for link in lead["_embedded"]["contacts"]})
                self._write(row for lead in leads for row in _rows(lead, entered.pop(lead["id"], ())))
                count += len(leads)
        await self._upload()
        return count

    async def _pages(self, name: str, start: int, end: int, limit: int) -> AsyncIterator[list[dict[str, Any]]]:
        which = {
            "leads": f"with=contacts,loss_reason,source&filter[updated_at][from]={start}&filter[updated_at][to]={end}"
            "&order[updated_at]=asc",
            "events": "filter[type][]=lead_status_changed&filter[entity]=lead"
            f"&filter[created_at][from]={start}&filter[created_at][to]={end}",
        }[name]
        place = f"/api/v4/{name}"
        number = 1
        while True:
            body = await self._get(f"{place}?{which}&limit={limit}&page={number}")
            if not body:
                return
            page = self._decode(body)
            yield page["_embedded"][name]
            if "next" not in page["_links"]:
                return
            number += 1

    async def _contacts(self, ids: Iterable[int]) -> None:
        query = "&".join(f"filter[id][]={own_id}" for own_id in ids)
        self._decode(await self._get(f"/api/v4/contacts?{query}&limit=250"))

    async def _get(self, address: str) -> bytes:
        headers = {"Authorization": f"Bearer {self._told['crm_secret']}"}
        async with self._session.get(self._told["crm"] + address, headers=headers) as answer:
            return await answer.read()

    def _write(self, rows: Iterable[tuple[Any, ...]]) -> None:
        with self._outbox:
            self._outbox.executemany("INSERT OR REPLACE INTO outbox VALUES (?, ?, ?, ?, ?, ?, 0)", rows)

    async def _upload(self) -> None:
        columns = "rowid, yclid, client_id, target, at, price"
        while rows := self._outbox.execute(f"SELECT {columns} FROM outbox WHERE sent = 0 LIMIT {_ROWS}").fetchall():
            form = aiohttp.FormData()
            form.add_field("file", csv_of(row[1:] for row in rows), filename="a.csv", content_type="text/csv")
            address = self._told["metrica"] + "/offline_conversions/upload?type=BASIC"
            headers = {"Authorization": f"OAuth {self._told['metrica_token']}"}
            async with self._session.post(address, data=form, headers=headers) as answer:
                assert answer.status == 200, await answer.text()
            with self._outbox:
                self._outbox.executemany("UPDATE outbox SET sent = 1 WHERE rowid = ?", [(row[0],) for row in rows])

    def sent(self) -> int:
        return int(self._outbox.execute("SELECT count(*) FROM outbox WHERE sent = 1").fetchone()[0])


def csv_of(rows: Iterable[tuple[Any, ...]]) -> str:
    """What Metrica takes; a row is yclid, ClientID, target, Unix seconds, price."""
    lines = ["Yclid,ClientId,Target,DateTime,Price,Currency"]
    lines += [f"{yclid},{client},{target},{at},{price},RUB" for yclid, client, target, at, price in rows]
    return "\n".join(lines)


def identifiers(found: Mapping[str, Any]) -> tuple[str, str]:
    """Yclid and ClientID out of the usual fields, "" where there is none; rubbish counts as none."""
    yclid = str(found.get("YCLID") or found.get("yclid") or "")
    client = str(found.get("_YM_UID") or found.get("ClientID") or "")
    return yclid if yclid.isdigit() else "", client if client.isdigit() else ""


def _rows(lead: dict[str, Any], entered: Iterable[tuple[int, int]]) -> Iterable[tuple[Any, ...]]:
    """Outbox rows of a lead that carries an identifier."""
    filled = (field for field in lead["custom_fields_values"] or () if field["values"])
    named = {field["field_code"] or field["field_name"]: field["values"][0].get("value") for field in filled}
    yclid, client = identifiers(named)
    if not (yclid or client):
        return
    reasons = lead["_embedded"]["loss_reason"]
    for stage, at in entered:
        if stage in TARGETS:
            yield lead["id"], TARGETS[stage], yclid, client, at, lead["price"] if stage == 142 else 0
        elif stage == 143 and reasons and reasons[0]["name"] in _SPAM:
            yield lead["id"], "spam_lead", yclid, client, at, 0


async def _main(told: dict[str, Any], watch: Watch) -> None:
    async with aiohttp.ClientSession() as session:
        floor = Floor(told, session)
        watch.start()
        count = await floor.run()
        watch.stop()
        child.report(watch, count, done={"accepted": floor.sent()})


if __name__ == "__main__":
    asyncio.run(_main(child.arguments(), Watch()))

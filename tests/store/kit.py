"""Ready-made rows for the store's tests: deals, plans, batches, and a look at the tables themselves."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Table, select

from bridge.clues import Reading
from bridge.frozen import replace
from bridge.identity import batch_id, conversion_id, delivery_id, order_key
from bridge.model import (
    Conversion,
    ConversionKind,
    Deal,
    DealKind,
    Identifier,
    IdKind,
    Match,
    Method,
    Money,
    Outcome,
    Outgoing,
    Person,
    Touch,
    Unmatched,
)
from bridge.ports import Payload, Sealed
from bridge.rules.plan import RETRACTED, KnownDelivery, NewDelivery, Plan
from bridge.states import DeliveryState
from bridge.store import Store, schema
from bridge.store.ledger import DueRow, Ledger
from bridge.store.records import Assessed, Page, Records
from tests.support import START

TENANT, SOURCE, ADS = "okna", "crm", "ads"
CLICK = Identifier(IdKind.YCLID, "17751100000000000001", "field YCLID")
MATCH = Match(Method.FIELD, "yclid in field YCLID", (CLICK,), START)
LOST = Unmatched("no_identifier", "nothing in field YCLID")


def deal(number: int, version: str = "v1", *, person: str | None = None) -> Deal:
    """A lead; ``person`` is the digest of its contact."""
    persons = (Person(joins=(person,)),) if person else ()
    at = START + timedelta(minutes=number)
    return Deal(DealKind.LEAD, str(number), version, at, at, "7", "142", Outcome.WON, persons=persons)


def assessed(made: Deal, plan: Plan | None = None, match: Match | Unmatched = MATCH) -> Assessed:
    """A judged lead. A matched one brings its own touch."""
    shown = match.identifiers if isinstance(match, Match) else ()
    touch = Touch(made.key, made.created_at, shown, made.joins) if shown or made.joins else None
    waits = made.joins if isinstance(match, Unmatched) else ()
    return Assessed(made, Reading(), match, touch, plan or Plan(), waits=waits)


def page(*items: Assessed, **values: Any) -> Page:
    return Page(TENANT, SOURCE, values.pop("now", START), items, **values)


def conversion(number: int, revision: int = 0, *, tenant: str = TENANT, value: int = 1500) -> Conversion:
    """The sale of a lead, or a later restatement of its value."""
    place = (tenant, SOURCE, f"lead:{number}", "sale", "once")
    kind = ConversionKind.RESTATEMENT if revision else ConversionKind.ORIGINAL
    at = START + timedelta(minutes=number)
    key, order = conversion_id(*place, kind, revision), order_key(*place)
    return Conversion(key, order, place[2], place[3], kind, revision, at, Money.of(value, "RUB"), "won")


def content(made: Conversion, destination: str = ADS) -> Outgoing:
    return Outgoing(
        delivery_id(made.id, destination),
        made.order_key,
        "deal_won",
        made.goal,
        made.occurred_at,
        made.occurred_at,
        made.value,
        (CLICK,),
        touched_at=START,
        kind=made.kind,
    )


def promise(*made: Conversion, destination: str = ADS) -> Plan:
    """A plan that promises these conversions to one destination."""
    return Plan(list(made), [NewDelivery(one.id, destination, content(one, destination)) for one in made])


def key(number: int, revision: int = 0, *, tenant: str = TENANT) -> str:
    """Id of the delivery that ``promise`` makes for a lead."""
    return delivery_id(conversion(number, revision, tenant=tenant).id, ADS)


async def plan(store: Store, *made: Conversion, tenant: str = TENANT, now: datetime = START) -> None:
    """Write a page that promises these conversions."""
    items = [assessed(deal(int(one.deal.partition(":")[2]), one.id), promise(one)) for one in made]
    await Records(store).write_page(replace(page(*items, now=now), tenant=tenant))


async def withdraw(store: Store, *numbers: int, code: str = RETRACTED) -> None:
    """Write a page that takes the pending promises for these leads back."""
    pending = {number: known(number, DeliveryState.PENDING) for number in numbers}
    items = [assessed(deal(number, code), Plan(withdrawn=[(row, code)])) for number, row in pending.items()]
    await Records(store).write_page(page(*items))


async def restore(store: Store, number: int, code: str = RETRACTED) -> None:
    """Write a page that promises again what was withdrawn for a lead."""
    row = replace(known(number, DeliveryState.CANCELLED), code=code)
    change = Plan(restored=[(row, content(conversion(number)))])
    await Records(store).write_page(page(assessed(deal(number, "restored"), change)))


def label(due: Sequence[DueRow]) -> str:
    return batch_id(f"{TENANT}/{ADS}", [(row.content.delivery, row.attempt) for row in due])


def render(contents: Sequence[Outgoing], name: str) -> Payload:
    """Bytes that tell which rows they hold, in which version."""
    lines = [f"{row.delivery} {row.attempt} {row.value}" for row in contents]
    return Payload("\n".join((name, *lines)).encode(), "text/csv")


async def sealed(ledger: Ledger, now: datetime = START, limit: int = 100) -> Sealed:
    """Seal everything that is due."""
    due = await ledger.due(ADS, now, limit)
    return await ledger.seal(ADS, label(due), due, render, now)


async def sent(ledger: Ledger, now: datetime = START) -> Sealed:
    """Seal and mark everything that is due."""
    return await ledger.mark(await sealed(ledger, now), now, now)


async def rows(store: Store, table: Table, *where: Any) -> list[dict[str, Any]]:
    """A table's rows as they are, in the order of its primary key."""
    async with store.read() as connection:
        found = await connection.execute(select(table).where(*where).order_by(*table.primary_key.columns))
        return [dict(row._mapping) for row in found]


async def everything(store: Store) -> dict[str, list[dict[str, Any]]]:
    """The whole database, to see that nothing was written."""
    return {table.name: await rows(store, table) for table in schema.metadata.sorted_tables}


async def clear(store: Store) -> None:
    """Forget everything: another order of the same events begins."""
    async with store.write("clear") as connection:
        for table in reversed(schema.metadata.sorted_tables):
            await connection.execute(table.delete())


async def states(store: Store, *keys: str) -> list[str]:
    """State of each of these deliveries."""
    found = {row["id"]: str(row["state"]) for row in await rows(store, schema.delivery)}
    return [found[one] for one in keys]


async def replan(store: Store, made: Conversion, tenant: str = TENANT) -> None:
    """Write a page that gives the pending delivery of a conversion a new value."""
    change = Plan(replaced=[(content(made).delivery, content(made))], revised=[made])
    number = int(made.deal.partition(":")[2])
    await Records(store).write_page(replace(page(assessed(deal(number, str(made.value)), change)), tenant=tenant))


def known(number: int, state: DeliveryState) -> KnownDelivery:
    """A lead's delivery as a plan has seen it."""
    made = content(conversion(number))
    return KnownDelivery(made.delivery, ADS, state, made)


async def delete(store: Store, number: int, change: Plan) -> None:
    """Write a page on which a lead was deleted, or restored, with this plan."""
    await Records(store).write_page(page(assessed(deal(number, "deleted"), change)))

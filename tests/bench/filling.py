"""A ledger full of promises, made the way polling makes them: deals are judged and written page by page."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from bridge.catalogue import Catalogue, Pipeline, Stage
from bridge.loops import assess
from bridge.model import Clue, Deal, DealKind, IdKind, Outcome, StageChange
from bridge.rules.floor import Floor
from bridge.store.records import Page
from bridge.tenant import Tenant

TARGET = "qualified_lead"
_PAGE = 2000
_FIRST_YCLID = 6_568_389_783_225_203_569


def yclid(number: int) -> str:
    return str(_FIRST_YCLID + number * 7)


def moment(number: int, now: datetime) -> datetime:
    """When this deal qualified: within the last days, whole seconds."""
    return now - timedelta(days=3, seconds=number % 86_400)


async def fill(who: Tenant, count: int) -> None:
    """So many deals in the stage that is a goal, each one delivery."""
    unit = who.sources["crm"]
    stages = (Stage("1", "Квалифицирован"),)
    who.compile(unit, Catalogue((Pipeline("1", "Продажи", DealKind.LEAD, stages),)))
    now = who.clock.now()
    desk = await assess.desk_for(who, unit, Floor(now - timedelta(days=30)))
    for first in range(0, count, _PAGE):
        deals = list(_deals(first, min(first + _PAGE, count), now))
        judged = await assess.judge_all(desk, assess.enter(who, unit.name, deals).entered, frozenset())
        await who.records.write_page(Page(who.name, unit.name, now, judged.assessed))


def _deals(first: int, last: int, now: datetime) -> Iterator[Deal]:
    for number in range(first, last):
        at = moment(number, now)
        yield Deal(
            kind=DealKind.LEAD,
            id=str(number),
            version="1",
            created_at=at,
            updated_at=at,
            pipeline="1",
            stage="1",
            outcome=Outcome.OPEN,
            clues=(Clue("field YCLID", yclid(number), IdKind.YCLID),),
            history=(StageChange(at, "1", "1", Outcome.OPEN, "events"),),
        )

"""A HubSpot account's own turns: contacts that qualify before a deal is made, buy twice, or tell their click late."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from adapters.hubspot.fake import HubSpot
from adapters.hubspot.fake_schema import CONTACTS, DEALS, SALES
from bridge.explain import explain
from bridge.frozen import replace
from bridge.sim.events import STAGE_TITLES, Click, StageName
from bridge.sim.stage import METRICA, METRICA_TARGETS, Cast
from bridge.store import schema
from bridge.store.reports import Reports
from tests.simulation.kit import START, Play, know, play, rows, staged

HOUR, MINUTE, DAY = timedelta(hours=1), timedelta(minutes=1), timedelta(days=1)
CAME = START + DAY
CLICK, OTHER = "17751100000000000001", "17751100000000000002"
NEW, QUALIFIED, WON, LOST = "appointmentscheduled", "qualifiedtobuy", "closedwon", "closedlost"
QUALIFIED_LEAD, SALE = METRICA_TARGETS["qualified"], METRICA_TARGETS["sale"]


@dataclass(slots=True)
class Account:
    """A running business whose CRM the test writes to by hand. Hours are counted from the first click's lead."""

    made: Play
    crm: HubSpot

    def contact(self, hours: float, **values: str) -> int:
        return self.crm.data.add(CONTACTS, self._at(hours), {"lifecyclestage": "lead", **values})

    def deal(self, hours: float, contact: int, **values: str) -> int:
        number = self.crm.data.add(DEALS, self._at(hours), {"pipeline": SALES, "dealstage": NEW, **values})
        self.crm.data.link(number, contact)
        return number

    def change(self, hours: float, kind: str, number: int, **values: str) -> None:
        self.crm.data.update(kind, number, self._at(hours), values)

    def _at(self, hours: float) -> datetime:
        at = CAME + hours * HOUR
        self.made.stage.advance(at)
        return at

    async def seen(self) -> None:
        """A poll, a minute later: a search shows what happened by then."""
        await self.made.turn(MINUTE)

    async def counted(self) -> list[tuple[str, float, Decimal | None]]:
        """What Metrica counts in the end, in order of time: target, hours, value."""
        for _ in range(3):
            await self.made.turn(6 * HOUR)
        assert self.made.problems == []
        applied = self.made.stage.scenes[0].ads[METRICA].applied()
        assert all(row.reaches == 1 for row in applied)
        return sorted(((row.target, (row.at - CAME) / HOUR, row.value) for row in applied), key=lambda row: row[1])

    async def explained(self, key: str) -> dict[str, Any]:
        scene = self.made.stage.scenes[0]
        tenant = await self.made.installation.tenant(scene.tenant)
        return await explain(tenant, await Reports(self.made.installation.store).deal(scene.tenant, "crm", key))


@asynccontextmanager
async def business(folder: Path, **options: Any) -> AsyncIterator[Account]:
    """An account in which nothing has happened but two clicks, and whose Sales Qualified Leads are called qualified."""
    cast = Cast(1, START, days=3, leads=0, kinds=("hubspot",), crm_options=options)
    async with play(folder, staged(cast)) as made:
        crm = made.stage.scenes[0].crm
        assert isinstance(crm, HubSpot)
        lifecycle = crm.data.properties[CONTACTS]["lifecyclestage"]
        named = {**lifecycle.options, "salesqualifiedlead": STAGE_TITLES[StageName.QUALIFIED]}
        crm.data.properties[CONTACTS]["lifecyclestage"] = replace(lifecycle, options=named)
        await made.turn()
        for yclid in (CLICK, OTHER):
            know(made.stage.scenes[0], click(yclid))
        made.stage.advance(CAME)
        yield Account(made, crm)


def click(yclid: str) -> Click:
    return Click(int(yclid[-1]), CAME - HOUR, 1, f"https://okna.example/?yclid={yclid}", "", yclid, None)


# --- contacts and their deals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_seen_between", [True, False])
async def test_a_contact_and_its_deal_are_one_qualified_lead_and_one_sale(
    tmp_path: Path, is_seen_between: bool
) -> None:
    """Qualified as a contact, then once more as a deal, at last a customer and won: each goal is counted once, at its
    first time."""
    async with business(tmp_path) as account:
        who = account.contact(0, yclid=CLICK)
        turns: list[Callable[[], object]] = [
            lambda: account.change(1, CONTACTS, who, lifecyclestage="salesqualifiedlead"),
            lambda: account.deal(2, who),
            lambda: account.change(3, DEALS, 501, dealstage=QUALIFIED),
            lambda: account.change(5, DEALS, 501, dealstage=WON, amount="25000"),
            lambda: account.change(5.1, CONTACTS, who, lifecyclestage="customer"),
        ]
        for turn in turns:
            turn()
            if is_seen_between:
                await account.seen()
        assert await account.counted() == [(QUALIFIED_LEAD, 1, None), (SALE, 5, Decimal("25000.00"))]
        deal = await account.explained("deal:501")
        assert deal["deal"]["parent"] == f"lead:{who}"
        reasons = {(item["goal"], item["destination"]): item["reason"] for item in deal["not_promised"]}
        assert reasons["qualified", METRICA] == f"counted on lead:{who}"


async def test_two_deals_of_one_contact_are_two_sales(tmp_path: Path) -> None:
    """Each for the click that the contact had when the deal began."""
    async with business(tmp_path) as account:
        who = account.contact(0, yclid=CLICK)
        first = account.deal(1, who)
        account.change(3, CONTACTS, who, yclid=OTHER)
        second = account.deal(4, who)
        account.change(5, DEALS, first, dealstage=WON, amount="100")
        account.change(6, DEALS, second, dealstage=WON, amount="200")
        assert await account.counted() == [(SALE, 5, Decimal("100.00")), (SALE, 6, Decimal("200.00"))]
        applied = account.made.stage.scenes[0].ads[METRICA].applied()
        assert {row.at: row.identifiers for row in applied} == {
            CAME + 5 * HOUR: (CLICK,),
            CAME + 6 * HOUR: (OTHER,),
        }


async def test_a_click_that_a_contact_is_told_of_later_serves_its_deal(tmp_path: Path) -> None:
    """The deal itself does not change then: the contact, read as a lead, opens it again."""
    async with business(tmp_path) as account:
        who = account.contact(0)
        deal = account.deal(1, who)
        account.change(2, DEALS, deal, dealstage=WON, amount="300")
        await account.seen()
        assert (await account.explained(f"deal:{deal}"))["match"]["method"] is None
        account.change(4, CONTACTS, who, yclid=CLICK)
        await account.seen()
        assert await account.counted() == [(SALE, 2, Decimal("300.00"))]
        assert (await account.explained(f"deal:{deal}"))["match"]["method"] == "lead"


@pytest.mark.parametrize("entities", [("deal",), ("contact", "deal")])
async def test_a_deals_click_stands_on_a_contact_that_was_never_read(tmp_path: Path, entities: tuple[str, ...]) -> None:
    """It last changed long before the first reading, or contacts are not read at all."""
    async with business(tmp_path, entities=entities) as account:
        who = account.crm.data.add(CONTACTS, START - 60 * DAY, {"lifecyclestage": "lead", "yclid": CLICK})
        deal = account.deal(1, who)
        account.change(2, DEALS, deal, dealstage=WON, amount="300")
        assert await account.counted() == [(SALE, 2, Decimal("300.00"))]


# --- history -----------------------------------------------------------------------------------------------------


async def test_moves_between_polls_all_count(tmp_path: Path) -> None:
    """The record shows only the last stage; its history has all, with their seconds, though searches lag."""
    async with business(tmp_path, lag=timedelta(seconds=110)) as account:
        deal = account.deal(0, account.contact(0, yclid=CLICK))
        account.change(1, DEALS, deal, dealstage=QUALIFIED)
        account.change(1.01, DEALS, deal, dealstage=LOST, closed_lost_reason="спам")
        assert await account.counted() == [
            (QUALIFIED_LEAD, 1, None),
            (METRICA_TARGETS["spam"], pytest.approx(1.01), None),
        ]


async def test_a_deal_reopened_after_it_was_won_is_one_sale(tmp_path: Path) -> None:
    """Won, reopened, won again with another amount: one sale at the first moment, at its latest value."""
    async with business(tmp_path) as account:
        deal = account.deal(0, account.contact(0, yclid=CLICK))
        for hours, stage, amount in ((1, WON, "100"), (2, NEW, "100"), (4, WON, "120")):
            account.change(hours, DEALS, deal, dealstage=stage, amount=amount)
            await account.seen()
        assert await account.counted() == [(SALE, 1, Decimal("120.00"))]


# --- deletions ---------------------------------------------------------------------------------------------------


async def test_what_is_deleted_is_noticed_by_the_sweep(tmp_path: Path) -> None:
    """No search tells of a deal in the recycle bin; whoever asks for the record is told. So it is with a contact that
    became part of another; its deal stays."""
    async with business(tmp_path) as account:
        kept, away = account.contact(0, yclid=CLICK), account.contact(0)
        deals = [account.deal(1, kept), account.deal(1, away)]
        await account.seen()
        account.crm.data.archive(DEALS, deals[0], CAME + 2 * HOUR)
        account.crm.data.merge(CONTACTS, away, kept, CAME + 2 * HOUR)
        await account.made.turn(DAY + HOUR)
        await account.made.turn(HOUR)
        found = {row["deal"]: row["is_open"] for row in await rows(account.made.installation.store, schema.deal)}
        assert found == {
            f"lead:{kept}": True,
            f"lead:{away}": False,
            f"deal:{deals[0]}": False,
            f"deal:{deals[1]}": True,
        }
        into = {row["deal"]: row["merged_into"] for row in await rows(account.made.installation.store, schema.deal)}
        assert {key: one for key, one in into.items() if one} == {f"lead:{away}": f"lead:{kept}"}
        assert account.made.problems == []

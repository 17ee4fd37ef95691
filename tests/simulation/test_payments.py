"""Deals paid in instalments, from a Bitrix24 portal to the ad accounts: each payment once, refunds taken back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from adapters.bitrix24.fake import GCLID, YCLID, Bitrix24
from adapters.bitrix24.fake_schema import DEAL, INVOICE
from bridge import standing, terminal
from bridge.explain import explain
from bridge.loops import carry_out, deliver, poll, sweep
from bridge.sim.events import Click
from bridge.sim.stage import GOOGLE, METRICA, METRICA_TARGETS, Cast
from bridge.store import schema
from bridge.store.reports import Reports
from bridge.web.status import attention, status
from tests.simulation.kit import START, Play, know, play, rows, staged

HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
CAME = START + timedelta(days=1)
VISITOR, AD = "17751100000000000001", "Cj0KCQiAsample0000000000000000000000001"
SALE = METRICA_TARGETS["sale"]
PAID = {"name": "paid", "when": {"outcome": ["open", "won"]}, "per": "payment", "value": "payment"}
ZERO = Decimal("0.00")


@dataclass(slots=True)
class Shop:
    """A running business whose portal the test writes to by hand; one deal, that came with a click."""

    made: Play
    crm: Bitrix24

    def at(self, moment: timedelta) -> datetime:
        self.made.stage.advance(CAME + moment)
        return CAME + moment

    def bill(self, amount: str, moment: timedelta | None = None) -> int:
        """A payment of the deal, made so long after it came, or not yet."""
        return self.crm.data.bill(1, amount, paid_at=None if moment is None else self.at(moment))

    def invoice(self, amount: str) -> int:
        fields = {"CATEGORY_ID": "1", "STAGE_ID": "DT31_1:N", "PARENT_ID_2": "1", "OPPORTUNITY": amount}
        return self.crm.data.add(INVOICE, self.made.stage.told_until, fields)

    def move(self, number: int, stage: str, moment: timedelta) -> None:
        self.crm.data.update(INVOICE, number, self.at(moment), {"STAGE_ID": f"DT31_1:{stage}"})

    async def seen(self, times: int = 1) -> None:
        """Turns of the bridge, each later than the payments are looked after."""
        for _ in range(times):
            await self.made.turn(31 * MINUTE)

    async def counted(self, account: str = METRICA) -> dict[timedelta, Decimal | None]:
        """What an ad system counts in the end: time after the deal came -> value."""
        for _ in range(4):
            await self.made.turn(6 * HOUR)
        assert self.made.problems == []
        applied = self.made.stage.scenes[0].ads[account].applied()
        assert all(row.reaches == 1 for row in applied)
        assert len({row.at for row in applied}) == len(applied)
        return {row.at - CAME: row.value for row in applied}

    async def deliveries(self) -> list[dict[str, Any]]:
        return await rows(self.made.installation.store, schema.delivery)


@asynccontextmanager
async def shop(
    folder: Path,
    what: str | dict[str, Any] = "payments",
    more: Sequence[dict[str, Any]] = (),
    *,
    retract: bool = False,
    **goal: Any,
) -> AsyncIterator[Shop]:
    """The goal goes to Metrica and Google, which takes refunds back by its other API if asked to.

    ``what``: the source's payments, or other settings of it. ``more`` goals go to Metrica as qualified leads.
    """
    own = what if isinstance(what, dict) else {"payments": what}
    sale = {METRICA: SALE, GOOGLE: "7012345679"}
    cast = Cast(1, START, days=3, leads=0, kinds=("bitrix24",))
    goals = [{**PAID, "send": sale, **goal}]
    goals += [{**one, "send": {METRICA: METRICA_TARGETS["qualified"]}} for one in more]
    stage = staged(cast)
    google = stage.scenes[0].ads[GOOGLE]
    known = google.settings
    google.settings = lambda: {**known(), "retract": retract}  # type: ignore[method-assign]  # one simulator's own
    async with play(folder, stage, source={**own, "sweep_every": "0s"}, goals=goals) as made:
        await made.turn()
        crm = made.stage.scenes[0].crm
        assert isinstance(crm, Bitrix24)
        know(made.stage.scenes[0], Click(1, CAME - 8 * HOUR, 1, "https://okna.example/", "", VISITOR, None))
        know(made.stage.scenes[0], Click(2, CAME - 8 * HOUR, 1, "https://okna.example/", "", None, AD))
        made.stage.advance(CAME)
        fields = {"CATEGORY_ID": "1", "STAGE_ID": "C1:NEW", YCLID: VISITOR, GCLID: AD}
        crm.data.add(DEAL, CAME, fields)
        await made.turn(MINUTE)
        yield Shop(made, crm)


async def test_three_instalments_one_of_which_is_refunded(tmp_path: Path) -> None:
    """Three conversions of one deal in each ad system, each with its own time; the refunded one is worth nothing."""
    async with shop(tmp_path) as made:
        made.bill("20000.00", 2 * HOUR)
        await made.seen()
        second = made.bill("15000.50", 5 * HOUR)
        await made.seen(20)
        made.bill("7000.00", 20 * HOUR)
        made.crm.data.pay(second, None)
        values = {2 * HOUR: Decimal("20000.00"), 5 * HOUR: ZERO, 20 * HOUR: Decimal("7000.00")}
        assert await made.counted() == values
        assert await made.counted(GOOGLE) == values
        keys = {row.order_key for row in made.made.stage.scenes[0].ads[GOOGLE].applied()}
        assert len(keys) == 3
        assert made.crm.data.record(DEAL, 1).modified == int(CAME.timestamp()), "no window has ever shown a payment"


async def test_a_refund_is_retracted_where_that_is_switched_on_and_paid_again_it_is_named(tmp_path: Path) -> None:
    """Count and all, by the Google Ads API; nothing brings it back, which ``explain`` says."""
    async with shop(tmp_path, retract=True, send={GOOGLE: "7012345679"}) as made:
        number = made.bill("300.00", 2 * HOUR)
        await made.seen(20)
        scene, installation = made.made.stage.scenes[0], made.made.installation
        made.crm.data.pay(number, None)
        await made.seen(3)
        assert [(row.value, row.reaches) for row in scene.ads[GOOGLE].applied()] == [(Decimal(0), 0)]
        made.crm.data.pay(number, CAME + 2 * HOUR)
        await made.seen(3)
        assert made.made.problems == []
        told = await explain(
            await installation.tenant(scene.tenant),
            await Reports(installation.store).deal(scene.tenant, "crm", "deal:1"),
        )
        assert [one["kind"] for one in told["deliveries"]] == ["original", "restatement"]
        assert [one["reason"] for one in told["not_promised"]] == ["retracted there, which cannot be undone"]


async def test_payments_booked_in_one_second_are_two_conversions(tmp_path: Path) -> None:
    """To Metrica a conversion is its second."""
    async with shop(tmp_path) as made:
        made.bill("100.00", 2 * HOUR)
        made.bill("200.00", 2 * HOUR)
        counted = await made.counted()
        assert counted == {2 * HOUR: Decimal("100.00"), 2 * HOUR + SECOND: Decimal("200.00")}


async def test_a_refund_before_sending_is_never_sent(tmp_path: Path) -> None:
    """The delivery is withdrawn, and says so; paid once more, it is sent once."""
    async with shop(tmp_path) as made:
        installation = made.made.installation
        tenant = await installation.tenant(made.made.stage.scenes[0].tenant)
        number = made.bill("300.00", 2 * HOUR)
        made.at(3 * HOUR)
        await poll.once(tenant, force=True)
        await sweep.once(tenant)
        assert {row["state"] for row in await made.deliveries()} == {"pending"}
        made.crm.data.pay(number, None)
        made.at(4 * HOUR)
        await sweep.once(tenant)
        await deliver.once(tenant, force=True)
        assert {(row["state"], row["code"]) for row in await made.deliveries()} == {("cancelled", "retracted")}
        assert await made.counted() == {}
        again = made.made.stage.told_until - CAME
        made.crm.data.pay(number, CAME + again)
        assert await made.counted() == {again: Decimal("300.00")}


async def test_paid_invoices_are_found_by_the_window(tmp_path: Path) -> None:
    """Without any sweep; one that turns out not to be paid is taken back."""
    async with shop(tmp_path, "invoices") as made:
        first, second = made.invoice("900.00"), made.invoice("50.00")
        made.move(first, "P", 2 * HOUR)
        await made.seen()
        made.move(second, "P", 4 * HOUR)
        await made.seen()
        assert made.made.installation.config.tenants["okna"].sources["crm"].payments == "invoices"
        made.move(second, "D", 9 * HOUR)
        assert await made.counted() == {2 * HOUR: Decimal("900.00"), 4 * HOUR: ZERO}


async def test_a_refund_on_a_lost_deal_is_told_though_the_deal_does_not_change(tmp_path: Path) -> None:
    """Paid in advance, lost, and days later paid back."""
    async with shop(tmp_path) as made:
        number = made.bill("100.00", HOUR)
        await made.seen()
        made.crm.data.update(DEAL, 1, made.at(3 * HOUR), {"STAGE_ID": "C1:LOSE"})
        await made.seen()
        assert await made.counted() == {HOUR: Decimal("100.00")}
        made.crm.data.pay(number, None)
        assert await made.counted() == {HOUR: ZERO}


async def test_without_the_right_to_payments_only_goals_per_payment_wait(tmp_path: Path) -> None:
    """The deal's other goals are counted, what was read before stays, status and explain say what is missing; given the
    right, the payment that was made meanwhile is counted at its own time."""
    async with shop(tmp_path, more=[{"name": "qualified", "when": {"stage": ["Квалифицирован"]}}]) as made:
        made.bill("100.00", HOUR)
        await made.seen()
        made.crm.methods.closed_payments.add(1)
        made.bill("300.00", 2 * HOUR)
        made.crm.data.update(DEAL, 1, made.at(3 * HOUR), {"STAGE_ID": "C1:UC_7QV3KD"})
        await made.seen()
        assert await made.counted() == {HOUR: Decimal("100.00"), 3 * HOUR: None}
        installation, scene = made.made.installation, made.made.stage.scenes[0]
        now = installation.clock.now()
        report = await status(installation.reports, made.made.config, [scene.tenant], now)
        lines = attention(report, made.made.config, now)
        assert [line for line in lines if "payments_refused" in line] == [
            f"{scene.tenant}/crm: 1 record in quarantine (payments_refused)"
        ]
        tenant = await installation.tenant(scene.tenant)
        told = await explain(tenant, await Reports(installation.store).deal(scene.tenant, "crm", "deal:1"))
        assert told["quarantine"]["code"] == "payments_refused"
        made.crm.methods.closed_payments.clear()
        await made.seen()
        assert await made.counted() == {HOUR: Decimal("100.00"), 2 * HOUR: Decimal("300.00"), 3 * HOUR: None}
        report = await status(installation.reports, made.made.config, [scene.tenant], installation.clock.now())
        assert report["tenants"][scene.tenant]["sources"]["crm"]["quarantined"] == 0


async def test_a_paid_invoice_that_is_moved_counts_once(tmp_path: Path) -> None:
    """To another deal of the same client, which says where it is counted; refunded there, it is taken back."""
    async with shop(tmp_path, "invoices") as made:
        row = {"CATEGORY_ID": "1", "STAGE_ID": "C1:NEW", YCLID: VISITOR, GCLID: AD}
        other = made.crm.data.add(DEAL, made.at(HOUR), row)
        number = made.invoice("900.00")
        made.move(number, "P", 2 * HOUR)
        await made.seen()
        made.crm.data.update(INVOICE, number, made.at(4 * HOUR), {"PARENT_ID_2": str(other)})
        await made.seen()
        assert await made.counted() == {2 * HOUR: Decimal("900.00")}
        installation, scene = made.made.installation, made.made.stage.scenes[0]
        tenant = await installation.tenant(scene.tenant)
        told = await explain(tenant, await Reports(installation.store).deal(scene.tenant, "crm", f"deal:{other}"))
        assert {one["reason"] for one in told["not_promised"]} == {"counted on deal:1"}
        made.crm.data.update(INVOICE, number, made.made.stage.told_until, {"STAGE_ID": "DT31_1:D"})
        assert await made.counted() == {2 * HOUR: ZERO}


async def test_a_backfill_of_what_was_sent_adds_nothing(tmp_path: Path) -> None:
    """Read again whole, every payment meets itself."""
    async with shop(tmp_path) as made:
        for hour in (2, 3, 5):
            made.bill("100.00", hour * HOUR)
        before = await made.counted()
        stored = [(row["id"], row["state"]) for row in await made.deliveries()]
        installation = made.made.installation
        tenant = await installation.tenant(made.made.stage.scenes[0].tenant)
        period = {"since": START.isoformat(), "until": installation.clock.now().isoformat(), "dry_run": False}
        await installation.requests.add(tenant.name, "backfill", {**period, "source": None})
        await carry_out.once(tenant, installation.requests)
        assert await made.counted() == before
        assert len(before) == 3
        assert [(row["id"], row["state"]) for row in await made.deliveries()] == stored


@pytest.mark.parametrize("value", ["payment.value * 0.5", 77])
async def test_the_value_may_be_a_part_of_the_payment(tmp_path: Path, value: str | int) -> None:
    """Computed for each; a refund is nothing, whatever the value was."""
    async with shop(tmp_path, value=value) as made:
        first = made.bill("100.00", 2 * HOUR)
        made.bill("300.00", 3 * HOUR)
        await made.seen(3)
        made.crm.data.pay(first, None)
        worth = Decimal("150.00") if isinstance(value, str) else Decimal("77.00")
        assert await made.counted() == {2 * HOUR: ZERO, 3 * HOUR: worth}


async def test_explain_and_status_tell_of_each_payment(tmp_path: Path) -> None:
    """One judgement and one delivery for each, the payments themselves, and how many on how many deals."""
    async with shop(tmp_path) as made:
        made.bill("100.00", 2 * HOUR)
        made.bill("300.00", 3 * HOUR)
        made.bill("5.00")
        await made.counted()
        installation, scene = made.made.installation, made.made.stage.scenes[0]
        tenant = await installation.tenant(scene.tenant)
        told = await explain(tenant, await Reports(installation.store).deal(scene.tenant, "crm", "deal:1"))
        assert [(one["id"], one["state"], one["value"]) for one in told["deal"]["payments"]] == [
            ("payment:1", "paid", "100.00 RUB"),
            ("payment:2", "paid", "300.00 RUB"),
            ("payment:3", "unpaid", "5.00 RUB"),
        ]
        assert [(one["occurrence"], one["verdict"]) for one in told["judgements"]] == [
            ("payment:1", "qualified"),
            ("payment:2", "qualified"),
            ("payment:3", "excluded"),
        ]
        assert [(one["occurrence"], one["destination"]) for one in told["deliveries"]] == [
            (f"payment:{number}", account) for number in (1, 2) for account in (GOOGLE, METRICA)
        ]
        with terminal.out.capture() as said:
            terminal.show_explanation(told, UTC)
        shown = said.get()
        assert "payment:3" in shown
        assert f"paid, payment 2 -> {METRICA} ({SALE}), 300.00 RUB: verified" in shown
        config, names = installation.config, [scene.tenant]
        report = await status(installation.reports, config, names, installation.clock.now())
        with terminal.out.capture() as said:
            standing.show_status(report, [], "bridge late")
        assert "2 (1 deal)" in said.get()

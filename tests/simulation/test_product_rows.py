"""A sale that is worth its product rows, from a Bitrix24 portal to the ad accounts."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from adapters.bitrix24.fake_schema import DEAL
from bridge.explain import explain
from bridge.sim.stage import GOOGLE, METRICA
from bridge.store.reports import Reports
from tests.simulation.test_payments import CAME, Shop, shop

HOUR = timedelta(hours=1)
SOURCE = {"product_rows": ["deal"], "product_rows_every": "30m"}
SALE: dict[str, Any] = {
    "name": "sale",
    "when": {"outcome": "won"},
    "per": "deal",
    "value": {"products": {"Окна*": 0.3, "Доставка": 0, "*": 0.1}},
}


def applied(made: Shop, account: str) -> dict[timedelta, Decimal | None]:
    """What an ad system counts by now: time after the deal came -> value."""
    return {row.at - CAME: row.value for row in made.made.stage.scenes[0].ads[account].applied()}


async def told(made: Shop) -> dict[str, Any]:
    """What ``explain`` says of the deal."""
    installation, scene = made.made.installation, made.made.stage.scenes[0]
    tenant = await installation.tenant(scene.tenant)
    return await explain(tenant, await Reports(installation.store).deal(scene.tenant, "crm", "deal:1"))


async def test_edited_product_rows_are_told_though_the_deal_does_not_change(tmp_path: Path) -> None:
    """A sale goes out with its margin; rows added later, which move no time of the deal, correct it where that goes."""
    async with shop(tmp_path, SOURCE, **SALE) as made:
        desk = made.crm.methods.rows
        desk.add((DEAL, 1), "Окна ПВХ", "10000.50", "3")
        desk.add((DEAL, 1), "Доставка", "700")
        made.crm.data.update(DEAL, 1, made.at(3 * HOUR), {"STAGE_ID": "C1:WON", "OPPORTUNITY": "30701.50"})
        await made.seen()
        await made.made.turn(6 * HOUR)
        first = Decimal("9000.45")
        assert [applied(made, METRICA), applied(made, GOOGLE)] == [{3 * HOUR: first}] * 2
        for _ in range(51):
            desk.add((DEAL, 1), "Москитная сетка", "100", "0.5")
        await made.seen(2)
        assert applied(made, GOOGLE) == {3 * HOUR: first + 255}
        assert made.made.problems == []
        assert made.crm.data.record(DEAL, 1).row["OPPORTUNITY"] == "30701.50"
        (judged,) = (await told(made))["judgements"]
        summands = '1 "Доставка" 700.00 x 0, 1 "Окна*" 30001.50 x 0.3, 51 "*" 2550.00 x 0.1'
        assert (judged["value"], judged["reason"]) == (
            "9255.45 RUB",
            f"from stage history; product rows: {summands}",
        )

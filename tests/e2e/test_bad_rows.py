"""One bad row among two thousand goes into quarantine with a code, the rest goes on, and it heals when repaired."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from adapters.amocrm.fake import AmoCrm
from adapters.yandex_metrica.fake import Metrica
from bridge.frozen import replace
from bridge.sim.clock import SharedClock
from bridge.sim.events import Click, Happening, Lead, StageName
from bridge.sim.stage import METRICA
from tests.e2e.kit import (
    DESTINATION,
    GOALS,
    NOW,
    TENANT,
    TableRow,
    call,
    served,
    tenant,
    uploaded,
    write_config,
    write_table,
)
from tests.e2e.test_trouble import START, town

MANY = 2000


def states(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = call(folder, "status", "--json").json["tenants"][TENANT]
    return found


def test_one_row_of_a_table_that_cannot_be_read(tmp_path: Path) -> None:
    """It is quarantined and named, 1,999 are uploaded; repaired, it is uploaded too, alone."""
    rows = [TableRow(f"L{number:04d}") for number in range(MANY)]
    write_config(tmp_path)
    bad = rows[777].text().replace("18.03.2026", "38.03.2026")
    write_table(tmp_path, [*rows[:777], bad, *rows[778:]])
    synced = call(tmp_path, "sync", "--json")
    assert synced.json["done"][TENANT]["quarantined"] == 1
    assert synced.status == 1
    (problem,) = synced.json["problems"]
    assert problem.startswith(f"{TENANT}/leads: lead:L0777 is in quarantine: ")
    assert "row 779" in problem
    assert len(uploaded(tmp_path)) == MANY - 1
    assert "│ 1,999 │" in call(tmp_path, "status").out
    status = call(tmp_path, "status", "--json")
    assert status.status == 1
    assert status.json["attention"] == [f"{TENANT}/leads: 1 record in quarantine (bad_date)", problem]
    explained = call(tmp_path, "explain", "L0777", "--tenant", TENANT, "--json")
    assert explained.status == 1
    assert "in quarantine: bad_date: " in explained.json["problems"][0]
    assert "it is read again" in explained.json["problems"][0]

    write_table(tmp_path, rows)
    assert call(tmp_path, "sync").status == 0
    assert call(tmp_path, "status").status == 0
    lines = uploaded(tmp_path)
    assert len(lines) == len(set(lines)) == MANY


def test_one_row_that_the_vendor_refuses(tmp_path: Path) -> None:
    """Metrica takes no file with a bad row and does not say which it is: it is found, rejected with a code, and every
    other row is counted exactly once."""
    clock = SharedClock(tmp_path / "clock")
    clock.set(NOW)
    metrica = Metrica(clock, name="okna", is_limited=False)
    rows = [TableRow(f"L{number:04d}", yclid=f"177511000000{number:08d}") for number in range(MANY)]
    for number, row in enumerate(rows):
        assert row.yclid
        metrica.know(Click(number, row.created_at - timedelta(hours=1), number, "", "", row.yclid))
    assert rows[1234].yclid
    metrica.bad_rows.add(rows[1234].yclid)
    write_table(tmp_path, rows)
    with served(metrica):
        (token,) = metrica.secrets().values()
        (tmp_path / "token").write_text(token, encoding="utf-8")
        online = {**metrica.settings(), "token": {"file": "token"}}
        write_config(tmp_path, okna=tenant(destinations={DESTINATION: online}, goals=GOALS[:1]))
        for _ in range(3):
            call(tmp_path, "sync")
            clock.set(clock.now() + timedelta(hours=3))
    found = states(tmp_path)["destinations"][DESTINATION]
    assert {state: found[state] for state in ("verified", "rejected", "pending", "sealed", "accepted")} == {
        "verified": MANY - 1,
        "rejected": 1,
        "pending": 0,
        "sealed": 0,
        "accepted": 0,
    }
    explained = call(tmp_path, "explain", "L1234", "--tenant", TENANT, "--json").json
    assert explained["deliveries"][0]["state"] == "rejected"
    assert explained["deliveries"][0]["reason"]
    good = sorted(str(row.yclid) for row in rows if row is not rows[1234])
    assert sorted(row.identifiers[0] for row in metrica.applied() if row.is_linked and row.reaches == 1) == good


def _spoil(crm: Any, key: str) -> None:
    """An absurd amount in one record, from the beginning."""
    entity, _, number = key.partition(":")
    if isinstance(crm, AmoCrm):
        crm.store.leads[int(number)].price = 10**40
    else:
        crm.data.record(entity, int(number)).row["OPPORTUNITY"] = "очень много"


def _repaired(lead: Lead, at: datetime) -> Happening:
    """Somebody corrects the amount; the stage stays."""
    return Happening(at, lead, replace(lead.steps[-1], at=at, value=Decimal(1000)), is_new=False)


@pytest.mark.parametrize("kind", ["amocrm", "bitrix24"])
def test_one_record_of_a_crm_that_cannot_be_read(kind: str, tmp_path: Path) -> None:
    """An absurd amount in one record: quarantined with a code, the others are read and sent; repaired, it follows."""
    with town(tmp_path, kind) as made:
        crm, leads = made.scene.crm, made.scene.world.leads
        made.advance(START + timedelta(days=10))
        lead = next(lead for lead in leads if lead.steps[-1].stage is StageName.LOST)
        key = crm.deal_key(lead.id)
        made.background.do(lambda: _spoil(crm, key))
        call(tmp_path, "sync")
        assert made.source()["quarantined"] == 1
        explained = call(tmp_path, "explain", key, "--tenant", TENANT, "--json")
        assert explained.status == 1
        assert "in quarantine" in explained.json["problems"][0]
        others = made.source()["deals"]
        assert others >= len(leads) - 1

        made.advance(START + timedelta(days=10, hours=1))
        made.background.do(lambda: crm.happen(_repaired(lead, START + timedelta(days=10, hours=1))))
        made.advance(START + timedelta(days=12))
        call(tmp_path, "sync")
        assert (made.source()["quarantined"], made.source()["deals"]) == (0, others + 1)
        assert made.background.do(lambda: made.stage.verdicts(timedelta(hours=50)))[TENANT, METRICA].is_clean

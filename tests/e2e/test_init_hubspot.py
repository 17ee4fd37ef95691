"""``bridge init`` for a HubSpot account: what it writes reads the account and passes the check."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from adapters.hubspot.fake import HubSpot
from adapters.yandex_metrica.fake import Metrica
from bridge.sim.world import World
from bridge.system_clock import SystemClock
from tests.e2e.init_kit import sent, tenant
from tests.e2e.kit import free_call, served


def test_hubspot_to_metrica_is_written_and_passes_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The identifiers are found by themselves, stages and goals by their names; free loss reasons are no obstacle."""
    monkeypatch.chdir(tmp_path)
    clock = SystemClock()
    crm = HubSpot(clock, name="school_crm", is_limited=False)
    metrica = Metrica(clock, name="school_metrica", is_limited=False)
    now = datetime.now(UTC)
    world = World.make(11, 60, start=now - timedelta(days=22), days=20)
    with served(crm, metrica) as background:
        for event in world.happenings():
            if event.at < now:
                background.do(partial(crm.happen, event))
        monkeypatch.setenv("SCHOOL_CRM_TOKEN", crm.tokens.private)
        monkeypatch.setenv("SCHOOL_METRICA_TOKEN", metrica.token)
        said = free_call(
            *("init", "--tenant", "school", "--source", "hubspot", "--destination", "yandex_metrica"),
            *("--set", f"crm.base_url={crm.base_url}", "--set", f"metrica.base_url={metrica.base_url}"),
            *("--set", "crm.requests_per_second=1000", "--set", "crm.searches_per_second=1000"),
            *("--counter-id", str(metrica.counter_id), "--qualified-stage", "Квалифицирован"),
        )
        assert (said.status, said.err) == (0, "")
        settings = tenant(name="school")
        assert settings.sources["crm"].fields == {}
        assert sent(settings)["qualified"] == {"metrica": "qualified_lead"}
        assert sent(settings)["sale"] == {"metrica": "deal_won"}
        assert free_call("check").status == 0

"""``bridge check`` says what works and what to do about the rest, and never fails itself."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.bitrix24.fake import Bitrix24
from bridge.errors import ConfigError
from bridge.ports import Finding, Level
from bridge.sim.clock import ManualClock
from bridge.sim.events import StageName
from tests.adapters.bitrix24.kit import Rig, add_deals, lead, live, running
from tests.support import START


def worst(findings: list[Finding]) -> dict[str, str]:
    """Messages by subject of everything that is not fine."""
    return {finding.subject: finding.message for finding in findings if finding.level is not Level.OK}


async def test_a_sound_portal_has_only_good_findings(tmp_path: Path) -> None:
    """Webhook, scope, clock, both entities with date filters, configured fields."""
    async with running(tmp_path) as rig:
        live(rig, lead(2, [(0, StageName.NEW)]))
        add_deals(rig.portal, 3)
        findings = await rig.source.check()
        assert worst(findings) == {}
        assert {"credentials", "scope", "clock", "leads", "deals", "fields.yclid"} <= {
            item.subject for item in findings
        }
        assert {item.message for item in findings if item.subject == "deals"} == {"readable, date filters work"}


async def test_a_removed_webhook_is_one_clear_finding(tmp_path: Path) -> None:
    """Whatever the status the portal chooses for it."""
    for status in (401, 403):
        async with running(tmp_path) as rig:
            rig.portal.is_revoked = True
            rig.portal.denied_status = status
            assert "create a new one" in worst(await rig.source.check())["credentials"]


async def test_a_webhook_without_crm_says_which_box_to_tick(tmp_path: Path) -> None:
    """The other findings still come."""
    async with running(tmp_path, scopes=("user",)) as rig:
        found = worst(await rig.source.check())
        assert "tick CRM" in found["scope"]
        assert {"leads", "deals"} <= set(found)


async def test_a_restricted_or_travelling_user_is_a_warning(tmp_path: Path) -> None:
    """Rows this user may not read are missing without a word; a zone of their own may shift filters."""
    async with running(tmp_path) as rig:
        rig.portal.methods.is_admin = False
        rig.portal.methods.time_zone = "Asia/Vladivostok"
        found = worst(await rig.source.check())
        assert "may not read" in found["rights"]
        assert "Asia/Vladivostok" in found["time zone"]


async def test_a_clock_that_is_wrong_is_noticed(tmp_path: Path) -> None:
    """Windows end at our now: a clock behind the portal's only delays, one ahead loses nothing but hides much."""

    class Late(Bitrix24):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(ManualClock(START - timedelta(minutes=9)), is_limited=False)

    async with running(tmp_path) as rig:
        portal = Late()
        await portal.start()
        assert "540 s" in worst(await rig.another(base_url=portal.base_url).check())["clock"]
        await portal.stop()


async def shifted(rig: Rig) -> dict[str, str]:
    class Shifted(Bitrix24):
        """Reads date filters three hours off, as for a user in another zone (contract 3.4)."""

        def _timed(self, name: str, params: Any) -> Any:
            wanted = params.get("filter", {})
            moved = {
                key: value.replace("+00:00", "-03:00") if "DATE" in key else value for key, value in wanted.items()
            }
            return super()._timed(name, {**params, "filter": moved} if moved else params)

    portal = Shifted(rig.clock, is_limited=False)
    await portal.start()
    add_deals(portal, 1)
    found = worst(await rig.another(base_url=portal.base_url, entities=["deal"]).check())
    await portal.stop()
    return found


async def test_date_filters_that_are_read_in_another_zone_are_an_error(tmp_path: Path) -> None:
    """Else whole hours of changes would never be listed, without any sign of it."""
    async with running(tmp_path) as rig:
        assert "date filter" in (await shifted(rig))["deals"]


async def test_an_unknown_field_lists_the_nearest_real_ones(tmp_path: Path) -> None:
    """By code or by label; a field of only one entity is a warning."""
    async with running(tmp_path) as rig:
        fields = {"yclid": ["UF_CRM_YCLIDS"], "client_id": ["ClientID Метрика"], "gclid": ["GCLID"]}
        source = rig.another(fields=fields, loss_reason_field="STATUS_DESCRIPTION")
        found = worst(await source.check())
        assert "UF_CRM_YCLID" in found["fields.yclid"]
        assert "ClientID Метрики" in found["fields.client_id"]
        assert "fields.gclid" not in found
        assert found["loss_reason_field"] == '"STATUS_DESCRIPTION" does not exist for deals'


async def test_the_catalogue_has_every_pipeline_with_its_own_stage_codes(tmp_path: Path) -> None:
    """Codes are read, never built: the portal cuts them at 21 characters."""
    async with running(tmp_path) as rig:
        found = await rig.source.catalogue()
        pipelines = {pipeline.name: pipeline for pipeline in found.pipelines}
        assert set(pipelines) == {"Лиды", "Общая", "Продажи", "Опт"}
        assert "C10:PREPAYMENT_INVOIC" in {stage.id for stage in pipelines["Опт"].stages}
        assert ("C1:UC_LOSS1", "Спам") in found.loss_reasons
        assert {"UF_CRM_YCLID", "ClientID Метрики"} <= set(found.fields)


async def test_a_missing_secret_is_a_configuration_error(tmp_path: Path) -> None:
    """Named by its variable, at once."""
    async with running(tmp_path) as rig:
        with pytest.raises(ConfigError, match="B24_NOWHERE"):
            rig.another(auth={"webhook": {"env": "B24_NOWHERE"}})

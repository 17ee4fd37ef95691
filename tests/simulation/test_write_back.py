"""Write-back over whole businesses: each deal shows the ledger's truth, and our own writes are no news to anybody."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from adapters.amocrm.fake import AmoCrm, Quirks
from adapters.bitrix24.fake import FIELDS, Bitrix24
from adapters.bitrix24.fake_schema import CustomField
from bridge.daemon import cycle
from bridge.frozen import replace
from bridge.rules.mark import mark_of
from bridge.sim.events import Applied
from bridge.sim.server import SourceSimulator
from bridge.sim.stage import SOURCE, Cast, Scene
from bridge.store import schema
from bridge.web.status import status
from tests.simulation.kit import START, Play, column, events, play, staged

DAY = timedelta(days=1)
LEAD_FIELD, TAG, RECORD_FIELD = "Поле 30", "отправлено", "UF_CRM_BRIDGE"
TRAPS = Quirks(event_order="shuffled", has_inclusive_bounds=False, event_delay=2.0)
KINDS: Mapping[str, tuple[dict[str, Any], dict[str, str]]] = {
    "amocrm": ({"quirks": TRAPS}, {"field": LEAD_FIELD, "tag": TAG}),
    "bitrix24": ({"fields": (*FIELDS, CustomField(RECORD_FIELD, "Конверсии"))}, {"field": RECORD_FIELD}),
}


def shown(crm: SourceSimulator) -> dict[str, tuple[str, bool | None]]:
    """What every deal of the CRM shows of us: text, and whether it has our tag (None where there are no tags)."""
    if isinstance(crm, AmoCrm):
        found: dict[str, tuple[str, bool | None]] = {}
        for lead in crm.store.leads.values():
            fields = msgspec.json.decode(lead.custom) or ()
            texts = [item["values"][0]["value"] for item in fields if item["field_name"] == LEAD_FIELD]
            tags = [item["name"] for item in msgspec.json.decode(lead.tags)]
            found[f"lead:{lead.id}"] = (texts[0] if texts else "", TAG in tags)
        return found
    assert isinstance(crm, Bitrix24)
    tables = {kind: crm.data.tables[kind] for kind in ("lead", "deal")}
    return {
        f"{kind}:{number}": (record.row.get(RECORD_FIELD) or "", None)
        for kind, table in tables.items()
        for number, record in table.records.items()
    }


async def wanted(made: Play, scene: Scene) -> dict[str, tuple[str, bool | None]]:
    """What they ought to show, by the ledger."""
    tenant = await made.installation.tenant(scene.tenant)
    keys = list(shown(scene.crm))
    told = await tenant.marks.told(SOURCE, keys)
    has_tags = isinstance(scene.crm, AmoCrm)
    marks = [mark_of(key, told.get(key, ()), ZoneInfo("Europe/Moscow")) for key in keys]
    return {mark.deal: (mark.text, mark.is_sent if has_tags else None) for mark in marks}


async def business(folder: Path, kind: str, *, is_harsh: bool, is_on: bool) -> dict[str, Any]:
    """A business of five days and a calm end, a turn of the bridge every seven hours; what it leaves behind."""
    options, write_back = KINDS[kind]
    cast = Cast(11, START, days=5, leads=120, kinds=(kind,), crm_options=options, is_harsh=is_harsh)
    source: dict[str, Any] = {"sweep_every": "12h"} | ({"write_back": write_back} if is_on else {})
    async with play(folder, staged(cast), source=source) as made:
        scene = made.stage.scenes[0]
        done = await live(made, scene)
        report = await status(made.installation.reports, made.config, made.installation.names(), made.stage.clock.now())
        store = made.installation.store
        return {
            "verdicts": made.stage.verdicts(timedelta(days=2)),
            "applied": {name: sorted(map(_plain, account.applied())) for name, account in scene.ads.items()},
            "conversions": sorted(await column(store, schema.conversion.c.id)),
            "states": Counter(await column(store, schema.delivery.c.state)),
            "status": report["tenants"][scene.tenant]["sources"][SOURCE],
            "shown": shown(scene.crm),
            "wanted": await wanted(made, scene),
            "changed": done["changed"],
            "marked": done["marked"],
        }


async def live(made: Play, scene: Scene) -> Counter[str]:
    """The business in steps of seven hours, then five calm days; what the turns did, counted."""
    stage, done = made.stage, Counter[str]()
    tenant = await made.installation.tenant(scene.tenant)
    while stage.told_until < START + 10 * DAY:
        if stage.told_until >= START + 5 * DAY:
            stage.calm()
        stage.advance(stage.told_until + timedelta(hours=7))
        done += (await cycle(tenant)).done
    return done


def _plain(row: Applied) -> str:
    return str(replace(row))


def swept(logs: io.StringIO) -> list[tuple[int, int]]:
    return [(line["missed"], line["gone"]) for line in events(logs, "source_swept")]


@pytest.mark.parametrize(("kind", "is_harsh"), [("amocrm", False), *((kind, True) for kind in KINDS)])
async def test_marks_tell_the_truth_and_change_nothing_else(
    kind: str, is_harsh: bool, tmp_path: Path, logs: io.StringIO
) -> None:
    """With faults or without, every deal shows in the end what the ledger says; the oracle is content, and in calm
    everything applied is what it is without write-back; no sweep finds anything missed."""
    for name in ("on", "off"):
        (tmp_path / name).mkdir()
    found = await business(tmp_path / "on", kind, is_harsh=is_harsh, is_on=True)
    assert all(verdict.is_clean for verdict in found["verdicts"].values())
    assert found["shown"] == found["wanted"]
    assert sum(text != "" for text, _ in found["shown"].values()) > 20
    assert (found["status"]["marks_waiting"], found["status"]["mark_error"]) == (0, None)
    assert len(swept(logs)) > 5
    assert set(swept(logs)) == {(0, 0)}
    plain = await business(tmp_path / "off", kind, is_harsh=False, is_on=False)
    assert set(plain["shown"].values()) <= {("", False), ("", None)}
    assert found["conversions"] == plain["conversions"]
    if not is_harsh:
        assert found["applied"] == plain["applied"]
        assert found["states"] == plain["states"]
        assert found["changed"] == plain["changed"]
        assert found["marked"] >= 50

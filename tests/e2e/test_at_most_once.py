"""Destinations that can prove nothing, over real turns and a bad line: at most once each, and nothing is forgotten."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.ga4.fake import Stream
from adapters.meta_capi.fake import Dataset
from adapters.vk_ads.fake import Pixel
from bridge.sim.clock import SharedClock
from bridge.sim.faults import Fault, FaultPlan
from bridge.sim.server import DestinationSimulator
from tests.e2e.kit import NOW, SOURCE, TENANT, Background, call, later, served, tenant, write_config

LEADS = 12
HOUR = timedelta(hours=1)
# No fault after which a client waits and repeats by itself: the time of these turns stands still while they run.
BAD_LINE = {Fault.LOST_ANSWER: 0.2, Fault.ERROR_AFTER: 0.15, Fault.DROP_BEFORE: 0.15}
GOALS: list[dict[str, Any]] = [
    {
        "name": "qualified",
        "when": {"stage": ["Квалифицирован"]},
        "value": 1500,
        "send": {"ga": "qualify_lead", "meta": "Qualified Lead", "vk": "qualified_lead"},
    }
]
FIELDS = {"ga_session_id": ["GA Session"], "fb_lead_id": ["Lead Ads"]}


@pytest.fixture
def vendors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[dict[str, Any], Background]]:
    """Three vendors at the end of a bad line, and a table of leads on its way to them."""
    clock = SharedClock(tmp_path / "clock")
    clock.set(NOW)
    plan = {"ga": Stream, "meta": Dataset, "vk": Pixel}
    made = {own: kind(clock, FaultPlan(7 + number, BAD_LINE)) for number, (own, kind) in enumerate(plan.items())}
    with served(*made.values()) as background:
        for sim in made.values():
            for name, value in sim.secrets().items():
                monkeypatch.setenv(name, value)
        _write(tmp_path, made)
        yield made, background


def _write(folder: Path, made: dict[str, DestinationSimulator]) -> None:
    source = {"kind": "table", "path": "leads.csv", "start_from": "30d", "fields": FIELDS}
    sections = {own: {**sim.settings(), "send_every": "1s"} for own, sim in made.items()}
    sections["meta"]["max_rows"] = 3
    write_config(folder, okna=tenant(sources={SOURCE: source}, destinations=sections, goals=GOALS))
    at = f"{NOW - HOUR:%d.%m.%Y %H:%M:%S}"
    lines = [
        f"{number};{at};{at};Квалифицирован;GA1.1.100000{number:04d}.1771109480;GS2.1.s17711094{number:02d}$o1$g1;"
        f"l:12345678901{number:05d};AbCdEf{number:04d}"
        for number in range(LEADS)
    ]
    head = "ID;Дата создания;Дата статуса;Статус;_ga;GA Session;Lead Ads;rb_clickid"
    (folder / "leads.csv").write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")


def states(folder: Path) -> dict[str, Counter[str]]:
    """How many deliveries of each destination are in which state."""
    told = call(folder, "status", "--json").json["tenants"][TENANT]["destinations"]
    names = ("pending", "sealed", "accepted", "held", "rejected", "expired", "cancelled")
    return {own: Counter({name: parts[name] for name in names if parts[name]}) for own, parts in told.items()}


def turns(folder: Path, count: int, by: timedelta) -> None:
    for _ in range(count):
        call(folder, "sync")
        later(folder, by)


def test_a_bad_line_doubles_nothing_and_what_is_in_doubt_is_held(
    vendors: tuple[dict[str, Any], Background], tmp_path: Path
) -> None:
    """Accepted ones were counted once; the others are held, counted or not, and never go by themselves."""
    made, background = vendors
    turns(tmp_path, 12, timedelta(minutes=20))
    background.do(lambda: [sim.faults.stop() for sim in made.values()])
    turns(tmp_path, 8, HOUR)
    for own, found in states(tmp_path).items():
        applied = background.do(made[own].applied)
        assert {item.reaches for item in applied} == {1}, own
        assert found["accepted"] + found["held"] == LEADS, (own, found)
        assert found["accepted"] <= len(applied) <= LEADS, own
        assert found["held"], f"{own}: the line was not bad enough to show anything"


def test_on_a_good_line_each_lead_arrives_once_with_what_it_is_known_by(
    vendors: tuple[dict[str, Any], Background], tmp_path: Path
) -> None:
    """From cookies and exports in a table to the vendors' own identifiers."""
    made, background = vendors
    background.do(lambda: [sim.faults.stop() for sim in made.values()])
    turns(tmp_path, 3, timedelta(minutes=20))
    assert states(tmp_path) == {own: Counter(accepted=LEADS) for own in made}
    found = {own: sorted(item.identifiers for item in background.do(sim.applied)) for own, sim in made.items()}
    assert found["ga"] == [(f"100000{number:04d}.1771109480",) for number in range(LEADS)]
    assert found["meta"] == [(f"12345678901{number:05d}",) for number in range(LEADS)]
    assert found["vk"] == [(f"AbCdEf{number:04d}",) for number in range(LEADS)]
    assert sorted(made["ga"].sessions()) == [f"17711094{number:02d}" for number in range(LEADS)]
    assert all(item.value == 1500 and item.reaches == 1 for sim in made.values() for item in sim.applied())

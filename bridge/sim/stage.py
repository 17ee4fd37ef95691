"""A stage for simulations: worlds, vendors' simulators on real sockets, one clock, one configuration, the oracle.

The demo, the simulation tests, the crash tests and the benchmarks all play on it.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

from bridge import registry
from bridge.sim import bots, toml
from bridge.sim.clock import ManualClock, SharedClock
from bridge.sim.events import Call, Click, Happening
from bridge.sim.faults import FaultPlan
from bridge.sim.oracle import Check, Vendor, Verdict, compare, expected
from bridge.sim.server import DestinationSimulator, Simulator, SourceSimulator, TrackerSimulator
from bridge.sim.world import World

METRICA_TARGETS = {"qualified": "qualified_lead", "spam": "spam_lead", "sale": "deal_won"}
GOOGLE_TARGETS = {"qualified": "7012345678", "sale": "7012345679"}
_SECRETS = "secrets"
SOURCE, TRACKER, METRICA, GOOGLE = "crm", "calls", "metrica", "google"
_VENDORS: Mapping[str, Vendor] = {METRICA: "yandex_metrica", GOOGLE: "google_ads"}
_TARGETS = {METRICA: METRICA_TARGETS, GOOGLE: GOOGLE_TARGETS}


def simulator(kind: str) -> type[Simulator]:
    """The simulator class of an adapter, as its SPEC names it."""
    module, _, name = registry.spec(kind).fake.rpartition(".")
    return cast(type[Simulator], getattr(importlib.import_module(module), name))


@dataclass(slots=True)
class Scene:
    """One imaginary advertiser: its business, its CRM, its two ad accounts.

    ``excluded`` are leads that are spam by its rules: they are neither qualified nor sold.
    """

    tenant: str
    title: str
    world: World
    crm: SourceSimulator
    ads: dict[str, DestinationSimulator]
    tracker: TrackerSimulator | None = None
    excluded: frozenset[int] = frozenset()
    _happenings: list[Happening] = field(default_factory=list)
    _clicks: list[Click] = field(default_factory=list)
    _calls: list[Call] = field(default_factory=list)
    _forms: list[Call] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._happenings = self.world.happenings()[::-1]
        self._clicks = list(self.world.clicks)[::-1]
        self._calls = [call for call in self.world.calls if not call.key][::-1]
        self._forms = [call for call in self.world.calls if call.key][::-1]

    @property
    def simulators(self) -> Sequence[Simulator]:
        tracker = () if self.tracker is None else (self.tracker,)
        return (self.crm, *tracker, *self.ads.values())

    def play(self, until: datetime) -> int:
        """Let everything up to a moment happen, in order; returns how many things happened in the CRM."""
        while self._clicks and self._clicks[-1].at <= until:
            click = self._clicks.pop()
            for account in self.ads.values():
                account.know(click)
        while self.tracker is not None and self._calls and self._calls[-1].at <= until:
            self.tracker.ring(self._calls.pop())
        count = 0
        while self._happenings and self._happenings[-1].at <= until:
            self.crm.happen(self._happenings.pop())
            count += 1
        return count

    def forms(self, until: datetime) -> list[Call]:
        """The forms sent since the last time this was asked, in their order."""
        sent = []
        while self._forms and self._forms[-1].at <= until:
            sent.append(self._forms.pop())
        return sent

    def verdict(self, name: str, told_until: datetime, now: datetime, lag: timedelta) -> Verdict:
        """The oracle's opinion of one ad account."""
        check = Check(_VENDORS[name], _TARGETS[name], now, lag)
        items = [
            item for item in expected(self.world, told_until) if item.goal == "spam" or item.lead not in self.excluded
        ]
        return compare(items, self.ads[name].applied(), check)


@dataclass(slots=True)
class Cast:
    """Who plays. ``kinds`` are the CRMs, one tenant each; ``tracker`` is the kind of their call trackers.

    ``collects``: their sites have our own collector; whoever plays posts the forms (``Scene.forms``). ``has_bots``:
    bots send requests, too, and rules tell spam from what counts.
    """

    seed: int
    start: datetime
    days: int = 30
    leads: int = 250
    kinds: Sequence[str] = ("amocrm", "bitrix24")
    is_limited: bool = False
    is_harsh: bool = False
    crm_options: Mapping[str, Any] = field(default_factory=dict)
    ad_options: Mapping[str, Any] = field(default_factory=dict)
    tracker: str = ""
    tracker_options: Mapping[str, Any] = field(default_factory=dict)
    collects: bool = False
    has_bots: bool = False


class Stage:
    """Simulators of every scene under one clock. ``advance`` lets the world happen."""

    def __init__(self, cast_: Cast, clock: ManualClock | SharedClock) -> None:
        self.cast = cast_
        self.clock = clock
        clock.set(cast_.start)
        self.told_until = cast_.start
        self.scenes = [self._scene(number, kind) for number, kind in enumerate(cast_.kinds)]

    def _scene(self, number: int, kind: str) -> Scene:
        seed = self.cast.seed * 100 + number
        tenant = ("okna", "dom", "sad", "les")[number]
        world = World.make(seed, self.cast.leads, start=self.cast.start, days=self.cast.days)
        tracker = None
        if self.cast.has_bots:
            world = bots.with_bots(world)
        if self.cast.collects:
            world = world.with_forms(some_call=bool(self.cast.tracker))
        elif self.cast.tracker:
            world = world.with_calls()
        if self.cast.tracker:
            tracker = self._make(self.cast.tracker, f"{tenant}_calls", seed * 10 + 3, self.cast.tracker_options)
        crm = self._make(kind, f"{tenant}_crm", seed * 10, self.cast.crm_options)
        ads = {
            METRICA: self._make("yandex_metrica", f"{tenant}_metrica", seed * 10 + 1, self.cast.ad_options),
            GOOGLE: self._make("google_ads", f"{tenant}_google", seed * 10 + 2, self.cast.ad_options),
        }
        title = registry.spec(kind).title
        parts = cast(SourceSimulator, crm), cast(dict[str, DestinationSimulator], ads)
        excluded = bots.spam_leads(world) if self.cast.has_bots else frozenset()
        return Scene(tenant, title, world, *parts, cast(TrackerSimulator | None, tracker), excluded)

    def _make(self, kind: str, name: str, seed: int, options: Mapping[str, Any]) -> Simulator:
        faults = FaultPlan.harsh(seed) if self.cast.is_harsh else FaultPlan.calm()
        return simulator(kind)(self.clock, faults, name=name, is_limited=self.cast.is_limited, **options)

    async def start(self) -> None:
        for scene in self.scenes:
            for one in scene.simulators:
                await one.start()

    async def stop(self) -> None:
        for scene in self.scenes:
            for one in scene.simulators:
                await one.stop()

    def calm(self) -> None:
        """No more faults: what is in trouble must now heal."""
        for scene in self.scenes:
            for one in scene.simulators:
                one.faults.stop()

    def advance(self, to: datetime) -> int:
        """Move the clock and let the world happen up to then."""
        count = sum(scene.play(to) for scene in self.scenes)
        self.told_until = max(self.told_until, to)
        self.clock.set(to)
        return count

    def verdicts(self, lag: timedelta = timedelta(hours=12)) -> dict[tuple[str, str], Verdict]:
        """The oracle's opinion of every ad account, by (tenant, destination)."""
        now = self.clock.now()
        return {
            (scene.tenant, name): scene.verdict(name, self.told_until, now, lag)
            for scene in self.scenes
            for name in scene.ads
        }

    def secrets(self) -> dict[str, str]:
        """Environment variables the configuration refers to."""
        return {key: value for scene in self.scenes for one in scene.simulators for key, value in one.secrets().items()}

    def personal(self) -> frozenset[str]:
        """Phones and e-mails of every world."""
        return frozenset().union(*(scene.world.personal() for scene in self.scenes))

    def configure(self, path: Path, database: str, **overrides: Any) -> None:
        """Write the configuration of all tenants, and the secrets it refers to as files beside it.

        Keyword ``source`` and ``destination`` hold dictionaries merged into these sections, ``web`` the address,
        ``goals`` other goals than those of every advertiser.
        """
        tenants = {scene.tenant: self._tenant(scene, overrides) for scene in self.scenes}
        config = {"database": {"url": database}, "web": {"listen": overrides.get("web", "")}, "tenants": tenants}
        path.write_text(toml.dumps(_with_files(config)), encoding="utf-8")
        folder = path.parent / _SECRETS
        folder.mkdir(mode=0o700, exist_ok=True)
        for name, secret in self.secrets().items():
            (folder / name).write_text(secret, encoding="utf-8")
            (folder / name).chmod(0o600)

    def _tenant(self, scene: Scene, overrides: Mapping[str, Any]) -> dict[str, Any]:
        source = {**scene.crm.settings(), "start_from": f"{self.cast.days + 1}d", **overrides.get("source", {})}
        sources = {SOURCE: source}
        if scene.tracker is not None:
            sources[TRACKER] = {**scene.tracker.settings(), **overrides.get("tracker", {})}
        collector = {"sites": ["okna.example"], "phone_input": "[type=tel]", "per_visitor": 100_000}
        ads = {name: {**one.settings(), **overrides.get("destination", {})} for name, one in scene.ads.items()}
        return {
            "title": scene.title,
            "timezone": "Europe/Moscow",
            "currency": "RUB",
            "match": {"send_probable": True},  # nobody here shares a telephone: what is probable is right
            "sources": sources,
            "destinations": ads,
            "goals": overrides.get("goals") or goals(excludes_spam=self.cast.has_bots),
            **({"spam": dict(bots.RULES)} if self.cast.has_bots else {}),
            **({"collector": {**collector, **overrides.get("collector", {})}} if self.cast.collects else {}),
        }


def _with_files(value: Any) -> Any:
    """References to environment variables turned into references to files: a written configuration stands alone."""
    if isinstance(value, Mapping):
        if set(value) == {"env"}:
            return {"file": f"{_SECRETS}/{value['env']}"}
        return {key: _with_files(inner) for key, inner in value.items()}
    return [_with_files(inner) for inner in value] if isinstance(value, list) else value


def goals(*, excludes_spam: bool = False) -> list[dict[str, Any]]:
    """The three goals of every imaginary advertiser; ``excludes_spam``: what is spam by rules counts for none of the
    good ones.
    """

    def send(goal: str) -> dict[str, str]:
        return {name: targets[goal] for name, targets in _TARGETS.items() if goal in targets}

    good = {"exclude_spam": True} if excludes_spam else {}
    return [
        {"name": "qualified", "when": {"stage": ["Квалифицирован"]}, "send": send("qualified"), **good},
        {"name": "spam", "when": {"outcome": "lost", "loss_reason": ["Спам", "Дубль"]}, "send": send("spam")},
        {"name": "sale", "when": {"outcome": "won"}, "value": "deal", "send": send("sale"), **good},
    ]

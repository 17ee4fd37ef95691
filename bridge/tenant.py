"""One tenant at work: its settings, its built adapters, its part of the store. What every loop is handed."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from bridge.catalogue import Catalogue
from bridge.config import DestinationSettings, Goal, SourceSettings, TenantSettings
from bridge.consent import ConsentedSettings
from bridge.marking import MarkedSettings
from bridge.matching import TouchModel
from bridge.ports import Api, Destination, DestinationTraits, Source
from bridge.rules import definitions
from bridge.rules.choice import Want
from bridge.rules.consent import Terms
from bridge.rules.goals import OWN_VALUES
from bridge.rules.graph import Reach
from bridge.rules.names import plain
from bridge.rules.plan import Route
from bridge.rules.qualify import Compiled, compile_goals
from bridge.scoring import BEHAVIOUR, INHERITED, NOTED, fields_of_dates
from bridge.store.audits import Audits
from bridge.store.collected import Collected
from bridge.store.coverage import Coverage
from bridge.store.crowds import Crowds
from bridge.store.drift import Drifts
from bridge.store.engine import Store
from bridge.store.estimates import Estimates
from bridge.store.hints import Hints
from bridge.store.ledger import Ledger
from bridge.store.marks import Marks
from bridge.store.records import Records
from bridge.store.sweeps import Sweeps
from bridge.store.troubles import Troubles
from bridge.store.windows import Windows
from bridge.tools import Clock, DriftCounts, Log
from bridge.valuing import ValueOf
from bridge.visits import within_of


@dataclass(slots=True)
class SourceUnit:
    """A source of this tenant. ``port`` is None when it could not be built; ``error`` says why.

    ``told`` are places of the code at which judging a deal of it failed; each is logged whole once.
    ``hook`` is the address its webhooks come to, "" while they cannot (``hook_error`` then may say why), and
    ``hook_beginning`` all of it but the secret. ``hints_after``: when hints are tried again after a failure, by
    the road they come on. ``estimated_at``: when it was last looked for expected values.
    """

    name: str
    settings: SourceSettings
    port: Source | None
    error: str = ""
    catalogue: Catalogue | None = None
    catalogue_at: datetime | None = None
    compiled: Compiled | None = None
    told: set[str] = field(default_factory=set)
    hook: str = field(default="", repr=False)
    hook_beginning: str = ""
    hook_error: str = ""
    hook_trouble: str = ""
    hints_after: dict[str, datetime] = field(default_factory=dict)
    mark_trouble: str = ""
    estimated_at: datetime | None = None
    apis: tuple[Api, ...] = ()
    drift: DriftCounts = field(default_factory=DriftCounts)

    @property
    def is_marked(self) -> bool:
        """Whether its deals are marked with what became of their conversions."""
        return isinstance(self.settings, MarkedSettings) and self.settings.write_back is not None

    @property
    def brings_touches(self) -> bool:
        """Whether it is known to bring touches, which reach no goal."""
        return self.port is not None and self.port.traits.brings_touches


@dataclass(slots=True)
class DestinationUnit:
    """A destination of this tenant. ``port`` is None when it could not be built; ``traits`` are then its kind's.

    ``busy`` keeps sending and repairing apart.
    """

    name: str
    settings: DestinationSettings
    port: Destination | None
    error: str = ""
    traits: DestinationTraits | None = None
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)
    apis: tuple[Api, ...] = ()
    drift: DriftCounts = field(default_factory=DriftCounts)


@dataclass(slots=True)
class Progress:
    """What one run of a loop did, counted by name, and what went wrong, for people.

    ``unfinished``: destinations that have more to be sent at once, and gave way to the others.
    """

    done: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    unfinished: set[str] = field(default_factory=set)

    def __iadd__(self, other: Progress) -> Progress:
        self.done.update(other.done)
        self.problems += other.problems
        self.unfinished |= other.unfinished
        return self


class Turn(asyncio.Lock):
    """A lock that tells whoever holds it for long that somebody waits for it."""

    _waiting = 0

    @property
    def is_wanted(self) -> bool:
        return self._waiting > 0

    async def acquire(self) -> Literal[True]:
        self._waiting += 1
        try:
            return await super().acquire()
        finally:
            self._waiting -= 1


@dataclass(slots=True)
class Tenant:
    """Everything a loop needs. ``left`` serialises polling and judging; the right side has a lock per destination."""

    name: str
    settings: TenantSettings
    sources: Mapping[str, SourceUnit]
    destinations: Mapping[str, DestinationUnit]
    store: Store
    clock: Clock
    log: Log
    join_key: bytes
    random: random.Random = field(default_factory=random.Random)
    left: Turn = field(default_factory=Turn)
    records: Records = field(init=False)
    ledger: Ledger = field(init=False)
    marks: Marks = field(init=False)
    sweeps: Sweeps = field(init=False)
    troubles: Troubles = field(init=False)
    coverage: Coverage = field(init=False)
    hints: Hints = field(init=False)
    audits: Audits = field(init=False)
    windows: Windows = field(init=False)
    collected: Collected = field(init=False)
    crowds: Crowds = field(init=False)
    estimates: Estimates = field(init=False)
    drifts: Drifts = field(init=False)
    endings_told: date | None = None  # the day on which the log was last told of versions that end
    _kept: dict[str, bool] = field(default_factory=dict)
    _digests: definitions.Digests | None = None
    _noted: frozenset[str] | None = None
    _asked: frozenset[str] | None = None

    def __post_init__(self) -> None:
        self.records = Records(self.store)
        self.ledger = Ledger(self.store, self.name, [name for name, unit in self.sources.items() if unit.is_marked])
        self.marks = Marks(self.store, self.name)
        self.sweeps = Sweeps(self.store, self.name)
        self.troubles = Troubles(self.store, self.name)
        self.coverage = Coverage(self.store, self.name)
        self.hints = Hints(self.store)
        self.audits = Audits(self.store, self.name)
        self.windows = Windows(self.store, self.name)
        self.collected = Collected(self.store)
        self.crowds = Crowds(self.store, self.name)
        self.estimates = Estimates(self.store, self.name)
        self.drifts = Drifts(self.store, self.name)

    def routes(self) -> dict[str, list[Route]]:
        """For each goal, where it goes and under which name; destinations that could not be built still count.

        A conversion is promised to every configured destination; one that is down just keeps its rows pending.
        """
        return {goal.name: self._goal_routes(goal) for goal in self.settings.goals}

    @property
    def keeping_orders(self) -> set[str]:
        """Destinations that goals go to and that keep one order per deal."""
        return {route.destination for to in self.routes().values() for route in to if route.traits.deal_orders}

    def _goal_routes(self, goal: Goal) -> list[Route]:
        routes = []
        for name, target in goal.send.items():
            unit = self.destinations[name]
            traits = unit.traits if unit.port is None else unit.port.traits
            if traits is not None:
                routes.append(Route(name, target, traits, terms=self._terms(unit)))
        return routes

    def _terms(self, unit: DestinationUnit) -> Terms | None:
        section = unit.settings
        return Terms.of(section.consent, self.settings.region) if isinstance(section, ConsentedSettings) else None

    @property
    def digests(self) -> definitions.Digests:
        """The goals' definitions as they are configured."""
        if self._digests is None:
            settings = self.settings
            meanings = definitions.Meanings(settings.spam.meaning, settings.expected.meaning)
            self._digests = definitions.digests(settings.goals, settings.currency, settings.scores, meanings)
        return self._digests

    def compile(self, unit: SourceUnit, catalogue: Catalogue) -> Compiled:
        """The tenant's goals against a source's names; kept until the catalogue changes."""
        if unit.compiled is None or unit.catalogue != catalogue:
            settings = self.settings
            zone = ZoneInfo(settings.timezone)
            unit.compiled = compile_goals(settings.goals, catalogue, settings.currency, zone, settings.scores)
            unit.catalogue = catalogue
        return unit.compiled

    @property
    def reach(self) -> Reach:
        """How far matching looks."""
        wanted = self.settings.match
        own = [unit.settings.match.look_back for unit in self.destinations.values()]
        widest = max((look_back for look_back in own if look_back is not None), default=timedelta(0))
        within = within_of(unit.settings for unit in self.sources.values())
        return Reach(wanted.look_back, wanted.call_after, wanted.shared_above, widest, within)

    @property
    def model(self) -> TouchModel:
        """Which touch of a person counts, where a destination has no model of its own."""
        return self.settings.match.model

    def wants(self, routes: Mapping[str, Sequence[Route]]) -> tuple[Want, ...]:
        """What each destination that some goal goes to is to be told of clicks."""
        traits = {route.destination: route.traits for told in routes.values() for route in told}
        return tuple([self._want(name, traits[name]) for name in sorted(traits) if traits[name].accepts])

    def _want(self, name: str, traits: DestinationTraits) -> Want:
        own, usual = self.destinations[name].settings.match, self.settings.match
        look_back = usual.look_back if own.look_back is None else own.look_back
        sends_probable = usual.send_probable if own.send_probable is None else own.send_probable
        return Want(name, frozenset(traits.accepts), own.model or usual.model, look_back, sends_probable)

    @property
    def expects(self) -> bool:
        """Whether any goal's value is an expected one."""
        return any(goal.value == "expected" for goal in self.settings.goals)

    @property
    def keeps_fields(self) -> bool:
        """Whether any goal or score looks at custom fields, or any destination asks them for consent."""
        return bool(self._fields_tested() or self._expressions())

    def keeps_field(self, name: str) -> bool:
        """Whether anything looks at this custom field: then it is kept with the deal for ever, else for a while."""
        if name not in self._kept:
            is_tested = plain(name) in self._fields_tested()
            self._kept[name] = is_tested or any(name in text for text in self._expressions())
        return self._kept[name]

    @property
    def looks_around(self) -> bool:
        """Whether a goal may be reached, or left, when nothing happens to its deal: points fade, spam rules and facts
        look at other records.
        """
        fades = any(rule.decay is not None for score in self.settings.scores.values() for rule in score.rules)
        return fades or bool(self.settings.spam.rules or self.asked)

    @property
    def noted(self) -> frozenset[str]:
        """Facts that goals and scores look at and that have to be noted at the border."""
        if self._noted is None:
            self._noted = NOTED & self.asked
        return self._noted

    @property
    def asked(self) -> frozenset[str]:
        """Facts that goals and scores look at and that other records may tell."""
        if self._asked is None:
            named = frozenset(name for block in self.settings.blocks for name in block.facts)
            self._asked = named & (INHERITED | BEHAVIOUR)
        return self._asked

    def _fields_tested(self) -> set[str]:
        """Custom fields that goals, scores and consent name, or whose amounts are values, by their comparable names."""
        dated = fields_of_dates(self.settings.scores.values())
        named = (field for block in self.settings.blocks for field in block.field)
        values = [goal.value for goal in self.settings.goals]
        valued = [value.field for value in values if isinstance(value, ValueOf) and value.field is not None]
        return {plain(name) for name in (*named, *dated, *valued, *self._consents())}

    def _consents(self) -> list[str]:
        """Custom fields that say what a deal's person agreed to."""
        sections = [unit.settings for unit in self.destinations.values()]
        return [name for one in sections if isinstance(one, ConsentedSettings) for name in one.consent.names]

    def _expressions(self) -> list[str]:
        """CEL texts of goals and scores."""
        goals, known = self.settings.goals, {*OWN_VALUES, "expected"}
        values = [goal.value for goal in goals if isinstance(goal.value, str) and goal.value not in known]
        return [block.expression for block in self.settings.blocks if block.expression] + values

    @property
    def units(self) -> tuple[SourceUnit | DestinationUnit, ...]:
        """Its accounts: what is read and what is written to."""
        return (*self.sources.values(), *self.destinations.values())

    async def close(self) -> None:
        for source in self.sources.values():
            if source.port is not None:
                await source.port.close()
        for destination in self.destinations.values():
            if destination.port is not None:
                await destination.port.close()

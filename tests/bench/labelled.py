"""How well deals are matched: a labelled town read through the real border, judging and store, and counted."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from sqlalchemy import select

from bridge.catalogue import Catalogue
from bridge.config import DestinationSettings, Goal, SourceSettings, TenantSettings, When
from bridge.frozen import replace
from bridge.loops import assess
from bridge.model import Clue, Confidence, Contact, Deal, DealKind, IdKind, Match, Outcome, Unmatched
from bridge.ports import DestinationTraits, Proof
from bridge.rules.floor import Floor
from bridge.rules.graph import suffices
from bridge.sim.clock import ManualClock
from bridge.store import Store, schema
from bridge.store.records import Page
from bridge.tenant import DestinationUnit, SourceUnit, Tenant
from tests.bench.labelled_world import DAY, START, Record, Town, Visit, pages

CRM, CALLS = "crm", "calls"
_PAGE = 400
_KINDS = {"_ym_uid": IdKind.CLIENT_ID, "yclid": IdKind.YCLID, "gclid": IdKind.GCLID}
_TRAITS = DestinationTraits(Proof.ROW, (IdKind.YCLID, IdKind.GCLID, IdKind.CLIENT_ID))


@dataclass(slots=True)
class Tally:
    """Matches of one sort. ``right``: the click is this very person's; ``best``: it is the one the town names."""

    right: int = 0
    wrong: int = 0
    best: int = 0

    @property
    def precision(self) -> float:
        return self.right / max(self.right + self.wrong, 1)


@dataclass(slots=True)
class Score:
    """``knowable`` deals have a chain of facts to a click; ``found`` of them were matched with the right person's,
    ``sent`` of those surely enough to be sent by default, ``by_field`` by a field of the CRM alone.
    """

    deals: int = 0
    knowable: int = 0
    found: int = 0
    sent: int = 0
    by_field: int = 0
    classes: dict[str, Tally] = field(default_factory=dict)
    methods: dict[str, Tally] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)

    def add(self, record: Record, truth: Visit | None, town: Town, match: Match | Unmatched) -> None:
        self.deals += 1
        self.knowable += truth is not None
        if isinstance(match, Match) and not suffices(match.identifiers):
            match = Unmatched("visit_unknown", match.evidence)  # the number of a visit nobody knows is no click
        if isinstance(match, Unmatched):
            if truth is not None:
                self.missed.append(f"{record.key}: {match.reason}: {match.evidence}")
            return
        visits = town.visits(town.labels[record.key].person)
        right = any(visit.shows(item.value) for visit in visits for item in match.identifiers)
        best = truth is not None and any(truth.shows(item.value) for item in match.identifiers)
        for tally in (
            self.classes.setdefault(match.confidence, Tally()),
            self.methods.setdefault(match.method, Tally()),
        ):
            tally.right += right
            tally.wrong += not right
            tally.best += best
        if not right:
            self.strange.append(f"{record.key}: {match.confidence} {match.method}: {match.evidence}")
        if truth is not None and right:
            self.found += 1
            self.sent += match.confidence is not Confidence.PROBABLE
            self.by_field += match.method == "field"

    @property
    def recall(self) -> float:
        return self.found / max(self.knowable, 1)


async def measure(folder: Path, leads: int, seed: int) -> Score:
    """Read a town page by page as it comes in, judge again what late records concern, and compare with the truth."""
    town = Town.make(leads, seed)
    answers = town.answers()
    score = Score()
    async with tenant(folder) as who:
        await fill(who, town, seed)
        found = await matches(who, [record for record in town.records if not record.is_call])
    for record in town.records:
        if not record.is_call:
            score.add(record, answers[record.key], town, found[record.key])
    return score


@asynccontextmanager
async def tenant(folder: Path) -> AsyncIterator[Tenant]:
    """One advertiser with a CRM and a call tracker, on a SQLite file."""
    store = await Store.open(f"sqlite:///{folder}/labelled.db")
    goal = Goal(name="sale", when=When(outcome=["won"]), send={"ads": "sale"})
    destination = DestinationSettings(kind="ads")
    units = {name: SourceUnit(name, SourceSettings(kind=name), None) for name in (CRM, CALLS)}
    settings = TenantSettings(destinations={"ads": destination}, goals=[goal])
    ads = {"ads": DestinationUnit("ads", destination, None, traits=_TRAITS)}
    clock = ManualClock(START)  # nothing is too old to wait
    try:
        who = Tenant("okna", settings, units, ads, store, clock, structlog.get_logger(), b"k" * 32, random.Random(1))
        for unit in units.values():
            await who.records.set_catalogue(who.name, unit.name, Catalogue(is_open=True), clock.now())
        yield who
    finally:
        await store.close()


async def fill(who: Tenant, town: Town, seed: int) -> None:
    """Everything is read, in an order that is not that of its times."""
    desks = {name: await assess.desk_for(who, unit, Floor(START - DAY)) for name, unit in who.sources.items()}
    desks[CRM] = replace(desks[CRM], has_children=True)
    for page in pages(town.records, random.Random(seed), _PAGE):
        for name, desk in desks.items():
            deals = [_deal(record) for record in page if record.is_call is (name == CALLS)]
            if deals:
                judged = await assess.judge_all(desk, assess.enter(who, name, deals).entered, frozenset())
                assert not judged.failed, judged.failed
                await who.records.write_page(Page(who.name, name, who.clock.now(), judged.assessed))
    await assess.once(who)


async def matches(who: Tenant, records: Sequence[Record]) -> dict[str, Match | Unmatched]:
    """How stored deals are matched; what is stored is what judging them again says, or reading was not enough."""
    desk = await assess.desk_for(who, who.sources[CRM])
    found: dict[str, Match | Unmatched] = {}
    for first in range(0, len(records), _PAGE):
        keys = [record.key for record in records[first : first + _PAGE]]
        facts = await who.records.facts(who.name, CRM, keys)
        judged = await assess.judge_all(desk, assess.entered_before(facts.values()), frozenset(keys))
        found.update({item.deal.key: item.match for item in judged.assessed})
    table = schema.deal
    async with who.store.read() as connection:
        rows = await connection.execute(select(table.c.deal, table.c.method).where(table.c.source == CRM))
        stored = {row.deal: row.method for row in rows}
    again = {key: match.method if isinstance(match, Match) else None for key, match in found.items()}
    late = {key: (stored[key], again[key]) for key in again if stored[key] != again[key]}
    assert not late, f"not judged again though a late record concerned them: {late}"
    return found


def _deal(record: Record) -> Deal:
    kind, _, number = record.key.partition(":")
    clues = [Clue(name, text, _KINDS.get(name)) for name, text in record.texts]
    if record.roistat:
        clues.append(Clue("roistat", record.roistat, IdKind.ROISTAT))
    contact = Contact(record.contact, (record.phone,) if record.phone else (), (record.email,) if record.email else ())
    return Deal(
        DealKind(kind),
        number,
        "1",
        record.at,
        record.at,
        "1",
        "1",
        Outcome.OPEN,
        clues=tuple(clues),
        parent=record.parent,
        contacts=(contact,),
    )

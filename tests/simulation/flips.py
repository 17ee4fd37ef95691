"""Leads that change their minds at every stage, every kind of destination, and an oracle of what must stand at the end.

The oracle shares no code with ``bridge.rules``: it knows what happened, when the bridge looked, and what each
kind of destination can correct. In calm runs it names the one right end of each lead and goal; in harsh ones, in which
nobody knows what a bridge came to see, the ends that an honest bridge can come to.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import msgspec

from adapters.amocrm.fake import AmoCrm
from adapters.amocrm.fake_store import FIRST_LEAD, LEAD_FIELDS
from bridge import explain
from bridge.frozen import frozen
from bridge.sim.clock import ManualClock, SharedClock
from bridge.sim.events import Happening, Lead, StageName
from bridge.sim.faults import FaultPlan
from bridge.sim.oracle import GOOGLE_FRESH_CLICK
from bridge.sim.server import DestinationSimulator
from bridge.sim.stage import SOURCE, Cast, Scene, Stage
from bridge.sim.world import World
from tests.simulation.kit import Play, play
from tests.simulation.stories import SPAM, START, Op, Story, Turn

TURN = timedelta(hours=6)
TENANT = "okna"
FILE = "file"
KINDS = {
    "metrica": "yandex_metrica",
    "google": "google_ads",
    "hook": "webhook",
    "ga": "ga4",
    "meta": "meta_capi",
    "vk": "vk_ads",
}
TARGETS: Mapping[str, Mapping[str, str]] = {
    "qualified": {
        "metrica": "qualified_lead",
        "google": "7012345678",
        "hook": "qualified",
        "ga": "qualify_lead",
        "meta": "Qualified Lead",
        "vk": "qualified_lead",
        FILE: "qualified_lead",
    },
    "spam": {"metrica": "spam_lead", "hook": "spam", "ga": "disqualify_lead", "meta": "Spam", FILE: "spam_lead"},
    "sale": {
        "metrica": "deal_won",
        "google": "7012345679",
        "hook": "sale",
        "ga": "close_convert_lead",
        "meta": "Won",
        "vk": "deal_won",
        FILE: "deal_won",
    },
}
CORRECTED = frozenset({"metrica", "google", "hook", FILE})  # by the vendors' own rules
UNPROVED = frozenset({"ga", "meta", "vk"})  # at most once
_SPARE = {"rb_clickid": "Поле 1", "fb_lead_id": "Поле 2"}


@dataclass(slots=True)
class FlipScene(Scene):
    """A scene whose leads are also deleted, restored and merged, each at its moment."""

    ops: list[Op] = field(default_factory=list)

    def play(self, until: datetime) -> int:
        count = 0
        store = cast(AmoCrm, self.crm).store
        while self.ops and self.ops[0].at <= until:
            op = self.ops.pop(0)
            count += Scene.play(self, op.at)
            lead, at = FIRST_LEAD + op.lead, int(op.at.timestamp())
            if op.turn is Turn.DELETE:
                store.delete(lead, at)
            elif op.turn is Turn.RESTORE:
                store.restore(lead, at)
            else:
                store.merge(FIRST_LEAD + op.other, lead, at, leaves_stub=op.leaves_stub)
        return count + Scene.play(self, until)


class FlipStage(Stage):
    """One advertiser on amoCRM, with an account of every kind and a folder of upload files."""

    def __init__(
        self,
        seed: int,
        leads: int,
        *,
        is_harsh: bool = False,
        only: Iterable[str] = KINDS,
        clock: ManualClock | SharedClock | None = None,
    ) -> None:
        super().__init__(Cast(seed, START, 1, 1, ("amocrm",), is_harsh=is_harsh), clock or ManualClock(START))
        self.story = Story.make(seed, leads)
        self.worth = Decimal(500) if seed % 2 else None  # of a qualified lead
        clicks = sorted([lead.click for lead in self.story.leads if lead.click], key=lambda click: click.at)
        world = World(seed, START, 1, tuple(clicks), tuple(self.story.leads))
        crm = self._crm(seed)
        ads: dict[str, DestinationSimulator] = {}
        for number, own in enumerate(only, start=1):
            made = self._make(KINDS[own], f"{TENANT}_{own}", seed * 100 + number, {})
            ads[own] = cast(DestinationSimulator, made)
        ops = sorted(self.story.ops, key=lambda op: op.at)
        self.scene = FlipScene(TENANT, "flips", world, crm, ads, ops=ops)
        self.scenes = [self.scene]

    def _crm(self, seed: int) -> AmoCrm:
        """Its leads carry the identifiers that amoCRM has no fields for in fields made by hand."""
        faults = FaultPlan.harsh(seed * 100) if self.cast.is_harsh else FaultPlan.calm()
        crm = AmoCrm(self.clock, faults, name=f"{TENANT}_crm", is_limited=False)
        happen = crm.happen

        def happens(event: Happening) -> None:
            happen(event)
            if event.is_new:
                lead = crm.store.leads[FIRST_LEAD + event.lead.id]
                lead.custom = lead.custom[:-1] + b"," + b",".join(_more(event.lead)) + b"]"

        crm.happen = happens  # type: ignore[method-assign]  # the world plays through it
        return crm

    def _tenant(self, scene: Scene, overrides: Mapping[str, Any]) -> dict[str, Any]:
        made = super()._tenant(scene, overrides)
        source = made["sources"][SOURCE]
        fields = {**source["fields"], **{kind: [name] for kind, name in _SPARE.items()}}
        made["sources"][SOURCE] = {**source, "start_from": "10d", "fields": fields}
        made["destinations"][FILE] = {"kind": "table", "path": "upload", "format": "yandex_metrica"}
        return made

    def goals(self) -> list[dict[str, Any]]:
        """Qualified unless it was spam, spam, and sales, sent wherever they can be."""
        spam = {"outcome": "lost", "loss_reason": list(SPAM)}
        qualified: dict[str, Any] = {"name": "qualified", "when": {"stage": ["Квалифицирован"]}, "undone_by": ["spam"]}
        if self.worth is not None:
            qualified["value"] = int(self.worth)
        sale = {"name": "sale", "when": {"outcome": "won"}, "value": "deal"}
        made = [qualified, {"name": "spam", "when": spam}, sale]
        here = {*self.scene.ads, FILE}
        return [
            {**goal, "send": {own: name for own, name in TARGETS[goal["name"]].items() if own in here}} for goal in made
        ]


_FIELDS = {name: (number, code) for number, name, code, _ in LEAD_FIELDS}


def _more(lead: Lead) -> Iterator[bytes]:
    click = lead.click
    assert click is not None
    texts = {"gclientid": click.ga_client_id, _SPARE["rb_clickid"]: click.rb_clickid}
    for name, text in {**texts, _SPARE["fb_lead_id"]: click.fb_lead_id}.items():
        number, code = _FIELDS[name]
        yield msgspec.json.encode(
            {
                "field_id": number,
                "field_name": name,
                "field_code": code,
                "field_type": "text",
                "values": [{"value": text}],
            }
        )


# --- the oracle --------------------------------------------------------------------------------------------------


@frozen
class Moment:
    """What is true of a lead and a goal at one time. ``is_undone``: reached, and taken back since."""

    is_standing: bool
    is_undone: bool
    is_there: bool  # neither deleted nor merged away
    value: Decimal | None


def truth(story: Story, lead: Lead, goal: str, at: datetime, worth: Decimal | None) -> Moment:
    """By what has happened until then."""
    steps = [step for step in lead.steps if step.at <= at]
    gone = False
    for op in sorted(story.ops, key=lambda op: op.at):
        if op.lead == lead.id and op.at <= at:
            gone = op.turn is not Turn.RESTORE
    if not steps:
        return Moment(False, False, False, None)
    price = next((step.value for step in reversed(steps) if step.value is not None), None)
    now = steps[-1]
    is_spam = now.stage is StageName.LOST and now.loss_reason in SPAM
    ever = {step.stage for step in steps}
    if goal == "spam":
        return Moment(is_spam, False, not gone, None)
    if goal == "qualified":
        reached = StageName.QUALIFIED in ever
        return Moment(reached and not is_spam, reached and is_spam, not gone, worth)
    reached, is_lost = StageName.WON in ever, now.stage is StageName.LOST
    return Moment(reached and not is_lost, reached and is_lost, not gone, price)


@dataclass(slots=True)
class End:
    """What a destination holds of one lead and goal: ``values`` are those it may show."""

    may_be_absent: bool = True
    may_be_there: bool = False
    values: list[Decimal | None] = field(default_factory=list)


ZERO = Decimal(0)


def calm_end(moments: Sequence[Moment], *, is_corrected: bool) -> End:
    """The one end of a lead and goal at a destination that was looked after at these moments."""
    end = End()
    for moment in moments:
        if not moment.is_there:
            continue
        if moment.is_standing and not end.may_be_there:
            end = End(may_be_absent=False, may_be_there=True, values=[moment.value])
        elif moment.is_standing and is_corrected and moment.value is not None:
            end.values = [moment.value]
        elif moment.is_undone and end.may_be_there and is_corrected:
            end.values = [ZERO]
    return end


def looks(stage: FlipStage, lead: Lead, goal: str, own: str, turns: Sequence[datetime]) -> list[Moment]:
    """What was true whenever the bridge could send it: to Google not before a click is six hours old for certain."""
    opens = lead.created_at + (GOOGLE_FRESH_CLICK if own == "google" else timedelta(0))
    return [truth(stage.story, lead, goal, at, stage.worth) for at in turns if at >= opens]


def harsh_end(story: Story, lead: Lead, goal: str, worth: Decimal | None, *, is_corrected: bool, is_sure: bool) -> End:
    """Every end that an honest bridge can come to, whenever it looked."""
    times = [step.at for step in lead.steps] + [op.at for op in story.ops if op.lead == lead.id]
    lives = [truth(story, lead, goal, at, worth) for at in sorted(times)]
    reached = [one for one in lives if one.is_standing and one.is_there]
    if not reached:
        return End()
    values: list[Decimal | None] = [one.value for one in reached]
    if is_corrected and any(one.is_undone for one in lives):
        values.append(ZERO)
    last = lives[-1]
    if last.is_there and is_corrected and last.is_standing and last.value is not None:
        values = [last.value]
    elif last.is_there and is_corrected and last.is_undone:
        values = [ZERO]
    must = last.is_there and last.is_standing and is_sure
    return End(may_be_absent=not must, may_be_there=True, values=values)


# --- what the vendors hold ---------------------------------------------------------------------------------------


@frozen
class Held:
    value: Decimal | None
    reaches: int


def held(stage: FlipStage, folder: Path) -> dict[tuple[int, str, str], Held]:
    """By lead, goal and destination. Anything nobody sent is an error, as is a row that was not linked."""
    owners: dict[str, int] = {}
    for lead in stage.story.leads:
        click = lead.click
        assert click is not None
        marks = (click.yclid, click.gclid, click.client_id, click.ga_client_id, click.rb_clickid, click.fb_lead_id)
        owners |= {mark: lead.id for mark in marks if mark}
    found: dict[tuple[int, str, str], Held] = {}
    for own, account in stage.scene.ads.items():
        names = {targets[own]: goal for goal, targets in TARGETS.items() if own in targets}
        for row in account.applied():
            place = (owners[row.identifiers[0]], names[row.target], own)
            assert place not in found, f"{place} is there twice"
            found[place] = Held(row.value, row.reaches)
    return found | _filed(owners, folder / "upload")


def _filed(owners: Mapping[str, int], folder: Path) -> dict[tuple[int, str, str], Held]:
    """What the upload files say together, as Metrica would read them: of equal rows the last one counts."""
    names = {targets[FILE]: goal for goal, targets in TARGETS.items()}
    found: dict[tuple[int, str, str], Held] = {}
    times: dict[tuple[int, str, str], set[str]] = {}
    for file in sorted(folder.glob("*.csv"), key=lambda path: path.stat().st_mtime_ns):
        with file.open(encoding="utf-8-sig", newline="") as lines:
            for row in csv.DictReader(lines):
                mark = row["Yclid"] or row["ClientId"]
                place = (owners[mark], names[row["Target"]], FILE)
                times.setdefault(place, set()).add(row["DateTime"])
                value = Decimal(row["Price"]) if row["Price"] else None
                found[place] = Held(value, len(times[place]))
    return found


# --- a whole run -------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Result:
    """How a run ended. ``wrong`` and ``unexplained`` must be empty; ``stays`` counts what no vendor could correct."""

    seed: int
    checked: int = 0
    wrong: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    stays: Counter[str] = field(default_factory=Counter)


def turns_of(stage: FlipStage) -> list[datetime]:
    count = (stage.story.end - START) // TURN + 2
    return [START + TURN * number for number in range(1, count + 1)]


async def run(folder: Path, seed: int, leads: int, *, is_harsh: bool = False) -> Result:
    """One business from its beginning to the quiet after it, and what the oracle says."""
    stage = FlipStage(seed, leads, is_harsh=is_harsh)
    async with play(folder, stage, goals=stage.goals()) as made:
        turns = turns_of(stage)
        for at in turns:
            await made.turn(at - stage.told_until)
        stage.calm()
        for _ in range(7):
            await made.turn(timedelta(hours=13))
        result = judge(stage, folder, turns, seed)
        await _explained(made, stage, folder, result)
        assert await made.installation.reports.broken_chains() == 0
    return result


def judge(stage: FlipStage, folder: Path, turns: Sequence[datetime], seed: int) -> Result:
    """Each lead, goal and destination against what the oracle allows. ``turns``: when the bridge looked."""
    result = Result(seed)
    found = held(stage, folder)
    for (lead, goal, own), end in ends(stage, found, turns):
        result.checked += 1
        text = complaint(found.get((lead, goal, own)), end, own)
        if text:
            result.wrong.append(f"seed {seed}: lead {lead} {goal} at {own}: {text}")
    return result


def ends(
    stage: FlipStage, found: Mapping[tuple[int, str, str], Held], turns: Sequence[datetime]
) -> Iterator[tuple[tuple[int, str, str], End]]:
    """By lead, goal and destination: what the oracle allows. ``turns``: when the bridge looked."""
    for lead in stage.story.leads:
        for goal, targets in TARGETS.items():
            for own in (own for own in targets if own == FILE or own in stage.scene.ads):
                end = _end(stage, lead, goal, own, turns)
                if any((lost, goal, own) in found for lost in _taken_in(stage, lead)):
                    # A merged lead is one customer: what was counted on the lost record is not counted again.
                    end.may_be_absent = True
                yield (lead.id, goal, own), end


def _end(stage: FlipStage, lead: Lead, goal: str, own: str, turns: Sequence[datetime]) -> End:
    is_corrected = own in CORRECTED
    if stage.cast.is_harsh:
        sure = own not in UNPROVED
        return harsh_end(stage.story, lead, goal, stage.worth, is_corrected=is_corrected, is_sure=sure)
    return calm_end(looks(stage, lead, goal, own, turns), is_corrected=is_corrected)


def _taken_in(stage: FlipStage, lead: Lead) -> list[int]:
    """Leads that were merged into this one."""
    return [op.lead for op in stage.story.ops if op.turn is Turn.MERGE and op.other == lead.id]


def complaint(there: Held | None, end: End, own: str) -> str:
    if there is None:
        return "" if end.may_be_absent else f"missing, expected {end.values}"
    if not end.may_be_there:
        return f"there ({there.value}), and never should be"
    if there.reaches != 1:
        return f"there {there.reaches} times"
    allowed = [ZERO if value is None else value for value in end.values] if own == "vk" else end.values
    return "" if there.value in allowed else f"worth {there.value}, expected {allowed}"


async def _explained(made: Play, stage: FlipStage, folder: Path, result: Result) -> None:
    """Wherever a vendor does not show what is true now, ``explain`` names the reason.

    But for leads that a merge has taken away without a stub or an event (contract amocrm 6): nothing tells of them, and
    the sweep, which misses them, cannot know that it may still read them (``sweep_gone``).
    """
    tenant = await made.installation.tenant(TENANT)
    found = held(stage, folder)
    for lead in stage.story.leads:
        key = stage.scene.crm.deal_key(lead.id)
        told: dict[str, Any] | None = None
        for goal, targets in TARGETS.items():
            now = truth(stage.story, lead, goal, stage.story.end, stage.worth)
            for own in targets:
                there = found.get((lead.id, goal, own))
                why_not = _differs(now, there, own)
                if not why_not:
                    continue
                if told is None:
                    told = await explain.explain(tenant, await made.installation.reports.deal(TENANT, SOURCE, key))
                is_gone = any(op.lead == lead.id and not op.leaves_stub for op in stage.story.ops)
                result.stays[f"{own}: {'vanished without a trace' if is_gone else why_not}"] += 1
                if not is_gone and not _has_reason(told, goal, own):
                    result.unexplained.append(f"seed {result.seed}: lead {lead.id} {goal} at {own}: {why_not}")


def _differs(now: Moment, there: Held | None, own: str) -> str:
    """How a destination differs from the truth; "" if it does not."""
    if there is None:
        return "not there" if now.is_standing and now.is_there else ""
    if not now.is_there:
        return "deleted, and there"
    if not now.is_standing:
        return "" if there.value == ZERO and now.is_undone and own in CORRECTED else "taken back, and there"
    wanted = ZERO if own == "vk" and now.value is None else now.value
    return "" if there.value == wanted else "another value"


def _has_reason(told: Mapping[str, Any], goal: str, own: str) -> bool:
    skipped = any(
        item["goal"] == goal and item["destination"] == own and item["reason"] for item in told["not_promised"]
    )
    judged = any(
        item["goal"] == goal and item["verdict"] != "qualified" and item["reason"] for item in told["judgements"]
    )
    ended = [item for item in told["deliveries"] if item["goal"] == goal and item["destination"] == own]
    stopped = any(item["state"] not in ("verified", "accepted") for item in ended)
    return skipped or judged or stopped

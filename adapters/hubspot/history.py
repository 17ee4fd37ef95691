"""Stages a record was in, told from the histories of its properties (contract hubspot 2). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from adapters.hubspot.directory import Directory
from adapters.hubspot.entities import CONTACT, DEAL, LIFECYCLE, Entity
from adapters.hubspot.times import known
from adapters.hubspot.wire import Change, Record
from bridge.model import Outcome, StageChange

HISTORY = "property history"


def place_of(record: Record, names: Directory, entity: Entity) -> tuple[str, str]:
    """(pipeline, stage) the record is in."""
    if entity is CONTACT:
        return LIFECYCLE, record.get(CONTACT.stage)
    return names.place(record.get("dealstage"), record.get("pipeline"))


def lifecycle(record: Record, updated: datetime) -> tuple[StageChange, ...]:
    """Every lifecycle stage with its time; a cleared one is "", too (contract 2)."""
    entries = [
        StageChange(known(change.timestamp), LIFECYCLE, change.value or "", Outcome.OPEN, HISTORY)
        for change in record.history(CONTACT.stage)
    ]
    now = StageChange(updated, LIFECYCLE, record.get(CONTACT.stage), Outcome.OPEN, "record")
    if not entries and not now.stage:  # it never had one
        return (
            StageChange(known(record.get("createdate") or record.created_at), LIFECYCLE, "", Outcome.OPEN, "record"),
        )
    return _joined(entries, now)


def stages(record: Record, names: Directory, updated: datetime) -> tuple[StageChange, ...]:
    """Every stage the deal was in, with the pipeline it belongs to: transient ones that no poll would see, too."""
    pipelines = record.history("pipeline")
    current = place_of(record, names, DEAL)
    entries: list[StageChange] = []
    for change in record.history("dealstage"):
        if change.value:
            at = known(change.timestamp)
            place = names.place(change.value, _in_force(pipelines, at) or record.get("pipeline"))
            entries.append(StageChange(at, *place, _outcome(record, names, place, current), HISTORY))
    now = StageChange(updated, *current, _outcome(record, names, current, current), "record")
    return _joined(entries, now)


def _in_force(changes: Sequence[Change], at: datetime) -> str:
    before = [change.value or "" for change in changes if known(change.timestamp) <= at]
    return before[-1] if before else (changes[0].value or "" if changes else "")


def _outcome(record: Record, names: Directory, place: tuple[str, str], current: tuple[str, str]) -> Outcome:
    """By the stage's metadata; for a current stage that the portal does not name, by the deal's own marks."""
    if names.is_known(*place) or place != current:
        return names.stage(*place).outcome
    if record.get("hs_is_closed_won") == "true":
        return Outcome.WON
    return Outcome.LOST if record.get("hs_is_closed") == "true" else Outcome.OPEN


def _joined(entries: Iterable[StageChange], now: StageChange) -> tuple[StageChange, ...]:
    """In time order, a stage that is entered twice running once; the last one is the current stage."""
    told: list[StageChange] = []
    for entry in sorted(entries, key=lambda entry: entry.at):
        if not told or (told[-1].pipeline, told[-1].stage) != (entry.pipeline, entry.stage):
            told.append(entry)
    if told and (told[-1].pipeline, told[-1].stage) == (now.pipeline, now.stage):
        return tuple(told)
    at = max(now.at, told[-1].at) if told else now.at
    return (*told, StageChange(at, now.pipeline, now.stage, now.outcome, now.source))

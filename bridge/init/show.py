"""What ``bridge init`` prints: tables of what the accounts hold, what was written, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from bridge.init.look import DestinationSeen, Seen, SourceSeen
from bridge.init.suggest import GoalPlan, field_views, texts_with_ids
from bridge.survey import FieldSample
from bridge.terminal import number, table


def show_seen(seen: Seen, console: Console) -> None:
    """Tables of everything found; an account that cannot be asked yet says why. Errors are told elsewhere."""
    for own, source in seen.sources.items():
        _show_source(own, source, console)
    for own, destination in seen.destinations.items():
        targets = destination.survey.targets
        if targets:
            made = table(f"Goals of {own}", "send to", "name", "kind", "usable")
            for item in targets:
                usable = "[green]yes[/]" if item.is_usable else f"no: {escape(item.note)}"
                made.add_row(escape(item.id), escape(item.name), escape(item.kind), usable)
            console.print(made)
        for text in (_early(destination), destination.survey.note):
            if text:
                console.print(f"{own}: {text}", style="yellow", markup=False, soft_wrap=True)


def _early(item: SourceSeen | DestinationSeen) -> str:
    return f"not asked yet: {item.error}" if item.is_early else ""


def _show_source(own: str, source: SourceSeen, console: Console) -> None:
    if early := _early(source):
        console.print(f"{own}: {early}", style="yellow", markup=False, soft_wrap=True)
    if source.catalogue.pipelines:
        made = table(f"Stages of {own}", "pipeline", "stage", "outcome", "id")
        for pipe in source.catalogue.pipelines:
            for stage in pipe.stages if not pipe.is_archived else ():
                made.add_row(escape(pipe.name), escape(stage.name), stage.outcome, escape(stage.id))
        console.print(made)
    if source.catalogue.loss_reasons:
        made = table(f"Loss reasons of {own}", "reason", "id")
        for reason, name in source.catalogue.loss_reasons:
            made.add_row(escape(name), escape(reason))
        console.print(made)
    _show_fields(own, source, console)


def _show_fields(own: str, source: SourceSeen, console: Console) -> None:
    views, texts = field_views(source.survey.fields), texts_with_ids(source.survey.fields)
    made = table(f"Fields of {own} that look like identifiers", "field", "called", "on", "as", "why")
    for view in views:
        kind = view.guess.kind if view.guess.is_sure else f"perhaps {view.guess.kind}"
        made.add_row(*map(escape, (view.setting, view.sample.label, view.sample.place, kind, view.guess.evidence)))
    for sample in texts:
        kinds = ", ".join(f"{kind} in {number(count)}" for kind, count in sample.holding.items())
        found = f"inside its text: {kinds} of {number(sample.filled)} filled"
        made.add_row(*map(escape, (sample.setting, sample.label, sample.place, "", found)))
    if made.row_count:
        console.print(made)
    elif source.survey.fields:
        console.print(f"{own}: no field looks like an identifier; leads will match by addresses and utm only")


def show_goals(goals: Sequence[GoalPlan], console: Console) -> None:
    """The goals as they were written."""
    made = table("Goals", "goal", "reached", "written", "sent to", "why")
    for goal in goals:
        reached = ", ".join(f"{key} {_listed(value)}" for key, value in goal.when.items())
        active = "[green]active[/]" if goal.sent else "[yellow]judged, sent nowhere[/]"
        written = active if goal.is_sure else "[yellow]as a comment[/]"
        made.add_row(goal.name, escape(reached), written, "", escape(goal.why))
        for own, send in goal.send.items():
            target = escape(f"{own}: {send.target or '?'}")
            made.add_row("", "", "" if send.is_sure else "[yellow]as a comment[/]", target, escape(send.why))
    console.print(made)


def _listed(value: Any) -> str:
    return " or ".join(value) if isinstance(value, list) else str(value)


# --- the same as plain data --------------------------------------------------------------------------------------


def seen_data(seen: Seen) -> dict[str, Any]:
    """Everything found, for ``--json``. Names, counts and codes; no value of a field."""
    return {
        "sources": {own: _source_data(source) for own, source in seen.sources.items()},
        "destinations": {
            own: {
                "kind": item.kind,
                "error": item.error or None,
                "note": item.survey.note or None,
                "goals": [
                    {"id": t.id, "name": t.name, "kind": t.kind, "usable": t.is_usable, "note": t.note or None}
                    for t in item.survey.targets
                ],
            }
            for own, item in seen.destinations.items()
        },
    }


def _source_data(source: SourceSeen) -> dict[str, Any]:
    return {
        "kind": source.kind,
        "error": source.error or None,
        "pipelines": [
            {
                "id": pipe.id,
                "name": pipe.name,
                "archived": pipe.is_archived,
                "stages": [{"id": stage.id, "name": stage.name, "outcome": stage.outcome} for stage in pipe.stages],
            }
            for pipe in source.catalogue.pipelines
        ],
        "loss_reasons": [{"id": reason, "name": name} for reason, name in source.catalogue.loss_reasons],
        "fields": [
            {
                **_field_data(view.sample),
                "kind": view.guess.kind,
                "sure": view.guess.is_sure,
                "known": view.is_known,
                "evidence": view.guess.evidence,
            }
            for view in field_views(source.survey.fields)
        ],
        "texts": [_field_data(sample) for sample in texts_with_ids(source.survey.fields)],
    }


def _field_data(sample: FieldSample) -> dict[str, Any]:
    return {
        "field": sample.setting,
        "names": list(sample.names),
        "on": sample.place.split(", "),
        "sampled": sample.sampled,
        "filled": sample.filled,
        "holding": dict(sample.holding),
    }


def goals_data(goals: Sequence[GoalPlan]) -> list[dict[str, Any]]:
    """The goals as they were written, for ``--json``."""
    return [
        {
            "name": goal.name,
            "when": goal.when,
            "active": goal.is_sure,
            "why": goal.why,
            "send": {
                own: {"goal": send.target or None, "active": send.is_sure and goal.is_sure, "why": send.why}
                for own, send in goal.send.items()
            },
        }
        for goal in goals
    ]

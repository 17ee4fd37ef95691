"""Requests of commands, for people: what was asked for, what became of it, and which command goes on with it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Any

from bridge.store.requests import WorkRequest


def words(request: WorkRequest, zone: tzinfo) -> str:
    """``backfill 7 since 2026-03-01``. ``zone``: the tenant's."""
    told = request.arguments
    if request.kind == "backfill":
        dry = " (dry run)" if told.get("dry_run") else ""
        return f"backfill {request.id} since {_day(told['since'], zone)}{dry}"
    if request.kind == "resolve":
        return f"held resolve {request.id}"
    return f"{request.kind} {request.id}"


def again(request: WorkRequest, zone: tzinfo) -> str:
    """The command that goes on with an interrupted one; "" where only the daemon does."""
    told, tenant = request.arguments, request.tenant
    if request.kind == "plan":
        goals = told["goals"]
        goal = f" --goal {goals[0]}" if len(goals) == 1 else ""
        return f"bridge plan --tenant {tenant}{goal} {'--leave' if told['leave'] else '--apply'}"
    if request.kind != "backfill" or told.get("dry_run"):
        return ""
    until = "" if told.get("until_now") else f" --until {_day(told['until'], zone)}"
    source = f" --source {told['source']}" if told.get("source") else ""
    return f"bridge backfill --tenant {tenant} --since {_day(told['since'], zone)}{until}{source}"


def standing(request: WorkRequest) -> str:
    """How far it is: nobody but its worker knows whether one that has begun still goes on."""
    if request.state == "waiting":
        return "waits"
    return f"begun, {round(100 * request.progress.get('share', 0.0))} %"


def data(request: WorkRequest) -> dict[str, Any]:
    """Keys are part of the public interface (docs/reference/commands.md)."""
    told = request.arguments
    return {
        "request": request.id,
        "kind": request.kind,
        "state": request.state,
        "share": request.progress.get("share", 0.0),
        **{name: told[name] for name in ("since", "until", "source", "dry_run") if name in told},
    }


def is_taken_over(older: WorkRequest, newer: WorkRequest) -> bool:
    """Whether the newer one asks for all that an interrupted one did: a backfill up to now, for more by now.

    Not a dry run, which counts what is stored: that has changed meanwhile.
    """
    if (older.kind, older.state) != (newer.kind, "running") or newer.arguments.get("dry_run"):
        return False
    return _comparable(older.arguments) == _comparable(newer.arguments)


def _comparable(arguments: Mapping[str, Any]) -> dict[str, Any]:
    left_out = {"definition", "until"} if arguments.get("until_now") else {"definition"}
    found = {name: value for name, value in arguments.items() if name not in left_out}
    return found | {name: datetime.fromisoformat(found[name]) for name in ("since", "until") if name in found}


def inherited(older: WorkRequest, newer: WorkRequest) -> Mapping[str, Any] | None:
    """The progress with which the newer one takes its place; None where it begins anew, since goals were changed.

    A source that was read whole was read up to the older one's end.
    """
    if older.arguments.get("definition") != newer.arguments.get("definition"):
        return None
    progress = older.progress
    if older.kind != "backfill":
        return progress
    read = dict.fromkeys(progress.get("finished", ()), older.arguments["until"])
    return {**progress, "finished": [], "reached": {**progress.get("reached", {}), **read}}


def _day(text: str, zone: tzinfo) -> str:
    """A moment as one gives it to a command: a day alone at the tenant's midnight."""
    local = datetime.fromisoformat(text).astimezone(zone).replace(tzinfo=None)
    whole = local.isoformat(timespec="minutes" if not local.second and not local.microsecond else "auto")
    return whole.removesuffix("T00:00")

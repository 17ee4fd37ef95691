"""What ``bridge check`` says about a counter and the goals we send to. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

import msgspec

from adapters.yandex_metrica.wire import Counter, Goal
from bridge.errors import AuthError, BridgeError, Refused
from bridge.ports import Finding, Level
from bridge.survey import Target

FORBIDDEN = re.compile(r"[/&=?#]")  # contract yandex 5: the tag rejects identifiers with any of these
_NAME_MAX = 255  # contract yandex 5
_MAY_UPLOAD = ("own", "edit")  # contract yandex 6


def counter_error(counter_id: int, error: BridgeError) -> Finding:
    """A counter that could not be looked at, and what to do about it."""
    text = f"Metrica cannot be asked now: {error}"
    if isinstance(error, AuthError | Refused):
        is_missing = isinstance(error, Refused) and error.code == "not_found"
        text = "no such counter; check counter_id" if is_missing else str(error)
    return Finding(Level.ERROR, f"counter {counter_id}", text)


def counter_findings(counter: Counter) -> list[Finding]:
    """Is the counter alive, and may the token's account upload to it?"""
    subject = f"counter {counter.id}"
    if counter.status not in (None, "Active"):
        return [Finding(Level.ERROR, subject, f"its status is {counter.status}; restore it or use another counter_id")]
    if counter.permission is None:
        return [
            Finding(Level.WARNING, subject, "Metrica does not say what this account may do; uploads need edit access")
        ]
    if counter.permission not in _MAY_UPLOAD:
        text = f'this account has only "{counter.permission}" access; give it edit access in the counter\'s settings'
        return [Finding(Level.ERROR, subject, text)]
    return [Finding(Level.OK, subject, f"{counter.name or 'unnamed'}, access: {counter.permission}")]


def goal_in_words(target: str, counter_id: int) -> str:
    """A goal of a counter, named alike by whatever reaches it."""
    return f'goal "{target}" of counter {counter_id}'


def target_findings(targets: Mapping[str, str], goals: Sequence[Goal]) -> list[Finding]:
    """One finding per goal of ours: does the event identifier it is sent to exist in the counter?"""
    return [_target(goal, target, goals) for goal, target in targets.items()]


def _target(name: str, target: str, goals: Sequence[Goal]) -> Finding:
    subject = f"goal {name} -> {target}"
    holders = [goal for goal in goals if target in _urls(goal)]
    fault = FORBIDDEN.search(target)
    if fault or not target.strip():
        text = f'"{fault[0]}" is not allowed' if fault else "it is empty"
        return Finding(Level.ERROR, subject, f"{text} in an event identifier; use Latin letters, digits, _ and -")
    events = [goal for goal in holders if goal.type == "action"]
    if not events:
        return Finding(Level.ERROR, subject, _missing(target, holders, goals))
    exact = next((goal for goal in events if _has_exact(goal, target)), None)
    if exact is None:
        text = f'goal {events[0].id} is not on the "matches" condition: other events reach it too; edit it in Metrica'
        return Finding(Level.WARNING, subject, text)
    return Finding(Level.OK, subject, f"goal {exact.id}, {exact.name or 'unnamed'}")


def _missing(target: str, holders: Sequence[Goal], goals: Sequence[Goal]) -> str:
    create = f'create a JavaScript-event goal with the "matches" condition {target}'
    if any((goal.type or "").startswith("cdp_order") for goal in holders):
        return f"this is Metrica's own CRM goal, conversions would be counted twice; {create[: -len(target)]}of its own"
    if holders:
        return f"goal {holders[0].id} is of the type {holders[0].type}, not a JavaScript event; {create}"
    titled = next((goal for goal in goals if target in (goal.name, str(goal.id)) and _identifiers([goal])), None)
    if titled is not None:
        return f'use the event identifier "{_identifiers([titled])[0]}", not the goal\'s {_what(target, titled)}'
    if target.isdecimal():
        return "use the event identifier, not the goal id"
    near = get_close_matches(target, _identifiers(goals), n=3)
    hint = f"nearest: {', '.join(near)}; " if near else ""
    return f"no goal has this event identifier; {hint}correct it, or {create}"


def _what(target: str, goal: Goal) -> str:
    return "id" if target == str(goal.id) else "title"


def _urls(goal: Goal) -> list[str]:
    return [condition.url for condition in goal.conditions or () if condition.url]


def _has_exact(goal: Goal, target: str) -> bool:
    return any(condition.url == target and condition.type == "exact" for condition in goal.conditions or ())


def _identifiers(goals: Iterable[Goal]) -> list[str]:
    return [url for goal in goals if goal.type == "action" for url in _urls(goal)]


# --- for ``bridge init`` -----------------------------------------------------------------------------------------

_NOT_AN_EVENT = "not a JavaScript event"
# Metrica's own goals of CRM orders: conversions would be counted twice there (contract yandex 2.7).
_CRM_GOAL = "Metrica's own goal of CRM orders"


def listed(goals: Iterable[Goal]) -> tuple[Target, ...]:
    """The counter's goals; those that are JavaScript events can be sent to, under their event identifier."""
    return tuple(target_of(goal) for goal in goals)


def target_of(goal: Goal) -> Target:
    """A goal as ``bridge init`` shows it; its number stands in where it has no event identifier."""
    kind, name = goal.type or "unknown", goal.name or ""
    if kind != "action":
        note = _CRM_GOAL if kind.startswith("cdp_order") else _NOT_AN_EVENT
        return Target(str(goal.id), name, kind, is_usable=False, note=note)
    exact = [url for url in _urls(goal) if _has_exact(goal, url) and not FORBIDDEN.search(url)]
    if exact:
        return Target(exact[0], name, kind)
    note = 'not on the "matches" condition: other events reach it too'
    return Target(next(iter(_urls(goal)), str(goal.id)), name, kind, is_usable=False, note=note)


def new_goal(identifier: str, name: str) -> bytes:
    """The request that creates a JavaScript-event goal on the "matches" condition (contract yandex 5)."""
    condition = {"type": "exact", "url": identifier}
    return msgspec.json.encode(
        {"goal": {"name": name[:_NAME_MAX], "type": "action", "default_price": 0, "conditions": [condition]}}
    )

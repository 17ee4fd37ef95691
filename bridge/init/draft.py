"""The text of a configuration: active lines for what is known, comments for the rest. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bridge.config import Goal
from bridge.forms import Spare
from bridge.init.suggest import FieldView, GoalPlan, Send
from bridge.init.wanted import Section
from bridge.model import IdKind
from bridge.sim.toml import key_text, value_text

_COLUMN = 44  # where comments behind lines begin
_WIDTH = 116  # of a comment
_LONGEST = 140  # of a line with its comment
_EXAMPLE = '{ yclid = ["yclid"], client_id = ["ClientID"] }'
_SHOWN = 6  # names in a comment

_HEAD = """\
# Written by `bridge init`. Every setting is explained in config.example.toml; `bridge check` looks at all of this.
# Lines that begin with "# name =" are settings with their default, an example, or a guess: remove the "#" to use one.
# Secrets are never written here, only where to find them: { env = "NAME" } or { file = "name" } (mode 0600).
"""
_INSTALLATION = """
include = ["tenants/*.toml"]                # more tenants, each in a file of its own

[database]
url = "sqlite:///bridge.db"                 # beside this file; or postgresql://user@host/db

[web]
listen = "127.0.0.1:8080"                   # /healthz and /metrics; "" switches it off
"""


@dataclass(slots=True)
class Draft:
    """A tenant to write. ``fields`` are chosen identifier fields by source, ``views`` what was seen of them."""

    tenant: str
    title: str
    timezone: str
    currency: str
    sections: Sequence[Section]
    goals: list[GoalPlan] = field(default_factory=list)
    fields: dict[str, dict[IdKind, list[str]]] = field(default_factory=dict)
    views: dict[str, list[FieldView]] = field(default_factory=dict)
    stages: dict[str, list[str]] = field(default_factory=dict)

    def data(self) -> dict[str, Any]:
        """What is active, as the configuration holds it."""
        made: dict[str, Any] = {"title": self.title, "timezone": self.timezone, "currency": self.currency}
        for section in self.sections:
            made.setdefault(section.side, {})[section.own] = self._section(section)
        made["goals"] = [_goal_data(goal) for goal in self.goals if goal.is_sure]
        return made

    def active_goals(self) -> list[Goal]:
        """The active goals as settings."""
        return [Goal.model_validate(_goal_data(goal)) for goal in self.goals if goal.is_sure]

    def _section(self, section: Section) -> dict[str, Any]:
        nested = section.nested()
        chosen = self.fields_of(section.own)
        if chosen and section.side == "sources" and "fields" not in nested:
            nested["fields"] = chosen
        return nested

    def fields_of(self, own: str) -> dict[str, list[str]]:
        """The chosen fields of a source, as the configuration holds them."""
        return {kind.value: names for kind, names in self.fields.get(own, {}).items()}


def _goal_data(goal: GoalPlan) -> dict[str, Any]:
    made: dict[str, Any] = {"name": goal.name, "when": goal.when}
    if goal.value:
        made["value"] = goal.value
    return {**made, **({"send": goal.sent} if goal.sent else {})}


def text_of(draft: Draft, *, with_installation: bool) -> str:
    """The file. ``with_installation``: it is the whole configuration, not one of several tenants' files."""
    place = f"tenants.{draft.tenant}"
    lines = [f"[{place}]"]
    lines.append(_line("title", draft.title, "for people"))
    lines.append(_line("timezone", draft.timezone, "dates given on the command line are in it"))
    lines.append(_line("currency", draft.currency, "of amounts that come without one"))
    for section in draft.sections:
        lines += ["", *_section_lines(draft, section, place)]
    lines += ["", "# --- Goals: what to count, and under which name each destination knows it ---"]
    for goal in draft.goals:
        lines += ["", *_goal_lines(goal, place)]
    return _HEAD + (_INSTALLATION if with_installation else "") + "\n" + "\n".join(lines) + "\n"


def _line(key: str, value: Any, comment: str = "") -> str:
    return _commented(f"{key_text(key)} = {value_text(value)}", comment)


def _commented(line: str, comment: str) -> str:
    """The comment stands behind its line, or above it where there is no room."""
    if not comment:
        return line
    behind = f"{line:<{_COLUMN - 1}} # {clean(comment)}"
    return behind if len(behind) <= _LONGEST else f"# {clean(comment)}\n{line}"


def _off(lines: Sequence[str]) -> list[str]:
    """The same as comments."""
    return [line if line.startswith("#") else f"# {line}" for text in lines for line in text.split("\n")]


def clean(text: str) -> str:
    """A name fit for a comment: one line without control characters."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


# --- sections ----------------------------------------------------------------------------------------------------


def _section_lines(draft: Draft, section: Section, place: str) -> list[str]:
    lines = [f"[{place}.{section.side}.{section.own}]", _line("kind", section.kind)]
    told = {ask.key.partition(".")[0]: ask.text for ask in section.form.asks}
    told |= {ask.key.partition(".")[0]: way.text for way in section.ways for ask in way.asks}
    nested = section.nested()
    order = {key: number for number, key in enumerate(dict.fromkeys(ask.key.partition(".")[0] for ask in section.asks))}
    for key in sorted(nested, key=lambda name: order.get(name, len(order))):
        lines += [] if key == "kind" else [_line(key, nested[key], told.get(key, ""))]
    if section.side == "sources":
        fields = None if "fields" in nested else draft.fields_of(section.own)
        lines += _field_lines(fields, draft.views.get(section.own, ()))
    return lines + [_spare(spare) for spare in section.form.spares if spare.key not in nested]


def _spare(spare: Spare) -> str:
    return _commented(f"# {spare.key} = {spare.value}", spare.text)


def _field_lines(chosen: Mapping[str, list[str]] | None, views: Sequence[FieldView]) -> list[str]:
    """The setting ``fields``, and under it, as comments, why, and what else could be one."""
    used = {name for names in (chosen or {}).values() for name in names}
    lines = [_line("fields", chosen, "custom fields that hold identifiers, by name, code or id")] if chosen else []
    known = [f"{clean(view.setting)} ({view.guess.kind})" for view in views if view.is_known]
    if known:
        lines += _wrapped(f"Found by themselves: {', '.join(known)}.")
    perhaps: dict[str, list[str]] = {}
    for view in views:
        if not view.is_known:
            lines += _wrapped(("" if view.setting in used else "Perhaps: ") + _told(view))
        if not view.is_known and view.setting not in used:
            perhaps.setdefault(view.guess.kind.value, []).append(view.setting)
    if perhaps and not chosen:
        lines.append(f"# fields = {value_text(perhaps)}")
    return lines or [_commented(f"# fields = {_EXAMPLE}", "custom fields that hold identifiers")]


def _told(view: FieldView) -> str:
    label = f" ({view.sample.label})" if view.sample.label else ""
    return f'"{view.setting}"{label} as {view.guess.kind}: {view.guess.evidence}.'


def _wrapped(text: str) -> list[str]:
    """A comment of one or more lines, cut between words."""
    lines, line = [], "#"
    for word in clean(text).split():
        if len(line) + 1 + len(word) > _WIDTH and line != "#":
            lines.append(line)
            line = "#"
        line = f"{line} {word}"
    return [*lines, line]


# --- goals -------------------------------------------------------------------------------------------------------


def _goal_lines(goal: GoalPlan, place: str) -> list[str]:
    lines = [f"[[{place}.goals]]", _line("name", goal.name), _line("when", goal.when, goal.why)]
    if goal.value:
        lines.append(_line("value", goal.value, "the deal's own amount"))
    if goal.sent:
        why = "; ".join(f"{own}: {send.why}" for own, send in goal.send.items() if send.is_sure and send.why)
        lines.append(_line("send", goal.sent, why or "destination = its own goal"))
    unsure = {own: send for own, send in goal.send.items() if not send.is_sure}
    for own, send in unsure.items():
        lines += _wrapped(f"{own}: {_open(send)}{', and add it to send' if goal.sent else ''}.")
    if unsure and not goal.sent:
        lines.append(f"# send = {value_text({own: send.target or 'ITS GOAL' for own, send in unsure.items()})}")
    return lines if goal.is_sure else _off(lines)


def _open(send: Send) -> str:
    """Why it is not known where a goal goes, and what there is."""
    shown = [f'"{clean(t.id)}" ({clean(t.name) or t.kind})' for t in send.candidates[:_SHOWN]]
    more = len(send.candidates) - _SHOWN
    listed = f": {', '.join(shown)}{f' and {more} more' if more > 0 else ''}" if shown else ""
    return f"{send.why or 'name its goal there'}{listed}"


def suggestion(draft: Draft) -> str:
    """Only what the accounts suggest, to be copied into a configuration that exists."""
    place = f"tenants.{draft.tenant}"
    lines: list[str] = []
    for section in draft.sections:
        views = draft.views.get(section.own, ())
        if section.side == "sources" and views:
            lines += [f"# [{place}.sources.{section.own}]", *_field_lines(draft.fields_of(section.own), views), ""]
    for goal in draft.goals:
        lines += [*_goal_lines(goal, place), ""]
    return "\n".join(lines)

"""What the command line of ``bridge init`` says, read and made sense of; nothing is asked here."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from bridge import registry
from bridge.config import NAME
from bridge.errors import ConfigError
from bridge.forms import Ask, Form, Way
from bridge.frozen import frozen

# Options that stand for one key of whichever section asks for it.
SHORTCUTS = {
    "base_url": "--base-url",
    "counter_id": "--counter-id",
    "customer_id": "--customer-id",
    "path": "--path",
}
SIDES = {"sources": "source", "destinations": "destination"}


@frozen
class Options:
    """The options as given. ``shortcuts`` is by key; the lists hold texts such as ``crm.auth.token=env:NAME``."""

    config: Path
    tenant: str | None = None
    output: str | None = None
    title: str | None = None
    timezone: str | None = None
    currency: str | None = None
    sources: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()
    shortcuts: Mapping[str, str] = field(default_factory=dict)
    ways: tuple[str, ...] = ()
    values: tuple[str, ...] = field(default=(), repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    fields: tuple[str, ...] = ()
    qualified: tuple[str, ...] = ()
    sends: tuple[str, ...] = ()
    creates_goals: bool = False
    is_offline: bool = False


@dataclass(slots=True)
class Section:
    """One source or destination as far as it is known. ``values`` are by dotted key; secrets are references.

    ``asks`` are what has to be known of it, the chosen way's included.
    """

    side: str
    own: str
    kind: str
    form: Form
    way: str = ""
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def ways(self) -> tuple[Way, ...]:
        """The chosen way, if there is a choice."""
        return tuple(way for way in self.form.ways if way.name == self.way)

    @property
    def asks(self) -> tuple[Ask, ...]:
        """All that has to be known."""
        return (*self.form.asks, *(ask for way in self.ways for ask in way.asks))

    @property
    def is_granted(self) -> bool:
        """Whether its first tokens come by ``bridge auth``."""
        return any(way.is_granted for way in self.ways)

    def nested(self) -> dict[str, Any]:
        """The section as a configuration holds it."""
        made: dict[str, Any] = {"kind": self.kind}
        for key, value in self.values.items():
            place = made
            *above, last = key.split(".")
            for name in above:
                place = place.setdefault(name, {})
            place[last] = value
        return made


def sections(side: str, named: Iterable[str]) -> list[Section]:
    """Sections out of ``KIND`` or ``NAME=KIND``; those without a name get their kind's.

    Raises:
        ConfigError: no such kind on this side, or a bad or repeated name.
    """
    made: list[Section] = []
    for text in named:
        given, _, kind = text.rpartition("=")
        registry.settings_of(side, kind)  # raises for a kind that does not exist there
        form = form_of(side, kind)
        taken = {section.own for section in made}
        own = given or _free(form.name or kind, taken)
        if not NAME.fullmatch(own) or own in taken:
            raise ConfigError(f'--{SIDES[side]} {text}: "{own}" is no name, or is taken; write NAME=KIND')
        made.append(Section(side, own, kind, form))
    return made


def form_of(side: str, kind: str) -> Form:
    """What there is to ask about a kind that fits this side."""
    form: Form = getattr(registry.spec(kind), SIDES[side]).form
    return form


def _free(name: str, taken: set[str]) -> str:
    """The name, or the first of name2, name3... that nobody has."""
    numbered = (f"{name}{number}"[:40] for number in count(2))
    return name if name not in taken else next(one for one in numbered if one not in taken)


def kinds(side: str) -> dict[str, str]:
    """Titles of the kinds that fit this side."""
    return {kind: spec.title for kind, spec in registry.adapters().items() if getattr(spec, SIDES[side]) is not None}


# --- ways, values, secrets ---------------------------------------------------------------------------------------


def choose_ways(all_sections: Iterable[Section], ways: Iterable[str]) -> None:
    """Take ``--auth``: ``WAY`` for the only section that has it, or ``NAME=WAY``.

    Raises:
        ConfigError: no section has that way.
    """
    known = list(all_sections)
    for text in ways:
        own, _, way = text.rpartition("=")
        fitting = [s for s in known if own in ("", s.own) and any(w.name == way for w in s.form.ways)]
        if not fitting:
            listed = ", ".join(f"{s.own}={w.name}" for s in known for w in s.form.ways) or "none"
            raise ConfigError(f"--auth {text}: there is no such way of logging in (known: {listed})")
        for section in fitting:
            section.way = way


def take_values(all_sections: Iterable[Section], options: Options) -> None:
    """Take the shortcuts, ``--set`` and ``--secret``.

    Raises:
        ConfigError: a text has not the form, names no section, or would write a secret down.
    """
    known = list(all_sections)
    for key, text in options.shortcuts.items():
        section = _asker(known, key)
        section.values[key] = value_of(section, key, text)
    for text in options.values:
        section, key, value = _addressed(known, "--set", text)
        if any(ask.is_secret and ask.key == key for ask in _every_ask(section)):
            hint = f"--secret {section.own}.{key}=env:NAME (or file:NAME)"
            raise ConfigError(f"{section.own}.{key} is a secret, which is never written down; use {hint}")
        section.values[key] = value_of(section, key, value)
    for text in options.secrets:
        section, key, value = _addressed(known, "--secret", text)
        section.values[key] = reference(f"--secret {section.own}.{key}", value)


def _every_ask(section: Section) -> list[Ask]:
    return [*section.form.asks, *(ask for way in section.form.ways for ask in way.asks)]


def _open_asks(section: Section) -> Sequence[Ask]:
    """What it asks for; while no way is chosen, whatever a way may: what is given chooses it."""
    return section.asks if section.way else _every_ask(section)


def _asker(known: list[Section], key: str) -> Section:
    """The one section that needs this key, or the only one that could take it."""
    could = [section for section in known if any(ask.key == key for ask in _open_asks(section))]
    need = [section for section in could if any(ask.key == key and not ask.default for ask in _open_asks(section))]
    found = need if len(need) == 1 else could
    if len(found) == 1:
        return found[0]
    names = ", ".join(section.own for section in found)
    why = f"say for which: --set {found[0].own}.{key}=... ({names})" if found else "nothing here takes it"
    raise ConfigError(f"{SHORTCUTS[key]}: {why}")


def _addressed(known: list[Section], option: str, text: str) -> tuple[Section, str, str]:
    """Section, key and value of ``NAME.KEY=VALUE``. The value is never repeated: it might be a secret."""
    place, equals, value = text.partition("=")
    own, dot, key = place.partition(".")
    if not (equals and dot and key and all(key.split("."))):
        raise ConfigError(f"{option} takes NAME.KEY=VALUE, NAME being a source's or destination's own name")
    fitting = [section for section in known if section.own == own]
    if len(fitting) != 1:
        names = ", ".join(section.own for section in known) or "none"
        raise ConfigError(f'{option}: "{own}" names no source or destination here (known: {names})')
    return fitting[0], key, value


def value_of(section: Section, key: str, text: str) -> Any:
    """A setting's value: what is asked for is text (or a number), anything else TOML if it is TOML, else text."""
    ask = next((ask for ask in _every_ask(section) if ask.key == key), None)
    text = text.strip()
    if ask is not None:
        return int(text) if ask.is_number and text.isascii() and text.isdigit() else text
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        return text


def reference(option: str, text: str) -> dict[str, str]:
    """A reference to a secret out of ``env:NAME`` or ``file:PATH``.

    Raises:
        ConfigError: it is neither; the text is not repeated.
    """
    where, colon, name = text.partition(":")
    if where not in ("env", "file") or not colon or not name.strip():
        raise ConfigError(f"{option} takes env:NAME or file:PATH: where the secret is, never the secret itself")
    return {where: name.strip()}


def pairs(option: str, texts: Iterable[str]) -> list[tuple[str, str]]:
    """``A=B`` texts.

    Raises:
        ConfigError: one has no equals sign, or nothing on one side of it.
    """
    made = []
    for text in texts:
        left, _, right = text.partition("=")
        if not left.strip() or not right.strip():
            raise ConfigError(f"{option} {text}: write {option} A=B; see bridge init --help")
        made.append((left.strip(), right.strip()))
    return made

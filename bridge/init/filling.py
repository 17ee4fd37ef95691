"""Sections made complete and valid: what is missing is asked for, or is an error that names the option."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import field
from pathlib import Path

from pydantic import ValidationError

from bridge import registry
from bridge.config import NAME
from bridge.config_errors import describe
from bridge.errors import ConfigError
from bridge.forms import Ask, Secrecy
from bridge.frozen import frozen
from bridge.init import wanted
from bridge.init.asker import Asker
from bridge.init.wanted import SHORTCUTS, Options, Section

SECRETS = "secrets"  # the folder beside the configuration


@frozen
class Filler:
    """Where secrets are kept (beside the configuration), for which tenant, and who can be asked.

    ``kept`` are the files of secrets that were typed.
    """

    tenant: str
    folder: Path
    asker: Asker
    kept: list[Path] = field(default_factory=list)

    def forget(self) -> None:
        """Remove the secrets that were typed."""
        for path in self.kept:
            path.unlink(missing_ok=True)

    def fill(self, sections: Sequence[Section]) -> None:
        """Give every section all that it needs.

        Raises:
            ConfigError: something is missing or wrong, and nobody can be asked. Everything is named at once.
        """
        for section in sections:
            self._choose_way(section)
        missing = [line for section in sections for line in self._fill(section, sections)]
        if missing:
            raise ConfigError("\n".join(missing))
        wrong = [line for section in sections for line in self._faults(section, sections)]
        if wrong:
            raise ConfigError("\n".join(wrong))

    def _choose_way(self, section: Section) -> None:
        ways = {way.name: way.text for way in section.form.ways}
        if section.way or not ways:
            return
        first = next(iter(ways))
        told = [way.name for way in section.form.ways if any(ask.key in section.values for ask in way.asks)]
        if self.asker.is_there and len(ways) > 1 and not told:
            section.way = self.asker.one_of(f"{section.form.choice} {section.own} ({section.kind})", ways, first)
        else:
            section.way = told[0] if told else first

    def _fill(self, section: Section, sections: Sequence[Section]) -> list[str]:
        missing = []
        for ask in section.asks:
            if ask.key in section.values:
                continue
            if ask.is_secret:
                section.values[ask.key] = self._secret(section, ask)
            elif ask.default:
                usual = ask.default.replace("{tenant}", self.tenant)
                section.values[ask.key] = wanted.value_of(section, ask.key, usual)
            elif self.asker.is_there:
                self._ask(section, ask)
            else:
                legal = f"; one of {', '.join(ask.choices)}" if ask.choices else ""
                missing.append(f"{option(section, ask, sections)} is missing: {ask.text}{legal}")
        return missing

    def _ask(self, section: Section, ask: Ask) -> None:
        question = f"{section.own}: {ask.text}"
        if ask.choices:
            answer = self.asker.one_of(question, dict.fromkeys(ask.choices, ""), ask.choices[0])
        else:
            answer = self.asker.text(question)
        section.values[ask.key] = wanted.value_of(section, ask.key, answer)

    def _faults(self, section: Section, sections: Sequence[Section]) -> list[str]:
        """What the adapter's own model finds wrong; a person gets the question again first, with the reason."""
        while problems := faults(section):
            asks = [ask for ask in section.asks if not ask.is_secret and ask.key in problems]
            if not self.asker.is_there or not asks:
                names = {ask.key: f" ({option(section, ask, sections)})" for ask in asks}
                other = f" (--set {section.own}.KEY=..., or --secret for a secret)" if not section.asks else ""
                return [f"{section.own}.{key}: {text}{names.get(key, other)}" for key, text in problems.items()]
            for ask in asks:
                self.asker.tell(f"{section.own}.{ask.key}: {problems[ask.key]}")
                self._ask(section, ask)
        return []

    # --- secrets ---

    def _secret(self, section: Section, ask: Ask) -> dict[str, str]:
        """Where the secret is, or is going to be: a variable that is set, a file that is there, what a person says."""
        variable, file = self._places(section, ask)
        if os.environ.get(variable):
            return {"env": variable}
        if (self.folder / file).is_file():
            return {"file": file}
        if ask.secrecy is Secrecy.FILE:
            return {"file": self._file(section, ask, file)}
        if self.asker.is_there:
            question = f"{section.own}: {ask.text}, kept in {file} (Enter: it will come from {variable})"
            text = self.asker.secret(question)
            if text:
                keep(self.folder / file, text)
                self.kept.append(self.folder / file)
                return {"file": file}
        return {"env": variable}

    def _file(self, section: Section, ask: Ask, file: str) -> str:
        if not self.asker.is_there:
            return file
        while True:
            given = self.asker.maybe(f"{section.own}: path of {ask.text} (Enter: later, as {file})")
            if not given:
                return file
            path = Path(given).expanduser()
            if path.is_file():
                return str(path.absolute())
            self.asker.tell(f"there is no file {path}")

    def _places(self, section: Section, ask: Ask) -> tuple[str, str]:
        """Name of the variable and of the file a secret has unless somebody says otherwise."""
        stem = f"{self.tenant}_{section.own}_{ask.key.rpartition('.')[2]}"
        ending = ".json" if ask.secrecy is Secrecy.FILE else ""
        return re.sub(r"[^A-Z0-9]", "_", stem.upper()), f"{SECRETS}/{stem}{ending}"


def keep(path: Path, secret: str) -> None:
    """Write a secret to a new file that only its owner can read.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, "w", encoding="utf-8") as file:
            file.write(secret)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {type(error).__name__}; see to the folder") from None


def option(section: Section, ask: Ask, sections: Sequence[Section]) -> str:
    """The option that gives this setting."""
    asking = [other for other in sections if any(one.key == ask.key and not one.default for one in other.asks)]
    if ask.key in SHORTCUTS and len(asking) == 1:
        return SHORTCUTS[ask.key]
    return f"--set {section.own}.{ask.key}=..."


def faults(section: Section) -> dict[str, str]:
    """What the adapter's settings model finds wrong, by dotted key; never the value."""
    model = registry.settings_of(section.side, section.kind)
    try:
        model.model_validate(section.nested())
    except ValidationError as error:
        lines = [line.partition(": ") for line in describe(error, None, (), model)]
        return {key: text for key, _, text in lines}
    return {}


# --- who and what ------------------------------------------------------------------------------------------------


def tenant_name(options: Options, asker: Asker) -> str:
    """The tenant's name.

    Raises:
        ConfigError: it is missing or no name, and nobody can be asked.
    """
    name = options.tenant
    if name is None and not asker.is_there:
        raise ConfigError("\n".join(["--tenant is missing: a short name for the advertiser", *_missing(options)]))
    while True:
        name = name if name is not None else asker.text('A short name for the advertiser, such as "okna"')
        if NAME.fullmatch(name):
            return name
        wrong = f'--tenant {name}: a tenant\'s name is lower-case Latin letters, digits, "_" and "-"'
        if not asker.is_there:
            raise ConfigError(wrong)
        asker.tell(wrong)
        name = None


def _missing(options: Options) -> list[str]:
    """What is missing of the two sides, one line each."""
    given = {"sources": options.sources, "destinations": options.destinations}
    return [
        f"--{wanted.SIDES[side]} is missing: one of {', '.join(wanted.kinds(side))}"
        for side, named in given.items()
        if not named
    ]


def chosen_sections(options: Options, asker: Asker) -> list[Section]:
    """Sources and destinations, as named or chosen.

    Raises:
        ConfigError: there is none of one side, and nobody can be asked; or a name is wrong.
    """
    if not asker.is_there and (missing := _missing(options)):
        raise ConfigError("\n".join(missing))
    made: list[Section] = []
    for side, given in (("sources", options.sources), ("destinations", options.destinations)):
        named: Sequence[str] = given
        while not named:
            named = asker.many_of(f"Which {side}", wanted.kinds(side), ())
        made += wanted.sections(side, named)
    twice = [section.own for section in made if sum(section.own == other.own for other in made) > 1]
    if twice:
        raise ConfigError(f'"{twice[0]}" names both a source and a destination; write NAME=KIND for one of them')
    wanted.choose_ways(made, options.ways)
    return made

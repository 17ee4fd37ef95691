"""``config.example.toml`` is valid as it stands, complete, and every line of it is explained."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from bridge import registry
from bridge.collector.settings import CollectorSettings
from bridge.config import Config, Goal, MatchSettings, RootSettings, TenantSettings, When, load
from bridge.scoring import Score
from tests.arch.source import ROOT

EXAMPLE = ROOT / "config.example.toml"
LINES = EXAMPLE.read_text(encoding="utf-8").splitlines()
HEADER = re.compile(r"^(# ?)?\[{1,2}([a-z0-9_.]+)\]{1,2}")
SETTING = re.compile(r"^(# ?)?([a-z_]+) = (.+)$")
KINDS = sorted(registry.kinds())


def _blocks() -> Iterator[tuple[str, list[tuple[int, str]]]]:
    """Each table header with its numbered lines; a commented header opens a block too."""
    name, lines = "", list[tuple[int, str]]()
    for number, line in enumerate(LINES):
        header = HEADER.match(line)
        if header:
            yield name, lines
            name, lines = header[2], []
        lines.append((number, line))
    yield name, lines


def _settings(lines: list[tuple[int, str]]) -> list[tuple[int, str, bool]]:
    """(line, key, is commented out) of each setting."""
    found = [(number, SETTING.match(line)) for number, line in lines]
    return [(number, match[2], bool(match[1])) for number, match in found if match]


def _words(section: str) -> set[str]:
    """Every key named in the blocks whose dotted header matches, also inside inline tables."""
    text = "\n".join(line for name, lines in _blocks() if re.fullmatch(section, name) for _, line in lines)
    return set(re.findall(r"([a-z_]+) *=", text)) | {part for name, _ in _blocks() for part in name.split(".")}


def _load(path: Path) -> Config:
    return load(path, registry.settings_of)


def test_the_example_is_valid_as_it_stands() -> None:
    """No key is unknown, no tenant is switched off; secrets need not exist to load it."""
    config = _load(EXAMPLE)
    assert dict(config.broken) == {}
    assert config.tenants


def test_the_example_uses_every_adapter_on_each_of_its_sides() -> None:
    """Whoever wants a vendor finds a section to copy."""
    tenants = _load(EXAMPLE).tenants.values()
    sources = {item.kind for tenant in tenants for item in tenant.sources.values()}
    destinations = {item.kind for tenant in tenants for item in tenant.destinations.values()}
    specs = registry.adapters()
    assert {kind for kind, spec in specs.items() if spec.source} - sources == set()
    assert {kind for kind, spec in specs.items() if spec.destination} - destinations == set()


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The settings models inside a field's annotation (unions, Annotated, lists)."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _fields(model: type[BaseModel]) -> set[str]:
    """Every key an operator can write in a section of this model, nested tables included, references left out."""
    names = set(model.model_fields)
    for field in model.model_fields.values():
        for nested in _models(field.annotation):
            names |= set() if nested is model or nested.__name__ == "SecretRef" else _fields(nested)
    return names


@pytest.mark.parametrize(
    ("section", "model"),
    [
        (r"tenants\.\w+", TenantSettings),
        (r"tenants\.\w+\.match", MatchSettings),
        (r"tenants\.\w+\.collector", CollectorSettings),
        (r"tenants\.\w+\.goals", Goal),
        (r"tenants\.\w+\.goals", When),
        (r"tenants\.\w+\.scores\.\w+(\.rules)?", Score),
        (r"|database|web|log", RootSettings),
    ],
)
def test_every_setting_of_the_core_is_in_the_example(section: str, model: type[BaseModel]) -> None:
    """Active or as a comment: the example is the reference."""
    assert _fields(model) - _fields_below(model) - _words(section) == set()


def _fields_below(model: type[BaseModel]) -> set[str]:
    """Keys that need not be in the section: those of a tenant's own tables have sections of their own."""
    if model is CollectorSettings:
        return {"kind", "fields", "sweep_every"}  # every source has them; they are of no use to it
    below = _fields(Goal) | _fields(Score) | _fields(MatchSettings)
    # A score's conditions are those of goals.
    return below if model is TenantSettings else _fields(When) if model is Score else {"tenants"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_setting_of_every_adapter_is_in_its_section(kind: str) -> None:
    """Each adapter's section shows each of its settings, common ones included."""
    spec = registry.spec(kind)
    for part, side in (("sources", spec.source), ("destinations", spec.destination)):
        if side is None:
            continue
        text = "\n".join(
            "\n".join(line for _, line in lines)
            for name, lines in _blocks()
            if f".{part}." in name and any(line.startswith(f'kind = "{kind}"') for _, line in lines)
        )
        shown = set(re.findall(r"([a-z_]+) *=", text))
        assert sorted(_fields(side.settings) - shown) == [], f"{part} {kind}"


def test_every_setting_is_explained_where_it_first_appears() -> None:
    """A comment at the end of the line, or a sentence above it; every alternative in a comment has its own."""
    silent, explained = [], set[str]()
    for number, line in enumerate(LINES):
        match = SETTING.match(line)
        if match and (re.search(r"  # \S", line) or re.match(r"# .*\w", LINES[number - 1])):
            explained.add(match[2])
        elif match and (match[1] or match[2] not in explained):
            silent.append(f"{number + 1}: {line}")
    assert silent == []


def _variants() -> Iterator[tuple[int, str]]:
    """For each commented setting: the whole file with it switched on, and an active line of the same key off."""
    for _, lines in _blocks():
        settings = _settings(lines)
        for number, key, is_comment in settings:
            if not is_comment:
                continue
            text = list(LINES)
            for other, same, is_off in settings:
                if same == key and not is_off:
                    text[other] = ""
            text[number] = re.sub(r"^# ?", "", text[number])
            yield number, "\n".join(text)


def _line_id(value: int | str) -> str:
    return f"line {value + 1}" if isinstance(value, int) else "on"


@pytest.mark.parametrize(("number", "text"), list(_variants()), ids=_line_id)
def test_every_commented_setting_is_valid_too(tmp_path: Path, number: int, text: str) -> None:
    """Whoever removes the ``#`` gets a configuration that loads."""
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    assert dict(_load(path).broken) == {}, LINES[number]


def test_no_secret_is_written_in_the_example() -> None:
    """Secrets appear as references only."""
    for table in _tables(tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))):
        for key, value in table.items():
            if re.search(r"token$|secret|password|webhook|credentials", key):
                assert isinstance(value, dict), key


def _tables(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from _tables(item)
    elif isinstance(value, list):
        for item in value:
            yield from _tables(item)

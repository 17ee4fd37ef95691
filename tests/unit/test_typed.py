"""Commands in messages, made such that they can be copied into a shell."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from bridge import typed as module
from bridge.cli import app
from bridge.typed import DEFAULT, typed


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BRIDGE_CONFIG", raising=False)
    monkeypatch.setattr(module, "program", lambda: "bridge")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('run "bridge auth crm --tenant okna"', 'run "bridge auth -c my.toml crm --tenant okna"'),
        ('write it with "bridge init"', 'write it with "bridge init -c my.toml"'),
        ('then "bridge hook remove crm"', 'then "bridge hook remove -c my.toml crm"'),
        ('see "bridge late"', 'see "bridge late -c my.toml"'),
        ('see "bridge held list"', 'see "bridge held list -c my.toml"'),
        ('"bridge demo" plays it again', '"bridge demo" plays it again'),
        ("a bridge over a river, bridge checks", "a bridge over a river, bridge checks"),
        ("bridge auth -c my.toml crm", "bridge auth -c my.toml crm"),
        (".venv/bin/bridge sync", ".venv/bin/bridge sync"),
    ],
)
def test_every_command_that_reads_a_configuration_names_it(text: str, expected: str) -> None:
    """Once, and nothing else in the text changes."""
    assert typed(text, Path("my.toml")) == expected
    assert typed(expected, Path("my.toml")) == expected


def test_no_command_that_reads_a_configuration_is_forgotten() -> None:
    """Whatever takes ``--config`` is completed in messages, groups' commands too."""
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    names = {name: command for name, command in group.commands.items() if not isinstance(command, TyperGroup)}
    for above, one in group.commands.items():
        if isinstance(one, TyperGroup):
            names |= {f"{above} {name}": command for name, command in one.commands.items()}
    reading = [name for name, command in names.items() if any("--config" in each.opts for each in command.params)]
    assert len(reading) > 15
    assert [name for name in reading if typed(f"bridge {name}", Path("my.toml")) == f"bridge {name}"] == []


def test_what_is_found_without_saying_is_not_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default file, or the one that the environment names instead; a space in a name is quoted."""
    assert typed("bridge sync", DEFAULT) == "bridge sync"
    assert typed("bridge sync", Path("my own.toml")) == "bridge sync -c 'my own.toml'"
    monkeypatch.setenv("BRIDGE_CONFIG", "my own.toml")
    assert typed("bridge sync", Path("my own.toml")) == "bridge sync"
    assert typed("bridge sync", DEFAULT) == "bridge sync -c config.toml"


def test_another_program_of_the_name_is_avoided(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux has a ``bridge`` for networks: ours is then named by its path."""
    monkeypatch.setattr(module, "program", lambda: ".venv/bin/bridge")
    assert (
        typed('"bridge demo", then "bridge status"', DEFAULT)
        == '".venv/bin/bridge demo", then ".venv/bin/bridge status"'
    )

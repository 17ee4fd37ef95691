"""Commands that messages name, as they have to be typed: our program, with the configuration file that was given."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

DEFAULT = Path("config.toml")
VARIABLE = "BRIDGE_CONFIG"
# Those that read a configuration, and those that do not. What follows them in a message stays as it is.
_READING = (
    "audit|auth|backfill|check|coverage|explain|held list|held resolve|hook remove|init|late|plan|rules test|run"
    "|status|sync|values"
)
_COMMAND = re.compile(rf"(?<![\w/])bridge (?:({_READING})|(adapters|demo))\b(?! -c )")


def program() -> str:
    """``bridge``, or a path where the shell would find another program: Linux has one of that name for networks."""
    ours = Path(sys.executable).parent / "bridge"
    if shutil.which("bridge") == str(ours) or not ours.exists():
        return "bridge"
    below = os.path.relpath(ours)
    return str(ours) if below.startswith(os.pardir) else below


def option(config: Path) -> str:
    """How a command finds this configuration: `` -c my.toml``, or "" where it finds it without being told."""
    usual = Path(os.environ.get(VARIABLE) or DEFAULT)
    return "" if config.absolute() == usual.absolute() else f" -c {shlex.quote(str(config))}"


def typed(text: str, config: Path) -> str:
    """The text with every command in it made complete."""
    ours, given = program(), option(config)
    return _COMMAND.sub(lambda found: f"{ours} {found[1]}{given}" if found[1] else f"{ours} {found[2]}", text)

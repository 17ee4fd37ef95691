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
_READING = "auth|backfill|check|coverage|explain|held list|held resolve|hook remove|init|run|status|sync"
_COMMAND = re.compile(rf"(?<![\w/])bridge (?:({_READING})|(adapters|demo))\b(?! -c )")


def program() -> str:
    """``bridge``, or a path where the shell would find another program: Linux has one of that name for networks."""
    ours = Path(sys.executable).parent / "bridge"
    if shutil.which("bridge") == str(ours) or not ours.exists():
        return "bridge"
    below = os.path.relpath(ours)
    return str(ours) if below.startswith(os.pardir) else below


def typed(text: str, config: Path) -> str:
    """The text with every command in it made complete."""
    given = "" if config in (DEFAULT, _from_environment()) else f" -c {shlex.quote(str(config))}"
    ours = program()
    return _COMMAND.sub(lambda found: f"{ours} {found[1]}{given}" if found[1] else f"{ours} {found[2]}", text)


def _from_environment() -> Path | None:
    value = os.environ.get(VARIABLE)
    return Path(value) if value else None

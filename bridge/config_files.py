"""The files of a configuration: the main one and those it includes, as plain tables, and what is wrong with them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bridge.errors import ConfigError


@dataclass(slots=True)
class Files:
    """What was read. ``origins``: the file of each tenant; ``broken``: tenants that their files do not give, and why.

    A tenant of several files is in ``broken`` alone: nobody can tell which of them was meant. ``unmatched``: patterns
    of ``include`` that no file fits.
    """

    raw: dict[str, Any]
    origins: dict[str, list[Path]] = field(default_factory=dict)
    broken: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unmatched: list[str] = field(default_factory=list)


def read_files(path: Path) -> Files:
    """The main file with the tenants of those it includes.

    Raises:
        ConfigError: the main file cannot be read, is no TOML, or includes what is no pattern. An included file breaks
            its tenants only.
    """
    found = Files(read_toml(path))
    patterns = found.raw.get("include", [])
    if not isinstance(found.raw.setdefault("tenants", {}), dict) or not isinstance(patterns, list):
        return found  # whoever validates the top level says so
    found.origins = {name: [path] for name in found.raw["tenants"]}
    torn: dict[str, str] = {}
    for pattern in patterns:
        extras = _included(path, pattern)
        found.unmatched += [] if extras else [pattern]
        for extra in extras:
            _include(found, extra, torn)
    _tell(found, torn)
    return found


def _included(path: Path, pattern: Any) -> list[Path]:
    try:
        return sorted(path.parent.glob(pattern))
    except (NotImplementedError, TypeError, ValueError):
        raise ConfigError(f'{path}: include: write patterns relative to this file, such as "tenants/*.toml"') from None


def _include(found: Files, extra: Path, torn: dict[str, str]) -> None:
    """Add the tenants of a file. What cannot be read goes to ``torn``, under the name its tenant should have."""
    try:
        raw = read_toml(extra)
    except ConfigError as error:
        torn[extra.stem] = str(error)
        return
    tenants = raw.get("tenants", {})
    foreign = [key for key in raw if key != "tenants" or not isinstance(tenants, Mapping)]
    tenants = tenants if isinstance(tenants, Mapping) else {}
    if foreign:
        own = extra.name if tenants else extra.stem  # that of the file: its tenants are served
        torn[own] = f"{extra}: {', '.join(foreign)}: only tenants are included; move it to the main file"
    for name, tenant in tenants.items():
        files = found.origins.setdefault(name, [])
        if extra not in files:  # two patterns may name one file
            files.append(extra)
        found.raw["tenants"][name] = tenant


def _tell(found: Files, torn: Mapping[str, str]) -> None:
    found.broken = {f"{name}.toml" if name in found.origins else name: (line,) for name, line in torn.items()}
    for name, files in found.origins.items():
        if len(files) > 1:
            first, *others = map(str, files)
            also = " and ".join(others)
            found.broken[name] = (f"{first}: tenants.{name}: also defined in {also}; keep one of them",)
            del found.raw["tenants"][name]


def read_toml(path: Path) -> dict[str, Any]:
    """A file's tables.

    Raises:
        ConfigError: it is not there, cannot be read, or is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f'{path} does not exist; write it with "bridge init", or name a file with --config') from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {type(error).__name__}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None

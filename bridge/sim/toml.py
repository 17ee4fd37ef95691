"""Writes a nested dictionary as TOML: enough for the configurations that simulations make."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


def dumps(data: Mapping[str, Any]) -> str:
    """TOML text of a dictionary of scalars, lists, tables and lists of tables."""
    return "\n".join(_table((), data)).lstrip("\n") + "\n"


def _table(path: tuple[str, ...], data: Mapping[str, Any]) -> list[str]:
    plain = {key: value for key, value in data.items() if not _is_section(value)}
    lines = [f"{key_text(key)} = {value_text(value)}" for key, value in plain.items()]
    if path and (plain or not data):
        lines.insert(0, f"\n[{'.'.join(map(key_text, path))}]")
    for key, value in data.items():
        if isinstance(value, Mapping) and key not in plain:
            lines += _table((*path, key), value)
        elif _is_section(value):
            for item in value:
                lines.append(f"\n[[{'.'.join(map(key_text, (*path, key)))}]]")
                lines += [f"{key_text(name)} = {value_text(inner)}" for name, inner in item.items()]
    return lines


def _is_section(value: Any) -> bool:
    """Tables of tables get a heading; small ones (``{ env = "X" }``) stay on their line."""
    if isinstance(value, Mapping):
        return any(isinstance(inner, Mapping | list) for inner in value.values()) or len(value) > 3 or not value
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)


def value_text(value: Any) -> str:
    """A value on one line; a table becomes an inline one."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key_text(key)} = {value_text(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(value_text, value)) + "]"
    if isinstance(value, int | float):
        return str(value)
    # JSON's escapes are TOML's, but for DEL, which JSON leaves as it is.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def key_text(key: str) -> str:
    """A bare key where that is legal, else a quoted one."""
    is_bare = key.isascii() and key.replace("_", "").replace("-", "").isalnum()
    return key if is_bare else value_text(key)

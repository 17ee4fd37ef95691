"""What settings are made of: the base of every section, and types that are written as text. No vendor, no file."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(value: Any) -> Any:
    """``"60s"``, ``"10m"``, ``"6h"``, ``"21d"`` to a timedelta; other types pass through for pydantic to judge."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"(\d+)\s*([smhd])", value.strip())
    if match is None:
        raise ValueError('write a duration as a number and a unit: "60s", "10m", "6h", "21d"')
    return timedelta(seconds=int(match[1]) * _UNITS[match[2]])


def as_text(value: Any) -> Any:
    """A name, or a number that is an id and becomes text."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def as_list(value: Any) -> Any:
    """One name or many."""
    return [as_text(item) for item in (value if isinstance(value, list) else [value])]


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
Names = Annotated[list[str], BeforeValidator(as_list), Field(min_length=1)]


class Model(BaseModel):
    """Base of every settings section: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)

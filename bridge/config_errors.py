"""What is wrong with a configuration, in words that say what to do."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings


def describe(
    error: ValidationError, path: Path | None, prefix: tuple[str, ...], model: type[BaseModel]
) -> tuple[str, ...]:
    """One line per problem: file, dotted key, what to do. Never the value (it might be a secret).

    ``model`` is what the error is about: misspelt keys are answered with the nearest of its own.
    """
    lines = []
    for item in error.errors(include_url=False, include_input=False):
        place = item["loc"]
        if item["type"] == "extra_forbidden":
            message = _unknown(model, place)
        elif item["type"] == "enum" and place[-1:] == ("[key]",):
            place = place[:-1]
            message = _no_such(str(place[-1]), item["ctx"]["expected"])
        elif item["type"] in ("tuple_type", "list_type"):
            message = 'write a list: ["...", "..."]'
        else:
            message = item["msg"]
        key = ".".join([*prefix, *(str(part) for part in place)])
        message = message.removeprefix("Value error, ")
        lines.append(f"{path}: {key}: {message}" if path else f"{key}: {message}")
    return tuple(lines)


def describe_root(error: ValidationError, path: Path, model: type[BaseSettings]) -> tuple[str, ...]:
    """The same for the top level, of which the environment may be the origin: its variable is named then."""
    places = [item["loc"] for item in error.errors(include_url=False, include_input=False)]
    prefix = model.model_config.get("env_prefix", "")
    lines = describe(error, None, (), model)
    return tuple(f"{_variable(prefix, place) or path}: {line}" for place, line in zip(places, lines, strict=True))


def _variable(prefix: str, place: Sequence[int | str]) -> str:
    """The variable that sets what is there, or the section around it; "" if none does. Its case does not matter."""
    wanted = [f"{prefix}{'__'.join(map(str, place[:depth]))}".upper() for depth in (2, 1)]
    found = [name for name in os.environ if name.upper() in wanted]
    return f"environment variable {max(found, key=len)}" if found else ""


def _unknown(model: type[BaseModel], place: tuple[int | str, ...]) -> str:
    """What to do about a key that its section does not have."""
    *sections, wrong = place
    models = {model}
    for part in sections:
        inner = {found for one in models if part in one.model_fields for found in _models(one, str(part))}
        # A number in a list leads nowhere; the tag of an alternative neither, even if a field has that name, too.
        models = inner | (models if len(models) > 1 or not inner else set())
    known = sorted({name for one in models for name in one.model_fields})
    return _meant(str(wrong), known, "remove it or correct its spelling")


def _no_such(wrong: str, expected: str) -> str:
    """What to do about a key that is none of those that a table of settings may have (pydantic lists them quoted)."""
    known = re.findall(r"'([^']+)'", expected)
    return _meant(wrong, known, f"it is one of {', '.join(known)}")


def _meant(wrong: str, known: Sequence[str], otherwise: str) -> str:
    near = difflib.get_close_matches(wrong.lower(), known, n=1, cutoff=0.6)
    return f'unknown key; did you mean "{near[0]}"?' if near else f"unknown key; {otherwise}"


def _models(model: type[BaseModel], name: str) -> set[type[BaseModel]]:
    """The sections that a setting of this name consists of."""
    found, looked_at = set[type[BaseModel]](), [model.model_fields[name].annotation]
    while looked_at:
        annotation = looked_at.pop()
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            found.add(annotation)
        looked_at += get_args(annotation)
    return found

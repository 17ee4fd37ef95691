"""How names written by people are compared, and the nearest real names when one is unknown. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from unicodedata import normalize

_NEAREST = 3
_LISTED = 8


@lru_cache(maxsize=8192)
def plain(text: str) -> str:
    """The form names are compared in: NFKC, single spaces, no case, ё as е (contract tables D)."""
    return " ".join(normalize("NFKC", text).split()).casefold().replace("ё", "е")


@lru_cache(maxsize=8192)
def path(text: str) -> str:
    """The comparable form of "pipeline/stage": like :func:`plain`, without spaces around the stroke."""
    return re.sub(r"\s*/\s*", "/", plain(text))


def any_of(names: Iterable[str]) -> str:
    """Names in a sentence: ``A or B``."""
    return " or ".join(names)


def unknown(what: str, name: str, known: Mapping[str, str]) -> str:
    """One line about a name that does not exist. ``known``: comparable form -> the name as it is shown."""
    near = difflib.get_close_matches(path(name), list(known), n=_NEAREST, cutoff=0.5)
    if near:
        return f'unknown {what} "{name}"; nearest: {_quoted(dict.fromkeys(known[key] for key in near))}'
    shown = list(dict.fromkeys(known.values()))
    if not shown:
        return f'unknown {what} "{name}"; the source knows none'
    more = f" and {len(shown) - _LISTED} more" if len(shown) > _LISTED else ""
    return f'unknown {what} "{name}"; known: {_quoted(shown[:_LISTED])}{more}'


def meant(name: str, known: Iterable[str]) -> str:
    """A hint behind a word that may be a misspelt known one: ``; did you mean "deal"?``, or ""."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f'; did you mean "{near[0]}"?' if near else ""


def gist(problem: str) -> str:
    """A problem without the list of nearest names, which differs from source to source."""
    return problem.partition("; ")[0]


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)

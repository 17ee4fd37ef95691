"""Records of several sources at once: a place is a source and the key of a record in it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping


def by_source(places: Iterable[tuple[str, str]]) -> Mapping[str, list[str]]:
    """Keys by their source, both in the order in which they come."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for source, key in places:
        found[source].append(key)
    return found

"""The simulated search: filters, one sort, pages by offset up to 10,000 results (contract hubspot 3)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from adapters.hubspot.fake_data import Indexed, Shelf
from adapters.hubspot.fake_schema import Property, invalid
from bridge.frozen import frozen

MOST = 10_000
_PAGE_MAX, _GROUPS_MAX, _FILTERS_MAX, _TOTAL_MAX = 200, 5, 6, 18
_Test = Callable[[Mapping[str, str]], bool]
_COMPARED: Mapping[str, Callable[[Any, Any], bool]] = {
    "EQ": lambda left, right: bool(left == right),
    "LT": lambda left, right: bool(left < right),
    "LTE": lambda left, right: bool(left <= right),
    "GT": lambda left, right: bool(left > right),
    "GTE": lambda left, right: bool(left >= right),
}


@frozen
class Result:
    """A page: its rows, how many there are in all, and where the next one begins."""

    rows: Sequence[Indexed]
    total: int
    after: int | None


def run(shelf: Shelf, query: Mapping[str, Any], properties: Mapping[str, Property]) -> Result:
    """Answer a search over these rows."""
    limit, after = _page(query)
    groups = query.get("filterGroups") or []
    _insist(len(groups) <= _GROUPS_MAX, f"at most {_GROUPS_MAX} filter groups")
    filters = [group.get("filters") or [] for group in groups]
    _insist(all(len(group) <= _FILTERS_MAX for group in filters), f"at most {_FILTERS_MAX} filters in a group")
    _insist(sum(map(len, filters)) <= _TOTAL_MAX, f"at most {_TOTAL_MAX} filters")
    tests = [[_test(one, properties) for one in group] for group in filters]
    name, is_descending = _sort(query.get("sorts") or [], properties)
    found, others = shelf.rows, tests
    if len(filters) == 1:
        found, others = _cut(shelf, filters[0], tests[0], properties)
    if any(others):
        found = [row for row in found if any(all(test(row.values) for test in group) for group in others)]
    if (name, is_descending) != (shelf.name, False):
        kind = properties[name]
        found = sorted(found, key=lambda row: (_key(kind, row.values.get(name)), row.number), reverse=is_descending)
    rest = after + limit
    return Result(found[after:rest], len(found), rest if rest < len(found) else None)


def _cut(
    shelf: Shelf, filters: Sequence[Mapping[str, Any]], tests: Sequence[_Test], properties: Mapping[str, Property]
) -> tuple[Sequence[Indexed], list[list[_Test]]]:
    """The rows inside the bounds that filters set to the time of change, found without looking at each; other tests."""
    low, high = 0, len(shelf.rows)
    others = []
    for one, test in zip(filters, tests, strict=True):
        operator = one.get("operator", "")
        if one.get("propertyName") != shelf.name or operator not in _COMPARED:
            others.append(test)
            continue
        bound = _key(properties[shelf.name], one["value"])[1]
        left, right = bisect_left(shelf.stamps, bound), bisect_right(shelf.stamps, bound)
        if operator in ("GTE", "GT", "EQ"):
            low = max(low, right if operator == "GT" else left)
        if operator in ("LT", "LTE", "EQ"):
            high = min(high, left if operator == "LT" else right)
    return shelf.rows[low:high], [others]


def _page(query: Mapping[str, Any]) -> tuple[int, int]:
    limit = query.get("limit", 10)
    _insist(isinstance(limit, int) and 0 < limit <= _PAGE_MAX, f"limit must be at most {_PAGE_MAX}")
    text = str(query.get("after") or "0")
    _insist(text.isdigit(), "after is no number")
    _insist(int(text) + limit <= MOST, "The request goes beyond the 10000 results that a search returns")
    return limit, int(text)


def _sort(sorts: Sequence[Any], properties: Mapping[str, Property]) -> tuple[str, bool]:
    _insist(len(sorts) <= 1, "only one sort is allowed")
    if not sorts:
        return "createdate", False
    one = sorts[0]
    if isinstance(one, dict):
        name, is_descending = str(one.get("propertyName")), one.get("direction") == "DESCENDING"
    else:
        name, is_descending = str(one).lstrip("-"), str(one).startswith("-")
    _insist(name in properties, f"Property {name} does not exist")
    return name, is_descending


def _test(one: Mapping[str, Any], properties: Mapping[str, Property]) -> _Test:
    name, operator = one.get("propertyName", ""), one.get("operator", "")
    _insist(name in properties, f"There was a problem with the request: property {name} does not exist")
    kind = properties[name]
    if operator == "HAS_PROPERTY":
        return lambda values: bool(values.get(name))
    if operator == "NOT_HAS_PROPERTY":
        return lambda values: not values.get(name)
    if operator in ("IN", "NOT_IN"):
        wanted = {str(item) for item in one.get("values") or []}
        _insist(bool(wanted), f"{operator} needs values")
        return lambda values: bool(values.get(name)) and (values[name] in wanted) is (operator == "IN")
    bound = _key(kind, one.get("value"))
    _insist(bound != _NOTHING, f"{operator} needs a value that fits {name}")
    if operator == "BETWEEN":
        high = _key(kind, one.get("highValue"))
        return lambda values: bool(values.get(name)) and bound <= _key(kind, values[name]) <= high
    if operator == "NEQ":
        return lambda values: bool(values.get(name)) and _key(kind, values[name]) != bound
    if operator in ("CONTAINS_TOKEN", "NOT_CONTAINS_TOKEN"):
        token = str(one.get("value")).strip("*").lower()
        return lambda values: (token in values.get(name, "").lower()) is (operator == "CONTAINS_TOKEN")
    _insist(operator in _COMPARED, f"operator {operator} is unknown")
    holds = _COMPARED[operator]
    return lambda values: bool(values.get(name)) and holds(_key(kind, values[name]), bound)


_NOTHING = (0, Decimal(0), "")


def _key(kind: Property, value: Any) -> tuple[int, Decimal, str]:
    """What values are compared by: numbers and times as numbers (times in milliseconds), others as text."""
    text = "" if value is None else str(value)
    if not text:
        return _NOTHING
    if kind.type not in ("number", "datetime"):
        return (1, Decimal(0), text.lower())
    try:
        return (1, _number(text), "")
    except (InvalidOperation, ValueError):
        return _NOTHING


@lru_cache(maxsize=65_536)
def _number(text: str) -> Decimal:
    """A number, or a time in milliseconds."""
    if "T" in text:
        return Decimal(round(datetime.fromisoformat(text).astimezone(UTC).timestamp() * 1000))
    return Decimal(text)


def _insist(condition: bool, message: str) -> None:
    if not condition:
        raise invalid(message)

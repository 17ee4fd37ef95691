"""Filters, order and paging of a simulated portal's lists (contract bitrix24 3.1, 3.2), fast by index."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from decimal import Decimal, InvalidOperation
from itertools import islice
from typing import Any, TypeVar

import msgspec

from adapters.bitrix24.fake_data import Record, Table
from adapters.bitrix24.fake_schema import MULTI, Schema
from bridge.frozen import frozen

T = TypeVar("T")
PAGE = 50
_OPERATORS = re.compile(r"(!=%|!%=|!@|!%|!=|>=|<=|=%|%=|@|%|!|>|<|=)?(.+)", re.S)
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
}


class RestError(Exception):
    """An error as the portal answers it."""

    def __init__(self, code: str | int, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.status = status


@frozen
class Condition:
    """``{operator}{FIELD}: value`` with the value already of the field's type."""

    field: str
    operator: str
    values: tuple[Any, ...]

    def holds(self, value: Any) -> bool:
        """Whether a field's typed value fits."""
        compare = _COMPARE.get(self.operator)
        if compare is not None:
            return value is not None and any(compare(value, wanted) for wanted in self.values)
        if "%" in self.operator:
            return self._is_like(str(value or "")) is not self.operator.startswith("!")
        return (value in self.values) is not self.operator.startswith("!")

    def test(self) -> Callable[[Any], bool]:
        """``holds`` made ready for many values."""
        compare = _COMPARE.get(self.operator)
        if compare is not None and len(self.values) == 1:
            wanted = self.values[0]
            return lambda value: value is not None and compare(value, wanted)
        return self.holds

    def _is_like(self, text: str) -> bool:
        for wanted in self.values:
            pattern = re.escape(str(wanted or ""))
            pattern = pattern.replace("%", ".*") if "=" in self.operator else f".*{pattern}.*"
            if re.fullmatch(pattern, text, re.S | re.I):
                return True
        return False


def php_int(value: Any) -> int:
    """PHP's intval: leading digits of a text, 1 for an array with something in it, else 0."""
    if isinstance(value, list | dict):
        return int(bool(value))
    found = re.match(r"\s*([+-]?\d+)", str(value))
    return int(found[1]) if found else 0


def typed(kind: str, value: Any, zone: tzinfo) -> Any:
    """A filter's or a row's value as its type compares: ids as numbers, times as Unix seconds, sums as decimals.

    A text that is no time never matches; one without an offset is in the server's zone (contract 3.4).
    """
    if kind in ("id", "user"):
        return php_int(value if value is not None else 0)
    if kind in ("time", "date"):
        return _seconds(value, zone)
    if kind == "money":
        try:
            return Decimal(str(value or "0"))
        except InvalidOperation:
            return Decimal(0)
    return None if value in (None, "") else str(value)


def _seconds(value: Any, zone: tzinfo) -> int | None:
    if not value:
        return None
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return int((at if at.tzinfo else at.replace(tzinfo=zone)).timestamp())


def conditions(
    types: Mapping[str, str], wanted: Any, zone: tzinfo, *, is_strict: bool, names: Mapping[str, str] | None = None
) -> list[Condition]:
    """A filter understood. Classic lists drop unknown keys without a word; universal ones refuse them.

    ``names``: the filter's own names (camelCase) to the classic ones.
    """
    if not isinstance(wanted, Mapping):
        if wanted in (None, [], ""):
            return []
        raise RestError("", "Parameter 'filter' must be array.")
    found = []
    for key, value in wanted.items():
        match = _OPERATORS.fullmatch(str(key))
        name = match[2] if match else ""
        field = names.get(name, "") if names is not None else name
        if field not in types:
            if is_strict:
                raise RestError("INVALID_ARG_VALUE", f"Invalid filter: field '{name}' is not allowed in filter")
            continue
        operator = (match[1] if match else None) or "="
        found.append(Condition(field, operator, _values(types[field], operator, value, zone)))
    return found


def _values(kind: str, operator: str, value: Any, zone: tzinfo) -> tuple[Any, ...]:
    """A list counts item by item, except in comparisons: there PHP makes a number of it (contract 7, 17)."""
    if operator in _COMPARE and isinstance(value, list | dict):
        return (php_int(value),) if kind == "id" else ()
    items = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else [value]
    found = tuple(typed(kind, item, zone) for item in items)
    return tuple(item for item in found if item is not None) if operator in _COMPARE else found


# --- lists of records --------------------------------------------------------------------------------------------


@frozen
class Query:
    """One list call. ``start``: -1 for no counting, else an offset. ``order``: (field, is ascending) pairs."""

    conditions: Sequence[Condition]
    order: tuple[tuple[str, bool], ...]
    start: int

    @property
    def is_by_id(self) -> bool:
        return self.order in ((), (("ID", True),))


@frozen
class Page:
    """Rows, how many there are in all (0 when not counted), and the next offset."""

    records: Sequence[Any]
    total: int
    next: int | None = None


def cut(items: Sequence[T], start: int) -> Page:
    """An offset's page, with total and next."""
    following = start + PAGE if start + PAGE < len(items) else None
    return Page(items[start : start + PAGE], len(items), following)


class Lists:
    """Lists over one table. Counted results are kept until the table changes: offset paging asks again and again."""

    def __init__(self, table: Table, zone: tzinfo) -> None:
        self._table = table
        self._zone = zone
        self._kept: dict[Any, tuple[int, list[Record]]] = {}

    def page(self, query: Query) -> Page:
        """The page a query means."""
        if query.start < 0:
            matching = self._matching(query.conditions)
            ordered = matching if query.is_by_id else iter(self._sorted(matching, query.order))
            return Page(list(islice(ordered, PAGE)), 0)
        if query.is_by_id and not query.conditions and not self._table.hidden:
            ids = self._table.ids
            page = cut(ids, query.start)
            return Page([self._table.records[number] for number in page.records], page.total, page.next)
        return cut(self._all(query), query.start)

    def _all(self, query: Query) -> list[Record]:
        key = (tuple(query.conditions), query.order)
        generation, records = self._kept.get(key, (-1, []))
        if generation != self._table.generation:
            records = self._sorted(self._matching(query.conditions), query.order)
            self._kept = {key: (self._table.generation, records)}
        return records

    def _sorted(self, records: Iterable[Record], order: tuple[tuple[str, bool], ...]) -> list[Record]:
        """Stable, last key first. Without an order: by id."""
        found = list(records)
        for name, is_ascending in reversed(order):
            value = self._reader(name)
            found.sort(key=lambda record: (value(record) is not None, value(record)), reverse=not is_ascending)
        return found

    def _matching(self, wanted: Sequence[Condition]) -> Iterator[Record]:
        """Records that fit, by ascending id."""
        tests = [(self._reader(item.field), item.test()) for item in wanted if item.field not in MULTI]
        multi = [item for item in wanted if item.field in MULTI]
        passed = self._table.hidden
        if self._table.unlisted and any(item.field == "DATE_MODIFY" for item in wanted):
            passed = passed | self._table.unlisted
        for record in self._candidates(wanted):
            if record.id in passed:
                continue
            for value, holds in tests:
                if not holds(value(record)):
                    break
            else:
                if all(_has(record, item) for item in multi):
                    yield record

    def _candidates(self, wanted: Sequence[Condition]) -> Iterator[Record]:
        """As few records as the indexes allow: by given ids, by time of change, or behind an id."""
        after = max(
            [0, *(min(item.values, default=0) for item in wanted if item.field == "ID" and item.operator == ">")]
        )
        for item in wanted:
            if item.field == "ID" and item.operator in ("=", "@"):
                known = self._table.records
                return (known[number] for number in sorted(set(item.values)) if number in known and number > after)
        times = [item for item in wanted if item.field == "DATE_MODIFY"]
        since = max((min(item.values, default=0) for item in times if item.operator in (">=", ">")), default=0)
        until = min((max(item.values, default=0) for item in times if item.operator in ("<=", "<")), default=10**11)
        changed = self._table.changed(since, until, after) if times else None
        if changed is None:
            return self._table.behind(after)
        return (self._table.records[number] for number in changed[bisect_right(changed, after) :])

    def _reader(self, name: str) -> Callable[[Record], Any]:
        """How to get a record's typed value."""
        if name == "ID":
            return lambda record: record.id
        if name == "DATE_MODIFY":
            return lambda record: record.modified
        schema, zone = self._table.schema, self._zone
        kind, empty = schema.types[name], schema.empty[name]
        if kind in ("text", "char", "stage", "crm_status"):
            return lambda record: record.row.get(name, empty) or None
        return lambda record: typed(kind, record.row.get(name, empty), zone)


def _has(record: Record, item: Condition) -> bool:
    return any(item.holds(value) for value in record.multi.get(item.field, ()))


# --- rows out ----------------------------------------------------------------------------------------------------


def classic_rows(
    schema: Schema, records: Iterable[Record], names: Sequence[str], multi: Sequence[str]
) -> list[msgspec.Raw]:
    """Rows of a classic list as JSON: everything text, multi-fields only where there are any."""
    key = (*names, *multi)
    plan = [(name, schema.empty[name]) for name in names]
    rows = []
    for record in records:
        shown = record.shown.get(key)
        if shown is None:
            shown = record.shown[key] = msgspec.Raw(msgspec.json.encode(_classic(record, plan, multi)))
        rows.append(shown)
    return rows


def _classic(record: Record, plan: Iterable[tuple[str, Any]], multi: Iterable[str]) -> dict[str, Any]:
    row = {name: record.row.get(name, empty) for name, empty in plan}
    row.update((name, record.multi_rows(name)) for name in multi if name in record.multi)
    return row


def classic_record(schema: Schema, record: Record) -> dict[str, Any]:
    """A single record: every field, empty texts of custom fields as "" (contract 4.3), present multi-fields."""
    row = _classic(record, schema.empty.items(), [] if schema.kind == "deal" else list(record.multi))
    row.update({name: "" for name in schema.custom if row[name] is None})
    return row


def item_value(kind: str, value: Any) -> Any:
    """A classic value as ``crm.item.*`` types it: numbers, null for an empty time, 0 for no reference."""
    if kind in ("id", "user"):
        return int(value or 0)
    if kind in ("time", "date"):
        return value or None
    if kind == "money":
        number = Decimal(value or "0")
        return int(number) if number == number.to_integral_value() else float(number)
    return value

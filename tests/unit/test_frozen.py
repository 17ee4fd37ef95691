"""What the garbage collector knows of immutable values."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Any

from bridge.frozen import frozen
from bridge.model import Contact, Deal, DealKind, Outcome, StageChange, utc


class Colour(Enum):
    RED = "red"


@frozen
class Leaf:
    name: str
    colour: Colour | None = None


@frozen
class Branch:
    leaves: tuple[Leaf, ...]
    at: datetime | None = None


@frozen
class Table:
    rows: Mapping[str, Leaf]


@frozen
class Chain:
    before: Chain | None
    table: Table


def test_a_value_of_nothing_but_values_is_not_tracked() -> None:
    leaf = Leaf("a", Colour.RED)
    assert not gc.is_tracked(leaf)
    assert not gc.is_tracked(Branch((leaf,)))


def test_a_value_that_holds_what_can_change_is_tracked() -> None:
    table = Table({"a": Leaf("a")})
    assert gc.is_tracked(table)
    assert gc.is_tracked(Chain(None, table))


def test_the_parts_of_a_deal_are_not_tracked_the_deal_is() -> None:
    now = utc(1_700_000_000)
    entry, person = StageChange(now, "1", "2", Outcome.OPEN, "events"), Contact("1", ("+7",), ("a@b",), True)
    deal = Deal(DealKind.LEAD, "1", "v", now, now, "1", "2", Outcome.OPEN, history=(entry,), contacts=(person,))
    assert not gc.is_tracked(entry)
    assert not gc.is_tracked(person)
    assert gc.is_tracked(deal)


def test_types_that_are_no_texts_are_taken_as_well() -> None:
    """An adapter from elsewhere may be written without postponed annotations."""
    made: Any = frozen(type("Own", (), {"__annotations__": {"name": str}, "__module__": __name__}))
    assert made(name="a").name == "a"

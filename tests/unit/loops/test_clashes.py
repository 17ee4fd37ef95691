"""Goals of ours that get into each other's way at a destination."""

from __future__ import annotations

import pytest

from bridge import clashes
from bridge.config import Goal
from bridge.frozen import replace
from bridge.ports import DestinationTraits, Level
from bridge.store import Store
from tests.store.kit import ADS
from tests.unit.loops.kit import TRAITS, Ads, Crm, office


def goal(name: str, target: str) -> Goal:
    return Goal.model_validate({"name": name, "when": {"outcome": "won"}, "send": {ADS: target}})


@pytest.mark.parametrize(
    ("second", "traits", "found"),
    [("sold", TRAITS, 1), ("bought", TRAITS, 0), ("sold", replace(TRAITS, needs_click=False), 0)],
)
def test_two_goals_of_one_name_at_a_destination_are_warned_of(
    store: Store, second: str, traits: DestinationTraits, found: int
) -> None:
    """A deal that reaches both would be counted twice there; people may be told of several under one name."""
    made = office(store, {ADS: Ads(traits)}, {"crm": Crm()}, [goal("sale", "sold"), goal("big_sale", second)])
    told = clashes.findings(made.tenant)
    assert [(one.level, one.subject) for one in told] == [(Level.WARNING, ADS)] * found
    assert all("sale and big_sale" in one.message for one in told)

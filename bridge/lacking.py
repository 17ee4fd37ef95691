"""Facts that goals ask for and that a source, as it is set up, does not bring: for ``bridge check``."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bridge.config import Goal
from bridge.ports import Finding, Level, SourceTraits
from bridge.tenant import Tenant
from bridge.valuing import ValueOf

_ADVICE = 'or name the sources the goal is meant for (when = { source = "...", ... })'
_PAYMENTS = "is per payment, and this source brings no payments: switch them on in its settings"
_PRODUCTS = (
    "is worth its product rows, and this source brings none, so its conversions go without a value: switch them on "
    '(Bitrix24: product_rows = ["deal"])'
)


def findings(tenant: Tenant) -> Iterator[tuple[str, Finding]]:
    """By source: payments and product rows that are missed there."""
    yield from _missed(tenant, _by_payment, _payments, _PAYMENTS)
    yield from _missed(tenant, _by_products, _products, _PRODUCTS)


def _by_payment(goal: Goal) -> bool:
    return goal.is_per_payment


def _by_products(goal: Goal) -> bool:
    return isinstance(goal.value, ValueOf) and goal.value.products is not None


def _payments(traits: SourceTraits) -> bool:
    return traits.brings_payments


def _products(traits: SourceTraits) -> bool:
    return traits.brings_products


def _missed(
    tenant: Tenant, needs: Callable[[Goal], bool], brings: Callable[[SourceTraits], bool], text: str
) -> Iterator[tuple[str, Finding]]:
    """An error where no source brings it."""
    traits = {name: source.port.traits for name, source in tenant.sources.items() if source.port is not None}
    traits = {name: one for name, one in traits.items() if not one.brings_touches}
    without = [name for name, one in traits.items() if not brings(one)]
    level = Level.ERROR if len(without) == len(traits) else Level.WARNING
    for goal in filter(needs, tenant.settings.goals):
        wanted = goal.when.source or without
        for name in without:
            if name in wanted:
                yield name, Finding(level, "goals", f'goal "{goal.name}" {text}, {_ADVICE}')

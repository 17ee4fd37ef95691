"""What the product rows of a deal are worth: all of them, some, or a share of each by its name. Pure.

A row is counted by the name in the settings that comes closest to its own: the one that leaves least to ``*``. The
order of the names says nothing. The rows are those of now: no CRM tells what they were before.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from bridge.model import Deal, Money, frozen
from bridge.products import Product
from bridge.rules.names import plain
from bridge.valuing import EVERY, ValueOf

_TOLD = 5  # groups named in one reason
_WHOLE = Decimal(1)


@frozen
class _Group:
    """Rows of one name of the settings; ``parts`` is its comparable form, cut at each ``*``."""

    name: str
    share: Decimal
    parts: tuple[str, ...]

    def counts(self, row: Product) -> bool:
        return _fits(plain(row.name), self.parts) or bool(row.id and row.id == self.name)


@frozen
class Worth:
    """The value of a goal that is made of product rows."""

    groups: tuple[_Group, ...]

    def of(self, deal: Deal) -> tuple[Money | None, str]:
        """What the deal is worth, and the summands in words; None where nothing is known of its products.

        A deal whose rows are known, and of which none counts, is worth 0.
        """
        if not deal.products:
            return None, f"no value: {'its product rows are not read' if deal.products is None else 'no product rows'}"
        found: dict[_Group | None, list[Product]] = {}
        for row in deal.products:
            found.setdefault(self._group(row), []).append(row)
        rest = found.pop(None, [])
        total = sum((_sum(rows) * group.share for group, rows in found.items() if group is not None), Decimal(0))
        told = [_told(group, found[group]) for group in self.groups if group in found]
        told[_TOLD:] = [f"{len(told) - _TOLD} more groups"] if len(told) > _TOLD else []
        told += [f"{len(rest)} not counted"] if rest else []
        return Money.of(total, deal.products[0].currency), f"product rows: {', '.join(told)}"

    def _group(self, row: Product) -> _Group | None:
        return next((group for group in self.groups if group.counts(row)), None)


def compiled(wanted: ValueOf) -> Worth | None:
    """The value that these settings mean; None where it is not made of product rows."""
    if wanted.products is None:
        return None
    whole = _WHOLE if wanted.share is None else wanted.share
    groups = [
        _Group(name, whole if share is None else share, tuple(plain(name).split(EVERY)))
        for name, share in wanted.products.items()
    ]
    return Worth(tuple(sorted(groups, key=_distance)))


def meaning(worth: Worth) -> list[list[str]]:
    """Names and shares as one value, equal where they mean the same."""
    return [[plain(group.name), f"{group.share.normalize():f}"] for group in worth.groups]


def _fits(name: str, parts: tuple[str, ...]) -> bool:
    """Whether a name consists of these parts in order, with any text between them."""
    first, last = parts[0], parts[-1]
    if len(parts) == 1:
        return name == first
    if not (name.startswith(first) and name.endswith(last) and len(name) >= len(first) + len(last)):
        return False
    at, end = len(first), len(name) - len(last)
    for part in parts[1:-1]:
        at = name.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True


def _distance(group: _Group) -> tuple[int, int, str]:
    """Names without ``*`` first, then by how much they say."""
    return len(group.parts) > 1, -sum(map(len, group.parts)), plain(group.name)


def _sum(rows: Iterable[Product]) -> Decimal:
    return sum((row.sum for row in rows), Decimal(0))


def _told(group: _Group, rows: list[Product]) -> str:
    """``2 "Окна*" 120000.00 x 0.3``."""
    share = "" if group.share == _WHOLE else f" x {group.share.normalize():f}"
    return f'{len(rows)} "{group.name}" {Money.of(_sum(rows), rows[0].currency).amount}{share}'

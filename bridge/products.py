"""What a deal is about: its product rows. Standard library only."""

from __future__ import annotations

from decimal import Decimal

from bridge.frozen import frozen

ROWS_MAX = 500  # of one deal; facts are read and written whole


@frozen
class Product:
    """One product row of a deal.

    ``id`` is the catalogue's, "" for what was only written down; ``name`` is on one line. ``price``: of one piece, in
    whole units of ``currency``, discounts and taxes included; ``quantity`` may be a fraction.
    """

    id: str
    name: str
    price: Decimal
    quantity: Decimal
    currency: str

    @property
    def sum(self) -> Decimal:
        """What the row comes to, not rounded."""
        return self.price * self.quantity

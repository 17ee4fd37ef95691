"""Product rows of a simulated portal (contract bitrix24 4.4; refusals as on the vendor's page of the method)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

from adapters.bitrix24 import fake_query as query
from adapters.bitrix24.fake_data import PortalData
from adapters.bitrix24.fake_query import RestError
from adapters.bitrix24.fake_schema import DEAL, INVOICE, ITEM, LEAD

_CODES = {"L": LEAD, "D": DEAL, "SI": INVOICE}  # short codes of types; a smart process is T and its number in hex
_FILTERS = {"id": "id", "productId": "id"}  # conditions on anything else are ignored without a word


class Row(NamedTuple):
    """One row. Numbers as text, exactly; ``product`` is 0 for what is not in the catalogue."""

    id: int
    name: str
    price: str
    quantity: str
    product: int
    sort: int


class RowDesk:
    """Rows by kind and record. ``closed``: records whose rows the user behind the credentials may not read."""

    def __init__(self, data: PortalData) -> None:
        self._data = data
        self._rows: dict[tuple[str, int], list[Row]] = defaultdict(list)
        self._last = 0
        self.closed: set[tuple[str, int]] = set()

    def add(self, owner: tuple[str, int], name: str, price: str, quantity: str = "1", product: int = 0) -> int:
        """A row of this record, which is shown before those that are there. It moves nothing on the record."""
        rows = self._rows[owner]
        self._last += 1
        rows.append(Row(self._last, name, price, quantity, product, 1000 - len(rows)))
        return self._last

    def remove(self, owner: tuple[str, int]) -> None:
        """Take all rows of a record away."""
        self._rows.pop(owner, None)

    def page(self, params: Mapping[str, Any]) -> query.Page:
        """A page of one record's rows, by ``sort`` unless they are wanted by ``id``.

        Raises:
            RestError: the owner is not named, may not be read, does not exist or is of no such type; a filter is odd.
        """
        wanted = params.get("filter")
        given = dict(wanted) if isinstance(wanted, Mapping) else {}
        code, number = given.pop("=ownerType", None), given.pop("=ownerId", None)
        if not code or not number:
            raise RestError("REQUIRED_ARG_MISSING", "Required fields: =ownerType, =ownerId")
        kind, owner = _kind(str(code)), query.php_int(number)
        table = self._data.tables.get(kind)
        if table is None or owner not in table.records or owner in table.hidden or (kind, owner) in self.closed:
            raise RestError("ACCESS_DENIED", "Доступ запрещен")
        if any(isinstance(value, list | dict) and not key.startswith("@") for key, value in given.items()):
            raise RestError("INVALID_ARG_VALUE", "Invalid filter value")
        conditions = query.conditions(_FILTERS, given, self._data.zone, is_strict=False, names=_NAMES)
        rows = [row for row in self._rows.get((kind, owner), ()) if _fits(conditions, row)]
        order = params.get("order")
        by_id = isinstance(order, Mapping) and "id" in order
        rows.sort(key=lambda row: row.id if by_id else row.sort)
        start = query.php_int(params.get("start") or 0)
        page = query.Page(rows[: query.PAGE], 0) if start < 0 else query.cut(rows, start)
        return query.Page([_shown(row, str(code), owner) for row in page.records], page.total, page.next)


_NAMES = {name: name for name in _FILTERS}


def _kind(code: str) -> str:
    try:
        return _CODES.get(code) or f"{ITEM}:{int(code.removeprefix('T'), 16)}"
    except ValueError:
        return ""


def _fits(conditions: list[query.Condition], row: Row) -> bool:
    own = {"id": row.id, "productId": row.product}
    return all(item.holds(own[item.field]) for item in conditions)


def _shown(row: Row, code: str, owner: int) -> dict[str, Any]:
    price, quantity = (query.item_value("money", text) for text in (row.price, row.quantity))
    prices = dict.fromkeys(("price", "priceAccount", "priceExclusive", "priceNetto", "priceBrutto"), price)
    discount = {"discountTypeId": 2, "discountRate": 0, "discountSum": 0, "taxRate": None, "taxIncluded": "Y"}
    about = {"id": row.id, "ownerId": owner, "ownerType": code, "productId": row.product, "productName": row.name}
    rest = {"customized": "Y", "measureCode": 796, "measureName": "шт", "sort": row.sort, "type": 4, "storeId": None}
    return {**about, **prices, "quantity": quantity, **discount, **rest}

"""Changes through the simulated portal's REST: ``crm.item.update`` (contract bitrix24 11)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from adapters.bitrix24.fake_data import PortalData
from adapters.bitrix24.fake_query import RestError
from adapters.bitrix24.fake_schema import item_name

# Read-only, and moves between stages, which nobody makes through REST here.
_UNTOUCHED = (
    *("ID", "DATE_CREATE", "DATE_MODIFY", "MOVED_TIME", "CREATED_BY_ID", "MODIFY_BY_ID"),
    *("STAGE_ID", "STATUS_ID", "CATEGORY_ID"),
)


class WriteDesk:
    """``may_edit`` False: the user behind the credentials may only read. ``refused``: records with a bad value.

    An unknown or read-only field is ignored without an error, equal values save nothing; a real change moves the time,
    names the user and raises the event.
    """

    def __init__(self, data: PortalData, now: Callable[[], datetime]) -> None:
        self._data = data
        self._now = now
        self.may_edit = True
        self.refused: set[tuple[str, int]] = set()
        self.written = 0  # real changes

    def update(self, kind: str, number: int, fields: Any, *, is_original: bool) -> None:
        """Change a record.

        Raises:
            RestError: as the portal refuses.
        """
        table = self._data.tables[kind]
        record = table.records.get(number)
        if record is None:
            raise RestError("NOT_FOUND", "Элемент не найден")
        if not self.may_edit or number in table.hidden:
            raise RestError("ACCESS_DENIED", "Доступ запрещён")
        if not isinstance(fields, Mapping):
            raise RestError("100", "Invalid value for parameter {fields}: array expected")
        if (kind, number) in self.refused:
            raise RestError("CRM_FIELD_ERROR_VALUE_NOT_VALID", "Invalid value for field")
        free = [code for code in table.schema.types if code not in _UNTOUCHED]
        codes = {item_name(code, is_original): code for code in free}
        wanted = {codes[name]: value for name, value in fields.items() if name in codes}
        changed = {
            code: value or None
            for code, value in wanted.items()
            if (value or None) != (record.row.get(code, table.schema.empty[code]) or None)
        }
        if changed:
            self.written += 1
            self._data.update(kind, number, self._now(), {**changed, "MODIFY_BY_ID": str(self._data.user)})

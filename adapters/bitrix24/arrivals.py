"""The second cursor: the highest ids seen. Pure.

An administrator may import records with past times (contract bitrix24 14): they are new, but no window of modification
times holds them. A list of what stands behind the highest id and was modified before the window does.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from adapters.bitrix24.entities import Entity
from adapters.bitrix24.portal import Command
from adapters.bitrix24.wire import Listed

_decoder = msgspec.json.Decoder(dict[str, tuple[int, int]])


class Arrivals:
    """Ids by entity name: the highest of the scan before the last one, and the highest seen at all.

    Late records are looked for behind the former. Between two lists of one scan an import may get an id below one that
    the second list shows; the next scan still finds it, and what it finds again is known by its version.
    """

    def __init__(self, marks: str) -> None:
        """``marks``: as ``text`` gave it; whatever cannot be read counts as nothing seen."""
        try:
            self._before = _decoder.decode(marks) if marks else {}
        except msgspec.DecodeError:
            self._before = {}
        self._top = {name: newest for name, (_, newest) in self._before.items()}

    def command(self, entity: Entity, listing: Command, start: str) -> Command:
        """Records behind the mark from before ``start``; the record with the highest id while there is no mark.

        ``listing`` is the entity's list without bounds.
        """
        after = self.after(entity)
        only = {} if after is None else {f"<{entity.time_field}": start, f">{entity.id_field}": str(after)}
        order = {"order": {entity.id_field: "DESC" if after is None else "ASC"}, "start": -1}
        return Command(listing.method, {**listing.params, "filter": {**listing.params["filter"], **only}, **order})

    def after(self, entity: Entity) -> int | None:
        """The id to look behind; None for an entity that is read for the first time."""
        pair = self._before.get(entity.name)
        return None if pair is None else pair[0]

    def note(self, entity: Entity, rows: Iterable[Listed]) -> None:
        """These rows were seen."""
        self._top[entity.name] = max([self._top.get(entity.name, 0), *(row.id for row in rows)])

    def text(self) -> str:
        """What to remember until the next scan."""
        pairs = {name: (self._before.get(name, (top, top))[1], top) for name, top in self._top.items()}
        return msgspec.json.encode(pairs, order="sorted").decode()

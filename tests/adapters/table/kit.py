"""What the tests of tables share: a folder with one table in it, and the source that reads it."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from adapters.table import SPEC
from bridge.model import Deal
from bridge.ports import BadRecord, Head, Level, Source, Window
from bridge.tools import Tools

NOW = datetime(2026, 3, 31, tzinfo=UTC)
WINDOW = Window(NOW, NOW)
ROOT = Path(__file__).resolve().parents[3]
HEADER = "ID сделки;Дата создания;Статус;Сумма;Телефон;yclid;Дата статуса\n"


class Office:
    """One table in a folder, and the source that reads it."""

    def __init__(self, tools: Tools) -> None:
        self.tools = tools
        self.path = tools.folder / "leads.csv"

    def use(self, name: str) -> Path:
        """The table has this name from now on."""
        self.path = self.tools.folder / name
        return self.path

    def write(self, text: str, encoding: str = "utf-8") -> None:
        """A text as the table."""
        self.path.write_bytes(text.encode(encoding))

    def sample(self, name: str, folder: str = "adapters/table/samples") -> None:
        shutil.copy(ROOT / folder / name, self.path)

    def source(self, **options: Any) -> Source:
        assert SPEC.source is not None
        section = {"kind": "table", "path": self.path.name, **options}
        return SPEC.source.build("table", SPEC.source.settings.model_validate(section), self.tools)

    async def read(self, **options: Any) -> tuple[dict[str, Deal], list[BadRecord]]:
        """Every deal by id, and everything that cannot be read."""
        source = self.source(**options)
        deals: dict[str, Deal] = {}
        bad: list[BadRecord] = []
        async for listing in source.scan(WINDOW):
            bad += listing.bad
            for answer in await source.complete(listing.heads, frozenset(), WINDOW):
                if isinstance(answer, Deal):
                    assert answer.id not in deals
                    deals[answer.id] = answer
                else:
                    bad.append(answer)
        return deals, bad

    async def one(self, **options: Any) -> Deal:
        """The only deal of the table, nothing of which is unreadable."""
        deals, bad = await self.read(**options)
        assert bad == []
        (deal,) = deals.values()
        return deal

    async def told(self, level: Level, **options: Any) -> list[str]:
        """What ``check`` says at this level."""
        return [item.message for item in await self.source(**options).check() if item.level is level]

    async def heads(self, **options: Any) -> list[Head]:
        return [head async for listing in self.source(**options).scan(WINDOW) for head in listing.heads]


def moments(deal: Deal) -> list[tuple[str, str]]:
    return [(change.stage, change.at.strftime("%d.%m %H:%M")) for change in deal.history]

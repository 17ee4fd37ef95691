"""What several destinations do alike: those whose vendor tells nothing afterwards, and those that send row by row."""

from __future__ import annotations

from datetime import datetime

from bridge.model import Outgoing
from bridge.ports import Accepted, Answer, RowVerdict, Sealed


class TellsNothing:
    """A destination whose vendor can be asked nothing about what it took, and that holds nothing open."""

    async def lookup(self, batch: Sealed, sent_at: datetime) -> Answer | None:
        """There is nothing to ask."""
        return None

    async def verify(self, accepted: Accepted) -> list[RowVerdict] | None:
        """There is nothing to ask."""
        return None

    async def close(self) -> None:
        """Nothing is held: HTTP and mail belong to the process."""


class OneByOne(TellsNothing):
    """Such a destination where each row goes in a batch of its own."""

    def batch_size(self, due: int) -> int:
        return 1

    def batch_key(self, row: Outgoing) -> str:
        """A batch has one row anyway."""
        return ""

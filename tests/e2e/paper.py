"""An ad system that can prove nothing: orders go out on paper, and its answer may get lost. Lives in an entry point."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from bridge.config import DestinationSettings
from bridge.errors import Ambiguous
from bridge.model import IdKind, Outgoing
from bridge.ports import (
    Accepted,
    AdapterSpec,
    Admission,
    Answer,
    DestinationSpec,
    DestinationTraits,
    Fate,
    Finding,
    Level,
    Pass,
    Payload,
    Proof,
    RowOutcome,
    RowVerdict,
    Sealed,
)
from bridge.tools import Tools

TRAITS = DestinationTraits(proof=Proof.NONE, accepts=(IdKind.YCLID,), verify_first=None)
FILE, LOSES, SLEEPS = "paper.txt", "the-post-loses-answers", "the-post-sleeps"


class PaperSettings(DestinationSettings):
    kind: Literal["paper"] = "paper"


class Paper:
    """Writes each row to a file beside the configuration; answers unless a file named ``LOSES`` stands there.

    While there is one named ``SLEEPS`` it does neither.
    """

    traits = TRAITS

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def check(self, targets: Mapping[str, str]) -> list[Finding]:
        return [Finding(Level.OK, FILE, "patient")]

    def batch_size(self, due: int) -> int:
        return due

    def batch_key(self, row: Outgoing) -> str:
        return ""

    def admit(self, row: Outgoing, now: datetime) -> Admission:
        return Admission(Pass.SEND)

    def render(self, rows: Sequence[Outgoing], label: str) -> Payload:
        lines = [f"{row.target} {row.identifiers[0].value} {row.value or '-'}\n" for row in rows]
        return Payload("".join(lines).encode(), "text/plain")

    async def send(self, batch: Sealed) -> Answer:
        """Written in any case, unless it is cancelled before the post wakes up; the answer may get lost.

        Raises:
            Ambiguous: it did.
        """
        while (self._folder / SLEEPS).exists():  # noqa: ASYNC110 - another process makes and removes it
            await asyncio.sleep(0.02)
        await asyncio.to_thread(self._write, batch.payload.body)
        if (self._folder / LOSES).exists():
            raise Ambiguous("no answer came")
        return Answer(tuple(RowOutcome(row, Fate.ACCEPTED) for row in batch.rows))

    def _write(self, body: bytes) -> None:
        with open(self._folder / FILE, "ab") as file:
            file.write(body)

    async def lookup(self, batch: Sealed, sent_at: datetime) -> Answer | None:
        return None

    async def verify(self, accepted: Accepted) -> list[RowVerdict] | None:
        return []

    async def close(self) -> None:
        return None


def build(own: str, settings: Any, tools: Tools) -> Paper:
    return Paper(tools.folder)


SPEC = AdapterSpec("paper", "Paper", destination=DestinationSpec(PaperSettings, build, TRAITS))

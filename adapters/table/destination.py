"""Files for manual upload: every batch becomes one file in a folder."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from adapters.table import upload
from adapters.table.settings import UploadFileSettings
from bridge.errors import Ambiguous, Unavailable
from bridge.model import Outgoing
from bridge.ports import (
    Accepted,
    Admission,
    Answer,
    Fate,
    Finding,
    Level,
    Payload,
    RowVerdict,
    Sealed,
    Seen,
)
from bridge.tools import Tools

_ROWS_MAX = 50_000  # of one file; a spreadsheet still opens it
_LABEL = 12  # characters of the batch's label in a file name


def build(own: str, settings: UploadFileSettings, tools: Tools) -> UploadFolder:
    return UploadFolder(settings, tools)


class UploadFolder:
    """A folder of upload files. The same batch always writes the same bytes to the same name: proof ROW."""

    def __init__(self, settings: UploadFileSettings, tools: Tools) -> None:
        self._template = upload.TEMPLATES[settings.format]
        self._name = settings.format
        self._folder = Path(tools.folder, settings.path)
        self._zone = ZoneInfo(tools.tenant.timezone)
        self.traits = self._template.traits

    async def check(self, targets: Mapping[str, str]) -> list[Finding]:
        """Whether the folder can be written, and every target may stand in a cell. What exists online is unknown."""
        findings = [await asyncio.to_thread(_folder_finding, self._folder)]
        for goal, target in targets.items():
            if self._template.is_exact and upload.is_formula(target):
                message = f'"{target}" would be a formula in a spreadsheet; give it another name there'
                findings.append(Finding(Level.ERROR, f"goal {goal}", message))
        return findings

    def batch_size(self, due: int) -> int:
        return min(due, _ROWS_MAX)

    def batch_key(self, row: Outgoing) -> str:
        """Every template takes all goals in one file."""
        return ""

    def admit(self, row: Outgoing, now: datetime) -> Admission:
        return upload.admit(self._template, row, now)

    def render(self, rows: Sequence[Outgoing], label: str) -> Payload:
        """The file's bytes, whatever the label."""
        return Payload(upload.render(self._template, rows, self._zone), "text/csv; charset=utf-8")

    async def send(self, batch: Sealed) -> Answer:
        """Write the batch's file, whole or not at all.

        Raises:
            Unavailable: nothing was written.
            Ambiguous: it was written, but may not survive a power failure.
        """
        path = self._folder / f"{self._name}-{batch.label[:_LABEL]}.csv"
        await asyncio.to_thread(_write, path, batch.payload.body)
        return Answer.alike(batch.rows, Fate.ACCEPTED, receipt={"file": path.name})

    async def lookup(self, batch: Sealed, sent_at: datetime) -> Answer | None:
        """Not needed: proof ROW."""
        return None

    async def verify(self, accepted: Accepted) -> list[RowVerdict] | None:
        """Never asked (no ``verify_first``): what became of a file that a human uploads, nobody tells us."""
        return [RowVerdict(row, Seen.UNKNOWN, "manual_upload") for row in accepted.deliveries]

    async def close(self) -> None:
        """Nothing is held open."""


def _folder_finding(folder: Path) -> Finding:
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir():
        return Finding(Level.ERROR, str(folder), f"{nearest} is a file; name a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        return Finding(Level.ERROR, str(folder), f"{nearest} cannot be written; change its owner or mode")
    return Finding(Level.OK, str(folder), "can be written" if nearest == folder else "will be created")


def _write(path: Path, body: bytes) -> None:
    """The content and the name both reach the disk before this returns."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.draft")
        with open(draft, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as error:
        raise Unavailable(f"{path} cannot be written: {type(error).__name__}; see to the folder and the disk") from None
    try:
        _sync_folder(path.parent)
    except OSError as error:
        raise Ambiguous(f"{path} was written but not synced: {type(error).__name__}") from None


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""A window cut into slices, one scan each; how long the next one is depends on what the last one brought. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from bridge.frozen import replace
from bridge.model import frozen
from bridge.ports import SourceTraits, Window

ROWS_WANTED = 5_000  # a slice that brings more is followed by a shorter one, a much emptier one by a longer one
_FIRST = timedelta(days=1)


@frozen
class Slice:
    """A part of a window. ``before`` of the whole lies so much (0..1), ``share`` is its own."""

    window: Window
    before: float
    share: float
    is_last: bool


@dataclass(slots=True)
class Slices:
    """What is to be read of a window: ``next`` first, None when all of it was."""

    whole: Window
    traits: SourceTraits
    next: Slice | None = field(init=False)

    def __post_init__(self) -> None:
        span = self.whole.end - self.whole.start
        size = span if self.traits.reads_everything else min(span, max(_FIRST, self.traits.slice_min))
        self.next = self._cut(self.whole, size)

    def follow(self, read: Slice, rows: int, marks: str | None) -> None:
        """A slice was read whole and brought so many rows; its source wants to remember ``marks``."""
        if read.is_last:
            self.next = None
            return
        size = next_size(read.window.end - read.window.start, rows, self.traits)
        self.next = self._cut(Window(read.window.end, self.whole.end, marks), size)

    def _cut(self, rest: Window, size: timedelta) -> Slice:
        span = self.whole.end - self.whole.start
        window = replace(rest, end=min(rest.start + size, rest.end))
        before = (window.start - self.whole.start) / span if span else 0.0
        share = (window.end - window.start) / span if span else 1.0
        return Slice(window, before, share, is_last=window.end >= self.whole.end)


def next_size(size: timedelta, rows: int, traits: SourceTraits) -> timedelta:
    """How long a slice to read after one of that size that brought so many rows."""
    if rows > ROWS_WANTED:
        return max(size / 2, traits.slice_min)
    if rows < ROWS_WANTED // 4:
        return min(size * 4, traits.slice_max)
    return size

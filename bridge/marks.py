"""Write-back: what a source's own CRM is told of its deals, and how it comes back to us as no news.

A mark says in the CRM what became of a deal's conversions. It is written into a field or as a tag, both of which may be
written again without harm. The protocol at the end is optional: most sources only read.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol, runtime_checkable

from bridge.model import frozen

LONGEST = 250  # characters of a text: what a one-line field of every CRM takes


@frozen
class Mark:
    """What a deal is to show: ``text`` in the field, and the tag while ``is_sent``. "" and False: nothing."""

    deal: str
    text: str
    is_sent: bool


class MarkFate(StrEnum):
    """What became of one mark."""

    DONE = "done"
    GONE = "gone"  # the CRM does not have the deal any more
    REFUSED = "refused"  # not with this deal as it is, with a code


@frozen
class Marked:
    """``before`` and ``after`` are the deal's versions (``ports.Head.version``) around our own write.

    Both are "" unless the write is certainly all that changed between them.
    """

    deal: str
    fate: MarkFate
    code: str = ""
    before: str = ""
    after: str = ""


@runtime_checkable
class Marker(Protocol):
    """Writes marks. ``most``: how many at once."""

    most: int

    async def mark(self, marks: Sequence[Mark]) -> list[Marked]:
        """Make these deals show their marks, whatever they show now; one outcome for each. May be repeated freely.

        Versions leave the mark out: a deal whose version is the stored one, but for our write, has not changed.

        Raises:
            BridgeError: the vendor's answer; any of the marks may have been written.
        """
        ...


def marker_of(port: object) -> Marker | None:
    """What writes marks into this source; None where nothing does, or the configuration does not ask for it."""
    found = getattr(port, "marker", None)
    return found if isinstance(found, Marker) else None

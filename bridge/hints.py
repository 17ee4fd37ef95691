"""Hints: a vendor's word that a record may have changed. Never a fact: the record is read again.

Two roads bring them, and a source may have either, both or none: webhooks that the vendor posts to us (``Hook``, and a
``Registrar`` where we can ask for them ourselves), and a queue that it keeps for us (``HintQueue``). Hints have no
order, may be lost, doubled or forged; polling finds by itself whatever they tell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import datetime
from enum import StrEnum
from typing import Protocol, runtime_checkable

from bridge.model import frozen


@frozen
class Hook:
    """A webhook as it arrived, from an address that knows the source's secret.

    ``url``: the public address it was posted to ("" when the configuration gives none); some vendors sign it.
    Header names are lower-case.
    """

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    received_at: datetime


# The keys of the records a webhook speaks of; none when it speaks of something we do not read. Pure.
# Raises Refused, with a code, when it is not the vendor's word on this account or cannot be understood.
HookParser = Callable[[Hook], tuple[str, ...]]


class HookState(StrEnum):
    """How a vendor keeps the webhook that we want."""

    GOOD = "good"
    MISSING = "missing"
    PARTIAL = "partial"  # some of the events we want are not in it
    DISABLED = "disabled"  # by the vendor, after too many answers it did not like


@runtime_checkable
class Registrar(Protocol):
    """Keeps a webhook at the vendor. ``is_wanted``: the configuration leaves that to us."""

    is_wanted: bool

    async def state(self, address: str) -> HookState:
        """How the webhook to this address is. Changes nothing.

        Raises:
            BridgeError: the vendor does not tell.
        """
        ...

    async def keep(self, address: str, beginning: str) -> HookState:
        """Put it right where it is not, and take away others of ours: addresses with the same beginning.

        Returns:
            How it was found.

        Raises:
            BridgeError: the vendor does not let us.
        """
        ...

    async def remove(self, beginning: str) -> int:
        """Take away every webhook whose address begins so; how many there were."""
        ...


@frozen
class Parcel:
    """Hints reserved for us in a vendor's queue. ``receipt`` and ``tickets`` are the queue's own."""

    keys: tuple[str, ...]
    receipt: str = ""
    tickets: tuple[str, ...] = ()


@runtime_checkable
class HintQueue(Protocol):
    """A queue of hints at the vendor. What is taken stays there, reserved, until it is done."""

    async def take(self) -> Parcel | None:
        """The next hints, None when there are none. The same again until they are done; what a crash left comes first.

        Raises:
            BridgeError: the queue cannot be read.
        """
        ...

    async def done(self, parcel: Parcel) -> None:
        """The records were read and are committed: forget these hints."""
        ...

    async def failed(self, parcel: Parcel) -> None:
        """The records cannot be read whatever we do: put these hints aside, so that others get their turn."""
        ...


def registrar_of(port: object) -> Registrar | None:
    """What keeps the webhook of this source; None when we cannot."""
    found = getattr(port, "registrar", None)
    return found if isinstance(found, Registrar) else None


def queue_of(port: object) -> HintQueue | None:
    """The vendor's queue this source reads; None without one."""
    found = getattr(port, "queue", None)
    return found if isinstance(found, HintQueue) else None


def beginning_of(public_url: str, tenant: str, source: str) -> str:
    """What every webhook address of a source begins with."""
    return f"{public_url}/hooks/{tenant}/{source}/"

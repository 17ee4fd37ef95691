"""Deterministic ids, and the one door to recognising identifiers and normalising persons.

Ids are digests of facts (design, section 4): every retry, re-poll and backfill meets itself. Each digest is a
32-character hex BLAKE2b of an encoding in which no two lists of parts share one text, and each begins with the name
of what it identifies, so ids of different things never meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

from bridge.clues import Garbage, Reading, read, read_clue
from bridge.persons import (
    google_email,
    md5_hex,
    metrica_email,
    metrica_phone,
    phone_e164,
    seal_contacts,
    sha256_hex,
)

__all__ = [
    "Garbage",
    "Reading",
    "batch_id",
    "conversion_id",
    "deal_order_key",
    "delivery_id",
    "google_email",
    "md5_hex",
    "metrica_email",
    "metrica_phone",
    "order_key",
    "phone_e164",
    "read",
    "read_clue",
    "seal_contacts",
    "sha256_hex",
]


class _What(NamedTuple):
    """What a digest identifies: the name it begins with, alone and as a digest that has taken it in."""

    name: str
    begun: blake2b

    @classmethod
    def named(cls, name: str) -> _What:
        return cls(name, blake2b(f"{name}\0".encode(), digest_size=16))

    def digest(self, *parts: str) -> str:
        text = "\0".join(parts)
        if text.count("\0") >= len(parts):  # a part holds the separator: lengths instead, under another name
            text = "".join([f"{len(part)}:{part}" for part in (f"{self.name} by lengths", *parts)])
            return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        found = self.begun.copy()
        found.update(text.encode("utf-8", "surrogatepass"))
        return found.hexdigest()


_CONVERSION, _ORDER, _DEAL_ORDER = _What.named("conversion"), _What.named("order"), _What.named("deal order")
_DELIVERY, _BATCH = _What.named("delivery"), _What.named("batch")


def conversion_id(  # noqa: PLR0913 - exactly the facts of design section 4; every caller has them apart
    tenant: str, source: str, deal: str, goal: str, occurrence: str, kind: str, revision: int
) -> str:
    """Id of a conversion: one deal (its key) reached one goal once, in one revision of its value."""
    return _CONVERSION.digest(tenant, source, deal, goal, occurrence, kind, str(revision))


def order_key(tenant: str, source: str, deal: str, goal: str, occurrence: str) -> str:
    """The vendor-side id of a conversion: the same for an original and all its restatements."""
    return _ORDER.digest(tenant, source, deal, goal, occurrence)


def deal_order_key(tenant: str, source: str, deal: str) -> str:
    """The vendor-side id of a deal's order: the same for all its goals, and for a lead and the deal made from it."""
    return _DEAL_ORDER.digest(tenant, source, deal)


def delivery_id(conversion: str, destination: str) -> str:
    """Id of one conversion promised to one destination."""
    return _DELIVERY.digest(conversion, destination)


def batch_id(destination: str, pairs: Sequence[tuple[str, int]]) -> str:
    """Id of a batch: its destination and its (delivery, attempt) pairs, in any order."""
    flat = [part for delivery, attempt in sorted(pairs) for part in (delivery, str(attempt))]
    return _BATCH.digest(destination, *flat)

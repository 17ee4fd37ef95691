"""What several sources do alike: looks of a check, records found again by listing, rows that cannot be read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from hashlib import blake2b

from bridge.errors import AuthError, BridgeError
from bridge.ports import BadRecord, Finding, Head, Level, Listing

UNREADABLE = "unreadable"  # code of a record without a part that nothing can be done without
Look = Callable[[], Awaitable[list[Finding]]]


async def looked(looks: Mapping[str, Look]) -> list[Finding]:
    """What the looks of a check find, by subject. The error of one is a finding; refused credentials end them all."""
    findings: list[Finding] = []
    for subject, look in looks.items():
        try:
            findings += await look()
        except BridgeError as error:
            findings.append(Finding(Level.ERROR, subject, str(error)))
            if isinstance(error, AuthError):
                break
    return findings


async def found_in(listings: AsyncIterator[Listing], keys: Collection[str]) -> Listing:
    """These records, as the last of the listings that has them shows them: for a vendor who finds none by its key."""
    wanted = frozenset(keys)
    heads: dict[str, Head] = {}
    bad: dict[str, BadRecord] = {}
    async for listing in listings:
        heads |= {head.key: head for head in listing.heads if head.key in wanted}
        bad |= {item.key: item for item in listing.bad if item.key in wanted}
    return Listing(tuple(heads.values()), tuple(bad.values()), 1.0)


def unreadable(key: str, row: bytes, error: Exception) -> BadRecord:
    """A row that msgspec could not decode: where it is not what the contract says, and nothing of its content."""
    place = str(error).rpartition(" - at ")[2].strip("`") if " - at " in str(error) else "the row"
    return BadRecord(key, UNREADABLE, f"not as documented: {place}", digest(row))


def digest(data: bytes) -> str:
    """A version, or a key, of what has none of its own: equal for equal content."""
    return blake2b(data, digest_size=12).hexdigest()

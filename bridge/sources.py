"""What several sources do alike: a check made of looks, records found again by listing them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping

from bridge.errors import AuthError, BridgeError
from bridge.ports import BadRecord, Finding, Head, Level, Listing

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

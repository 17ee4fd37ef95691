"""What is read of single records beside their rows: made part of the row and of its version."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import msgspec

from bridge.errors import RecordInvalid
from bridge.frozen import replace
from bridge.ports import BadRecord, Head, Listing


def attach(listing: Listing, name: str, found: Mapping[str, Any], tolerated: frozenset[str]) -> Listing:
    """The listing with what was ``found`` by key under this ``name`` of each row; None, or nothing, leaves it as it is.

    A record of which it is odd (``RecordInvalid``) is set aside. With a ``tolerated`` code it is told as such too, so
    that it is looked at again, and is judged without it: what does not depend on it need not wait.
    """
    heads: list[Head] = []
    bad = list(listing.bad)
    told = {one.key for one in bad}
    for head in listing.heads:
        one = found.get(head.key)
        if one is None:
            heads.append(head)
        elif not isinstance(one, RecordInvalid):
            row = msgspec.structs.replace(head.row, **{name: one})
            heads.append(replace(head, version=f"{head.version}:{_digest(one)}", row=row))
        else:
            if head.key not in told:
                bad.append(BadRecord(head.key, one.code, str(one), head.version))
            if one.code in tolerated:
                heads.append(replace(head, version=f"{head.version}:refused"))
    return replace(listing, heads=tuple(heads), bad=tuple(bad))


def _digest(found: Any) -> str:
    return blake2b(msgspec.json.encode(found), digest_size=8).hexdigest()

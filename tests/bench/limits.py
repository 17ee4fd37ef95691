"""Backfill against simulators that enforce the vendors' limits: how much of the limit is used, and for how much."""

from __future__ import annotations

from dataclasses import dataclass

from tests.bench import rig
from tests.bench.rig import Measured, Options


@dataclass(frozen=True, slots=True)
class _Limit:
    """What the client may do by its contract: requests a second, and requests at once before that.

    ``leads``: its own size.
    """

    per_second: float
    burst: float
    leads: int


# The portal of Bitrix24 takes 50 at once, the client leaves it some. HubSpot takes 5 searches a second and 100 requests
# in ten; 4 and 9 are the client's defaults (README). Google takes 60 reads a minute of one user: 0.8 a second (README).
_LIMITS = {
    "amocrm": _Limit(7.0, 1.0, 10_000),
    "bitrix24": _Limit(2.0, 40.0, 40_000),
    "hubspot": _Limit(9.0, 10.0, 10_000),
    "table": _Limit(0.8, 10.0, 10_000),
}


def run(options: Options) -> None:
    """At least 95 % of what the limit allows, history and contacts included; of a table, how little it takes."""
    for kind in options.sources or _LIMITS:
        limit = _LIMITS[kind]
        with rig.town(kind=kind, leads=options.size(limit.leads), is_limited=True) as town:
            found = rig.measure(f"ours, {kind}", "ours", town, is_reading_only=True)
        rig.compare("records", [found])
        _verdict(kind, found, limit)


def _verdict(kind: str, found: Measured, limit: _Limit) -> None:
    allowed = limit.burst + limit.per_second * found.seconds
    kinds = ", ".join(f"{name} {count}" for name, count in sorted(found.requests.items()))
    print(f"  {found.count:,} records, {found.total_requests} requests ({kinds})")
    print(f"  requests per 1,000 records: {found.total_requests / found.count * 1000:.1f}")
    target = ">= 0.95" if kind != "table" else "none: a whole table is a few requests"
    rig.ratio(f"share of {limit.per_second:g} requests/s used", found.total_requests / allowed, target)

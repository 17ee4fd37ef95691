"""Backfill against simulators that enforce the vendors' limits: how much of the limit is used, and for how much."""

from __future__ import annotations

from tests.bench import rig
from tests.bench.rig import Measured, Options

# Requests a second; requests the client may send at once before that (the portal takes 50, the client leaves it some).
_LIMITS = {"amocrm": (7.0, 1.0), "bitrix24": (2.0, 40.0)}
_LEADS = {"amocrm": 10_000, "bitrix24": 40_000}


def run(options: Options) -> None:
    """At least 95 % of what the limit allows, history and contacts included."""
    for kind, usual in _LEADS.items():
        with rig.town(kind=kind, leads=options.size(usual), is_limited=True) as town:
            found = rig.measure(f"ours, {kind}", "ours", town, is_reading_only=True)
        rig.compare("records", [found])
        _verdict(kind, found)


def _verdict(kind: str, found: Measured) -> None:
    per_second, burst = _LIMITS[kind]
    requests = found.total_requests
    allowed = burst + per_second * found.seconds
    kinds = ", ".join(f"{name} {count}" for name, count in sorted(found.requests.items()))
    print(f"  {found.count:,} records, {requests} requests ({kinds})")
    print(f"  requests per 1,000 records: {requests / found.count * 1000:.1f}")
    rig.ratio(f"share of {per_second:g} requests/s used", requests / allowed, ">= 0.95")

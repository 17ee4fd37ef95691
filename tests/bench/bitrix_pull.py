"""A plain list of Bitrix24 deals: calls, seconds and memory beside the two clients that others wrote."""

from __future__ import annotations

from tests.bench import rig
from tests.bench.rig import Options


def run(options: Options) -> None:
    """No more calls than they need; pages handed on as they come instead of one list in memory."""
    deals = options.size(50_000)
    with rig.town(kind="bitrix24", plain=deals) as town:
        names = ("ours", "fast_bitrix24", "b24pysdk call_list_fast", "b24pysdk call_list")
        found = [rig.measure(name, "bitrix_readers", town, part=name) for name in names]
    rig.compare("deals", found)
    ours, fast, sdk = found[:3]
    rig.ratio("calls, ours / fast_bitrix24", ours.total_requests / fast.total_requests, "<= 1")
    rig.ratio("calls, ours / b24pysdk", ours.total_requests / sdk.total_requests, "<= 1")
    rig.ratio("memory for the rows, ours / fast_bitrix24", _rows(ours) / _rows(fast), "< 1")
    rig.ratio("memory for the rows, ours / b24pysdk", _rows(ours) / _rows(sdk), "< 1")
    rig.ratio("seconds, ours / fast_bitrix24", ours.seconds / fast.seconds, "<= 1")


def _rows(one: rig.Measured) -> float:
    """Peak RSS above what importing takes (MB)."""
    return max(one.rss - float(one.more["before"]), 0.1)

"""How many requests may come, by whom: token buckets in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address

_MINUTE = timedelta(minutes=1)
_MOST = 20_000  # addresses remembered at once; the one that has not come for longest is forgotten first


class Allowance:
    """So many a minute for each key, as many at once."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._left: OrderedDict[tuple[str, str], tuple[float, datetime]] = OrderedDict()

    def take(self, key: tuple[str, str], per_minute: int, now: datetime) -> bool:
        """Whether one more may come now; if so, it is counted."""
        left, since = self._left.pop(key, (float(per_minute), now))
        left = min(per_minute, left + max(now - since, timedelta(0)) / _MINUTE * per_minute)
        may = left >= 1
        self._left[key] = (left - 1 if may else left, now)
        if len(self._left) > self._most:
            self._left.popitem(last=False)
        return may


def visitor_of(peer: str | None, forwarded: str) -> str:
    """The address a request came from: of a proxy on this machine or network, the last that it names.

    Whoever connects directly cannot name another: then ``X-Forwarded-For`` does not count. Of IPv6 it is the network:
    one subscriber has all of it. "" when nothing can be told.
    """
    try:
        address = _address(peer or "")
        named = forwarded.rpartition(",")[2].strip()
        if named and (address.is_loopback or address.is_private):
            address = _address(named)
    except ValueError:
        return ""
    return str(IPv6Address(int(address) >> 64 << 64) if isinstance(address, IPv6Address) else address)


def _address(text: str) -> IPv4Address | IPv6Address:
    """An address, also one that came through IPv6 or that a proxy names with its port. Raises ValueError for others."""
    host, _, port = text.rpartition(":")
    if port.isdigit() and (host.count(":") == 0 or host.endswith("]")) and host:
        text = host.strip("[]")
    address = ip_address(text)
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address

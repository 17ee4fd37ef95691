"""A demo's simulators stop with it: what it leaves is a configuration whose vendors no longer answer."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from bridge.errors import ConfigError

_NOTE = "simulators"  # a file beside the demo's configuration: their addresses, one a line


def note(folder: Path, base_urls: Iterable[str]) -> None:
    """Leave word of the simulators that have stopped."""
    addresses = sorted(urlsplit(url).netloc for url in base_urls)
    (folder / _NOTE).write_text("\n".join(addresses) + "\n", encoding="utf-8")


def refuse(config: Path) -> None:
    """Nothing can be asked of a demo that is over.

    Raises:
        ConfigError: this configuration reads from a demo's simulators, and none of them answers.
    """
    try:
        addresses = (config.parent / _NOTE).read_text(encoding="utf-8").split()
    except OSError:
        return
    written = config.read_text(encoding="utf-8")
    named = [address for address in addresses if f"//{address}" in written]
    if named and not any(map(_answers, named)):
        raise ConfigError(
            f"{config} is the configuration of a demo that is over: its simulators, the CRMs and ad systems at "
            f"{named[0]} and the like, stopped with it, so nothing can be read or sent any more.\n"
            'What the demo left can be looked at with "bridge status", "bridge explain DEAL --tenant TENANT" and '
            '"bridge held list"; "bridge demo" plays it again.'
        )


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=1.0):
            return True
    except OSError:
        return False

"""What a measured process shares: its argument, its stop watch, its one line of JSON."""

from __future__ import annotations

import importlib
import json
import resource
import sys
import time
from typing import Any


class Watch:
    """Wall and CPU seconds of this process between ``start`` and ``stop``, added up."""

    def __init__(self) -> None:
        self.seconds = self.cpu = 0.0
        self._began = (0.0, 0.0)

    def start(self) -> None:
        self._began = (time.perf_counter(), time.process_time())

    def stop(self) -> None:
        seconds, cpu = self._began
        self.seconds += time.perf_counter() - seconds
        self.cpu += time.process_time() - cpu


def arguments() -> dict[str, Any]:
    """The JSON object on the command line."""
    return dict(json.loads(sys.argv[1]))


def peak_rss() -> float:
    """MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def report(watch: Watch, count: int, **more: Any) -> None:
    """The last line of a measured process."""
    told = {"seconds": watch.seconds, "cpu": watch.cpu, "rss": peak_rss(), "count": count, "more": more}
    print(json.dumps(told), flush=True)


def library(name: str) -> Any:
    """A module of somebody else's, imported where it is used: each competitor pays for its own imports only.

    These ship no types, and are installed for benchmarks alone.
    """
    return importlib.import_module(name)

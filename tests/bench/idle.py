"""An idle daemon with a hundred tenants: the CPU it takes between polls, and on average with them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench import rig
from tests.bench.rig import Options, Town

_LEADS = 50  # every tenant reads the same ones, once
_STEP = 0.5  # seconds of a sample
_QUIET = 6  # samples without a request: the start is over
_WATCHED = 130.0  # seconds; every source is polled twice in it
_TICK = os.sysconf("SC_CLK_TCK")


def run(options: Options) -> None:
    """Below 2 % of one core between polls. The real ``bridge run``, every interval at its default."""
    tenants = options.size(100)
    with rig.town(is_now=True, tenants=tenants, leads=_LEADS) as town, _daemon(Path(town.fresh()["config"])) as daemon:
        _settle(town)
        began = _cpu(daemon)
        start = time.monotonic()
        samples = list(_samples(town, daemon))
        whole = time.monotonic() - start
        used = _cpu(daemon) - began
        rss, kinds = _rss(daemon), town.ask("counts")["requests"]
    quiet = [cpu for cpu, requests in samples if not requests]
    polls = sum(requests for _, requests in samples)
    print(f"  {tenants} tenants, {whole:.0f} s, {polls} requests, peak RSS {rss:.0f} MB")
    print(f"  requests since the start: {', '.join(f'{name} {count}' for name, count in sorted(kinds.items()))}")
    between = sum(quiet) / (len(quiet) * _STEP) if quiet else float("nan")
    print(f"  between polls ({len(quiet) * _STEP:.0f} s in which no request was made): {between:.2%} of one core")
    print(f"  on average, polls of every source each minute included: {used / whole:.2%} of one core")
    rig.ratio("per cent of one core between polls", between * 100, "< 2")


@contextmanager
def _daemon(config: Path) -> Iterator[int]:
    """``bridge run`` as a service would start it; gives its process id."""
    command = [sys.executable, "-m", "bridge", "run", "--config", str(config)]
    log = config.with_name("run.log").open("wb")
    process = subprocess.Popen(command, cwd=rig.ROOT, stdout=log, stderr=log)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait()
        log.close()


def _settle(town: Town) -> None:
    """Wait until the first poll of every tenant is over."""
    quiet = before = 0
    while quiet < _QUIET or not before:
        time.sleep(_STEP)
        requests = sum(town.ask("counts")["requests"].values())
        quiet = quiet + 1 if requests == before else 0
        before = requests


def _samples(town: Town, daemon: int) -> Iterator[tuple[float, int]]:
    """CPU seconds and requests of each half second."""
    end = time.monotonic() + _WATCHED
    cpu, requests = _cpu(daemon), sum(town.ask("counts")["requests"].values())
    while time.monotonic() < end:
        time.sleep(_STEP)
        now, made = _cpu(daemon), sum(town.ask("counts")["requests"].values())
        yield now - cpu, made - requests
        cpu, requests = now, made


def _cpu(process: int) -> float:
    """User and system seconds so far."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def _rss(process: int) -> float:
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))

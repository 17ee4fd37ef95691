"""What the programs share: the simulators' process, measured children, tables.

Nothing heavy is imported here: on Linux a process begins with its parent's peak RSS, so the parent must stay small.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says. ``leads`` None: each program's own size; the fastest of ``rounds`` runs counts.

    ``sources``: of these alone, where a program takes several. ``seeds`` of each, beginning with ``first``.
    ``points``: of each business so many ends are tried (crash), 0: every one.
    """

    leads: int | None = None
    rounds: int = 1
    sources: Sequence[str] = ()
    seeds: int | None = None
    first: int = 1
    points: int | None = None

    def size(self, usual: int) -> int:
        return self.leads or usual


@dataclass(frozen=True, slots=True)
class Measured:
    """One child. Seconds of its job, CPU seconds of it and of the simulators meanwhile, peak RSS in MB."""

    name: str
    seconds: float
    cpu: float
    rss: float
    count: int
    requests: Mapping[str, int] = field(default_factory=dict)
    simulator_cpu: float = 0.0
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Things done per second."""
        return self.count / self.seconds

    @property
    def total_requests(self) -> int:
        return sum(self.requests.values())


class Town:
    """The simulators in a process of their own (``server.py``)."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self._runs = 0
        command = [sys.executable, "-m", "tests.bench.server", json.dumps({"folder": str(folder), **options})]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.facts = self._answer()

    def ask(self, what: str, **more: Any) -> dict[str, Any]:
        """Tell it to do something; its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, **more}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def fresh(self, **more: Any) -> dict[str, Any]:
        """Begin anew for the next competitor; what it needs to know. ``max_rows``: of one upload of ours."""
        self._runs += 1
        return self.ask("fresh", folder=str(self.folder / f"run{self._runs}"), **more)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the simulators' process ended; its last words are above")
        return dict(json.loads(line))


@contextmanager
def town(**options: Any) -> Iterator[Town]:
    """Simulators on sockets, in a folder of their own, until the block ends."""
    with tempfile.TemporaryDirectory(prefix="bridge-bench-") as folder:
        running = Town(Path(folder), **options)
        try:
            yield running
        finally:
            running.stop()


def child(module: str, **arguments: Any) -> subprocess.Popen[str]:
    """Start ``tests.bench.<module>``; it prints one line of JSON when it is done."""
    command = [sys.executable, "-m", f"tests.bench.{module}", json.dumps(arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def result(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What a child measured."""
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"a measured process failed with status {process.returncode}; its last words are above")
    return dict(json.loads(output.splitlines()[-1]))


def measure(name: str, module: str, place: Town, **arguments: Any) -> Measured:
    """Run a child to its end, alone but for the simulators, which begin anew for it."""
    return measured(name, module, place, {**place.fresh(), **arguments})


def fastest(rounds: int, competitors: Mapping[str, Callable[[], Measured]]) -> dict[str, Measured]:
    """Every competitor in turn, so many times; the fastest run of each."""
    best: dict[str, Measured] = {}
    for _ in range(rounds):
        for name, run in competitors.items():
            found = run()
            if name not in best or found.seconds < best[name].seconds:
                best[name] = found
    return best


def measured(name: str, module: str, place: Town, arguments: Mapping[str, Any]) -> Measured:
    """The same with arguments prepared before."""
    told = result(child(module, **arguments))
    counts = place.ask("counts")
    requests, cpu = counts.pop("requests"), counts.pop("cpu")
    more = {**told.pop("more"), **counts}
    return Measured(name, requests=requests, simulator_cpu=cpu, more=more, **told)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Columns side by side; the first is text, the others are numbers."""
    lines = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        first, *rest = (cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        print("  " + "  ".join([first.strip().ljust(widths[0]), *rest]))


def compare(unit: str, measured: Sequence[Measured]) -> None:
    """The usual table of competitors."""
    head = ("", f"{unit}/s", "seconds", "CPU s", "peak RSS MB", "requests", "simulators' CPU s")
    table(
        head,
        [
            (
                one.name,
                f"{one.rate:,.0f}",
                f"{one.seconds:.2f}",
                f"{one.cpu:.2f}",
                f"{one.rss:.0f}",
                one.total_requests,
                f"{one.simulator_cpu:.2f}",
            )
            for one in measured
        ],
    )


def ratio(label: str, value: float, target: str) -> None:
    """One line of verdict; nothing is asserted."""
    print(f"  {label}: {value:.2f}  (target {target})")

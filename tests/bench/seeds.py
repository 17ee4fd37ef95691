"""Simulated businesses under every paging trap and every fault: what was missed, invented or doubled, which is nothing.

Each seed is one business of four days and its calm end: leads move while their pages are read, minutes a request; twice
hundreds of records are edited in one second; lists have the oddities that nobody promised them not to have; three in a
hundred requests are refused, each in every way, on all sides. What the deep sweep finds, the readings had missed.

``touches``: businesses whose leads call or send forms; a call tracker and our collector know their clicks.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tests.bench import rig
from tests.bench.rig import Options

SOURCES = ("amocrm", "bitrix24", "hubspot", "table", "touches")
_SEEDS = 50  # of each source: 200 in all
_LEADS = 150  # with those edited in bulk more than a page of most lists
_FAULTS = ("missed", "invented", "doubled", "wrong_value", "found_by_sweep", "unsettled")
_SUMS = ("leads", "events", "conversions", "swept", "faults")


def run(options: Options) -> int:
    """Nothing missed, invented, doubled or left to the sweep, in any seed of any source; else 1."""
    totals: dict[str, Counter[str]] = {}
    for source in options.sources or SOURCES:
        totals[source] = Counter()
        for outcome in _played(source, options):
            totals[source] += _counted(source, outcome, options)
    head = ("", "seeds", *_SUMS, *_FAULTS, "broken")
    rig.table(
        [name.replace("_", " ") for name in head],
        [(source, *(f"{total[name]:,}" for name in head[1:])) for source, total in totals.items()],
    )
    return int(any(total[name] for total in totals.values() for name in (*_FAULTS, "broken")))


def _played(source: str, options: Options) -> Iterator[dict[str, Any]]:
    told = {"source": source, "first": options.first, "seeds": options.seeds or _SEEDS}
    process = rig.child("seeded", leads=options.size(_LEADS), **told)
    assert process.stdout is not None
    for line in process.stdout:
        yield json.loads(line)
    if process.wait():
        raise SystemExit("the process that plays seeds failed; its last words are above")


def _counted(source: str, outcome: dict[str, Any], options: Options) -> Counter[str]:
    """What one seed adds; a seed that is not clean is named with the command that plays it again."""
    trouble = {name: outcome[name] for name in _FAULTS if outcome.get(name)}
    if "error" in outcome:
        trouble = {"broken": outcome["error"]}
    if trouble:
        again = f"python -m tests.bench seeds --source {source} --first {outcome['seed']} --seeds 1"
        size = f" --leads {options.leads}" if options.leads else ""
        told = ", ".join(f"{name.replace('_', ' ')} {what}" for name, what in trouble.items())
        print(f"  {source} seed {outcome['seed']}: {told}; again: {again}{size}", flush=True)
    numbers = {name: outcome.get(name, 0) for name in (*_SUMS, *_FAULTS)}
    return Counter({**numbers, "seeds": 1, "broken": int("error" in outcome)})

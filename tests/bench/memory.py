"""Peak memory of reading, planning and delivering ten times as much."""

from __future__ import annotations

from tests.bench import rig
from tests.bench.rig import Options

_SOURCES = ("bitrix24", "amocrm", "hubspot", "table")
_FEW = 20_000


def run(options: Options) -> None:
    """Ten times as many deals in at most 1.3 times the memory.

    With fewer than 20,000 not every page, batch and cache is full yet: such a ratio says little.
    """
    few = options.size(_FEW)
    for kind in options.sources or _SOURCES:
        found = []
        for leads in (few, 10 * few):
            with rig.town(kind=kind, leads=leads) as town:
                found.append(rig.measure(f"{kind}, {leads:,} leads", "ours", town))
        rig.compare("records", found)
        rig.ratio("peak RSS, many / few", found[1].rss / found[0].rss, "<= 1.3")

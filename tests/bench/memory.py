"""Peak memory of reading, planning and delivering ten times as much."""

from __future__ import annotations

from tests.bench import rig
from tests.bench.rig import Options


def run(options: Options) -> None:
    """200,000 deals in at most 1.3 times the memory of 20,000."""
    few = options.size(20_000)
    for kind in ("bitrix24", "amocrm"):
        found = []
        for leads in (few, 10 * few):
            with rig.town(kind=kind, leads=leads) as town:
                found.append(rig.measure(f"{kind}, {leads:,} leads", "ours", town))
        rig.compare("records", found)
        rig.ratio("peak RSS, many / few", found[1].rss / found[0].rss, "<= 1.3")

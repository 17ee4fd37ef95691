"""Conversions to Metrica beside drt: a second, and how many are sent twice when the program is killed in the middle."""

from __future__ import annotations

import time
from functools import partial

from tests.bench import rig
from tests.bench.rig import Measured, Options, Town

# Module and part of each.
_COMPETITORS = {
    "ours": ("ours", "upload"),
    "drt, Metrica": ("with_drt", "metrica"),
    "drt, Google Ads": ("with_drt", "google_ads"),
}
_KILLS = (0.2, 0.35, 0.5, 0.65, 0.8)  # share of the conversions the vendor has when the program is killed
_BATCH = 1000  # small enough for a kill to fall between two batches or into one


def run(options: Options) -> None:
    """The same rows to the same counter; drt also with its own Google Ads destination, which is its fastest."""
    count = options.size(50_000)
    with rig.town() as town:
        runs = {name: partial(_whole, name, town, who, count) for name, who in _COMPETITORS.items()}
        ours, drt, google = rig.fastest(options.rounds, runs).values()
        rig.compare("conversions", [ours, drt, google])
        rig.ratio("ours / drt, Metrica", ours.rate / drt.rate, "none")
        rig.ratio("ours / drt, Google Ads", ours.rate / google.rate, "none: another wire format, another end")
        rows = [
            (f"killed at {share:.0%}", *(_killed(town, victim, count, share) for victim in _COMPETITORS.values()))
            for share in _KILLS
        ]
    print("  sent twice after kill -9 and a second run, of all conversions (and lost):")
    rig.table(("", *_COMPETITORS), rows)


def _whole(name: str, town: Town, victim: tuple[str, str], count: int) -> Measured:
    """Set the rows up, then measure the upload alone."""
    module, part = victim
    told = town.fresh()
    rig.result(rig.child(module, **told, part=f"{part} prepare", count=count))
    return rig.measured(name, module, town, {**told, "part": part})


def _killed(town: Town, victim_of: tuple[str, str], count: int, share: float) -> str:
    module, part = victim_of
    told = {**town.fresh(max_rows=_BATCH), "batch": _BATCH}
    rig.result(rig.child(module, **told, part=f"{part} prepare", count=count))
    victim = rig.child(module, **told, part=part)
    while town.ask("counts")["received"] < count * share and victim.poll() is None:
        time.sleep(0.002)
    victim.kill()  # SIGKILL: no chance to say goodbye
    victim.communicate()
    town.ask("advance", minutes=10)
    rig.result(rig.child(module, **told, part=part, minutes=10))
    counts = town.ask("counts")
    twice, lost = counts["repeated"], count - (counts["received"] - counts["repeated"])
    return f"{twice / count:.0%} ({lost})" if twice or lost else "0 (0)"

"""What must be true after any business, calm or in trouble: the oracle agrees, nothing is stuck, everything adds up."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from bridge.sim.stage import goals
from tests.simulation.played import Played, play_through

RUNS = {"calm": (1, 12, False), "harsh 2": (2, 8, True), "harsh 3": (3, 8, True)}  # seed, hours of a step, trouble
SEND = {goal["name"]: goal["send"] for goal in goals()}
_GAP = r"[\s().–-]{0,3}"


@pytest.fixture(scope="module", params=list(RUNS.values()), ids=list(RUNS))
def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Played:
    """One business, played once for all tests that look at it."""
    seed, hours, is_harsh = request.param
    folder = tmp_path_factory.mktemp("business")
    return asyncio.run(play_through(folder, seed, timedelta(hours=hours), is_harsh=is_harsh))


def test_every_conversion_arrived_exactly_once(played: Played) -> None:
    """The oracle, which knows the world, finds nothing missing, doubled, unexpected or of a wrong value anywhere."""
    figures = {place: verdict.summary() for place, verdict in played.verdicts.items()}
    assert {place for place, verdict in played.verdicts.items() if not verdict.is_clean} == set(), figures
    assert sum(verdict.certain for verdict in played.verdicts.values()) >= 40, figures
    assert sum(verdict.certain for (_, name), verdict in played.verdicts.items() if name == "google") >= 5, figures


def test_a_harsh_run_met_real_trouble(played: Played, request: pytest.FixtureRequest) -> None:
    """The runs that are called harsh were: otherwise the others of these tests show nothing."""
    is_harsh = "harsh" in request.node.callspec.id
    assert played.faults >= 60 if is_harsh else played.faults == 0


def test_nothing_is_stuck_once_the_trouble_is_over(played: Played) -> None:
    """No delivery waits, no answer is unrecorded, no source or destination still reports an error."""
    for tenant in played.status["tenants"].values():
        for states in tenant["destinations"].values():
            left = {name: states[name] for name in ("pending", "sealed", "accepted", "held", "rejected", "in_doubt")}
            assert left == dict.fromkeys(left, 0)
            assert states["last_error"] is None
        for source in tenant["sources"].values():
            assert source["last_error"] is None
            assert source["quarantined"] == 0


def test_no_reading_missed_anything(played: Played) -> None:
    """Every day all open deals were read again by their keys: each sweep found what the readings had found."""
    lines = [json.loads(line) for line in played.logs.splitlines() if '"source_swept"' in line]
    assert len(lines) >= 10
    assert sum(line["deals"] for line in lines) >= 100
    assert {(line["missed"], line["gone"]) for line in lines} == {(0, 0)}
    assert '"sweep_missed"' not in played.logs.replace('"sweep_missed":', "")
    for tenant in played.status["tenants"].values():
        for source in tenant["sources"].values():
            assert (source["sweep_missed"], source["sweep_gone"], source["sweep_error"]) == (0, 0, None)


def test_the_chains_of_events_are_unbroken(played: Played) -> None:
    """Every move of a delivery begins in the state where the one before ended, and the last one ends where it is."""
    assert played.broken_chains == 0
    for item in _all(played):
        for delivery in item["deliveries"]:
            assert delivery["events"][0]["from"] is None
            assert delivery["events"][-1]["to"] == delivery["state"]


def test_coverage_is_counted_and_nothing_is_alarmed(played: Played) -> None:
    """Every request once, most with an identifier; neither calm nor trouble on the way is taken for a broken form.

    HubSpot's first record of a request is the person, who is one however often they ask.
    """
    for name, tenant in played.status["tenants"].items():
        (source,) = tenant["sources"].values()
        counted = source["coverage"]
        months = [row["channels"]["all"] for row in counted["weeks"]]
        requests = (played.people if name == "sad" else played.leads)[name]
        assert sum(share["leads"] for share in months) == requests
        assert sum(share["own"] for share in months) >= 0.6 * requests
        assert counted["fallen"] == []
        assert counted["silence"] is None
    assert not re.search(r"coverage_fell|leads_stopped", played.logs)


def test_every_lead_was_read(played: Played) -> None:
    """amoCRM shows each lead as one record, Bitrix24 as a lead, a deal, or both; HubSpot has persons beside deals."""
    counts = {name: sum(s["deals"] for s in t["sources"].values()) for name, t in played.status["tenants"].items()}
    assert counts["okna"] == played.leads["okna"]
    assert counts["dom"] >= played.leads["dom"]
    assert counts["sad"] >= played.leads["sad"]


def test_the_funnel_closes(played: Played) -> None:
    """Each goal that a deal reached ends, for each destination, in a promise or in a named reason against one."""
    reached: Counter[tuple[str, str]] = Counter()
    for tenant, items in played.explained.items():
        for item in items:
            assert {judgement["goal"] for judgement in item["judgements"]} == set(SEND)
            for goal in _qualified(item):
                is_counted_here = True
                for destination in SEND[goal]:
                    promised, reasons = _ends(item, goal, destination)
                    assert len(promised) == 1 or (not promised and len(reasons) == 1), (item["deal"]["key"], goal)
                    is_counted_here = not any(reason.startswith("counted on") for reason in reasons)
                reached[tenant, goal] += is_counted_here
            assert {delivery["goal"] for delivery in item["deliveries"]} <= _qualified(item)
    told = {(n, g): c["reached"] for n, t in played.status["tenants"].items() for g, c in t["goals"].items()}
    assert told == dict(reached)


def _qualified(item: dict[str, Any]) -> set[str]:
    return {judgement["goal"] for judgement in item["judgements"] if judgement["verdict"] == "qualified"}


def _ends(item: dict[str, Any], goal: str, destination: str) -> tuple[list[dict[str, Any]], list[str]]:
    """The original promise, and the reasons against one."""
    place = (goal, destination)
    promised = [d for d in item["deliveries"] if (d["goal"], d["destination"]) == place and d["kind"] == "original"]
    reasons = [s["reason"] for s in item["not_promised"] if (s["goal"], s["destination"]) == place]
    return promised, reasons


def test_no_tenants_data_is_at_anothers_destination(played: Played) -> None:
    """What an ad account was sent names only clicks of its own advertiser."""
    for tenant, own in played.identifiers.items():
        applied = [row for (owner, _), rows in played.applied.items() if owner == tenant for row in rows]
        sent = {identifier for row in applied for identifier in row.identifiers if not _is_digest(identifier)}
        assert len(sent) >= 10
        assert sent <= own


def _is_digest(identifier: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{64}", identifier) is not None


def test_no_secret_leaves_the_program(played: Played) -> None:
    """Logs, metrics and stored error texts contain no token, key, webhook code or rotated token of the run."""
    assert len(played.secrets) >= 10
    assert played.logs.count("\n") >= 100
    assert [name for name in played.secrets for text in _public(played) if name in text] == []


def test_no_person_leaves_the_program(played: Played) -> None:
    """Nor any phone number, however it is written, or e-mail address of the world."""
    persons = _persons(played)
    assert [found[0] for text in _public(played) if (found := persons.search(text))] == []


def test_no_person_passes_the_border(played: Played) -> None:
    """What is kept of deals and of deliveries holds digests, and no phone number or e-mail address in clear."""
    persons = _persons(played)
    assert len(played.stored) >= 100
    assert [found[0] for data in played.stored if (found := persons.search(bytes(data).decode()))] == []


def _public(played: Played) -> list[str]:
    return [played.logs, played.metrics, *played.texts]


def _persons(played: Played) -> re.Pattern[str]:
    """Finds a phone number of the world in any grouping, or an e-mail address of it."""
    assert len(played.personal) >= 50
    phones = [_GAP.join(text) for text in played.personal if text.isdigit()]
    emails = [re.escape(text) for text in played.personal if not text.isdigit()]
    return re.compile("|".join([*phones, *emails]), re.IGNORECASE)


def _all(played: Played) -> list[dict[str, Any]]:
    return [item for items in played.explained.values() for item in items]

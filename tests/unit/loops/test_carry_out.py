"""Requests of commands: carried out once, resumed after a crash, refused with a reason."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.errors import Unavailable
from bridge.loops import carry_out
from bridge.store import Store, schema
from bridge.store.codec import micros
from bridge.store.requests import Requests
from tests.store import kit as rows_kit
from tests.store.kit import ADS, TENANT
from tests.support import START
from tests.unit.loops.kit import DAY, Ads, Crm, Office, office
from tests.unit.loops.test_poll import NAMES, SALE, lead

PERIOD = {"since": (START - 5 * DAY).isoformat(), "until": START.isoformat(), "source": None, "dry_run": False}


def two_sources(store: Store) -> tuple[Office, Requests, Crm, Crm]:
    """A tenant with two sources, each with a lead of its own."""
    first, second = Crm(names=NAMES), Crm(names=NAMES)
    first.scans, second.scans = [[first.shows(lead(1))]], [[second.shows(lead(2))]]
    made = office(store, {ADS: Ads()}, {"first": first, "second": second}, [SALE])
    return made, Requests(store, made.clock), first, second


async def test_a_backfill_reads_every_source_and_lowers_the_floor(store: Store) -> None:
    """The window is read whole from each source; goals reached in it may be sent from now on; the row says so."""
    made, requests, first, second = two_sources(store)
    key = await requests.add(TENANT, "backfill", PERIOD)
    await carry_out.once(made.tenant, requests)
    row = await requests.get(key)
    assert (row.state, row.progress["share"], row.progress["counts"]["planned"]) == ("done", 1.0, 2)
    for crm in (first, second):
        assert (crm.windows[0].start, crm.windows[-1].end) == (START - 5 * DAY, START)
    floors = {row["source"]: row["floor"] for row in await rows_kit.rows(store, schema.source_state)}
    assert floors == dict.fromkeys(("first", "second"), micros(START - 5 * DAY))


async def test_a_backfill_moves_no_cursor(store: Store) -> None:
    """The ordinary poll goes on where it was."""
    made, requests, *_ = two_sources(store)
    await requests.add(TENANT, "backfill", PERIOD)
    await carry_out.once(made.tenant, requests)
    assert {row["watermark"] for row in await rows_kit.rows(store, schema.source_state)} == {None}


async def test_a_crashed_backfill_goes_on_after_the_last_finished_source(store: Store) -> None:
    """What was left ``running`` is resumed; the source that was finished is not read again."""
    made, requests, first, second = two_sources(store)
    key = await requests.add(TENANT, "backfill", PERIOD)
    await requests.update(key, "running", {"share": 0.5, "counts": {}, "finished": ["first"]})
    await carry_out.once(made.tenant, requests)
    assert (await requests.get(key)).state == "done"
    assert first.windows == []
    assert second.windows != []


async def test_a_failed_request_says_why_and_the_next_is_carried_out(store: Store) -> None:
    """It is not tried again by itself; nothing personal of the error is kept."""
    made, requests, first, _ = two_sources(store)
    first.scans = [[Unavailable("down, call +7 999 123-45-67")]]
    bad = await requests.add(TENANT, "backfill", {**PERIOD, "source": "first"})
    good = await requests.add(TENANT, "backfill", {**PERIOD, "source": "second"})
    await carry_out.once(made.tenant, requests)
    failed, done = await requests.get(bad), await requests.get(good)
    assert (failed.state, done.state) == ("failed", "done")
    assert failed.error is not None
    assert failed.error.startswith("Unavailable: down")
    assert "999" not in failed.error
    assert await requests.unfinished(TENANT) == []


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [("dance", {}), ("backfill", {**PERIOD, "source": "gone"}), ("resolve", {"deliveries": [], "as": "burn"})],
)
async def test_a_request_that_makes_no_sense_fails_and_is_not_tried_for_ever(
    kind: str, arguments: dict[str, Any], store: Store
) -> None:
    """Made by another version, or for a source that is no longer configured: it ends, with a reason."""
    made, requests, *_ = two_sources(store)
    key = await requests.add(TENANT, kind, arguments)
    await carry_out.once(made.tenant, requests)
    row = await requests.get(key)
    assert row.state == "failed"
    assert row.error

"""The loop looks every hour, says each trouble once however often it is restarted, and judges only what was read."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from bridge.clues import Reading
from bridge.frozen import replace
from bridge.loops import assess, coverage, poll
from bridge.model import Clue, Deal, DealKind, IdKind, Outcome
from bridge.ports import DestinationTraits, Proof, SourceTraits
from bridge.rules import coverage as rules
from bridge.store import Store, schema
from bridge.store.records import Assessed
from bridge.tenant import Progress
from tests.store.kit import LOST, MATCH, SOURCE, TENANT, assessed, deal, page, rows
from tests.support import START
from tests.unit.loops.kit import DAY, HOUR, Ads, Crm, Office, office

BROKE = START + 20 * DAY


def made(store: Store, *, is_table: bool = False) -> Office:
    return office(store, {"ads": Ads()}, {SOURCE: Crm(traits=SourceTraits(reads_everything=is_table))})


async def come(here: Office, since: datetime, until: datetime, *, with_ids: bool) -> None:
    """A lead every hour and a half; four of five with a yclid, or none."""
    items: list[Assessed] = []
    at = since
    while at < until:
        number = int((at - START) / timedelta(minutes=90)) + 1
        match = MATCH if with_ids and number % 5 else LOST
        lead = replace(deal(number), created_at=at)
        items.append(replace(assessed(lead, match=match), reading=Reading(channel="organic")))
        at += timedelta(minutes=90)
    await here.tenant.records.write_page(page(*items))


async def look(here: Office, at: datetime, *, force: bool = False) -> Progress:
    """The source was just read, and the loop has its turn."""
    here.clock.set(at)
    await here.tenant.records.set_source(TENANT, SOURCE, polled_at=at)
    return await coverage.once(here.tenant, force=force)


def events(logs: io.StringIO) -> list[str]:
    return [json.loads(line)["event"] for line in logs.getvalue().splitlines()]


@pytest.fixture
async def broken(store: Store) -> Office:
    """Twenty good days, then two without any identifier."""
    here = made(store)
    await come(here, START, BROKE, with_ids=True)
    await come(here, BROKE, BROKE + 2 * DAY, with_ids=False)
    return here


async def test_a_fall_is_said_once_however_often_the_daemon_restarts(
    broken: Office, store: Store, logs: io.StringIO
) -> None:
    """As a problem of that turn and a warning; later turns, also of another process, are silent until it is over."""
    assert (await look(broken, BROKE)).problems == []
    (problem,) = (await look(broken, BROKE + DAY)).problems
    assert problem == "crm: organic: 0 % of 16 new leads have a usable identifier, usually 80 %"
    assert (await look(made(store), BROKE + 2 * DAY)).problems == []
    assert events(logs) == ["coverage_fell"]
    (line,) = [json.loads(line) for line in logs.getvalue().splitlines()]
    told = {name: line[name] for name in ("level", "source", "channel", "identifier", "leads", "share", "usual")}
    assert told == dict(zip(told, ("warning", "crm", "organic", "any", 16, 0.0, 0.8), strict=True))

    here = made(store)
    await come(here, BROKE + 2 * DAY, BROKE + 4 * DAY, with_ids=True)
    assert (await look(here, BROKE + 4 * DAY)).problems == []
    assert events(logs) == ["coverage_fell", "coverage_recovered"]


async def test_leads_are_counted_beside_the_event_loop(broken: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred thousand of them take seconds, and a vendor waits two for the answer to its webhook."""
    here: set[int] = set()

    def noted(work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            here.add(threading.get_ident())
            return work(*arguments)

        return run

    for place, name in ((rules, "judge"), (rules, "calendar"), (rules, "windows"), (coverage, "Tally")):
        monkeypatch.setattr(place, name, noted(getattr(place, name)))
    await look(broken, BROKE)
    assert here
    assert threading.get_ident() not in here


async def test_a_look_is_due_every_hour(broken: Office) -> None:
    """By what the database remembers; ``sync`` always looks."""
    await look(broken, BROKE)
    at = BROKE + timedelta(minutes=59)
    await look(broken, at)
    assert await broken.tenant.coverage.counted_at(SOURCE) == BROKE
    await look(broken, at, force=True)
    assert await broken.tenant.coverage.counted_at(SOURCE) == at
    await look(broken, at + HOUR)
    assert await broken.tenant.coverage.counted_at(SOURCE) == at + HOUR


async def test_a_source_that_does_not_answer_is_not_taken_for_one_without_leads(
    broken: Office, logs: io.StringIO
) -> None:
    """Time counts up to the last good reading."""
    await look(broken, BROKE - HOUR)
    broken.clock.set(BROKE + 10 * DAY)
    assert (await coverage.once(broken.tenant)).problems == []
    report = await broken.tenant.coverage.report(SOURCE)
    assert report is not None
    assert report.until == BROKE - HOUR
    assert events(logs) == []


async def test_a_source_that_was_never_read_is_not_judged(store: Store) -> None:
    """There is nothing to show either."""
    here = made(store)
    await coverage.once(here.tenant, force=True)
    assert await here.tenant.coverage.report(SOURCE) is None
    assert await coverage.weekly(here.tenant, here.tenant.sources[SOURCE], 3) == ()


async def test_silence_is_said_once_and_so_is_its_end(store: Store, logs: io.StringIO) -> None:
    """A day and more without a lead where one comes every hour and a half."""
    here = made(store)
    await come(here, START, BROKE, with_ids=True)
    (problem,) = (await look(here, BROKE + DAY)).problems
    assert "no new lead since" in problem
    assert (await look(here, BROKE + 2 * DAY)).problems == []
    await come(here, BROKE + 2 * DAY, BROKE + 3 * DAY, with_ids=True)
    await look(here, BROKE + 3 * DAY)
    assert events(logs) == ["leads_stopped", "leads_resumed"]


async def test_a_table_is_never_silent(store: Store, logs: io.StringIO) -> None:
    """It is filled when somebody finds the time."""
    here = made(store, is_table=True)
    await come(here, START, BROKE, with_ids=True)
    assert (await look(here, BROKE + 9 * DAY)).problems == []
    assert events(logs) == []


def told(version: str, *clues: Clue) -> Deal:
    """A lead as its source tells of it now."""
    at = START - HOUR + timedelta(minutes=int(version))
    return Deal(DealKind.LEAD, "1", version, START - HOUR, at, "1", "10", Outcome.OPEN, clues=clues)


async def test_a_channel_stays_what_it_was_first_known_to_be(store: Store) -> None:
    """A tag that comes later names an unknown one; one that is gone again, or changed, moves no lead of the past."""
    crm = Crm()
    here = office(store, {"ads": Ads()}, {SOURCE: crm})
    found = []
    yclid = Clue("field YCLID", "17751100000000000001", IdKind.YCLID)
    for number, clues in enumerate([(), (Clue("utm_source", "vk"),), (yclid,), (Clue("utm_source", "google"), yclid)]):
        crm.scans = [[crm.shows(told(str(number), *clues))]]
        await poll.once(here.tenant, force=True)
        (row,) = await rows(store, schema.deal)
        found.append((row["channel"], row["identifiers"]))
    assert found == [("unknown", None), ("vk", None), ("vk", "yclid"), ("vk", "yclid")]


async def test_a_deal_that_is_judged_again_keeps_its_channel(store: Store) -> None:
    """Its texts are forgotten by then."""
    crm = Crm()
    here = office(store, {"ads": Ads()}, {SOURCE: crm})
    crm.scans = [[crm.shows(told("1", Clue("utm_source", "vk")))]]
    await poll.once(here.tenant, force=True)
    async with store.write("test") as connection:
        await connection.execute(update(schema.deal).values(is_dirty=True))
    assert (await assess.once(here.tenant)).done["assessed"] == 1
    (row,) = await rows(store, schema.deal)
    assert (row["channel"], row["is_dirty"]) == ("vk", False)


def test_kinds_that_only_people_are_told_of_are_not_covered(store: Store) -> None:
    """A bot is told of every deal: that it would take any identifier says nothing of the ads."""
    people = DestinationTraits(Proof.NONE, tuple(IdKind), needs_click=False)
    here = office(store, {"ads": Ads(), "bot": Ads(people)}, {SOURCE: Crm()})
    assert coverage.accepted(here.tenant) == {IdKind.YCLID}

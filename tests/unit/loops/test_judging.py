"""One deal that cannot be judged is set aside with a reason; its page, and everything after it, goes on."""

from __future__ import annotations

import re
from datetime import datetime
from io import StringIO
from typing import Any

import pytest

from bridge.catalogue import Catalogue
from bridge.frozen import replace
from bridge.loops import assess, poll
from bridge.model import Clue, Deal
from bridge.ports import BadRecord, Window
from bridge.store import Store, schema
from tests.simulation.kit import events
from tests.store import kit as rows_kit
from tests.store.kit import ADS, TENANT
from tests.support import START
from tests.unit.loops.kit import DAY, HOUR, MINUTE, Ads, Crm, Office, office
from tests.unit.loops.test_poll import SALE, lead

NUMBER = "+7 999 123-45-67"


def timeless(deal: Deal) -> Deal:
    """A deal whose stage was entered at a time of no zone: it cannot be compared with any moment."""
    return replace(deal, history=(replace(deal.history[0], at=datetime(2026, 3, 1)),))  # noqa: DTZ001 - that is it


def unreadable(deal: Deal) -> Deal:
    """A deal with a text that is none, beside a phone number."""
    return replace(deal, clues=(Clue("field NOTE", NUMBER), Clue("field URL", None)))  # type: ignore[arg-type]  # that is it


def at_work(store: Store, crm: Crm) -> Office:
    crm.names = Catalogue(is_open=True)
    return office(store, {ADS: Ads()}, {"crm": crm}, [SALE])


async def read(made: Office, crm: Crm, *deals: Deal) -> Any:
    crm.scans = [[crm.shows(*deals)], []]
    made.clock.advance(MINUTE)
    progress = await poll.once(made.tenant, force=True)
    assert progress.problems == []
    return progress.done


async def aside(store: Store) -> list[tuple[str, str]]:
    return [(row["record"], row["code"]) for row in await rows_kit.rows(store, schema.quarantine)]


async def stored(store: Store) -> list[str]:
    return [row["deal"] for row in await rows_kit.rows(store, schema.deal)]


@pytest.mark.parametrize("spoil", [timeless, unreadable])
async def test_a_deal_that_cannot_be_judged_is_set_aside_and_its_page_goes_on(
    spoil: Any, store: Store, logs: StringIO
) -> None:
    """It has a code that says so; the others of the page are stored and promised, the cursor moves on."""
    crm = Crm()
    made = at_work(store, crm)
    done = await read(made, crm, lead(1), spoil(lead(2)), lead(3))
    assert (done["planned"], done["quarantined"]) == (2, 1)
    assert await aside(store) == [("lead:2", "judging_failed")]
    assert await stored(store) == ["lead:1", "lead:3"]
    assert (await made.source())["watermark"] is not None
    assert [line["record"] for line in events(logs, "record_quarantined")] == ["lead:2"]


async def test_the_fault_is_logged_whole_once_and_without_persons(store: Store, logs: StringIO) -> None:
    """With the way to the line of code; the next deals that meet it are only named. Nothing of the record is told."""
    crm = Crm()
    made = at_work(store, crm)
    for version in ("v1", "v2"):
        await read(made, crm, *(replace(unreadable(lead(number)), version=version) for number in (1, 2)))
    (whole,) = events(logs, "judging_failed")
    assert "signs.py" in whole["exception"]
    assert len(events(logs, "record_quarantined")) == 4
    messages = [row["message"] for row in await rows_kit.rows(store, schema.quarantine)]
    assert len(messages) == 2
    logged = re.sub(r'"timestamp": "[^"]+"', "", logs.getvalue())  # its microseconds may be any digits
    assert not any("999" in text for text in (logged, *messages))


async def test_a_deal_set_aside_is_tried_again_at_its_next_reading(store: Store) -> None:
    """Even when it did not change: the program may have."""
    crm = Crm()
    made = at_work(store, crm)
    await read(made, crm, timeless(lead(1)))
    await read(made, crm, lead(1))
    assert await aside(store) == []
    assert await made.states() == {"pending": 1}


async def unsold_then_dirty(made: Office, crm: Crm, *deals: Deal) -> None:
    """Deals stored under no goal, to be judged again by one."""
    made.tenant.settings.goals.clear()
    await read(made, crm, *deals)
    made.tenant.settings.goals.append(SALE)
    made.tenant.sources["crm"].compiled = None
    async with made.store.write("test") as connection:
        await connection.execute(schema.deal.update().values(is_dirty=True))


async def test_a_stored_deal_that_cannot_be_judged_again_is_not_tried_for_ever(store: Store) -> None:
    """It is set aside, the others are promised; the next reading judges it, although it is the same as before: without
    the goal it fails at, it is well."""
    crm = Crm()
    made = at_work(store, crm)
    await unsold_then_dirty(made, crm, timeless(lead(1)), lead(2))
    assert (await assess.once(made.tenant)).done["assessed"] == 1
    assert await aside(store) == [("lead:1", "judging_failed")]
    assert await made.tenant.records.dirty(TENANT, "crm", START) == []
    assert await made.states() == {"pending": 1}
    made.tenant.settings.goals.clear()
    made.tenant.sources["crm"].compiled = None
    await read(made, crm, timeless(lead(1)), lead(2))
    assert crm.completed == {"lead:1": 2, "lead:2": 1}
    assert await aside(store) == []


async def test_a_backfill_goes_on_past_a_stored_deal_that_cannot_be_judged(store: Store) -> None:
    """Dry, too: then it is counted, and nothing is written."""
    crm = Crm()
    made = at_work(store, crm)
    await unsold_then_dirty(made, crm, timeless(lead(1)), lead(2))
    crm.scans = [[crm.shows(timeless(lead(1)), lead(2))]]
    for is_dry, found in ((True, []), (False, [("lead:1", "judging_failed")])):
        how = poll.Reading(None, moves_watermark=False, judges_all=True, is_dry=is_dry)
        progress = await poll.read(made.tenant, made.tenant.sources["crm"], Window(START - HOUR, START), how)
        assert (progress.done["planned"], progress.done["quarantined"]) == (1, 1)
        assert await aside(store) == found


async def test_explain_says_why_a_stored_deal_is_not_judged(store: Store) -> None:
    """Its facts and its promises are told all the same."""
    crm = Crm()
    made = at_work(store, crm)
    await unsold_then_dirty(made, crm, timeless(lead(1)))
    data = await made.explained("lead:1")
    assert data["quarantine"]["code"] == "judging_failed"
    assert data["quarantine"]["message"].startswith("TypeError in bridge.")
    assert (data["deal"]["key"], data["match"], data["judgements"]) == ("lead:1", None, [])


async def test_explain_says_that_a_newer_state_was_not_understood(store: Store) -> None:
    """The stored one is judged as before."""
    crm = Crm()
    made = at_work(store, crm)
    await read(made, crm, lead(1))
    assert (await made.explained("lead:1"))["quarantine"] is None
    await read(made, crm, timeless(lead(1, version="v2")))
    data = await made.explained("lead:1")
    assert data["quarantine"]["code"] == "judging_failed"
    assert [judgement["verdict"] for judgement in data["judgements"]] == ["qualified"]


@pytest.mark.parametrize("kind", ["listed", "detailed", "judged"])
async def test_what_happened_while_a_deal_was_not_understood_is_read_when_it_is(kind: str, store: Store) -> None:
    """A source may leave out what an earlier window told of a known deal: of this one all of it is asked for again,
    and a stored state that is judged anew meanwhile changes nothing about that."""
    crm = Recorder()
    made = at_work(store, crm)
    await read(made, crm, lead(1, START - DAY, stage="10"))
    await spoil(made, crm, kind)
    async with store.write("test") as connection:
        await connection.execute(schema.deal.update().values(is_dirty=True))
    await assess.once(made.tenant)
    await read(made, crm, lead(1, version="v3"))
    assert crm.known[-1] == frozenset()
    await read(made, crm, lead(1, version="v4"))
    assert crm.known[-1] == {"lead:1"}
    assert await aside(store) == []


async def spoil(made: Office, crm: Crm, kind: str) -> None:
    """A poll that brings something of ``lead:1`` that is not understood."""
    page = crm.shows(timeless(lead(1, version="v2")))
    bad = BadRecord("lead:1", "price", "no amount")
    if kind == "listed":
        page = replace(page, heads=(), bad=(bad,))
    elif kind == "detailed":
        crm.deals["lead:1"] = bad
    crm.scans = [[page], []]
    made.clock.advance(MINUTE)
    assert (await poll.once(made.tenant, force=True)).done["quarantined"] == 1


class Recorder(Crm):
    """Remembers which deals it was told are known."""

    def __init__(self) -> None:
        super().__init__()
        self.known: list[frozenset[str]] = []

    async def complete(self, heads: Any, known: frozenset[str], window: Window) -> list[Deal | BadRecord]:
        self.known.append(known)
        return await Crm.complete(self, heads, known, window)

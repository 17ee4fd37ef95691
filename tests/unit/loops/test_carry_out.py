"""Requests of commands: carried out once, resumed after a crash, refused with a reason."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from bridge import requested
from bridge.config import Goal, When
from bridge.errors import Unavailable
from bridge.frozen import replace
from bridge.loops import carry_out, poll
from bridge.model import Contact, Deal, Outgoing
from bridge.ports import Admission, Pass
from bridge.store import Store, schema
from bridge.store.requests import Requests, WorkRequest
from bridge.tenant import Progress
from tests.store import kit as rows_kit
from tests.store.kit import ADS, TENANT
from tests.support import START
from tests.unit.loops.kit import DAY, HOUR, MINUTE, Ads, Crm, Office, Slow, office
from tests.unit.loops.test_poll import NAMES, SALE, lead

PERIOD = {"since": (START - 5 * DAY).isoformat(), "until": START.isoformat(), "source": None, "dry_run": False}


def two_sources(store: Store) -> tuple[Office, Requests, Crm, Crm]:
    """A tenant with two sources, each with a lead of its own."""
    first, second = Crm(names=NAMES), Crm(names=NAMES)
    first.scans, second.scans = [[first.shows(lead(1))]], [[second.shows(lead(2))]]
    made = office(store, {ADS: Ads()}, {"first": first, "second": second}, [SALE])
    return made, Requests(store, made.clock), first, second


async def test_a_backfill_reads_every_source_whole(store: Store) -> None:
    """Slice by slice; what was reached in the period is promised; the row says so."""
    made, requests, first, second = two_sources(store)
    key = await requests.add(TENANT, "backfill", PERIOD)
    await carry_out.once(made.tenant, requests)
    row = await requests.get(key)
    assert (row.state, row.progress["share"], row.progress["counts"]["planned"]) == ("done", 1.0, 2)
    for crm in (first, second):
        assert (crm.windows[0].start, crm.windows[-1].end) == (START - 5 * DAY, START)


async def test_only_the_request_that_is_asked_for_is_carried_out(store: Store) -> None:
    """A command does its own; an older one keeps its place for the daemon."""
    made, requests, *_ = two_sources(store)
    older = await requests.add(TENANT, "backfill", PERIOD)
    own = await requests.add(TENANT, "backfill", PERIOD | {"dry_run": True})
    await carry_out.once(made.tenant, requests, own)
    assert [(await requests.get(key)).state for key in (older, own)] == ["waiting", "done"]
    assert await rows_kit.rows(store, schema.conversion) == []


async def test_a_request_that_is_withdrawn_behind_a_long_one_is_not_begun(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its command was interrupted while it waited: whoever works has it in its list already."""
    made, requests, *_ = two_sources(store)
    keys = [await requests.add(TENANT, "backfill", PERIOD) for _ in range(2)]
    begun = []

    async def withdrawing(_: Any, __: Any, request: WorkRequest) -> Progress:
        begun.append(request.id)
        assert await requests.give_up(keys[1], "interrupted", "waiting")
        return Progress()

    monkeypatch.setattr(carry_out, "carry_out", withdrawing)
    await carry_out.once(made.tenant, requests)
    assert begun == keys[:1]
    assert [(await requests.get(key)).state for key in keys] == ["done", "failed"]


async def test_a_backfill_in_the_place_of_an_older_one_reads_the_rest_up_to_now(store: Store) -> None:
    """What was read whole is not read again; what came since then is; the counts go on."""
    made, requests, first, second = two_sources(store)
    asked = {**PERIOD, "until_now": True, "definition": "same"}
    older = await requests.add(TENANT, "backfill", asked)
    reached = {"second": (START - 2 * DAY).isoformat()}
    await requests.update(older, "running", {"finished": ["first"], "reached": reached, "whole": {"planned": 7}})
    newer = await requests.add(TENANT, "backfill", {**asked, "until": (START + HOUR).isoformat()})
    rows = [await requests.get(key) for key in (older, newer)]
    assert requested.is_taken_over(*rows)
    await requests.update(newer, "waiting", requested.inherited(*rows))
    await carry_out.once(made.tenant, requests, newer)
    assert [(crm.windows[0].start, crm.windows[-1].end) for crm in (first, second)] == [
        (START, START + HOUR),
        (START - 2 * DAY, START + HOUR),
    ]
    assert (await requests.get(newer)).progress["counts"]["planned"] == 9


@pytest.mark.parametrize(
    "other",
    [
        {"since": START.isoformat()},
        {"source": "first"},
        {"dry_run": True},
        {"until_now": False},
    ],
)
async def test_a_backfill_takes_the_place_of_none_but_the_same(other: dict[str, Any], store: Store) -> None:
    """Of another period or source it is another; a goal that was changed makes it begin anew."""
    made = office(store, {ADS: Ads()}, {"crm": Crm(names=NAMES)}, [SALE])
    requests = Requests(store, made.clock)
    asked = {**PERIOD, "until_now": True, "definition": "before"}
    older = await requests.add(TENANT, "backfill", asked)
    await requests.update(older, "running", {"whole": {"listed": 7}})
    keys = [await requests.add(TENANT, "backfill", {**asked, **parts}) for parts in (other, {"definition": "after"})]
    before, strange, anew = [await requests.get(key) for key in (older, *keys)]
    assert not requested.is_taken_over(before, strange)
    assert requested.is_taken_over(before, anew)
    assert requested.inherited(before, anew) is None


async def test_a_backfill_moves_no_cursor(store: Store) -> None:
    """The ordinary poll goes on where it was."""
    made, requests, *_ = two_sources(store)
    await requests.add(TENANT, "backfill", PERIOD)
    await carry_out.once(made.tenant, requests)
    assert {row["watermark"] for row in await rows_kit.rows(store, schema.source_state)} == {None}


# --- what it opens -----------------------------------------------------------------------------------------------

OLD = {**PERIOD, "since": (START - 40 * DAY).isoformat(), "until": (START - 30 * DAY).isoformat()}


def at_work(store: Store, goal: Goal = SALE) -> tuple[Office, Requests, Crm]:
    """A tenant whose source begins ten days ago."""
    crm = Crm(names=NAMES)
    made = office(store, {ADS: Ads()}, {"crm": crm}, [goal])
    return made, Requests(store, made.clock), crm


def changed(number: int, sold: timedelta, touched: timedelta = timedelta(0)) -> Deal:
    """A lead sold so long ago, and changed once more later."""
    return replace(lead(number, START - sold), updated_at=START - touched)


async def polled(made: Office, crm: Crm, *deals: Deal) -> None:
    crm.scans = [[crm.shows(*deals)], []]
    assert (await poll.once(made.tenant, force=True)).problems == []


async def backfilled(made: Office, requests: Requests, crm: Crm, arguments: dict[str, Any], *deals: Deal) -> Any:
    """A backfill that finds these deals in its first slice; its row."""
    key = await requests.add(TENANT, "backfill", arguments)
    crm.scans = [[crm.shows(*deals)], []]
    await carry_out.once(made.tenant, requests)
    row = await requests.get(key)
    assert row.state == "done"
    return row.progress["counts"]


async def promised(store: Store) -> list[str]:
    return sorted(row["deal"] for row in await rows_kit.rows(store, schema.conversion))


async def test_a_backfill_opens_its_period_and_nothing_after_it(store: Store) -> None:
    """What was reached in it is promised, whenever the deal is read; what was reached between it and the start of the
    source is not asked for and stays ``before_start``, as does what is older."""
    made, requests, crm = at_work(store)
    await polled(made, crm)
    await backfilled(made, requests, crm, OLD, changed(1, 35 * DAY, 35 * DAY))
    assert await promised(store) == ["lead:1"]
    made.clock.advance(MINUTE)
    await polled(made, crm, changed(2, 20 * DAY), changed(3, 30 * DAY), changed(4, 41 * DAY))
    await polled(made, crm, changed(5, 40 * DAY), changed(6, DAY))
    assert await promised(store) == ["lead:1", "lead:5", "lead:6"]
    (judgement,) = (await made.explained("lead:2"))["judgements"]
    assert judgement["reason"].startswith("before_start: reached 2026-")


async def test_a_source_that_was_never_read_begins_where_its_first_poll_would(store: Store) -> None:
    """A backfill of an older period moves no start: the poll that follows reads and sends from the configured one."""
    made, requests, crm = at_work(store)
    await backfilled(made, requests, crm, OLD, changed(1, 35 * DAY, 35 * DAY))
    crm.windows.clear()
    await polled(made, crm, changed(2, 20 * DAY), changed(3, 9 * DAY))
    assert crm.windows[0].start == START - 10 * DAY - crm.traits.overlap
    assert await promised(store) == ["lead:1", "lead:3"]


@pytest.mark.parametrize("is_dry", [True, False])
async def test_stored_deals_that_changed_after_the_period_are_judged_again(is_dry: bool, store: Store) -> None:
    """They are in no listing of it; a deal that was read before is promised what it reached in it. Dry: counted."""
    made, requests, crm = at_work(store)
    await polled(made, crm, *(changed(number, 35 * DAY, DAY) for number in range(1, 4)), changed(4, 20 * DAY))
    assert await promised(store) == []
    counts = await backfilled(made, requests, crm, {**OLD, "dry_run": is_dry})
    assert counts["planned"] == 3
    assert await promised(store) == ([] if is_dry else ["lead:1", "lead:2", "lead:3"])


async def test_a_click_on_a_later_page_serves_a_deal_of_an_earlier_one(store: Store) -> None:
    """The deal is judged again, and its promise counted, before the backfill says done; a second one plans nothing."""
    made, requests, crm = at_work(store)
    person = (Contact("1", phones=("+79991234567",)),)
    bare = replace(lead(1, START - 4 * DAY - HOUR), clues=(), contacts=person)
    clicked = replace(lead(2, START - 3 * DAY), created_at=START - 9 * DAY, contacts=person)
    key = await requests.add(TENANT, "backfill", PERIOD)
    crm.scans = [[crm.shows(bare)], [crm.shows(clicked)], []]
    await carry_out.once(made.tenant, requests)
    assert len(await made.rows()) == 2
    assert (await requests.get(key)).progress["counts"]["planned"] == 2
    assert not any(row["is_dirty"] for row in await rows_kit.rows(store, schema.deal))
    key = await requests.add(TENANT, "backfill", PERIOD)
    crm.scans = [[crm.shows(bare)], [crm.shows(clicked)], []]
    await carry_out.once(made.tenant, requests)
    assert (await requests.get(key)).progress["counts"].get("planned", 0) == 0


class Choosy(Ads):
    """Takes no sale of before a moment, and refuses the first lead for good; fails at the second."""

    def admit(self, row: Outgoing, now: Any) -> Admission:
        (identifier,) = row.identifiers
        if identifier.value.endswith("0001"):
            return Admission(Pass.REFUSED, "bad")
        if identifier.value.endswith("0002"):
            raise ZeroDivisionError
        return Admission(Pass.EXPIRED if row.occurred_at < START - 2 * DAY else Pass.WAIT, "too_old")


@pytest.mark.parametrize("is_dry", [True, False])
async def test_promises_that_cannot_be_sent_now_are_counted_apart(is_dry: bool, store: Store) -> None:
    """By goal and destination, dry and in earnest; what waits, or fails in the adapter, is not among them."""
    crm = Crm(names=NAMES)
    made = office(store, {ADS: Choosy()}, {"crm": crm}, [SALE])
    sold = {1: DAY, 2: DAY, 3: DAY, 4: 3 * DAY, 5: 4 * DAY}
    deals = [changed(number, ago) for number, ago in sold.items()]
    counts = await backfilled(made, Requests(store, made.clock), crm, {**PERIOD, "dry_run": is_dry}, *deals)
    assert (counts["planned"], counts["late"], counts["refused"]) == (5, 2, 1)
    assert (counts[f"late sale -> {ADS}"], counts[f"refused sale -> {ADS}"]) == (2, 1)


async def test_a_poll_between_the_request_and_its_carrying_out_loses_nothing(store: Store) -> None:
    """A deal that changes after the request (its listing ends there) and is polled before the period is open: judged
    by the old start first, it is judged again."""
    made, requests, crm = at_work(store)
    await polled(made, crm)
    arguments = {**PERIOD, "since": (START - 40 * DAY).isoformat()}
    key = await requests.add(TENANT, "backfill", arguments)
    made.clock.advance(HOUR)
    await polled(made, crm, replace(changed(1, 35 * DAY), updated_at=START + MINUTE))
    assert await promised(store) == []
    crm.scans = [[]]
    await carry_out.once(made.tenant, requests)
    assert (await requests.get(key)).progress["counts"]["planned"] == 1
    assert await promised(store) == ["lead:1"]


async def test_a_poll_that_goes_on_while_a_backfill_begins_loses_nothing(store: Store) -> None:
    """It judges the page it is at by the start it knew; the backfill comes after it and judges that page again."""
    made, requests, crm = at_work(store)
    await polled(made, crm)
    await requests.add(TENANT, "backfill", {**PERIOD, "since": (START - 40 * DAY).isoformat()})
    made.clock.advance(HOUR)
    slow = Slow(names=NAMES)
    slow.scans = [[slow.shows(replace(changed(1, 35 * DAY), updated_at=START + MINUTE))], []]
    made.tenant.sources["crm"].port = slow
    polling = asyncio.create_task(poll.once(made.tenant, force=True))
    await slow.is_stuck.wait()
    carrying = asyncio.create_task(carry_out.once(made.tenant, requests))
    while (await made.source())["opened"] is None:  # noqa: ASYNC110 - the database raises no event
        await asyncio.sleep(0.01)
    slow.may_answer.set()
    await asyncio.gather(polling, carrying)
    assert await promised(store) == ["lead:1"]


# --- resuming ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_dry", [True, False])
async def test_a_crashed_backfill_goes_on_after_the_last_slice_that_was_wholly_read(is_dry: bool, store: Store) -> None:
    """Not from the beginning of the source; its counts are those of the whole period, a dry run's, too."""
    since = START - 40 * DAY
    made, requests, _ = at_work(store)
    crm = Slow(names=NAMES, stuck_at=3)
    crm.scans = [[crm.shows(lead(1))], [crm.shows(lead(2))], [crm.shows(lead(3)), crm.shows(lead(4))]]
    made.tenant.sources["crm"].port = crm
    key = await requests.add(TENANT, "backfill", {**PERIOD, "since": since.isoformat(), "dry_run": is_dry})
    running = asyncio.create_task(carry_out.once(made.tenant, requests))
    await crm.is_stuck.wait()
    written = crm.windows[2].start.isoformat()
    while (await requests.get(key)).progress.get("reached") != {"crm": written}:  # noqa: ASYNC110 - the database raises no event
        await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert (await requests.get(key)).state == "running"

    again, requests, after = at_work(store)
    after.scans = [[after.shows(lead(3)), after.shows(lead(4))], []]
    await carry_out.once(again.tenant, requests)
    row = await requests.get(key)
    assert (after.windows[0].start, after.windows[-1].end) == (crm.windows[2].start, START)
    assert crm.windows[2].start > since
    assert (row.state, row.progress["counts"]["listed"], row.progress["counts"]["planned"]) == ("done", 4, 4)
    assert len(await promised(store)) == (0 if is_dry else 4)


async def test_a_backfill_that_crashed_behind_its_last_slice_still_knows_the_names(store: Store) -> None:
    """Nothing is left to be read, so the source is not asked: what changed after the period is judged by the names that
    are stored."""
    by_name = SALE.model_copy(update={"when": When(stage=["Успех"])})
    made, _, crm = at_work(store, by_name)
    await polled(made, crm, changed(1, 35 * DAY, DAY))
    again, requests, after = at_work(store, by_name)
    key = await requests.add(TENANT, "backfill", OLD)
    await requests.update(key, "running", {"reached": {"crm": OLD["until"]}})
    await carry_out.once(again.tenant, requests)
    assert (after.windows, await promised(store)) == ([], ["lead:1"])


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

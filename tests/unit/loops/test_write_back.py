"""Marking deals: what the ledger says reaches the CRM, in its own time, and the deliveries never notice."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from bridge.errors import AuthError, Refused, Unavailable
from bridge.loops import deliver, verify, write_back
from bridge.loops.reread import reread
from bridge.marks import Mark, Marked, MarkFate
from bridge.ports import RowVerdict, Seen
from bridge.store import Store, schema
from bridge.store.marks import MarkReport
from bridge.store.reports import Reports
from tests.simulation.kit import events
from tests.store import kit as rows_kit
from tests.store.kit import ADS, SOURCE, TENANT, key
from tests.unit.loops.kit import HOUR, MINUTE, Ads, Crm, Office, office

DOWN = Unavailable("down")


@dataclass(slots=True)
class Pen:
    """Writes what it is told. ``fates`` are other outcomes than done, by deal; ``trouble`` is raised instead."""

    most: int = 50
    trouble: Exception | None = None
    fates: dict[str, Marked] = field(default_factory=dict)
    shown: dict[str, str] = field(default_factory=dict)
    calls: list[int] = field(default_factory=list)
    forgets: bool = False

    async def mark(self, marks: Sequence[Mark]) -> list[Marked]:
        self.calls.append(len(marks))
        if self.trouble is not None:
            raise self.trouble
        outcomes = [self.fates.get(mark.deal, Marked(mark.deal, MarkFate.DONE)) for mark in marks]
        done = {item.deal for item in outcomes if item.fate is MarkFate.DONE}
        self.shown |= {mark.deal: mark.text for mark in marks if mark.deal in done}
        return outcomes[1:] if self.forgets else outcomes


async def accepted(store: Store, pen: Pen | None, *numbers: int) -> tuple[Office, Ads]:
    """A tenant whose CRM is marked by this pen, with sales of these leads accepted."""
    ads = Ads()
    made = office(store, {ADS: ads}, {SOURCE: Crm(marker=pen)})
    await made.promise(*numbers)
    await deliver.once(made.tenant)
    return made, ads


async def report(made: Office) -> MarkReport:
    return await Reports(made.store).marks(TENANT, SOURCE)


async def test_a_deal_shows_what_became_of_it_and_then_its_last_word(store: Store) -> None:
    """Accepted, later verified; in between nothing is written."""
    pen = Pen()
    made, ads = await accepted(store, pen, 1)
    assert (await write_back.once(made.tenant)).done == {"marked": 1}
    assert pen.shown == {"lead:1": "sale → ads: accepted 2026-03-02"}
    await write_back.once(made.tenant)
    assert pen.calls == [1]
    ads.verifies = [[RowVerdict(key(1), Seen.VERIFIED)]]
    made.clock.advance(HOUR)
    await verify.once(made.tenant)
    await write_back.once(made.tenant)
    assert pen.shown == {"lead:1": "sale → ads: verified 2026-03-02"}


async def test_without_write_back_nothing_is_written(store: Store) -> None:
    """It is off unless the configuration asks for it."""
    made, _ = await accepted(store, None, 1)
    assert (await write_back.once(made.tenant)).done == {}
    assert await rows_kit.rows(store, schema.mark) == []


async def test_reading_comes_first(store: Store) -> None:
    """Batches as large as the CRM takes, a bounded number at one tick; the rest waits for the next one."""
    pen = Pen(most=60)
    made, _ = await accepted(store, pen, *range(250))
    await write_back.once(made.tenant)
    assert pen.calls == [60, 60, 60, 20]
    await write_back.once(made.tenant)
    assert pen.calls[4:] == [50]
    assert len(pen.shown) == 250


@pytest.mark.parametrize("trouble", [DOWN, AuthError("no"), Refused("no"), ZeroDivisionError()], ids=repr)
async def test_a_crm_that_fails_is_left_alone_for_longer_and_longer(
    trouble: Exception, store: Store, logs: io.StringIO
) -> None:
    """One batch, not all of them; said once, shown meanwhile, over when it is over; no delivery is touched."""
    pen = Pen(most=2, trouble=trouble)
    made, _ = await accepted(store, pen, *range(4))
    before = await made.rows()
    progress = await write_back.once(made.tenant)
    assert len(progress.problems) == 1
    assert pen.calls == [2]
    for _ in range(120):
        made.clock.advance(MINUTE)
        await write_back.once(made.tenant)
    assert 8 <= len(pen.calls) <= 20  # two batches, after 1, 2, 4 ... minutes each
    assert len(events(logs, "write_back_failed")) >= 1
    assert [line["level"] for line in events(logs, "write_back_failed")].count("warning") == 1
    shown = await report(made)
    assert (shown.waiting, shown.failing) == (4, 4)
    assert type(trouble).__name__ in str(shown.last_error)
    assert await made.rows() == before
    pen.trouble = None
    made.clock.advance(6 * HOUR)
    await write_back.once(made.tenant)
    shown = await report(made)
    assert (shown.waiting, shown.failing, shown.last_error) == (0, 0, None)
    assert len(events(logs, "write_back_recovered")) == 1


async def test_a_deal_that_takes_no_mark_does_not_hold_up_the_others(store: Store, logs: io.StringIO) -> None:
    """Refused is said and shown and not repeated; gone is the end of it."""
    pen = Pen(
        fates={"lead:1": Marked("lead:1", MarkFate.REFUSED, "NotBlank"), "lead:2": Marked("lead:2", MarkFate.GONE)}
    )
    made, _ = await accepted(store, pen, 1, 2, 3)
    for _ in range(3):
        await write_back.once(made.tenant)
        made.clock.advance(HOUR)
    assert pen.calls == [3]
    assert list(pen.shown) == ["lead:3"]
    shown = await report(made)
    assert (shown.waiting, shown.failing, shown.last_error) == (0, 1, "NotBlank")
    assert [(line["record"], line["code"]) for line in events(logs, "mark_refused")] == [("lead:1", "NotBlank")]


async def test_a_mark_that_nobody_tells_of_is_written_again(store: Store) -> None:
    """An answer without an outcome for each is a failure of the batch: the same text goes over itself."""
    pen = Pen(forgets=True)
    made, _ = await accepted(store, pen, 1, 2)
    assert len((await write_back.once(made.tenant)).problems) == 1
    pen.forgets = False
    made.clock.advance(2 * MINUTE)
    assert (await write_back.once(made.tenant)).done == {"marked": 2}
    assert (await report(made)).waiting == 0


@pytest.mark.parametrize("is_known", [True, False])
async def test_our_own_write_is_no_news(is_known: bool, store: Store) -> None:
    """Read again, by a hint or the sweep, the deal is as it is known, and nothing is judged or stored; unless somebody
    else changed it before our write: then it is news."""
    pen = Pen()
    made, _ = await accepted(store, pen, 1)
    (deal,) = await rows_kit.rows(store, schema.deal)
    before, fresh = deal["version"] if is_known else "somebody's", rows_kit.deal(1, "after our write")
    pen.fates["lead:1"] = Marked("lead:1", MarkFate.DONE, "", before, fresh.version)
    await write_back.once(made.tenant)
    unit = made.tenant.sources[SOURCE]
    assert isinstance(unit.port, Crm)
    unit.port.holds(fresh)
    progress = await reread(made.tenant, unit, ["lead:1"])
    assert progress.done["changed"] == unit.port.completed.total() == (0 if is_known else 1)

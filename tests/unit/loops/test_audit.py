"""The daily comparison with what a vendor counts: when it is done, what is compared, what is said and how often."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from bridge.audits import Counts, DayCount, Sent
from bridge.errors import Unavailable
from bridge.frozen import replace
from bridge.loops import audit, deliver, verify
from bridge.ports import RowVerdict, Seen
from bridge.rules.audit import Standing, located, standing, words
from bridge.store import Store
from tests.simulation.kit import events
from tests.store.kit import ADS
from tests.support import START
from tests.unit.loops.kit import DAY, HOUR, MINUTE, Ads, Office, office

TODAY = START.date()
GOOD = DayCount("deal_won", TODAY, 2, 2)


@dataclass(slots=True)
class Counting(Ads):
    """A vendor that tells counts, by a script like the others."""

    uncounted: str = ""
    answers: list[Counts | Exception] = field(default_factory=lambda: [Counts((GOOD,))])
    compared: list[list[Sent]] = field(default_factory=list)

    async def counts(self, sent: Sequence[Sent], since: datetime) -> Counts:
        self.compared.append(list(sent))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


async def sent_to(store: Store, ads: Counting, *numbers: int) -> Office:
    """These conversions were sent and accepted."""
    made = office(store, {ADS: ads})
    await made.promise(*numbers)
    await deliver.once(made.tenant)
    return made


async def test_once_a_day_whatever_happens(store: Store) -> None:
    """The due time is in the database: another process would not ask again either."""
    ads = Counting()
    made = await sent_to(store, ads, 1)
    await audit.once(made.tenant)
    made.clock.advance(DAY - MINUTE)
    await audit.once(made.tenant)
    await audit.once(office(store, {ADS: ads}).tenant)
    assert len(ads.compared) == 1
    made.clock.advance(MINUTE)
    await audit.once(made.tenant)
    assert len(ads.compared) == 2


async def test_nothing_sent_asks_nothing(store: Store) -> None:
    """A destination that has taken nothing yet costs no request."""
    ads = Counting()
    made = office(store, {ADS: ads})
    await audit.once(made.tenant)
    assert ads.compared == []
    assert (await made.tenant.audits.report(ADS)).audited_at == made.clock.now()


async def test_a_destination_without_counts_is_left_alone(store: Store) -> None:
    """One that cannot tell, and one that is set up not to."""
    silent, off = Ads(), Counting(uncounted="switched off")
    made = office(store, {"silent": silent, "off": off})
    await audit.once(made.tenant, force=True)
    assert off.compared == []
    assert (await made.tenant.audits.report("silent")).audited_at is None


async def test_only_what_stands_accepted_is_compared(store: Store) -> None:
    """Not what the vendor itself called unlinked, and not what was never sent."""
    ads = Counting()
    made = await sent_to(store, ads, 1, 2, 3)
    first, second, third = sorted(await made.rows())
    ads.verifies = [[RowVerdict(first, Seen.VERIFIED), RowVerdict(second, Seen.UNLINKED, "no_visit")]]
    made.clock.advance(10 * MINUTE)
    await verify.once(made.tenant)
    await made.promise(4)
    await audit.once(made.tenant)
    assert {one.row.delivery for one in ads.compared[0]} == {first, third}
    assert {one.answered_at for one in ads.compared[0]} == {START}


async def test_a_difference_is_said_when_it_begins_grows_and_ends(store: Store, logs: io.StringIO) -> None:
    """Not again while it stays as it is; a problem of the turn in which it is new."""
    lost = replace(GOOD, theirs=1, missing=1)
    ads = Counting(answers=[Counts((one,)) for one in (GOOD, lost, lost, replace(lost, theirs=0, missing=2), GOOD)])
    made = await sent_to(store, ads, 1, 2)
    problems = []
    for _ in range(5):
        problems.append(len((await audit.once(made.tenant)).problems))
        made.clock.advance(DAY)
    assert problems == [0, 1, 0, 1, 0]
    told = [(line["event"], line.get("conversions")) for line in events(logs, "audit_lost", "audit_settled")]
    assert told == [("audit_lost", 1), ("audit_lost", 2), ("audit_settled", None)]


async def test_a_vendor_that_does_not_answer_is_asked_again_and_what_is_known_stays(
    store: Store, logs: io.StringIO
) -> None:
    """Said once; in an hour, not in a day."""
    ads = Counting(answers=[Counts((GOOD,)), Unavailable("down"), Unavailable("down"), Counts((GOOD,))])
    made = await sent_to(store, ads, 1, 2)
    await audit.once(made.tenant)
    made.clock.advance(DAY)
    await audit.once(made.tenant)
    made.clock.advance(HOUR)
    await audit.once(made.tenant)
    report = await made.tenant.audits.report(ADS)
    assert (report.error, report.days) == ("Unavailable: down", (GOOD,))
    assert len(events(logs, "audit_failed")) == 1
    made.clock.advance(HOUR)
    await audit.once(made.tenant)
    assert (await made.tenant.audits.report(ADS)).error is None


async def test_days_that_are_compared_no_more_stay_as_they_were(store: Store) -> None:
    """The record of a loss does not vanish with the window; a recent day that came to nothing does."""
    old = DayCount("deal_won", TODAY, 1, 0, missing=1)
    ads = Counting(answers=[Counts((old,)), Counts(())])
    made = await sent_to(store, ads, 1)
    await audit.once(made.tenant)
    made.clock.advance(40 * DAY)
    await audit.once(made.tenant)
    assert (await made.tenant.audits.report(ADS)).days == (old,)


async def test_what_cannot_be_compared_now_stays_as_it_was_and_is_said(store: Store) -> None:
    """A report that is not whole proves neither a loss nor that one is over."""
    lost = replace(GOOD, theirs=1, missing=1)
    ads = Counting(answers=[Counts((lost,)), Counts((), (("deal_won", "the report is not whole"),))])
    made = await sent_to(store, ads, 1, 2)
    await audit.once(made.tenant)
    made.clock.advance(DAY)
    await audit.once(made.tenant)
    report = await made.tenant.audits.report(ADS)
    assert (report.days, report.error) == ((lost,), "deal_won: the report is not whole")


def test_what_a_day_means() -> None:
    """Less than ours is a loss even when others' conversions fill the gap; more is one where nobody else can add."""
    cases = {
        DayCount("g", TODAY, 3, 3): Standing.EQUAL,
        DayCount("g", TODAY, 3, 2, missing=1): Standing.LOST,
        DayCount("g", TODAY, 3, 9, missing=1): Standing.LOST,
        DayCount("g", TODAY, 3, 2, open=1): Standing.OPEN,
        DayCount("g", TODAY, 3, 5): Standing.MORE,
        DayCount("g", TODAY, 3, 5, is_ours_only=True): Standing.EXTRA,
    }
    assert {count: standing(count) for count in cases} == cases


def test_a_loss_is_put_where_the_row_was_seen_before() -> None:
    """By its click it would belong to the eighth; the reports had shown it on the second, and do not any more."""
    second, eighth = date(2026, 3, 2), date(2026, 3, 8)
    before = [DayCount("g", second, 1, 1), DayCount("g", eighth, 2, 2), DayCount("h", second, 5, 5)]
    now = [DayCount("g", eighth, 3, 2, missing=1), DayCount("h", second, 4, 4)]
    moved = DayCount("g", second, 1, 0, missing=1)
    assert set(located(before, now)) == {moved, DayCount("g", eighth, 2, 2), now[1]}
    assert set(located([moved, *before[1:]], now)) == {moved, DayCount("g", eighth, 2, 2), now[1]}
    fresh = [DayCount("g", eighth, 3, 2, missing=1)]
    assert located([DayCount("g", eighth, 3, 3), DayCount("g", second, 0, 4)], fresh) == fresh


def test_nothing_is_missing_where_a_row_was_only_supposed_to_be() -> None:
    """It was not counted yet, and shows on another day than its click's; the loss is that of the row that was seen."""
    second, third, fifth, eighth = (date(2026, 3, number) for number in (2, 3, 5, 8))
    before = [DayCount("g", third, 1, 0, open=1), DayCount("g", second, 1, 1)]
    now = [DayCount("g", fifth, 1, 1), DayCount("g", eighth, 1, 0, missing=1)]
    assert set(located(before, now)) == {DayCount("g", second, 1, 0, missing=1), now[0]}
    gone = [DayCount("g", third, 1, 0, missing=1), DayCount("g", eighth, 1, 0, missing=1)]
    both = DayCount("g", third, 2, 1, open=1)
    assert located([both], gone) == [DayCount("g", third, 2, 0, missing=2)], "it was supposed there, and is gone too"


def test_alarms_in_words_name_goal_and_day() -> None:
    """A person knows where to look."""
    lost = [replace(GOOD, theirs=1, missing=1), replace(GOOD, day=TODAY - timedelta(days=1), theirs=1, missing=1)]
    assert words(lost) == (
        f"2 conversions accepted there are not counted there (deal_won on {TODAY}: 1 counted, 2 sent, and 1 more day)"
    )
    extra = [replace(GOOD, theirs=3, is_ours_only=True)]
    assert words(extra).startswith("1 conversion more than it was sent is counted there")
    assert words([]) == ""

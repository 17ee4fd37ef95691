"""The oracle, on worlds small enough to reason about by hand, and on a full one against a hand-made bridge."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from bridge.frozen import replace
from bridge.sim.events import Applied, Carrier, Click, Lead, StageName, Step
from bridge.sim.oracle import Check, Due, Expected, Verdict, compare, deliverable, expected
from bridge.sim.world import World
from tests.support import START

TARGETS = {"qualified": "q", "spam": "s", "sale": "w"}
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
DIRECT = Click(1, START - HOUR, 1, "https://okna.example/?yclid=111", "", yclid="111", client_id="222")
GOOGLE = Click(2, START - HOUR, 1, "https://okna.example/?gclid=Cj0", "", gclid="Cj0", client_id="333")


def lead(*steps: Step, number: int = 1, click: Click | None = DIRECT, carrier: Carrier = Carrier.FIELD) -> Lead:
    created = steps[0].at
    return Lead(number, 1, created, "", (), (), click, carrier, "", "", (), steps)


def step(after: timedelta, stage: StageName, reason: str | None = None, value: int | None = None) -> Step:
    return Step(START + after, stage, reason, None if value is None else Decimal(value))


def new(after: timedelta = timedelta(0)) -> Step:
    return step(after, StageName.NEW)


def world(*leads: Lead) -> World:
    return World(0, START, 30, (DIRECT, GOOGLE), leads)


def check(vendor: str = "yandex_metrica", now: datetime = START + 30 * DAY) -> Check:
    return Check(vendor, TARGETS, now)  # type: ignore[arg-type]  # a test's shorthand


def goals(found: list[Expected]) -> list[tuple[str, timedelta]]:
    return [(item.goal, item.at - START) for item in found]


def applied(due: Due, **changes: object) -> Applied:
    """What a faultless bridge would have put there."""
    kept = sorted(due.identifiers)[:1]
    row = Applied(due.target, due.expected.at, due.values[-1], tuple(kept), "", 1, True)
    return replace(row, **changes)  # type: ignore[arg-type]  # keyword pass-through


# --- what happened ---


def test_a_goal_counts_at_its_first_entry_only() -> None:
    """Re-entering a stage and reopening a sale reach nothing anew."""
    wandering = lead(
        new(),
        step(1 * DAY, StageName.QUALIFIED),
        step(2 * DAY, StageName.CONTACTED),
        step(3 * DAY, StageName.QUALIFIED),
        step(4 * DAY, StageName.WON, value=100),
        step(5 * DAY, StageName.MEETING),
        step(6 * DAY, StageName.WON),
    )
    assert goals(expected(world(wandering), START + 9 * DAY)) == [("qualified", 1 * DAY), ("sale", 4 * DAY)]


def test_qualified_and_lost_between_two_polls_is_both() -> None:
    """A flash loss is expected as qualified and, for these reasons only, as spam."""
    flash = (new(), step(DAY, StageName.QUALIFIED), step(DAY + timedelta(seconds=20), StageName.LOST, "Дубль"))
    assert [goal for goal, _ in goals(expected(world(lead(*flash)), START + 2 * DAY))] == ["qualified", "spam"]
    dear = (*flash[:2], step(2 * DAY, StageName.LOST, "Дорого"))
    assert [goal for goal, _ in goals(expected(world(lead(*dear)), START + 2 * DAY))] == ["qualified"]


def test_the_future_is_not_expected_and_the_value_is_the_latest() -> None:
    """``until`` bounds steps and budgets alike."""
    sold = lead(
        new(),
        step(DAY, StageName.MEETING, value=70),
        step(2 * DAY, StageName.WON, value=100),
        step(4 * DAY, StageName.WON, value=40),
    )
    assert expected(world(sold), START + DAY) == []
    assert [item.value for item in expected(world(sold), START + 3 * DAY)] == [Decimal(100)]
    assert [item.value for item in expected(world(sold), START + 5 * DAY)] == [Decimal(40)]


@pytest.mark.parametrize(
    ("carrier", "shown"),
    [
        (Carrier.FIELD, DIRECT),
        (Carrier.CONVERTED, DIRECT),
        (Carrier.URL, replace(DIRECT, client_id=None)),
        (Carrier.UTM, replace(DIRECT, client_id=None)),
    ],
)
def test_a_click_is_known_as_far_as_the_crm_shows_it(carrier: Carrier, shown: Click) -> None:
    """A landing page holds the yclid, not the ClientID."""
    (item,) = expected(world(lead(new(), step(DAY, StageName.QUALIFIED), carrier=carrier)), START + 2 * DAY)
    assert item.click == shown
    assert item.touched_at == START


def test_a_contact_follows_the_person_to_the_latest_earlier_lead() -> None:
    """Of several earlier leads the last one counts; later ones and those beyond the look-back do not."""
    reach = (new(100 * DAY), step(101 * DAY, StageName.QUALIFIED))
    later = lead(*reach, number=9, click=None, carrier=Carrier.CONTACT)
    old, near = lead(new(5 * DAY), number=1), lead(new(50 * DAY), number=2)
    near_click = replace(DIRECT, yclid="999")
    near = replace(near, click=near_click)
    after = lead(new(100 * DAY + HOUR), number=3)
    (item,) = expected(world(old, near, later, after), START + 120 * DAY)
    assert (item.click, item.touched_at) == (near_click, START + 50 * DAY)
    (item,) = expected(world(old, later, after), START + 120 * DAY)
    assert (item.click, item.touched_at) == (None, None)


# --- windows ---


def due_for(vendor: str, after: timedelta, click: Click, now: datetime) -> list[bool]:
    item = expected(world(lead(new(), step(after, StageName.QUALIFIED), click=click)), START + 400 * DAY)
    return [due.is_certain for due in deliverable(item, check(vendor, now))]


@pytest.mark.parametrize(
    ("after", "certain"),
    [(10 * DAY, [True]), (20.2 * DAY, [True]), (20.9 * DAY, [False]), (21.1 * DAY, []), (30 * DAY, [])],
)
def test_metrica_closes_21_days_after_the_touch(after: timedelta, certain: list[bool]) -> None:
    """Past the window nothing is expected; within a delivery's delay of it, either is right."""
    assert due_for("yandex_metrica", after, DIRECT, START + 60 * DAY) == certain


def test_metrica_may_fail_to_link_a_click_older_than_the_deal() -> None:
    """The vendor counts from the visit: a row sent in good time by our bound may still be left unlinked."""
    early = replace(DIRECT, at=START - 9 * DAY)
    assert due_for("yandex_metrica", 11 * DAY, early, START + 60 * DAY) == [True]
    assert due_for("yandex_metrica", 13 * DAY, early, START + 60 * DAY) == [False]


def test_what_happened_just_now_is_uncertain() -> None:
    """A delivery needs its time."""
    assert due_for("yandex_metrica", DAY, DIRECT, START + DAY + HOUR) == [False]
    assert due_for("yandex_metrica", DAY, DIRECT, START + 2 * DAY) == [True]


def test_google_waits_six_hours_and_takes_ninety_days() -> None:
    """Nothing is expected before the click is old enough, nor after its life."""
    assert due_for("google_ads", HOUR, GOOGLE, START + 5 * HOUR) == []
    assert due_for("google_ads", HOUR, GOOGLE, START + 7 * HOUR) == [False]
    assert due_for("google_ads", HOUR, GOOGLE, START + 19 * HOUR) == [True]
    assert due_for("google_ads", 40 * DAY, GOOGLE, START + 60 * DAY) == [True]
    assert due_for("google_ads", 91 * DAY, GOOGLE, START + 99 * DAY) == []


def test_each_destination_needs_its_own_identifiers() -> None:
    """Metrica takes a Google click by its ClientID; Google takes no yclid; goals without a target go nowhere."""
    assert due_for("google_ads", DAY, DIRECT, START + 9 * DAY) == []
    assert due_for("yandex_metrica", DAY, GOOGLE, START + 9 * DAY) == [True]
    assert due_for("yandex_metrica", DAY, replace(GOOGLE, client_id=None), START + 9 * DAY) == []
    item = expected(world(lead(new(), step(DAY, StageName.QUALIFIED))), START + 9 * DAY)
    assert deliverable(item, Check("yandex_metrica", {"sale": "w"}, START + 9 * DAY)) == []


# --- comparison ---


SOLD = world(
    lead(
        new(),
        step(DAY, StageName.QUALIFIED),
        step(2 * DAY, StageName.WON, value=100),
        step(4 * DAY, StageName.WON, value=60),
    )
)


def judged(*rows: Applied, now: datetime = START + 9 * DAY) -> Verdict:
    return compare(expected(SOLD, START + 9 * DAY), rows, check(now=now))


@pytest.fixture
def rows() -> list[Applied]:
    return [applied(due) for due in deliverable(expected(SOLD, START + 9 * DAY), check(now=START + 9 * DAY))]


def test_a_faultless_delivery_is_clean(rows: list[Applied]) -> None:
    """Two goals, two rows."""
    verdict = judged(*rows)
    assert verdict.is_clean
    assert (verdict.certain, verdict.uncertain, verdict.found) == (2, 0, 2)
    assert verdict.summary() == (
        "expected 2, uncertain 0, found 2, unlinked 0, by person 0, missing 0, doubled 0, unexpected 0, wrong value 0"
    )


def test_every_fault_is_named(rows: list[Applied]) -> None:
    """Missing, unlinked, doubled (in place, under the other identifier), off by a second, foreign, wrong value."""
    qualified, sale = rows
    assert [due.target for due in judged(sale).missing] == ["q"]
    assert [due.target for due in judged(replace(qualified, is_linked=False), sale).missing] == ["q"]
    assert judged(qualified, replace(sale, reaches=2)).doubled == [replace(sale, reaches=2)]
    twin = replace(sale, identifiers=("222",))
    assert judged(qualified, sale, twin).doubled == [twin]
    late = replace(sale, at=sale.at + timedelta(seconds=1))
    assert judged(qualified, sale, late).unexpected == [late]
    foreign = replace(sale, identifiers=("777",))
    assert judged(qualified, sale, foreign).unexpected == [foreign]
    (wrong,) = judged(qualified, replace(sale, value=Decimal(100))).wrong_value
    assert wrong[0].target == "w"


def test_a_row_that_is_there_but_not_linked_is_told_as_such(rows: list[Applied]) -> None:
    """It is found and missing at once; the count of unlinked ones explains how."""
    qualified, sale = rows
    counts = judged(replace(qualified, is_linked=False), sale).counts()
    assert (counts["found"], counts["unlinked"], counts["missing"]) == (2, 1, 1)


def test_a_value_edited_a_moment_ago_may_still_be_the_old_one(rows: list[Applied]) -> None:
    """Both amounts are right while the correction is under way; a third never is."""
    qualified, sale = rows
    now = START + 4 * DAY + HOUR
    assert judged(qualified, replace(sale, value=Decimal(100)), now=now).is_clean
    assert judged(qualified, sale, now=now).is_clean
    assert not judged(qualified, replace(sale, value=Decimal(1)), now=now).is_clean


def test_google_rows_by_hashed_user_data_are_tolerated_once_per_lead() -> None:
    """Such a row belongs to a lead that reached this goal at this second; a second one is unexpected."""
    nobody = lead(new(), step(DAY, StageName.QUALIFIED), click=None, carrier=Carrier.NONE)
    row = Applied("q", START + DAY, None, ("a" * 64,), "", 1, False)
    items = expected(world(nobody), START + 9 * DAY)
    assert compare(items, [row], check("google_ads")).by_person == 1
    assert compare(items, [row, row], check("google_ads")).unexpected == [row]
    assert compare(items, [row], check("yandex_metrica")).unexpected == [row]


@pytest.mark.parametrize("vendor", ["yandex_metrica", "google_ads"])
def test_a_full_world_delivered_at_once_is_clean_and_hardly_uncertain(vendor: str) -> None:
    """A bridge that sends each certain and each uncertain case exactly once is found faultless."""
    full = World.make(4, 1500, start=START)
    until = START + 30 * DAY
    items = expected(full, until)
    asked = check(vendor, until + DAY)
    dues = deliverable(items, asked)
    verdict = compare(items, [applied(due) for due in dues], asked)
    assert verdict.is_clean
    assert verdict.found == len(dues) > 100
    assert verdict.uncertain <= len(dues) * 0.02
    certain_only = compare(items, [applied(due) for due in dues if due.is_certain], asked)
    assert certain_only.is_clean

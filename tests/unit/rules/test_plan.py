"""Plans: what is promised whom, what replaces a promise, what corrects a sent one, and what is said against one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from bridge.frozen import replace
from bridge.model import (
    ConversionKind,
    Identifier,
    IdKind,
    Judgement,
    Match,
    Method,
    Money,
    Outgoing,
    Person,
    Unmatched,
    Verdict,
)
from bridge.ports import DestinationTraits, Proof
from bridge.rules.plan import DELETED, UNMATCHED, KnownConversion, KnownDelivery, Plan, Route, Skip, Subject, make
from bridge.states import DeliveryState
from tests.unit.rules.kit import START, deal, hour, money

GOAL = "sale"
SOLD_AT = hour(3)
YCLID = Identifier(IdKind.YCLID, "17751100000000000001", "field YCLID")
GCLID = Identifier(IdKind.GCLID, "Cj0KCQiAsample0000000000000000000000001", "field GCLID")
MATCH = Match(Method.FIELD, "yclid in field YCLID", (YCLID, GCLID), START)
LATER_CLICK = Identifier(IdKind.YCLID, "17751100000000000002", "field YCLID")
OTHER_MATCH = Match(Method.CONTACT, "same person as lead:4", (LATER_CLICK,), START - timedelta(days=1))
LOST = Unmatched("no_identifier", "looked at: nothing")
METRICA = DestinationTraits(Proof.TAG, (IdKind.YCLID,), adjusts=True)
GOOGLE = DestinationTraits(Proof.ROW, (IdKind.GCLID,), accepts_persons=True, persons_suffice=True, adjusts=True)
RIGID = DestinationTraits(Proof.NONE, (IdKind.YCLID,))
PERSON = Person(joins=("0a",), phone_sha256=("b" * 64,))
SENT = (DeliveryState.SEALED, DeliveryState.ACCEPTED, DeliveryState.VERIFIED, DeliveryState.HELD)
OVER = (DeliveryState.REJECTED, DeliveryState.EXPIRED, DeliveryState.CANCELLED)


def to(name: str, traits: DestinationTraits) -> Route:
    return Route(name, f"{name} goal", traits)


BOTH = (to("metrica", METRICA), to("google", GOOGLE))


def sold(value: str | None = "1000", at: datetime = SOLD_AT, goal: str = GOAL) -> Judgement:
    worth = None if value is None else money(value)
    return Judgement(goal, Verdict.QUALIFIED, "outcome won", "from events", at, worth)


@dataclass(slots=True)
class Book:
    """What the store knows of one deal; plans are written into it as the store writes them."""

    match: Match | Unmatched = MATCH
    routes: Sequence[Route] = BOTH
    counted: dict[tuple[str, str], str] = field(default_factory=dict)
    persons: tuple[Person, ...] = ()
    known: list[KnownConversion] = field(default_factory=list)
    is_deleted: bool = False

    def plan(self, *judgements: Judgement) -> Plan:
        own = deal(persons=self.persons, is_deleted=self.is_deleted)
        subject = Subject("okna", "crm", own, self.match, self.counted)
        return make(subject, () if self.is_deleted else judgements, self.known, {GOAL: self.routes})

    def judge(self, *judgements: Judgement) -> Plan:
        """Plan and write."""
        plan = self.plan(*judgements)
        contents, revised = dict(plan.replaced), {one.id: one for one in plan.revised}
        for number, one in enumerate(self.known):
            deliveries = tuple(_after(plan, replace(d, content=contents.get(d.id, d.content))) for d in one.deliveries)
            self.known[number] = KnownConversion(revised.get(one.conversion.id, one.conversion), deliveries)
        self.known += [KnownConversion(one, ()) for one in plan.conversions]
        for made in plan.deliveries:
            (number,) = [n for n, one in enumerate(self.known) if one.conversion.id == made.conversion]
            promised = KnownDelivery(made.content.delivery, made.destination, DeliveryState.PENDING, made.content)
            before = self.known[number]
            self.known[number] = replace(before, deliveries=(*before.deliveries, promised))
        return plan

    def move(self, state: DeliveryState, destination: str | None = None) -> None:
        """Pending deliveries (of one destination) come into another state; sealed ones may become pending again."""
        movable = DeliveryState.SEALED if state is DeliveryState.PENDING else DeliveryState.PENDING
        for number, one in enumerate(self.known):
            moved = [
                _moved(d, state) if d.state is movable and destination in (None, d.destination) else d
                for d in one.deliveries
            ]
            self.known[number] = replace(one, deliveries=tuple(moved))

    def contents(self, destination: str) -> list[Outgoing]:
        """Everything ever promised to a destination, in order, but what was withdrawn."""
        told = [d for one in self.known for d in one.deliveries if d.destination == destination]
        return [d.content for d in told if not d.is_withdrawn]

    def states(self) -> list[DeliveryState]:
        return [d.state for one in self.known for d in one.deliveries]


def _after(plan: Plan, d: KnownDelivery) -> KnownDelivery:
    """A delivery as the store leaves it."""
    for row, code in plan.withdrawn:
        if row.id == d.id:
            assert d.state is DeliveryState.PENDING
            return replace(d, state=DeliveryState.CANCELLED, code=code)
    for row, content in plan.restored:
        if row.id == d.id:
            assert d.is_withdrawn
            return replace(d, state=DeliveryState.PENDING, code="", content=content, is_recalled=False)
    return replace(d, is_recalled=dict(plan.recalled).get(d.id, d.is_recalled))


def _moved(d: KnownDelivery, state: DeliveryState) -> KnownDelivery:
    """As the ledger moves it: what is recalled does not become pending again."""
    if state is DeliveryState.PENDING and d.is_recalled:
        return replace(d, state=DeliveryState.CANCELLED, code=DELETED)
    return replace(d, state=state, is_tried=d.is_tried or state in SENT)


def is_empty(plan: Plan) -> bool:
    told = plan.conversions or plan.deliveries or plan.replaced or plan.revised
    return not (told or plan.withdrawn or plan.restored or plan.recalled)


# --- the first promise -------------------------------------------------------------------------------------------


def test_a_reached_goal_is_promised_to_every_destination_once() -> None:
    """One conversion, one delivery for each route, with the identifiers that destination accepts and no others."""
    plan = Book().plan(sold())
    (conversion,) = plan.conversions
    assert (conversion.kind, conversion.revision, conversion.occurred_at) == (ConversionKind.ORIGINAL, 0, hour(3))
    assert [(made.destination, made.content.target) for made in plan.deliveries] == [
        ("metrica", "metrica goal"),
        ("google", "google goal"),
    ]
    assert [made.content.identifiers for made in plan.deliveries] == [(YCLID,), (GCLID,)]
    assert {made.content.order_key for made in plan.deliveries} == {conversion.order_key}
    assert {made.conversion for made in plan.deliveries} == {conversion.id}
    assert len({made.content.delivery for made in plan.deliveries}) == 2
    assert plan.skipped == []


def test_a_session_goes_along_with_its_visitor_and_never_alone() -> None:
    """What only says which visit it was is nothing to link a conversion by."""
    visitor = Identifier(IdKind.GA_CLIENT_ID, "1234567890.1786000000", "field G")
    session = Identifier(IdKind.GA_SESSION_ID, "1795176600", "field S")
    analytics = [to("ga", DestinationTraits(Proof.NONE, (IdKind.GA_CLIENT_ID, IdKind.GA_SESSION_ID)))]
    both = Match(Method.FIELD, "", (visitor, session), START)
    (made,) = Book(match=both, routes=analytics).plan(sold()).deliveries
    assert made.content.identifiers == (visitor, session)
    alone = Book(match=replace(both, identifiers=(YCLID, session)), routes=analytics).plan(sold())
    assert (alone.deliveries, len(alone.skipped)) == ([], 1)


def test_a_goal_that_is_not_reached_promises_nothing() -> None:
    """Waiting and excluded goals leave no trace in the plan."""
    judgements = [Judgement(GOAL, verdict, "rule") for verdict in (Verdict.WAITING, Verdict.EXCLUDED)]
    plan = Book().plan(*judgements)
    assert is_empty(plan)
    assert plan.skipped == []


def test_a_goal_that_goes_nowhere_is_still_counted() -> None:
    """A conversion without a delivery: the goal's count is right, nothing is sent."""
    plan = Book(routes=()).plan(sold())
    assert len(plan.conversions) == 1
    assert plan.deliveries == []


def test_an_unmatched_deal_is_counted_and_named() -> None:
    """No promise, but a reason for each destination; when the click is found later, the promise is made."""
    book = Book(match=LOST)
    plan = book.judge(sold())
    assert len(plan.conversions) == 1
    assert plan.deliveries == []
    assert plan.skipped == [Skip(GOAL, name, "unmatched: no_identifier") for name in ("metrica", "google")]
    book.match = MATCH
    found = book.judge(sold())
    assert [made.destination for made in found.deliveries] == ["metrica", "google"]
    assert found.conversions == []
    assert {made.conversion for made in found.deliveries} == {plan.conversions[0].id}


def test_people_are_told_of_unmatched_deals_too() -> None:
    """A message needs no click; it says which deal, and a click found later is not told of anew."""
    book = Book(match=LOST, routes=(to("bot", DestinationTraits(Proof.NONE, tuple(IdKind), needs_click=False)),))
    (made,) = book.judge(sold()).deliveries
    assert (made.content.identifiers, made.content.deal) == ((), f"crm/{deal().key}")
    book.match = MATCH
    assert book.judge(sold()).deliveries == []


def test_a_click_of_another_system_is_named() -> None:
    """What the deal has is said, where the destination accepts none of it."""
    plan = Book(match=replace(MATCH, identifiers=(GCLID,))).plan(sold())
    assert [made.destination for made in plan.deliveries] == ["google"]
    assert plan.skipped == [Skip(GOAL, "metrica", "no identifier this destination accepts (has gclid)")]


def test_hashed_contacts_suffice_where_the_destination_says_so() -> None:
    """They travel without our own join keys, and only to destinations that take them."""
    plan = Book(match=LOST, persons=(PERSON,)).plan(sold())
    (made,) = plan.deliveries
    assert made.destination == "google"
    assert made.content.persons == (replace(PERSON, joins=()),)
    assert made.content.identifiers == ()
    whole = Book(persons=(PERSON,)).plan(sold())
    assert [bool(made.content.persons) for made in whole.deliveries] == [False, True]


def test_a_goal_counted_on_the_lead_is_not_counted_again_on_its_deal() -> None:
    """The deal made from a lead says where the goal was counted; its other goals are its own."""
    counted = {("qualified", name): "lead:4" for name in ("metrica", "google")}
    plan = make(
        Subject("okna", "crm", replace(deal(), parent="lead:4"), MATCH, counted),
        [sold(goal="qualified"), sold()],
        [],
        {GOAL: BOTH, "qualified": BOTH},
    )
    assert [conversion.goal for conversion in plan.conversions] == [GOAL]
    assert plan.skipped == [Skip("qualified", name, "counted on lead:4") for name in ("metrica", "google")]


def test_a_goal_the_lead_could_not_tell_one_destination_is_told_there_by_its_deal() -> None:
    """Counted means promised at that destination: the deal's click serves where the lead had none; and only once."""
    book = Book(counted={(GOAL, "metrica"): "lead:4"})
    plan = book.judge(sold())
    assert [made.destination for made in plan.deliveries] == ["google"]
    assert [skip.destination for skip in plan.skipped] == ["metrica"]
    assert book.plan(sold()).deliveries == []


def test_a_goal_that_the_deal_reached_first_stays_its_own() -> None:
    """What was promised before the lead was known is continued, not dropped."""
    book = Book()
    book.judge(sold())
    book.counted = {(GOAL, name): "lead:4" for name in ("metrica", "google")}
    assert book.plan(sold()).skipped == []
    assert book.plan(sold("1100")).replaced


# --- changes -----------------------------------------------------------------------------------------------------


def test_a_value_that_changes_before_sending_replaces_the_pending_row() -> None:
    """The same delivery with another value; the conversion says the same."""
    book = Book()
    (conversion,) = book.judge(sold()).conversions
    plan = book.judge(sold("1200"))
    assert (plan.conversions, plan.deliveries) == ([], [])
    assert [content.value for _, content in plan.replaced] == [money("1200")] * 2
    assert plan.revised == [replace(conversion, value=money("1200"))]


def test_a_better_time_before_sending_is_taken_over() -> None:
    """History that came late: the row goes out with the true time."""
    book = Book()
    book.judge(sold())
    plan = book.judge(sold(at=hour(1)))
    assert {content.occurred_at for _, content in plan.replaced} == {hour(1)}
    assert plan.revised[0].occurred_at == hour(1)


def test_a_value_that_changes_after_sending_is_restated_with_the_same_time_and_key() -> None:
    """A new conversion and delivery, the same order key, time, identifiers: the vendor corrects what it has."""
    book = Book()
    (conversion,) = book.judge(sold()).conversions
    originals = {destination: book.contents(destination)[0] for destination in ("metrica", "google")}
    book.move(DeliveryState.ACCEPTED)
    plan = book.judge(sold("1200", at=hour(1)))
    (restated,) = plan.conversions
    assert (restated.kind, restated.revision) == (ConversionKind.RESTATEMENT, 1)
    assert (restated.order_key, restated.occurred_at) == (conversion.order_key, conversion.occurred_at)
    for made in plan.deliveries:
        before = originals[made.destination]
        assert made.content.delivery != before.delivery
        assert made.content == replace(
            before, delivery=made.content.delivery, value=money("1200"), kind=ConversionKind.RESTATEMENT
        )


def test_a_restatement_keeps_the_click_of_the_row_it_corrects() -> None:
    """Even when the deal's click is another one by now: under another identifier it would be counted a second time."""
    book = Book(routes=BOTH[:1])
    book.judge(sold())
    book.move(DeliveryState.VERIFIED)
    book.match = OTHER_MATCH
    book.judge(sold("1200"))
    book.judge(sold("1300"))
    original, restated = book.contents("metrica")
    assert original.identifiers == restated.identifiers == (YCLID,)
    assert restated.touched_at == original.touched_at
    assert restated.value == money("1300")


def test_a_pending_row_takes_the_better_click() -> None:
    """Nothing of it was sent: the match of today is the one to send."""
    book = Book(routes=BOTH[:1])
    book.judge(sold())
    book.match = OTHER_MATCH
    book.judge(sold())
    assert book.contents("metrica")[0].identifiers == (LATER_CLICK,)


def test_a_pending_row_is_withdrawn_when_its_match_is_lost() -> None:
    """What the facts of today would not send is not sent, whenever they were read; matched again, it is."""
    book = Book(routes=BOTH[:1])
    book.judge(sold())
    book.match = LOST
    plan = book.judge(sold("1200"))
    assert [(row.destination, code) for row, code in plan.withdrawn] == [("metrica", UNMATCHED)]
    assert is_empty(book.judge(sold("1200")))
    book.match = MATCH
    book.judge(sold("1200"))
    (kept,) = book.contents("metrica")
    assert (kept.identifiers, kept.value) == ((YCLID,), money("1200"))


def test_a_row_that_was_tried_keeps_its_click_when_its_match_is_lost() -> None:
    """It may have been counted: trying again with the same click is what settles it."""
    book = Book(routes=BOTH[:1])
    book.judge(sold())
    book.move(DeliveryState.SEALED)
    book.move(DeliveryState.PENDING)
    book.match = LOST
    book.judge(sold("1200"))
    (kept,) = book.contents("metrica")
    assert (kept.identifiers, kept.value) == ((YCLID,), money("1200"))


def test_a_destination_that_cannot_adjust_is_named() -> None:
    """The value stays as sent, and ``explain`` says why."""
    book = Book(routes=(to("rigid", RIGID),))
    book.judge(sold())
    book.move(DeliveryState.ACCEPTED)
    plan = book.judge(sold("1200"))
    assert is_empty(plan)
    assert plan.skipped == [Skip(GOAL, "rigid", "no_adjust")]


def test_an_unlinked_row_is_not_restated() -> None:
    """The vendor has nothing there to correct."""
    book = Book(routes=BOTH[:1])
    book.judge(sold())
    book.move(DeliveryState.UNLINKED)
    plan = book.judge(sold("1200"))
    assert is_empty(plan)
    assert plan.skipped == [Skip(GOAL, "metrica", "unlinked: nothing there to restate")]


def test_rows_that_came_to_nothing_stay_so() -> None:
    """Rejected, expired and cancelled deliveries are neither sent again nor corrected."""
    for state in OVER:
        book = Book(routes=BOTH[:1])
        book.judge(sold())
        book.move(state)
        assert is_empty(book.judge(sold("1200")))


def test_each_destination_goes_its_own_way() -> None:
    """One has sent, the other has not: there a restatement, here the pending row with the new value."""
    book = Book()
    book.judge(sold())
    book.move(DeliveryState.ACCEPTED, "metrica")
    plan = book.judge(sold("1200"))
    assert [made.destination for made in plan.deliveries] == ["metrica"]
    assert [content.value for _, content in plan.replaced] == [money("1200")]
    assert plan.revised == []


def test_a_destination_that_is_added_later_gets_an_original() -> None:
    """Whatever was corrected elsewhere meanwhile: it never had the row, so it gets it whole, with today's value."""
    book = Book(routes=BOTH[:1])
    book.judge(sold())
    book.move(DeliveryState.ACCEPTED)
    book.judge(sold("1200"))
    book.move(DeliveryState.ACCEPTED)
    book.routes = BOTH
    plan = book.judge(sold("1200"))
    (made,) = plan.deliveries
    assert (made.destination, made.content.kind, made.content.value) == (
        "google",
        ConversionKind.ORIGINAL,
        money("1200"),
    )


# --- any history -------------------------------------------------------------------------------------------------

values = st.none() | st.sampled_from(["1000", "1200", "0.01"])
matches = st.sampled_from([MATCH, OTHER_MATCH, LOST])
routes = st.lists(
    st.sampled_from([to("metrica", METRICA), to("google", GOOGLE), to("rigid", RIGID)]), unique=True, max_size=3
)
places = st.sampled_from([None, "metrica", "google", "rigid"])
states = st.sampled_from([*SENT, *OVER, DeliveryState.UNLINKED, DeliveryState.PENDING])
moves = st.none() | st.tuples(states, places)
chapters = st.lists(st.tuples(values, st.integers(1, 4), matches, routes, moves, st.booleans()), min_size=1, max_size=7)
Story = list[tuple[str | None, int, Match | Unmatched, list[Route], tuple[DeliveryState, str | None] | None, bool]]


@given(chapters, st.sampled_from([(), (PERSON,)]))
def test_planning_again_on_its_own_result_adds_nothing(
    story: Story,
    persons: tuple[Person, ...],
) -> None:
    """After any history of values, times, matches, routes, answers and deletions; and it names the same skips."""
    book = Book(persons=persons)
    for value, hours, match, to_whom, move, book.is_deleted in story:
        book.match, book.routes = match, to_whom
        plan = book.judge(sold(value, hour(hours)))
        again = book.plan(sold(value, hour(hours)))
        assert is_empty(again)
        assert _reasons(again) <= _reasons(plan)
        if move is not None:
            book.move(*move)


def _reasons(plan: Plan) -> set[tuple[str, str]]:
    return {(skip.destination, skip.reason) for skip in plan.skipped}


@given(chapters)
def test_a_destination_never_gets_a_second_original(
    story: Story,
) -> None:
    """At most one, first; every later row is a restatement of it with its key, time and identifiers, and the ids of
    conversions and deliveries are never used twice."""
    book = Book()
    for value, hours, match, to_whom, move, book.is_deleted in story:
        book.match, book.routes = match, to_whom
        book.judge(sold(value, hour(hours)))
        if move is not None:
            book.move(*move)
    for destination in ("metrica", "google", "rigid"):
        sent = book.contents(destination)
        assert [row.kind for row in sent[:1]] in ([], [ConversionKind.ORIGINAL])
        assert {row.kind for row in sent[1:]} <= {ConversionKind.RESTATEMENT}
        assert len({(row.order_key, row.occurred_at, row.identifiers) for row in sent}) <= 1
    ids = [one.conversion.id for one in book.known] + [d.id for one in book.known for d in one.deliveries]
    assert len(ids) == len(set(ids))


def test_money_is_compared_with_its_currency() -> None:
    """A thousand roubles and a thousand dollars are different values."""
    book = Book()
    book.judge(sold())
    book.move(DeliveryState.ACCEPTED)
    dollars = replace(sold(), value=Money.of(1000, "USD"))
    assert len(book.judge(dollars).deliveries) == 2

"""Which call or form, known to a call tracker, a deal came of; and which keys lead to nobody."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from bridge.frozen import replace
from bridge.identity import read
from bridge.model import Clue, Deal, DealKind, Identifier, IdKind, Match, Method, Outcome, Person, Touch, Unmatched
from bridge.rules.graph import stirred
from bridge.rules.match import (
    SHARED_CONTACT,
    Others,
    Reach,
    Search,
    find,
    find_all,
    joins_of,
    suffices,
    touch_of,
    waits,
)
from tests.unit.rules.kit import START, deal

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
REACH = Reach(90 * DAY, 30 * MINUTE, shared_above=3)
PHONE, EMAIL = "phone:1", "email:1"
VISIT = Clue("field roistat", "1234567", IdKind.ROISTAT)


def call(before: timedelta, yclid: str = "13527482094718123", of: str = "calls/call:1", visitor: str = "") -> Touch:
    """A call so long before the deal."""
    browser = (Identifier(IdKind.CLIENT_ID, visitor, "yaClientId"),) if visitor else ()
    return Touch(of, START - before, (Identifier(IdKind.YCLID, yclid, "url"), *browser))


def visit(of: str, *identifiers: Identifier) -> Touch:
    return Touch(of, START, (Identifier(IdKind.ROISTAT, "1234567", "visit"), *identifiers))


def found(others: Others, *clues: Clue, parent: Touch | None = None) -> Match | Unmatched:
    own = deal(clues=clues, persons=(Person(joins=tuple(key for key in others if key in (PHONE, EMAIL))),))
    return find(own, read(own), parent, hung(others), REACH)


def hung(others: Others) -> Others:
    """Each record with the key under which it is found."""
    return {key: [replace(one, keys=(key,)) for one in touches] for key, touches in others.items()}


def by(result: Match | Unmatched) -> tuple[Method, str]:
    """Method, and the click it found."""
    assert isinstance(result, Match)
    return result.method, result.identifiers[0].value


class TestNearest:
    def test_a_call_says_who_knows_it_and_how_long_before_the_deal_it_was(self) -> None:
        """The evidence names the tracker, its record, and the difference; never the phone."""
        result = found({PHONE: [call(4 * MINUTE)]})
        assert isinstance(result, Match)
        assert result.method is Method.CALL
        assert result.evidence == "same person (phone) as calls/call:1, 4 min before the deal: yclid in url"
        assert result.touched_at == START - 4 * MINUTE

    def test_a_call_may_be_a_little_later_than_its_deal_and_another_deal_may_not(self) -> None:
        """A CRM makes the deal while the phone still rings; a later deal's click cannot have led to this one."""
        assert by(found({PHONE: [call(-29 * MINUTE)]}))[0] is Method.CALL
        assert isinstance(found({PHONE: [call(-31 * MINUTE)]}), Unmatched)
        assert isinstance(found({PHONE: [call(-MINUTE, of="lead:2")]}), Unmatched)

    def test_the_nearest_touch_of_the_person_wins_whoever_tells_of_it(self) -> None:
        """A form of an hour ago beats the call of yesterday, and the other way round."""
        others = [call(DAY, "13527482094718121"), call(HOUR, "13527482094718122", of="lead:2")]
        assert by(found({PHONE: others})) == (Method.CONTACT, "13527482094718122")
        others = [call(MINUTE, "13527482094718121"), call(HOUR, "13527482094718122", of="lead:2")]
        assert by(found({PHONE: others})) == (Method.CALL, "13527482094718121")

    def test_of_two_equally_near_calls_the_earlier_one_led_to_the_deal(self) -> None:
        """A call after it cannot be what made it while one before it can."""
        others = [call(MINUTE, "13527482094718121"), call(-MINUTE, "13527482094718122", of="calls/call:2")]
        assert by(found({PHONE: others})) == (Method.CALL, "13527482094718121")

    def test_a_call_before_the_look_back_serves_nobody(self) -> None:
        """The look-back bounds calls like any other touch."""
        result = found({PHONE: [call(91 * DAY)]})
        assert isinstance(result, Unmatched)
        assert result.reason == "touch_outside_window"

    def test_a_deal_with_a_click_of_its_own_or_of_its_lead_needs_no_call(self) -> None:
        """What the CRM itself knows of the deal is exact; a call is joined."""
        own = Clue("field YCLID", "13527482094718199", IdKind.YCLID)
        assert by(found({PHONE: [call(MINUTE)]}, own)) == (Method.FIELD, "13527482094718199")
        parent = Touch("lead:9", START - DAY, (Identifier(IdKind.YCLID, "13527482094718188", "field YCLID"),))
        assert by(found({PHONE: [call(MINUTE)]}, parent=parent)) == (Method.LEAD, "13527482094718188")

    def test_a_call_without_any_identifier_tells_nothing(self) -> None:
        """A phone alone is no click: such a call brings no touch."""
        bare = Deal(DealKind.CALL, "1", "v", START, START, "", "", Outcome.OPEN)
        assert touch_of(bare, read(bare)) is None


class TestShared:
    def test_a_phone_of_many_visitors_joins_nobody_and_says_so(self) -> None:
        """A call-centre's phone: four browsers came under it, one more than may be one person's."""
        others = [call(number * HOUR, visitor=f"17751100000000{number:05d}") for number in range(4)]
        result = found({PHONE: others})
        assert isinstance(result, Unmatched)
        assert result.reason == SHARED_CONTACT
        assert "(4 people came under it)" in result.evidence

    def test_one_persons_many_calls_are_still_one_persons(self) -> None:
        """A customer who calls every week from the same browser."""
        others = [call(number * DAY, visitor="1775110000000000001") for number in range(20)]
        assert by(found({PHONE: others}))[0] is Method.CALL

    def test_another_key_of_the_person_still_joins(self) -> None:
        """The office's phone is shared, the e-mail is not."""
        many = [call(number * HOUR, visitor=f"17751100000000{number:05d}") for number in range(4)]
        mail = call(2 * DAY, "13527482094718177", of="lead:8")
        assert by(found({PHONE: many, EMAIL: [mail]})) == (Method.CONTACT, "13527482094718177")

    def test_of_a_key_that_joins_nobody_only_what_may_change_that_is_waited_for(self) -> None:
        """Else every further call under it would judge all its deals again; one that is put right does."""
        many = [call(number * HOUR, visitor=f"17751100000000{number:05d}") for number in range(4)]
        own = _with_keys(PHONE, EMAIL)
        waited = set(waits(Search(own, read(own), None, {PHONE: many}, REACH), ()))
        one = replace(many[0], keys=(PHONE,))
        assert EMAIL in waited
        assert waited.isdisjoint(stirred(None, one))
        assert waited.isdisjoint(stirred(one, replace(one, keys=(PHONE, "contact:1"))))
        for other in (
            None,
            replace(one, keys=("phone:9",)),
            replace(one, at=START - DAY),
            replace(one, identifiers=()),
        ):
            assert waited & stirred(one, other)


def _with_keys(*keys: str) -> Deal:
    return replace(deal(), persons=(Person(joins=keys),))


class TestVisits:
    YCLID = Identifier(IdKind.YCLID, "13527482094718123", "visit.landing_page")

    def test_a_deal_that_names_its_visit_gets_the_click_of_that_visit(self) -> None:
        """The number is a key: what a tracker tells of the visit is the deal's own click."""
        others = {"roistat:1234567": [visit("calls/call:5", self.YCLID)]}
        result = found(others, VISIT)
        assert isinstance(result, Match)
        assert result.method is Method.VISIT
        assert suffices(result.identifiers)
        assert "visit 1234567, known from calls/call:5" in result.evidence

    def test_a_visit_nobody_knows_stays_the_deals_own_and_is_waited_for(self) -> None:
        """Another click of the same person is not the one it came by."""
        own = deal(clues=(VISIT,))
        search = Search(own, read(own), None, {PHONE: [call(HOUR)]}, REACH)
        assert by(find_all(search, ()).match) == (Method.FIELD, "1234567")
        assert waits(search, ()) == ("roistat:1234567",)

    def test_the_record_that_tells_most_of_a_visit_is_taken(self) -> None:
        """Whichever of them came first."""
        browser = Identifier(IdKind.CLIENT_ID, "1775110000000000001", "visit")
        records = [visit("calls/form:1", self.YCLID, browser), visit("calls/call:9", self.YCLID), visit("crm/lead:3")]
        for order in (records, records[::-1]):
            result = found({"roistat:1234567": order}, VISIT)
            assert isinstance(result, Match)
            assert result.identifiers == records[0].identifiers

    def test_visits_and_persons_are_different_keys(self) -> None:
        """A visit's number is joined as it is, beside the digests of persons."""
        own = deal(clues=(VISIT,))
        assert joins_of(own, read(own).identifiers) == (*own.joins, "roistat:1234567")


touches = st.builds(
    call,
    st.integers(-60, 60 * 24 * 100).map(lambda minutes: minutes * MINUTE),
    st.sampled_from(["13527482094718121", "13527482094718122"]),
    st.sampled_from(["calls/call:1", "calls/call:2", "lead:3", "shop/deal:4"]),
    st.sampled_from(["", "1775110000000000001", "1775110000000000002", "1775110000000000003"]),
)


@given(st.lists(touches, max_size=8), st.randoms())
def test_the_order_in_which_touches_came_never_changes_the_answer(listed: list[Touch], dice: object) -> None:
    """Under any number of keys."""
    shuffled = list(listed)
    dice.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis hands in a random.Random
    half = len(listed) // 2
    first = found({PHONE: listed[:half], EMAIL: listed[half:]})
    assert found({EMAIL: listed[half:][::-1], PHONE: listed[:half][::-1]}) == first
    assert by_or_none(found({PHONE: shuffled})) == by_or_none(found({PHONE: listed}))


def by_or_none(result: Match | Unmatched) -> Match | str:
    return result if isinstance(result, Match) else result.reason


@given(st.lists(touches, min_size=1, max_size=6))
def test_what_is_found_is_a_touch_that_may_serve(listed: list[Touch]) -> None:
    """Inside the look-back, later than the deal only if it is a call and hardly later; the nearest of one visitor."""
    result = found({PHONE: listed})
    inside = [t for t in listed if START - REACH.look_back <= t.at <= START + REACH.call_after * t.is_tracked]
    assert isinstance(result, Match) == (bool(inside) and not isinstance(result, Unmatched))
    if isinstance(result, Match):
        assert result.touched_at in {t.at for t in inside}
        if all(t.identifiers == inside[0].identifiers for t in inside):
            assert min(abs(t.at - START) for t in inside) == abs(result.touched_at - START)
    else:
        assert not inside or result.reason == SHARED_CONTACT

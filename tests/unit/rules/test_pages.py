"""Deals joined to visits by landing page and time: only where each has nobody else, whatever the order of arrival."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bridge.clues import Reading
from bridge.frozen import replace
from bridge.identity import read, seal_contacts
from bridge.matching import FORM_GOAL, WITHIN_MOST
from bridge.model import Clue, Confidence, Deal, DealKind, Identifier, IdKind, Match, Method, Person, Touch, Unmatched
from bridge.rules import graph, pages
from bridge.rules.choice import ONLY_PROBABLE, Want
from bridge.rules.match import SEVERAL_VISITS, Reach, Search, find, find_all, steps_beyond, touch_of, waits
from tests.unit.rules.kit import START, deal

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
WITHIN = 5 * MINUTE
REACH = Reach(90 * DAY, within=WITHIN)
KEY = b"k" * 32
URL = "https://www.okna.example/otdelka/?utm_source=yandex#top"
ANNA = Person(joins=("phone:1",))
CLIENT_ID = 1711109480123456789


def sealed(made: Deal, url: str = URL) -> Deal:
    """A deal as it is behind the border, from this landing page."""
    return seal_contacts(replace(made, clues=(*made.clues, Clue("field Landing URL", url))), KEY, "crm", "RU", {})


def lead(number: str = "5", after: timedelta = timedelta(0), url: str = URL, *clues: Clue, **facts: Any) -> Deal:
    made = deal(clues=clues, **facts)
    return sealed(replace(made, id=number, created_at=START + after), url)


def visit(number: int = 1, after: timedelta = timedelta(0), url: str = URL) -> tuple[Deal, Reading]:
    """A visit that sent a form so long after START, by its own browser."""
    clues = (Clue("clientID", str(CLIENT_ID + number), IdKind.CLIENT_ID), Clue("startURL", url))
    made = replace(deal(kind=DealKind.VISIT, clues=clues), id=str(number), created_at=START + after)
    return seal_contacts(made, KEY, "visits", "RU", {FORM_GOAL: ("611",)}), read(made)


def told(*visits: tuple[Deal, Reading], deals: Iterable[Deal] = (), ids: dict[str, str] | None = None) -> list[Touch]:
    """What these records tell; ``ids``: ClientIDs of deals by their keys."""
    touches = []
    for made, reading in visits:
        touch = touch_of(made, reading, WITHIN)
        assert touch is not None
        touches.append(replace(touch, deal=f"visits/{touch.deal}"))
    for one in deals:
        own = (ids or {}).get(one.key)
        identifier = (Identifier(IdKind.CLIENT_ID, own),) if own else ()
        touches.append(Touch(one.key, one.created_at, identifier, (*one.joins, *pages.hung_on(one, WITHIN))))
    return touches


def index(touches: Iterable[Touch]) -> dict[str, list[Touch]]:
    found: defaultdict[str, list[Touch]] = defaultdict(list)
    for touch in touches:
        for key in touch.keys:
            found[key].append(touch)
    return found


def answer(own: Deal, touches: Iterable[Touch], reach: Reach = REACH) -> Match | Unmatched:
    return find(own, Reading(), None, index(touches), reach)


def test_the_only_visit_that_sent_a_form_of_the_page_at_that_time_is_probable() -> None:
    """Whichever came first; the address counts without www, query, fragment and the last slash."""
    for after in (-WITHIN, -40 * timedelta(seconds=1), timedelta(0), WITHIN):
        result = answer(lead(url="okna.example/otdelka?yclid="), told(visit(after=after)))
        assert isinstance(result, Match)
        assert (result.method, result.confidence) == (Method.PAGE, Confidence.PROBABLE)
        assert [item.kind for item in result.identifiers] == [IdKind.CLIENT_ID]
        assert result.touched_at == START + min(after, timedelta(0))
        assert "visits/visit:1" in result.evidence


def test_another_page_another_time_or_no_source_of_visits_joins_nobody() -> None:
    """A second beyond the window is beyond it; without ``within`` not even keys are made."""
    for other in (visit(after=WITHIN + timedelta(seconds=1)), visit(url="https://okna.example/")):
        result = answer(lead(), told(other))
        assert isinstance(result, Unmatched)
        assert result.reason != SEVERAL_VISITS
    assert isinstance(answer(lead(), told(visit()), replace(REACH, within=timedelta(0))), Unmatched)
    assert touch_of(lead(), Reading()) is None
    assert waits(Search(lead(), Reading(), None, {}, replace(REACH, within=timedelta(0))), ()) == ()


def test_two_visitors_in_the_window_join_nobody_and_the_answer_says_so() -> None:
    """Also where one of them is much nearer, or has no identifier that could be told."""
    mute = visit(2, after=4 * MINUTE)[0], Reading()
    for second in (visit(2, after=4 * MINUTE), mute):
        result = answer(lead(), told(visit(1, after=timedelta(seconds=2)), second))
        assert isinstance(result, Unmatched)
        assert result.reason == SEVERAL_VISITS
        assert "2 visitors sent a form of its landing page within 5 min" in result.evidence


def test_two_forms_of_one_visitor_are_one_visitor() -> None:
    """What they tell is the same; the nearer form counts."""
    first, second = visit(1, after=-3 * MINUTE), visit(1, after=MINUTE)
    touches = told(first, (replace(second[0], id="1-2"), second[1]))
    result = answer(lead(), touches)
    assert isinstance(result, Match)
    assert "visits/visit:1-2" in result.evidence


def test_a_visit_that_may_be_another_deals_joins_neither() -> None:
    """One form, two deals: the visit of one of them was not seen."""
    one, two = lead("5"), lead("6", after=8 * MINUTE)
    touches = told(visit(after=4 * MINUTE), deals=(one, two))
    for own in (one, two):
        result = answer(own, touches)
        assert isinstance(result, Unmatched)
        assert result.reason == SEVERAL_VISITS
        assert "1 other deals" in result.evidence
    assert isinstance(answer(one, told(visit(), deals=(one, two))), Match)  # more than ``within`` from the other deal


def test_a_deal_that_knows_its_own_browser_is_a_rival_only_for_that_browsers_visit() -> None:
    """Its ClientID is the visit's, so the visit is taken; another one, so it has a visit of its own."""
    one, two = lead("5"), lead("6", after=MINUTE)
    for own, kind in ((str(CLIENT_ID + 1), Unmatched), (str(CLIENT_ID + 7), Match)):
        assert isinstance(answer(one, told(visit(1), deals=(one, two), ids={two.key: own})), kind)


def test_a_second_deal_of_the_same_person_is_no_rival() -> None:
    """People send forms twice. A telephone of many people makes nobody the same person."""
    one, two = (lead(number, persons=(ANNA,)) for number in "56")
    assert isinstance(answer(one, told(visit(), deals=(one, two))), Match)
    crowd = [
        Touch(f"lead:{n}", START - DAY, (Identifier(IdKind.CLIENT_ID, str(CLIENT_ID + n)),), ("phone:1", f"email:{n}"))
        for n in range(100, 115)
    ]
    assert isinstance(answer(one, [*told(visit(), deals=(one, two)), *crowd]), Unmatched)


def test_a_visit_of_another_browser_than_the_deals_own_is_not_taken() -> None:
    """A deal that knows its gclid may get the visit's ClientID, unless the visit began with another gclid."""
    mine, other = "EAIaIQobChMI4fX2-aBcDeFgHi", "EAIaIQobChMI4fX2-ZZZZZZZZZ"
    want = Want("metrica", frozenset((IdKind.CLIENT_ID,)), sends_probable=True)
    for shown, is_taken in ((mine, True), (other, False)):
        own = lead("5", timedelta(0), URL)
        reading = read(deal(clues=(Clue("field GCLID", mine, IdKind.GCLID),)))
        others = index(told(visit(1, url=f"https://okna.example/otdelka?gclid={shown}")))
        others.pop(f"gclid:{mine}", None)  # that very click joins by itself
        found = find_all(Search(own, reading, None, others, REACH), (want,))
        assert isinstance(found.match, Match)
        assert found.match.method is Method.FIELD
        assert ("metrica" in found.told) is is_taken


def test_it_is_the_last_resort_and_sent_only_where_that_is_wanted() -> None:
    """Whatever a person's own keys tell comes first, however doubtful; and the default withholds a guess."""
    own = lead(persons=(ANNA,))
    old = Touch("lead:9", START - 30 * DAY, (Identifier(IdKind.YCLID, "13527482094718121", "x"),), ("phone:1",))
    result = answer(own, [old, *told(visit())])
    assert isinstance(result, Match)
    assert (result.method, result.confidence) == (Method.CONTACT, Confidence.PROBABLE)
    for sends, wanted in ((False, ONLY_PROBABLE), (True, None)):
        want = Want("metrica", frozenset((IdKind.CLIENT_ID,)), sends_probable=sends)
        found = find_all(Search(own, Reading(), None, index(told(visit())), REACH), (want,)).told.get("metrica")
        assert (found.reason if isinstance(found, Unmatched) else None) == wanted


def test_pages_lead_no_further() -> None:
    """A page is no person's: nobody is joined over it to a third record, and it makes no visit the same visit."""
    one, two = lead("5"), lead("6", persons=(ANNA,))
    others = index(told(deals=(one, two)))
    assert steps_beyond(Search(one, Reading(), None, others, REACH), ()) == ()
    kinds = {graph.kind_of(key) for key in waits(Search(two, Reading(), None, others, REACH), ())}
    assert kinds == {"phone", graph.PAGE}


def test_more_forms_than_are_looked_at_join_nobody() -> None:
    """Of an hour with so many nothing is known of the rest."""
    crowd = told(*(visit(number, after=20 * MINUTE) for number in range(2, graph.LOOKED_AT + 1)))
    result = answer(lead(), [*told(visit(1)), *crowd])
    assert isinstance(result, Unmatched)
    assert "too many forms" in result.evidence


def test_a_deal_looks_at_few_keys_however_near_the_hours_end() -> None:
    """Two hours at most, and every record within reach hangs on one of them."""
    for minute in range(60):
        own = lead(after=minute * MINUTE)
        keys = pages.looked_at(own, WITHIN_MOST)
        assert len(keys) <= 2
        for apart in (-2 * WITHIN_MOST, -WITHIN_MOST, WITHIN_MOST, 2 * WITHIN_MOST):
            assert set(pages.hung_on(lead("6", after=minute * MINUTE + apart), WITHIN_MOST)) <= set(keys)


# --- properties --------------------------------------------------------------------------------------------------

_seconds = st.integers(-1500, 1500).map(lambda number: timedelta(seconds=number))
_pages = st.sampled_from((URL, "https://okna.example/"))
_deals = st.lists(st.tuples(_seconds, _pages, st.sampled_from((None, 1, 2, 9))), min_size=1, max_size=5)
_visits = st.lists(st.tuples(_seconds, _pages), max_size=5)


@given(_deals, _visits, st.randoms(use_true_random=False))
def test_no_order_and_no_distant_record_changes_a_match_and_no_visit_serves_two(
    deals: list[tuple[timedelta, str, int | None]], visits: list[tuple[timedelta, str]], rng: object
) -> None:
    """Of deals of different people no two get one visit, and a visit is never given where a second fits."""
    made = [lead(str(n), after, url) for n, (after, url, _) in enumerate(deals)]
    ids = {one.key: str(CLIENT_ID + own) for one, (_, _, own) in zip(made, deals, strict=True) if own is not None}
    seen = [visit(n, after, url) for n, (after, url) in enumerate(visits, start=1)]
    touches = told(*seen, deals=made, ids=ids)
    taken: list[tuple[str, ...]] = []
    for own in made:
        if own.key in ids:
            continue
        result = answer(own, touches)
        shuffled = [*touches, *told(visit(99, 40 * MINUTE), visit(98, url="https://okna.example/other"))]
        rng.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
        assert answer(own, shuffled) == result
        fits = [other for other, _ in seen if _is_near(own, other)]
        assert not isinstance(result, Match) or len(fits) == 1
        if isinstance(result, Match):
            taken.append(tuple(item.value for item in result.identifiers))
    assert len(taken) == len(set(taken))
    claimed = {
        str(CLIENT_ID + int(other.id))
        for other, _ in seen
        for own in made
        if _is_near(own, other) and ids.get(own.key) == str(CLIENT_ID + int(other.id))
    }
    assert not claimed & {value for values in taken for value in values}


def _is_near(own: Deal, other: Deal) -> bool:
    return other.crowds == own.crowds and abs(other.created_at - own.created_at) <= WITHIN

"""The identity graph around one deal: which records are its person's, how surely, and what never matters."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.frozen import replace
from bridge.identity import read
from bridge.model import Clue, Confidence, Deal, Identifier, IdKind, Match, Method, Person, Touch, Unmatched
from bridge.rules import graph, match
from bridge.rules.choice import Want
from bridge.rules.graph import RECORDS_MOST, Reach, joins_of
from bridge.rules.match import SHARED_CONTACT, Search, find, find_all, steps_beyond, waits
from tests.unit.rules.kit import START, deal

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
REACH = Reach(90 * DAY, 30 * MINUTE)
PHONE, OTHER_PHONE, EMAIL, OTHER_EMAIL, CONTACT = "phone:1", "phone:2", "email:1", "email:2", "contact:1"
BROWSER = "1775110000000000001"


def record(number: int, days: float, *keys: str, yclid: str = "", browser: str = "", kind: str = "lead") -> Touch:
    """A record so many days before the deal; it hangs on these keys, and on those its identifiers make."""
    shown = [Identifier(IdKind.YCLID, yclid, "field")] if yclid else []
    shown += [Identifier(IdKind.CLIENT_ID, browser, "field")] if browser else []
    own = joins_of(deal(), shown)
    return Touch(f"{kind}:{number}", START - days * DAY, tuple(shown), (*keys, *own))


def click(number: int) -> str:
    return f"1352748209471812{number:03d}"


def asker(*keys: str, clues: tuple[Clue, ...] = ()) -> Deal:
    return replace(deal(clues=clues), persons=(Person(joins=keys),))


def index(*touches: Touch) -> dict[str, list[Touch]]:
    found: dict[str, list[Touch]] = {}
    for touch in touches:
        for key in touch.keys:
            found.setdefault(key, []).append(touch)
    return found


def matched(own: Deal, *touches: Touch, reach: Reach = REACH) -> Match:
    result = find(own, read(own), None, index(*touches), reach)
    assert isinstance(result, Match), result
    return result


class TestHowSurely:
    @pytest.mark.parametrize(
        ("key", "days", "confidence"),
        [
            (EMAIL, 3, Confidence.JOINED),
            (PHONE, 0.9, Confidence.JOINED),
            (PHONE, 3, Confidence.PROBABLE),
            (CONTACT, 80, Confidence.JOINED),
        ],
    )
    def test_one_key_and_one_visitor_is_joined_but_a_mere_phone_only_on_that_day(
        self, key: str, days: float, confidence: Confidence
    ) -> None:
        """Telephones are shared more than mailboxes: after weeks it may be somebody else's of the household."""
        result = matched(asker(key), record(1, days, key, yclid=click(1)))
        assert (result.method, result.confidence) == (Method.CONTACT, confidence)

    def test_two_visitors_under_one_phone_are_a_guess(self) -> None:
        """A household, or somebody's two devices: which of them it was is not known."""
        touches = (record(1, 3, PHONE, yclid=click(1)), record(2, 5, PHONE, yclid=click(2)))
        result = matched(asker(PHONE), *touches)
        assert result.confidence is Confidence.PROBABLE
        assert result.evidence.endswith("2 visitors came under the same phone")

    @pytest.mark.parametrize(
        ("kind", "value"), [(IdKind.GBRAID, "0AAAAApXsharedbymany"), (IdKind.GA_SESSION_ID, "1772355600")]
    )
    def test_what_is_no_one_browsers_does_not_make_two_visitors_one(self, kind: IdKind, value: str) -> None:
        """A campaign's gbraid, or the second in which a session began, beside the ids of two browsers."""
        touches = [record(number, 3 + number, EMAIL, browser=f"{BROWSER}{number}") for number in (1, 2)]
        shared = (Identifier(kind, value, "field"),)
        result = matched(asker(EMAIL), *[replace(one, identifiers=one.identifiers + shared) for one in touches])
        assert result.confidence is Confidence.PROBABLE

    def test_phone_and_e_mail_together_are_one_person_whatever_the_device(self) -> None:
        """Two kinds of keys agree."""
        touches = (record(1, 3, PHONE, EMAIL, yclid=click(1)), record(2, 5, PHONE, EMAIL, yclid=click(2)))
        result = matched(asker(PHONE, EMAIL), *touches)
        assert (result.confidence, result.identifiers[0].value) == (Confidence.JOINED, click(1))

    def test_the_crms_own_contact_is_one_person(self) -> None:
        """Even where a phone was changed."""
        result = matched(asker(CONTACT, PHONE), record(1, 3, CONTACT, OTHER_PHONE, yclid=click(1)))
        assert result.confidence is Confidence.JOINED

    @pytest.mark.parametrize(
        ("own", "others"),
        [
            ((PHONE,), [(OTHER_PHONE,), ("phone:3",)]),
            ((), [(PHONE,), (OTHER_PHONE,), ("phone:3",)]),
            ((EMAIL,), [(), (OTHER_EMAIL,), ("email:3",)]),
            ((PHONE, EMAIL), [(OTHER_PHONE, OTHER_EMAIL)]),
        ],
    )
    def test_a_contact_of_people_with_different_phones_or_e_mails_alone_is_a_guess(
        self, own: tuple[str, ...], others: list[tuple[str, ...]]
    ) -> None:
        """The CRM's "no name", on which many leads hang; another key in common makes it sure again."""
        touches = [record(number, 2 + number, CONTACT, *on, yclid=click(number)) for number, on in enumerate(others)]
        result = matched(asker(CONTACT, *own), *touches)
        assert result.confidence is Confidence.PROBABLE
        assert "only the contact is the same, and it has phones or e-mails of several people" in result.evidence
        for also in own:
            sure = matched(asker(CONTACT, *own), *touches, record(9, 40, CONTACT, also, yclid=click(9)))
            assert (sure.confidence, sure.identifiers[0].value) == (Confidence.JOINED, click(9))

    def test_another_e_mail_under_the_same_phone_is_a_conflict_and_said(self) -> None:
        """It may be the family's phone."""
        result = matched(asker(PHONE, EMAIL), record(1, 3, PHONE, OTHER_EMAIL, yclid=click(1)))
        assert result.confidence is Confidence.PROBABLE
        assert result.evidence.endswith("only the phone is the same, another contact differs")

    def test_somebody_else_under_the_same_phone_makes_it_a_guess(self) -> None:
        """Though he never clicked."""
        touches = (record(1, 3, PHONE, yclid=click(1)), record(2, 5, PHONE, OTHER_EMAIL))
        result = matched(asker(PHONE, EMAIL), *touches)
        assert result.confidence is Confidence.PROBABLE
        assert result.evidence.endswith("under the same phone somebody with another contact came, too")

    def test_what_is_surer_wins_over_what_is_nearer(self) -> None:
        """The CRM's contact of ten days ago, not the phone of yesterday."""
        touches = (record(1, 10, CONTACT, yclid=click(1)), record(2, 1, PHONE, OTHER_EMAIL, yclid=click(2)))
        assert matched(asker(CONTACT, PHONE, EMAIL), *touches).identifiers[0].value == click(1)

    def test_the_same_browser_tells_the_click_and_another_ones_phone_in_it_only_perhaps(self) -> None:
        """A ClientID on the deal, the click on an earlier record of that browser; on a family's tablet a guess."""
        own = asker(PHONE, clues=(Clue("_ym_uid", BROWSER, IdKind.CLIENT_ID),))
        known = joins_of(own, read(own).identifiers)
        assert f"client_id:{BROWSER}" in known
        for phone, confidence in ((), Confidence.JOINED), ((OTHER_PHONE,), Confidence.PROBABLE):
            search = Search(own, read(own), None, index(record(1, 2, *phone, yclid=click(1), browser=BROWSER)), REACH)
            (match,) = [c for c in _candidates(search) if c.method is Method.VISITOR]
            assert match.confidence is confidence


def _candidates(search: Search) -> list[Match]:
    return [candidate.match for candidate in match._candidates(search)]


class TestManyPeople:
    def test_an_e_mail_under_many_phones_joins_nobody(self) -> None:
        """What managers type where no address is known."""
        many = [record(number, number - 10, EMAIL, f"phone:{number}") for number in range(10, 21)]
        result = find(asker(EMAIL), read(deal()), None, index(record(99, 1, EMAIL, yclid=click(1)), *many), REACH)
        assert isinstance(result, Unmatched)
        assert result.reason == SHARED_CONTACT
        assert "11 people came under it" in result.evidence

    def test_a_contact_of_many_phones_joins_nobody(self) -> None:
        """One CRM contact for everybody who walks in."""
        many = [record(number, number, CONTACT, f"phone:{number}", yclid=click(number)) for number in range(10, 21)]
        assert isinstance(find(asker(CONTACT), read(deal()), None, index(*many), REACH), Unmatched)

    def test_more_records_than_one_person_has_join_nobody(self) -> None:
        """Whoever they are; so no key costs more than a bounded look."""
        numbers = range(10, 11 + RECORDS_MOST)
        many = [record(number, number / 10, PHONE, browser=BROWSER) for number in numbers]
        assert isinstance(find(asker(PHONE), read(deal()), None, index(*many), REACH), Unmatched)
        assert isinstance(find(asker(PHONE), read(deal()), None, index(*many[:-1]), REACH), Match)

    def test_no_step_is_gone_over_a_key_of_many(self) -> None:
        """The shared e-mail of the person's other deal leads to strangers."""
        bridge = record(1, 2, PHONE, EMAIL)
        many = [record(number, number, EMAIL, f"phone:{number}", yclid=click(number)) for number in range(10, 22)]
        assert isinstance(find(asker(PHONE), read(deal()), None, index(bridge, *many), REACH), Unmatched)


class TestBeyond:
    BRIDGE = record(1, 2, PHONE, EMAIL)
    FAR = record(2, 4, EMAIL, yclid=click(2))

    def test_two_steps_are_a_guess_and_say_the_way(self) -> None:
        """A deal by phone, another by phone and e-mail, a third by e-mail with the click."""
        result = matched(asker(PHONE), self.BRIDGE, self.FAR)
        assert (result.method, result.confidence) == (Method.CHAIN, Confidence.PROBABLE)
        assert result.evidence.startswith("same person (phone) as lead:1, whose email has lead:2 of 2026-02-25")

    def test_three_steps_are_not_gone(self) -> None:
        """It ends somewhere."""
        link = record(3, 3, EMAIL, OTHER_PHONE)
        assert isinstance(
            find(
                asker(PHONE),
                read(deal()),
                None,
                index(self.BRIDGE, link, record(4, 5, OTHER_PHONE, yclid=click(4))),
                REACH,
            ),
            Unmatched,
        )

    def test_a_deal_waits_by_the_keys_of_its_bridges(self) -> None:
        """The click may become known last."""
        own = asker(PHONE)
        search = Search(own, read(own), None, index(self.BRIDGE), REACH)
        assert steps_beyond(search, ()) == (EMAIL,)
        assert waits(search, ()) == (PHONE, EMAIL)

    def test_what_is_joined_goes_no_step_further(self) -> None:
        """Nor waits for it."""
        own = asker(PHONE)
        search = Search(own, read(own), None, index(record(5, 1, PHONE, EMAIL, yclid=click(5)), self.FAR), REACH)
        assert waits(search, ()) == (PHONE,)


KEYS = st.lists(
    st.sampled_from([PHONE, OTHER_PHONE, EMAIL, OTHER_EMAIL, CONTACT, "contact:2"]), max_size=3, unique=True
)
RECORDS = st.builds(
    lambda number, days, keys, kind, yclid, browser: record(
        number, days, *keys, kind=kind, yclid=yclid, browser=browser
    ),
    st.integers(1, 9),
    st.sampled_from([-1, -0.01, 0, 0.003, 0.5, 1, 5, 30, 89, 90, 91, 200]),
    KEYS,
    st.sampled_from(["lead", "calls/call"]),
    st.sampled_from(["", click(1), click(2), click(3)]),
    st.sampled_from(["", BROWSER, "1775110000000000002"]),
)
ADS = Want("ads", frozenset([IdKind.YCLID]), sends_probable=True)
TOWNS = st.lists(RECORDS, max_size=8, unique_by=lambda touch: touch.deal)


@given(TOWNS, KEYS, st.randoms(use_true_random=False))
def test_the_order_of_arrival_never_matters(town: list[Touch], keys: list[str], dice: random.Random) -> None:
    """Over any records under any keys: match, evidence, confidence and what is waited for."""
    own = asker(*keys)
    shuffled = [*town]
    dice.shuffle(shuffled)
    one, two = (Search(own, read(own), None, index(*listed), REACH) for listed in (town, shuffled))
    assert find_all(one, ()) == find_all(two, ())
    assert sorted(waits(one, ())) == sorted(waits(two, ()))


@given(TOWNS, KEYS, st.sampled_from(["later", "older", "stranger"]), st.data())
def test_an_irrelevant_record_never_changes_a_match(
    town: list[Touch], keys: list[str], why: str, data: st.DataObject
) -> None:
    """One that is later than the deal, older than the look-back, or hangs on keys of nobody around."""
    own = asker(*keys)
    before = find(own, read(own), None, index(*town), REACH)
    days = {"later": -1.0, "older": 90.5, "stranger": 2.0}[why]
    on = ["phone:9", "email:9"] if why == "stranger" else data.draw(KEYS)
    extra = record(77, days, *on, yclid=click(9), browser="1775110000000000009")
    after = find(own, read(own), None, index(*town, extra), REACH)
    assert after == before or (isinstance(before, Unmatched) and isinstance(after, Unmatched))


@given(TOWNS, KEYS, st.none() | RECORDS, st.data())
def test_what_was_not_waited_for_changes_nothing(
    town: list[Touch], keys: list[str], now: Touch | None, data: st.DataObject
) -> None:
    """A record that becomes known, changes or goes stirs every deal that it concerns: also one of a key of many.

    So whatever is read first, the last answer is the same.
    """
    before = data.draw(st.sampled_from([None, *town])) if town else None
    if before is not None and now is not None:
        now = replace(now, deal=before.deal, at=data.draw(st.sampled_from([before.at, now.at])))
    own, reach = asker(*keys), replace(REACH, shared_above=1)
    others = [touch for touch in town if touch is not before and (now is None or touch.deal != now.deal)]
    was = [touch for touch in (*others, before) if touch is not None]
    becomes = [touch for touch in (*others, now) if touch is not None]
    one, two = (Search(own, read(own), None, index(*listed), reach) for listed in (was, becomes))
    if graph.stirred(before, now).isdisjoint(waits(one, (ADS,))):
        assert _told(one) == _told(two)


def _told(search: Search) -> list[object]:
    """What is decided; the evidence may count, and is told anew whenever somebody asks."""
    found = find_all(search, (ADS,))
    answers = (found.match, *found.told.values())
    return [replace(one, evidence="") for one in answers]


@given(TOWNS, KEYS)
def test_no_match_lies_outside_the_window(town: list[Touch], keys: list[str]) -> None:
    """Neither one nor two steps away."""
    result = find(asker(*keys), read(deal()), None, index(*town), REACH)
    if isinstance(result, Match):
        assert START - REACH.look_back <= result.touched_at <= START + REACH.call_after

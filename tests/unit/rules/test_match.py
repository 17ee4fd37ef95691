"""Which click a deal came from."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.identity import Reading, read
from bridge.model import Clue, Deal, Identifier, IdKind, Match, Method, Person, Touch, Unmatched
from bridge.rules.match import Reach, find, touch_of
from tests.unit.rules.kit import START, deal

YCLID = "13527482094718123"
LOOK_BACK = timedelta(days=90)
REACH = Reach(LOOK_BACK)
ANNA = "phone:anna"
OWN = Clue("field YCLID", YCLID, IdKind.YCLID)


def touch(days: float, value: str = YCLID, of: str = "lead:1") -> Touch:
    """A click so many days before the deal."""
    return Touch(of, START - timedelta(days=days), (Identifier(IdKind.YCLID, value, "field YCLID"),), (ANNA,))


def found(*clues: Clue, parent: Touch | None = None, others: tuple[Touch, ...] = ()) -> Match | Unmatched:
    own = with_clues(*clues)
    return find(own, read(own), parent, {ANNA: others}, REACH)


def with_clues(*clues: Clue) -> Deal:
    return deal(clues=clues, persons=(Person(joins=(ANNA,)),))


touches = st.builds(
    touch,
    st.floats(-30, 200),
    st.sampled_from([YCLID, "13527482094718124", "13527482094718125"]),
    st.sampled_from(["lead:1", "lead:2", "deal:3"]),
)


class TestOwn:
    def test_own_identifiers_win_over_everything(self) -> None:
        result = found(OWN, parent=touch(1, "77"), others=(touch(2, "88"),))
        assert result == Match(
            Method.FIELD, "yclid in field YCLID", (Identifier(IdKind.YCLID, YCLID, "field YCLID"),), START
        )

    def test_the_best_method_names_the_match_and_all_identifiers_go_along(self) -> None:
        """A yclid in the URL beside a ClientID in its field is one match by field with both."""
        result = found(
            Clue("field REFERRER", f"https://a.ru/?yclid={YCLID}"),
            Clue("field _YM_UID", "1691657051812345678", IdKind.CLIENT_ID),
        )
        assert isinstance(result, Match)
        assert result.method is Method.FIELD
        assert result.evidence == "client_id in field _YM_UID, yclid in field REFERRER"

    @pytest.mark.parametrize(
        ("clue", "method"),
        [
            (Clue("field REFERRER", f"https://a.ru/?yclid={YCLID}"), Method.URL),
            (Clue("utm_content", f"yclid:{YCLID}"), Method.UTM),
        ],
    )
    def test_urls_and_utm_fields_are_named(self, clue: Clue, method: Method) -> None:
        result = found(clue)
        assert isinstance(result, Match)
        assert result.method is method

    def test_an_identifier_that_is_no_click_still_counts_as_own(self) -> None:
        """Identifiers are never mixed from two touches."""
        result = found(Clue("field roistat", "1234567", IdKind.ROISTAT), others=(touch(1),))
        assert isinstance(result, Match)
        assert [item.kind for item in result.identifiers] == [IdKind.ROISTAT]


class TestBorrowed:
    def test_a_converted_deal_takes_the_click_of_its_lead_whatever_its_age(self) -> None:
        result = found(parent=touch(400, of="lead:9"), others=(touch(1),))
        assert isinstance(result, Match)
        assert result.method is Method.LEAD
        assert result.touched_at == START - timedelta(days=400)
        assert result.evidence == "converted from lead:9: yclid in field YCLID"

    def test_the_latest_click_before_the_deal_is_the_persons(self) -> None:
        result = found(others=(touch(5), touch(2, "13527482094718124", "lead:2"), touch(-1, "13527482094718125")))
        assert isinstance(result, Match)
        assert result.method is Method.CONTACT
        assert result.identifiers[0].value == "13527482094718124"
        assert result.evidence == (
            "same person (phone) as lead:2 of 2026-02-27: yclid in field YCLID; 2 visitors came under the same phone"
        )

    @pytest.mark.parametrize(("days", "matches"), [(0, True), (90, True), (90.001, False), (-0.001, False)])
    def test_both_ends_of_the_window_belong_to_it(self, days: float, matches: bool) -> None:
        assert isinstance(found(others=(touch(days),)), Match) is matches

    def test_a_touch_of_the_deal_itself_or_without_identifiers_is_no_other(self) -> None:
        empty = Touch("lead:2", START, ())
        result = found(others=(touch(0, of="lead:5"), empty))
        assert isinstance(result, Unmatched)
        assert result.reason == "no_identifier"

    @given(st.lists(touches, max_size=6), st.randoms(use_true_random=False))
    def test_the_order_in_which_touches_arrive_never_matters(self, others: list[Touch], random: object) -> None:
        shuffled = list(others)
        random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
        assert found(others=tuple(shuffled)) == found(others=tuple(others))

    @given(st.lists(touches, max_size=5), st.floats(0.01, 100), st.booleans())
    def test_an_irrelevant_touch_never_changes_a_match(self, others: list[Touch], days: float, is_late: bool) -> None:
        """A click after the deal, or older than the look-back, is as good as none once there is a match."""
        before = found(others=tuple(others))
        extra = touch(-days if is_late else 90 + days, "13527482094718999")
        after = found(others=(*others, extra))
        assert after == before if isinstance(before, Match) else isinstance(after, Unmatched)

    @given(st.lists(touches, min_size=1, max_size=5))
    def test_a_match_is_never_younger_than_the_deal_nor_older_than_the_window(self, others: list[Touch]) -> None:
        result = found(others=tuple(others))
        if isinstance(result, Match):
            assert START - LOOK_BACK <= result.touched_at <= START


class TestUnmatched:
    def test_nothing_at_all(self) -> None:
        result = found()
        assert isinstance(result, Unmatched)
        assert result.reason == "no_identifier"

    def test_the_places_looked_at_are_listed_without_their_content(self) -> None:
        result = found(Clue("utm_source", "yandex"), Clue("field REFERRER", "https://a.ru/secret"))
        assert result == Unmatched("no_identifier", "looked at: utm_source, field REFERRER")

    def test_garbage_is_named_with_its_place_and_reason(self) -> None:
        result = found(Clue("field YCLID", "1,77511E+18", IdKind.YCLID), others=(touch(100),))
        assert isinstance(result, Unmatched)
        assert result.reason == "only_garbage"
        assert result.evidence == (
            "looked at: field YCLID; refused: field YCLID (scientific_notation); other clicks of the same person: 1, "
            "none between 2025-12-01 09:00 and 2026-03-01 09:00 UTC"
        )

    def test_a_click_outside_the_window_is_told(self) -> None:
        result = found(others=(touch(91),))
        assert isinstance(result, Unmatched)
        assert result.reason == "touch_outside_window"

    def test_a_long_list_of_places_is_cut(self) -> None:
        result = found(*(Clue(f"field {number}", "x") for number in range(20)))
        assert isinstance(result, Unmatched)
        assert result.evidence.endswith("field 11 and 8 more")


def test_a_touch_is_what_the_deal_itself_knows() -> None:
    """At the deal's creation: the upper bound of its click's time."""
    own = with_clues(OWN)
    keys = (ANNA, f"yclid:{YCLID}")
    assert touch_of(own, read(own)) == Touch("lead:5", START, (Identifier(IdKind.YCLID, YCLID, "field YCLID"),), keys)
    assert touch_of(own, Reading()) == Touch("lead:5", START, (), (ANNA,))
    assert touch_of(deal(), Reading()) is None

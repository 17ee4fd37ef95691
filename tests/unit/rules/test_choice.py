"""Which of several clicks each destination is told of."""

from __future__ import annotations

from datetime import timedelta

from bridge.frozen import replace
from bridge.identity import read
from bridge.matching import TouchModel
from bridge.model import Clue, Confidence, Deal, Identifier, IdKind, Match, Method, Touch, Unmatched
from bridge.rules.choice import ONLY_PROBABLE, TOO_OLD, Want
from bridge.rules.graph import Reach
from bridge.rules.match import Search, find_all, is_settled, waits
from tests.unit.rules.kit import START
from tests.unit.rules.test_graph import CONTACT, DAY, PHONE, asker, click, index, record

GCLID = "Cj0KCQiA_Example-gclid_1234567890abcdefEALw_wcB"
METRICA = Want("metrica", frozenset((IdKind.YCLID, IdKind.CLIENT_ID)))
GOOGLE = Want("google", frozenset((IdKind.GCLID,)))
OWN_GCLID = Clue("field GCLID", GCLID, IdKind.GCLID)


def search(
    own: Deal, *touches: Touch, model: TouchModel = TouchModel.LAST_PAID_CLICK, back: timedelta = 90 * DAY
) -> Search:
    return Search(own, read(own), None, index(*touches), Reach(back, widest=90 * DAY), model)


def of(number: int, days: float, kind: IdKind, value: str) -> Touch:
    """A record of the CRM's contact, with one identifier."""
    return Touch(f"lead:{number}", START - days * DAY, (Identifier(kind, value, "field"),), (CONTACT,))


class TestDestinations:
    def test_each_is_told_of_a_click_it_knows(self) -> None:
        """The deal's own gclid goes to Google; Metrica is told of the person's yclid of last week."""
        own = asker(CONTACT, clues=(OWN_GCLID,))
        found = find_all(search(own, of(1, 7, IdKind.YCLID, click(1))), (GOOGLE, METRICA))
        assert isinstance(found.match, Match)
        assert found.match.method is Method.FIELD
        told = found.told["metrica"]
        assert isinstance(told, Match)
        assert (told.method, told.identifiers[0].value, told.touched_at) == (Method.CONTACT, click(1), START - 7 * DAY)
        assert "google" not in found.told

    def test_what_suffices_for_all_is_not_looked_beyond(self) -> None:
        """Nothing is asked of the store for it, and nothing is waited for."""
        own = asker(CONTACT, clues=(OWN_GCLID,))
        assert is_settled(read(own).identifiers, (GOOGLE,))
        assert not is_settled(read(own).identifiers, (GOOGLE, METRICA))
        assert waits(search(own), (GOOGLE,)) == ()
        assert CONTACT in waits(search(own), (GOOGLE, METRICA))

    def test_each_looks_back_as_far_as_it_says(self) -> None:
        """A repeat customer's old click serves only whom the window allows."""
        own, old = asker(CONTACT), of(1, 60, IdKind.YCLID, click(1))
        short = replace(METRICA, look_back=21 * DAY)
        found = find_all(search(own, old), (short, replace(METRICA, destination="other")))
        assert isinstance(found.match, Match)
        refusal = found.told["metrica"]
        assert isinstance(refusal, Unmatched)
        assert refusal.reason == TOO_OLD
        assert "other" not in found.told
        found = find_all(search(own, old, back=30 * DAY), (METRICA,))
        assert isinstance(found.match, Unmatched)
        assert isinstance(found.told["metrica"], Match)

    def test_what_is_only_probable_is_told_where_the_configuration_says_so(self) -> None:
        """Elsewhere it is kept back, with the reason."""
        own = asker(PHONE)
        touches = (record(1, 3, PHONE, yclid=click(1)), record(2, 5, PHONE, yclid=click(2)))
        eager = replace(METRICA, destination="eager", sends_probable=True)
        found = find_all(search(own, *touches), (METRICA, eager))
        assert isinstance(found.match, Match)
        assert found.match.confidence is Confidence.PROBABLE
        refusal = found.told["metrica"]
        assert isinstance(refusal, Unmatched)
        assert (refusal.reason, refusal.evidence) == (ONLY_PROBABLE, found.match.evidence)
        assert "eager" not in found.told


class TestModels:
    TOUCHES = (
        of(1, 30, IdKind.YCLID, click(1)),
        of(2, 10, IdKind.YCLID, click(2)),
        of(3, 1, IdKind.CLIENT_ID, "17" * 9),
    )

    def test_the_last_paid_click_by_default(self) -> None:
        """A visit without an advertisement does not take its place."""
        assert self._chosen(TouchModel.LAST_PAID_CLICK) == click(2)

    def test_the_last_of_any_sort(self) -> None:
        assert self._chosen(TouchModel.LAST) == "17" * 9

    def test_the_first(self) -> None:
        """Also where the deal has a click of its own."""
        assert self._chosen(TouchModel.FIRST) == click(1)
        assert self._chosen(TouchModel.FIRST, OWN_GCLID) == click(1)
        assert self._chosen(TouchModel.LAST, OWN_GCLID) == GCLID

    def _chosen(self, model: TouchModel, *clues: Clue) -> str:
        match = find_all(search(asker(CONTACT, clues=clues), *self.TOUCHES, model=model), ()).match
        assert isinstance(match, Match)
        return match.identifiers[0].value

    def test_one_click_serves_several_deals(self) -> None:
        """Each inside its window: two orders of one customer are two conversions."""
        for days in (1, 40):
            own = replace(asker(CONTACT), id=str(days), created_at=START + days * DAY)
            match = find_all(search(own, self.TOUCHES[1]), ()).match
            assert isinstance(match, Match)
            assert match.identifiers[0].value == click(2)


def test_the_same_click_on_another_record_is_exact() -> None:
    """The CRM has the yclid, the tracker has it with the browser: a destination that knows only browsers gets that."""
    own = asker(clues=(Clue("field YCLID", click(1), IdKind.YCLID),))
    browsers = Want("ga", frozenset((IdKind.CLIENT_ID,)))
    found = find_all(search(own, record(1, 0.1, PHONE, yclid=click(1), browser="17" * 9)), (browsers,))
    told = found.told["ga"]
    assert isinstance(told, Match)
    assert (told.method, told.confidence) == (Method.CLICK, Confidence.EXACT)

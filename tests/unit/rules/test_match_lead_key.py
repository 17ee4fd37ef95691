"""A deal that carries the lead key of a form on our collector: joined exactly, whatever else is near."""

from __future__ import annotations

from datetime import timedelta

from bridge.identity import read
from bridge.model import Clue, Identifier, IdKind, Match, Method, Touch, Unmatched
from bridge.rules.match import Others, Reach, find, joins_of, suffices, touch_of, waits
from tests.unit.rules.kit import START, deal

DAY = timedelta(days=1)
REACH = Reach(90 * DAY)
KEY = "bl4q8z1m7w2x5r9c3n6v0b8d2f"
JOIN = f"lead_key:{KEY}"
FORM, VISIT = f"collector/form:{KEY}", f"collector/visit:{KEY}"
LEAD_KEY = Identifier(IdKind.LEAD_KEY, KEY, "form")
CARRIED = Clue("field ID заявки", KEY, IdKind.LEAD_KEY)


def form(*yclids: str, before: timedelta = timedelta(0), of: str = FORM) -> Touch:
    return Touch(of, START - before, (*[Identifier(IdKind.YCLID, one, "landing page") for one in yclids], LEAD_KEY))


def found(others: Others, *clues: Clue) -> Match | Unmatched:
    own = deal(clues=clues)
    return find(own, read(own), None, others, REACH)


def test_the_form_whose_key_the_deal_carries_is_its_click() -> None:
    """Also where a call of the same person is nearer, or the form came days after the deal; the key itself is told to
    nobody else."""
    call = Touch("calls/call:1", START, (Identifier(IdKind.YCLID, "13527482094718121", "url"),))
    for before in (3 * DAY, -3 * DAY):
        result = found({JOIN: [form("13527482094718123", before=before)], "phone": [call]}, CARRIED)
        assert isinstance(result, Match)
        assert [item.kind for item in result.identifiers] == [IdKind.YCLID]
        assert (result.method, result.identifiers[0].value) == (Method.VISIT, "13527482094718123")
        assert result.evidence == f"lead key {KEY}, known from {FORM}: yclid in landing page"
        assert result.touched_at == START - max(before, timedelta(0))


def test_a_key_alone_is_no_match() -> None:
    """Neither of the deal, nor of a form that came without a click, nor of a lead it was converted from."""
    own = deal(clues=(CARRIED,))
    reading = read(own)
    assert not suffices(reading.identifiers)
    for others in ({}, {JOIN: [form()]}, {"phone": [form()]}):
        assert isinstance(find(own, reading, None, others, REACH), Unmatched)
    assert isinstance(find(own, reading, form(), {}, REACH), Unmatched)
    assert JOIN in waits(own, reading, found({}, CARRIED), {}, REACH)


def test_a_deals_own_click_wins() -> None:
    """It is of the same form, and nothing has to be looked up."""
    own = Clue("field YCLID", "13527482094718129", IdKind.YCLID)
    result = found({JOIN: [form("13527482094718123")]}, own, CARRIED)
    assert isinstance(result, Match)
    assert (result.method, len(result.identifiers)) == (Method.FIELD, 1)
    assert waits(deal(clues=(own, CARRIED)), read(deal(clues=(own, CARRIED))), result, {}, REACH) == ()


def test_of_one_key_the_form_counts_before_the_first_landing() -> None:
    """Whichever shows more identifiers."""
    first = form("13527482094718121", before=9 * DAY, of=VISIT)
    more = Touch(VISIT, first.at, (*first.identifiers, Identifier(IdKind.GCLID, "EAIaIQobChMI4fX2-aBcDeFgHi", "x")))
    result = found({JOIN: [more, form("13527482094718123")]}, CARRIED)
    assert isinstance(result, Match)
    assert result.identifiers[0].value == "13527482094718123"


def test_a_form_without_a_click_of_the_same_person_does_not_hide_one_with() -> None:
    """A later organic visit knows nothing that could be told."""
    earlier = form("13527482094718121", before=2 * DAY, of="collector/form:x")
    result = found({"phone": [earlier, form()]})
    assert isinstance(result, Match)
    assert result.identifiers[0].value == "13527482094718121"


def test_the_key_is_found_wherever_a_crm_puts_it() -> None:
    """In a field of its own, in a note, in an address, in another identifier's field; and nothing else is one."""
    for text in (
        f"bridge_lead={KEY}",
        f"Имя: ...\nbridge_lead: {KEY}\n",
        f"https://okna.example/?bridge_lead={KEY}&a=1",
    ):
        assert [item.value for item in read(deal(clues=(Clue("note", text),))).identifiers] == [KEY]
    pasted = Clue("field YCLID", f"bridge_lead={KEY}", IdKind.YCLID)
    assert [item.kind for item in read(deal(clues=(pasted,))).identifiers] == [IdKind.LEAD_KEY]
    for text in ("bl1", KEY.upper(), "1234567890123456789012345"):
        assert read(deal(clues=(Clue("f", text, IdKind.LEAD_KEY),))).identifiers == ()


def test_a_deal_is_looked_for_by_its_own_key_alone() -> None:
    """Forms of others are never even read."""
    own = deal(clues=(CARRIED,))
    assert joins_of(own, read(own).identifiers) == (JOIN,)
    assert touch_of(own, read(own)) is not None

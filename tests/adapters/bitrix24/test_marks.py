"""Marks on records (contract bitrix24 11): written into a field, checked by reading, and read by nobody."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.bitrix24.fake import FIELDS
from adapters.bitrix24.fake_schema import DEAL, LEAD, CustomField
from adapters.bitrix24.marks import RecordMarker
from adapters.bitrix24.settings import Bitrix24Settings
from adapters.bitrix24.source import Bitrix24Source
from bridge.errors import AuthError
from bridge.marks import Mark, MarkFate, marker_of
from bridge.ports import Level
from tests.adapters.bitrix24.kit import Rig, add_deals, add_leads, running
from tests.support import START

OWN, TEXT = "UF_CRM_BRIDGE", "sale → metrica: verified 2026-03-02"
OTHERS = (CustomField("UF_CRM_NUMBER", "Номер", "double"), CustomField("UF_CRM_MANY", "Много", is_multiple=True))
KEYS = ["lead:1", "deal:1", "deal:2", "item:1032-1"]
MINUTE = timedelta(minutes=1)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """A portal with a lead, two deals and an item of a smart process, all with the field."""
    fields = (*FIELDS, CustomField(OWN, "Конверсии"), *OTHERS)
    async with running(tmp_path, fields=fields, processes=(1032,)) as made:
        add_leads(made.portal, 1)
        add_deals(made.portal, 2, UF_CRM_YCLID="17751100000000000001")
        made.portal.data.add("item:1032", START, {"CATEGORY_ID": "5", "STAGE_ID": "DT1032_5:NEW"})
        made.clock.set(START + MINUTE)
        yield made


def marked(rig: Rig, field: str = OWN) -> Bitrix24Source:
    return rig.another(write_back={"field": field})


def pen(source: Bitrix24Source) -> RecordMarker:
    found = marker_of(source)
    assert isinstance(found, RecordMarker)
    return found


def marks(text: str = TEXT) -> list[Mark]:
    return [Mark(key, text, True) for key in KEYS]


def shown(rig: Rig) -> list[Any]:
    places = [(LEAD, 1), (DEAL, 1), (DEAL, 2), ("item:1032", 1)]
    return [rig.portal.data.record(kind, number).row.get(OWN) for kind, number in places]


async def test_every_entity_takes_its_mark(rig: Rig) -> None:
    """Leads, deals and items by one method, in three requests; other fields stay, and an empty text clears."""
    source = marked(rig)
    await source.fetch(KEYS)
    asked = rig.asked["batch"]
    assert [item.fate for item in await pen(source).mark(marks())] == [MarkFate.DONE] * 4
    assert rig.asked["batch"] - asked == 3
    assert shown(rig) == [TEXT] * 4
    assert rig.portal.data.record(DEAL, 1).row["UF_CRM_YCLID"] == "17751100000000000001"
    await pen(source).mark(marks(""))
    assert shown(rig) == [None] * 4


async def test_a_repetition_leaves_no_trace(rig: Rig) -> None:
    """A record that shows its mark is not written again."""
    source = marked(rig)
    await pen(source).mark(marks())
    rig.clock.set(START + 2 * MINUTE)
    assert {(item.fate, item.after) for item in await pen(source).mark(marks())} == {(MarkFate.DONE, "")}
    assert rig.portal.methods.writes.written == 4


async def test_the_echo_is_recognised(rig: Rig) -> None:
    """DATE_MODIFY moves and the record comes again; its version is the one the mark told of."""
    source = marked(rig)
    before = {head.key: head.version for head in (await source.fetch(KEYS)).heads}
    rig.clock.set(START + 2 * MINUTE)
    done = await pen(source).mark(marks())
    listing = await source.fetch(KEYS)
    after = {head.key: head.version for head in listing.heads}
    assert {item.deal: (item.before, item.after) for item in done} == {key: (before[key], after[key]) for key in KEYS}
    assert all(before[key] != after[key] for key in KEYS)
    assert rig.portal.data.record(DEAL, 1).row["MODIFY_BY_ID"] == str(rig.portal.data.user)


@pytest.mark.parametrize("change", [{"OPPORTUNITY": "5.00"}, {"STAGE_ID": "C1:WON"}])
async def test_somebodys_change_is_not_taken_for_an_echo(
    change: dict[str, str], rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change between our two readings: no version is told, so that it is news."""
    source = marked(rig)
    write = rig.portal.methods.writes.update

    def changed(kind: str, number: int, fields: Any, *, is_original: bool) -> None:
        if (kind, number) == (DEAL, 1):
            rig.portal.data.update(DEAL, 1, rig.clock.now(), change)
        write(kind, number, fields, is_original=is_original)

    monkeypatch.setattr(rig.portal.methods.writes, "update", changed)
    found = {item.deal: item.after for item in await pen(source).mark(marks())}
    assert found["deal:1"] == ""
    assert found["deal:2"] != ""


async def test_our_mark_is_in_no_fact(rig: Rig) -> None:
    """Neither among the deal's fields nor among what goals may name."""
    source = marked(rig)
    await pen(source).mark(marks())
    deals = await source.complete((await source.fetch(KEYS)).heads, frozenset(), rig.all_time())
    assert len(deals) == len(KEYS)
    assert all(TEXT not in str(deal) for deal in deals)
    names = (await source.catalogue()).fields
    assert not {OWN, "Конверсии"} & set(names)
    assert "UF_CRM_YCLID" in names


async def test_payments_are_part_of_the_version_around_a_mark(tmp_path: Path) -> None:
    """Where payments are read, the version told is the one with them."""
    async with running(tmp_path, fields=(*FIELDS, CustomField(OWN, "Конверсии")), needs_payments=True) as rig:
        add_deals(rig.portal, 1)
        rig.portal.data.bill(1, "100.00", paid_at=START)
        source = rig.another(payments="payments", write_back={"field": OWN})
        (done,) = await pen(source).mark([Mark("deal:1", TEXT, True)])
        (head,) = (await source.fetch(["deal:1"])).heads
        assert done.after == head.version != ""


async def test_one_bad_record_does_not_spoil_the_batch(rig: Rig) -> None:
    """A refused one with its code, one that may not be read and one that never was are gone, the rest is marked."""
    source = marked(rig)
    rig.portal.methods.writes.refused.add((DEAL, 1))
    rig.portal.data.tables[DEAL].hide(2)
    found = {i.deal: (i.fate, i.code) for i in await pen(source).mark([*marks(), Mark("deal:77", TEXT, True)])}
    assert found == {
        "lead:1": (MarkFate.DONE, ""),
        "deal:1": (MarkFate.REFUSED, "crm_field_error_value_not_valid"),
        "deal:2": (MarkFate.GONE, ""),
        "item:1032-1": (MarkFate.DONE, ""),
        "deal:77": (MarkFate.GONE, ""),
    }


async def test_no_right_to_edit_is_said_of_each(rig: Rig) -> None:
    """The portal decides that record by record."""
    rig.portal.methods.writes.may_edit = False
    found = await pen(marked(rig)).mark(marks())
    assert {(item.fate, item.code) for item in found} == {(MarkFate.REFUSED, "access_denied")}


async def test_what_was_ignored_is_not_taken_for_written(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The portal ignores fields it does not like without an error; an entity without the field is not even asked."""
    monkeypatch.setattr(rig.portal.methods.writes, "update", lambda *_, is_original: None)
    assert {(i.fate, i.code) for i in await pen(marked(rig)).mark(marks())} == {(MarkFate.REFUSED, "not_written")}
    other = marked(rig, "UF_CRM_NOBODY")
    assert {(i.fate, i.code) for i in await pen(other).mark(marks())} == {(MarkFate.REFUSED, "no_field")}


async def test_credentials_that_ended_are_the_whole_accounts_trouble(rig: Rig) -> None:
    """No record is blamed."""
    source = marked(rig)
    rig.portal.is_revoked = True
    with pytest.raises(AuthError):
        await pen(source).mark(marks())


# --- settings and check ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "level", "told"),
    [
        (OWN, Level.OK, "takes text"),
        ("UF_CRM_NOBODY", Level.ERROR, "make one of type string"),
        ("UF_CRM_NUMBER", Level.ERROR, "of type double"),
        ("UF_CRM_MANY", Level.ERROR, "of type multiple string"),
    ],
)
async def test_check_looks_at_the_field(field: str, level: Level, told: str, rig: Rig) -> None:
    """It exists for every entity and takes one text; nothing is changed."""
    found = [item for item in await marked(rig, field).check() if item.subject == "write_back.field"]
    assert len(found) == 3
    assert all(item.level is level and told in item.message for item in found)
    assert rig.portal.methods.writes.written == 0


async def test_without_write_back_there_is_no_marker(rig: Rig) -> None:
    """And the field is like any other."""
    assert marker_of(rig.source) is None
    assert OWN in (await rig.source.catalogue()).fields


@pytest.mark.parametrize(
    "wrong",
    [
        {"write_back": {"tag": "sent"}},
        {"write_back": {"field": "Конверсии"}},
        {"write_back": {"field": OWN}, "loss_reason_field": OWN},
        {"write_back": {"field": OWN}, "fields": {"yclid": [OWN]}},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    """There are no tags; the field is named by its code; nothing else is read from it."""
    section = {"kind": "bitrix24", "base_url": "https://okna.bitrix24.ru", "auth": {"webhook": {"env": "HOOK"}}}
    with pytest.raises(ValueError, match="write_back"):
        Bitrix24Settings.model_validate({**section, **wrong})


# --- the simulated portal ----------------------------------------------------------------------------------------


async def test_equal_values_save_nothing_and_unknown_ones_are_ignored(rig: Rig) -> None:
    """As the vendor's universal update does; a real change tells the portal's subscribers."""
    writes, data = rig.portal.methods.writes, rig.portal.data
    told: list[tuple[str, int, str]] = []
    data.tell = lambda kind, number, action: told.append((kind, number, action))
    writes.update(DEAL, 1, {OWN: "", "UF_CRM_NOBODY": "x", "ID": "7"}, is_original=True)
    assert (told, data.record(DEAL, 1).modified) == ([], int(START.timestamp()))
    writes.update(DEAL, 1, {OWN: TEXT}, is_original=True)
    assert told == [(DEAL, 1, "UPDATE")]
    assert data.record(DEAL, 1).modified == int((START + MINUTE).timestamp())

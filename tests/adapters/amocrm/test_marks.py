"""Marks on leads (contract amocrm 9.1): written once, without touching what is not ours, and read by nobody."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.amocrm.fake import AmoCrm
from adapters.amocrm.fake_store import FIRST_LEAD
from adapters.amocrm.marks import LeadMarker
from adapters.amocrm.settings import AmoCrmSettings
from adapters.amocrm.source import AmoCrmSource
from bridge.errors import ConfigError, Refused
from bridge.marks import Mark, Marked, MarkFate, marker_of
from bridge.ports import Level, Listing
from bridge.sim.clock import ManualClock
from bridge.sim.faults import Fault, FaultPlan
from tests.adapters.amocrm.kit import NEW, account, happenings, key, lead, step
from tests.support import START

FIELD, TAG = "Поле 30", "отправлено"
TEXT = "sale → metrica: verified 2026-03-02"
LEADS = [lead(number, step(START, NEW)) for number in range(1, 4)]


@pytest.fixture
async def sim(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[tuple[AmoCrm, AmoCrmSource]]:
    """An account with three leads whose marks go to a field and a tag."""
    settings = {"write_back": {"field": FIELD, "tag": TAG}}
    async with account(monkeypatch, tmp_path, settings=settings) as (made, source):
        for event in happenings(LEADS):
            made.happen(event)
        yield made, source


def pen(source: AmoCrmSource) -> LeadMarker:
    found = marker_of(source)
    assert isinstance(found, LeadMarker)
    return found


def marks(text: str = TEXT, *, is_sent: bool = True) -> list[Mark]:
    return [Mark(key(item), text, is_sent) for item in LEADS]


async def raw(sim: AmoCrm, number: int) -> dict[str, Any]:
    """A lead as the account shows it."""
    headers = {"Authorization": f"Bearer {next(iter(sim.secrets().values()))}"}
    async with httpx.AsyncClient(base_url=sim.base_url, headers=headers) as client:
        answer = await client.get(f"/api/v4/leads/{FIRST_LEAD + number}")
    found: dict[str, Any] = json.loads(answer.content)
    return found


def fields(row: dict[str, Any]) -> dict[str, str]:
    return {item["field_name"]: item["values"][0]["value"] for item in row["custom_fields_values"] or ()}


def tags(row: dict[str, Any]) -> list[str]:
    return [item["name"] for item in row["_embedded"]["tags"]]


def versions(listing: Listing) -> dict[str, str]:
    return {head.key: head.version for head in listing.heads}


async def test_a_mark_adds_and_takes_nothing_else_away(sim: tuple[AmoCrm, AmoCrmSource]) -> None:
    """Other fields, tags and the stage stay; the tag goes again when nothing is sent, and an empty text clears."""
    made, source = sim
    before = await raw(made, 3)
    assert [item.fate for item in await pen(source).mark(marks())] == [MarkFate.DONE] * 3
    row = await raw(made, 3)
    assert fields(row) == {**fields(before), FIELD: TEXT}
    assert tags(row) == [*tags(before), TAG]
    await pen(source).mark(marks("", is_sent=False))
    cleared = await raw(made, 3)
    assert (fields(cleared), tags(cleared)) == (fields(before), tags(before))
    assert {name: cleared[name] for name in ("status_id", "price")} == {n: before[n] for n in ("status_id", "price")}


async def test_a_repetition_leaves_no_trace(sim: tuple[AmoCrm, AmoCrmSource]) -> None:
    """A lead that shows its mark is not written again: its time of change stays."""
    made, source = sim
    await pen(source).mark(marks())
    assert (made.writes.written, made.requests["PATCH /api/v4/leads"]) == (3, 1)
    assert await pen(source).mark(marks()) == [Marked(mark.deal, MarkFate.DONE) for mark in marks()]
    assert made.writes.written == 3


async def test_the_echo_is_recognised(sim: tuple[AmoCrm, AmoCrmSource]) -> None:
    """The account tells of a change and the lead comes again; its version is the one the mark told of."""
    made, source = sim
    keys = [key(item) for item in LEADS]
    before = versions(await source.fetch(keys))
    assert isinstance(made.clock, ManualClock)
    made.clock.set(START.replace(hour=23))
    done = await pen(source).mark(marks())
    after = versions(await source.fetch(keys))
    assert [(item.before, item.after) for item in done] == [(before[own], after[own]) for own in keys]
    assert all(before[own] != after[own] for own in keys)


async def test_somebodys_change_is_not_taken_for_an_echo(
    sim: tuple[AmoCrm, AmoCrmSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stage moved between our two readings: no version is told, so that the change is news."""
    made, source = sim
    patch = made.writes._change

    def moved(item: Any, at: int, label: str) -> dict[str, Any]:
        made.store.move(made.store.leads[FIRST_LEAD + 1], 47001003, at)
        return patch(item, at, label)

    monkeypatch.setattr(made.writes, "_change", moved)
    first, second, _ = await pen(source).mark(marks())
    assert (first.fate, first.before, first.after) == (MarkFate.DONE, "", "")
    assert second.after


async def test_our_mark_is_in_no_fact(sim: tuple[AmoCrm, AmoCrmSource]) -> None:
    """Neither field nor tag is among what goals may look at, and the catalogue does not offer the field."""
    made, source = sim
    plain = (await source.fetch([key(LEADS[0])])).heads
    await pen(source).mark(marks())
    marked = (await source.fetch([key(LEADS[0])])).heads
    assert marked[0].version.partition("-")[2] == plain[0].version.partition("-")[2]
    assert TAG not in [tag.name for tag in marked[0].row.embedded.tags or ()]
    assert FIELD not in (await source.catalogue()).fields
    assert "Поле 29" in (await source.catalogue()).fields
    assert TEXT in json.dumps(await raw(made, 1), ensure_ascii=False)


async def test_one_bad_lead_does_not_spoil_the_batch(sim: tuple[AmoCrm, AmoCrmSource]) -> None:
    """The account refuses the whole batch; halves find the lead; a deleted one and one that never was are gone."""
    made, source = sim
    made.writes.refused.add(FIRST_LEAD + 2)
    made.store.delete(FIRST_LEAD + 3, int(START.timestamp()))
    unknown = Mark("lead:77", TEXT, True)
    found = {item.deal: (item.fate, item.code) for item in await pen(source).mark([*marks(), unknown])}
    assert found == {
        key(LEADS[0]): (MarkFate.DONE, ""),
        key(LEADS[1]): (MarkFate.REFUSED, "NotBlank"),
        key(LEADS[2]): (MarkFate.GONE, ""),
        "lead:77": (MarkFate.GONE, ""),
    }
    assert fields(await raw(made, 1))[FIELD] == TEXT


async def test_no_right_to_edit_is_the_whole_accounts_trouble(sim: tuple[AmoCrm, AmoCrmSource]) -> None:
    """One request says so; the batch is not tried in halves."""
    made, source = sim
    made.writes.may_edit = False
    with pytest.raises(Refused, match="no right"):
        await pen(source).mark(marks())
    assert made.requests["PATCH /api/v4/leads"] == 1


async def test_a_lost_answer_is_asked_for_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Writing twice is writing once: field and tag are there, each once."""

    class Once(FaultPlan):
        def __init__(self) -> None:
            super().__init__(1)
            self.left = 1

        def draw(self, name: str, is_write: bool) -> Fault | None:
            self.left -= name.startswith("PATCH")
            return Fault.LOST_ANSWER if name.startswith("PATCH") and self.left == 0 else None

    settings = {"write_back": {"field": "780030", "tag": TAG}}
    async with account(monkeypatch, tmp_path, settings=settings, faults=Once()) as (made, source):
        for event in happenings(LEADS):
            made.happen(event)
        assert {item.fate for item in await pen(source).mark(marks())} == {MarkFate.DONE}
        assert made.requests["PATCH /api/v4/leads"] == 2
        assert tags(await raw(made, 1)).count(TAG) == 1


# --- settings and check ------------------------------------------------------------------------------------------


async def test_without_write_back_there_is_no_marker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And the field is like any other."""
    async with account(monkeypatch, tmp_path) as (_, source):
        assert marker_of(source) is None
        assert FIELD in (await source.catalogue()).fields


@pytest.mark.parametrize(
    ("write_back", "told"),
    [
        ({"field": FIELD}, (Level.OK, "takes text")),
        ({"field": "780030"}, (Level.OK, "takes text")),
        ({"field": "Поле 99"}, (Level.ERROR, "make one of type text")),
        ({"field": "Номер заказа"}, (Level.ERROR, "of type numeric")),
        ({"field": "774302"}, (Level.ERROR, "also fields.yclid")),
        ({"tag": TAG}, (Level.OK, "edit every lead")),
    ],
)
async def test_check_looks_at_the_field(
    write_back: dict[str, str], told: tuple[Level, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It exists, takes text, and no identifier is read from it under another of its names; nothing is changed."""
    async with account(monkeypatch, tmp_path, settings={"write_back": write_back}) as (made, source):
        found = [item for item in await source.check() if item.subject.startswith("write_back")]
        assert any(item.level is told[0] and told[1] in item.message for item in found)
        assert any(item.level is Level.ERROR for item in found) == (told[0] is Level.ERROR)
        assert made.writes.written == made.requests["PATCH /api/v4/leads"] == 0


async def test_a_field_that_does_not_exist_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is written then."""
    async with account(monkeypatch, tmp_path, settings={"write_back": {"field": "Поле 99"}}) as (made, source):
        made.happen(happenings(LEADS)[0])
        with pytest.raises(ConfigError, match="nearest: Поле"):
            await pen(source).mark(marks()[:1])


def test_an_identifiers_field_cannot_be_the_marks() -> None:
    """It would be overwritten."""
    section = {"kind": "amocrm", "base_url": "https://x.amocrm.ru", "auth": {"token": {"env": "T"}}}
    with pytest.raises(ValueError, match=r"overwrite fields\.yclid"):
        AmoCrmSettings.model_validate({**section, "fields": {"yclid": ["Mark"]}, "write_back": {"field": "mark"}})
    with pytest.raises(ValueError, match="say how"):
        AmoCrmSettings.model_validate({**section, "write_back": {}})


# --- the simulated account ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"id": FIRST_LEAD + 1}, 400),
        ([], 400),
        ([{"id": FIRST_LEAD + 1}] * 251, 400),
        ([{"id": FIRST_LEAD + 9}], 400),
        ([{"id": FIRST_LEAD + 1, "price": 1.5}], 400),
        ([{"id": FIRST_LEAD + 1, "custom_fields_values": [{"field_id": 5, "values": [{"value": "x"}]}]}], 400),
        ([{"id": FIRST_LEAD + 1, "custom_fields_values": [{"field_id": 780030, "values": [{"value": 5}]}]}], 400),
        ([{"id": FIRST_LEAD + 1, "_embedded": {"tags": None}}], 200),
        ([{"id": FIRST_LEAD + 1, "_embedded": {"tags": [{"name": "б"}]}, "tags_to_add": [{"name": "в"}]}], 200),
    ],
)
async def test_the_account_takes_what_the_vendor_takes(
    body: Any, status: int, sim: tuple[AmoCrm, AmoCrmSource]
) -> None:
    """Arrays only, of existing leads and fields; whole or not at all; every change moves ``updated_at``."""
    made, _ = sim
    assert isinstance(made.clock, ManualClock)
    made.clock.set(START.replace(hour=20))
    headers = {"Authorization": f"Bearer {next(iter(made.secrets().values()))}"}
    async with httpx.AsyncClient(base_url=made.base_url, headers=headers) as client:
        answer = await client.patch("/api/v4/leads", json=body)
    assert answer.status_code == status
    row, now = await raw(made, 1), int(made.clock.now().timestamp())
    assert (row["updated_at"] == now) == (status == 200)
    if status == 200:
        assert tags(row) == (["б", "в"] if "tags_to_add" in body[0] else [])
        assert answer.json()["_embedded"]["leads"][0]["updated_at"] == now


async def test_a_change_through_the_api_is_told_like_any(sim: tuple[AmoCrm, AmoCrmSource]) -> None:
    """The account's webhooks tell of our own writes too."""
    made, source = sim
    told: list[str] = []
    made.store.tell = lambda action, lead, old_status=None: told.append(f"{action} {lead.id}")
    await pen(source).mark(marks()[:1])
    assert told == [f"update {FIRST_LEAD + 1}"]

"""Incoming leads ("неразобранное"): what their forms tell, whenever the lead itself shows, and what asking costs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.amocrm.fake import AmoCrm, Quirks
from adapters.amocrm.fake_store import FIRST_LEAD, UNSORTED
from adapters.amocrm.source import AmoCrmSource
from bridge.model import Clue, Deal, utc
from bridge.ports import Window
from bridge.sim.clock import ManualClock
from tests.adapters.amocrm.kit import HOUR, NEW, account, deals, happenings, key, lead, read, second, step
from tests.support import START

ITEM = lead(1, step(START, NEW), click=None)
OTHER = lead(2, step(START, NEW))
PAGE, REFERER = "https://okna.example/?yclid=12345678901234567", "https://yandex.ru/"
CLUES = (Clue("incoming form: form_page", PAGE), Clue("incoming form: referer", REFERER))


@asynccontextmanager
async def waiting(
    patch: pytest.MonkeyPatch, folder: Path, **quirks: Any
) -> AsyncIterator[tuple[AmoCrm, AmoCrmSource, ManualClock]]:
    """An account in which one lead without any clue has come in by a form, and another one by hand."""
    clock = ManualClock(START + HOUR)
    async with account(patch, folder, clock, quirks=Quirks(**{"has_unsorted": True, **quirks})) as (sim, source):
        for event in happenings([ITEM, OTHER]):
            sim.happen(event)
        sim.store.come_in(FIRST_LEAD + 1, second(START) + 60, PAGE, REFERER)
        yield sim, source, clock


async def poll(source: AmoCrmSource, clock: ManualClock, known: frozenset[str] = frozenset()) -> dict[str, Deal]:
    return deals(await read(source, Window(START - HOUR, clock.now()), known))


@pytest.mark.parametrize("keeps_decided", [True, False])
@pytest.mark.parametrize("hides_unsorted", [True, False])
async def test_an_accepted_lead_has_the_clues_of_its_form_whatever_the_vendor_hides(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hides_unsorted: bool, keeps_decided: bool
) -> None:
    """Whether the lead is listed before it is accepted, and the form after it: the form was seen while it waited."""
    quirks = {"hides_unsorted": hides_unsorted, "keeps_decided": keeps_decided}
    async with waiting(monkeypatch, tmp_path, **quirks) as (sim, source, clock):
        first = await poll(source, clock)
        assert (key(ITEM) in first) is not hides_unsorted
        if not hides_unsorted:
            assert (first[key(ITEM)].stage, first[key(ITEM)].clues) == (str(UNSORTED), CLUES)
        clock.advance(HOUR)
        sim.store.decide(FIRST_LEAD + 1, second(clock.now()) - 60, accepts=True)
        assert (await poll(source, clock))[key(ITEM)].clues == CLUES


async def test_a_declined_lead_is_a_deleted_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is promised for what the business has thrown away."""
    async with waiting(monkeypatch, tmp_path) as (sim, source, clock):
        known = frozenset(await poll(source, clock))
        clock.advance(HOUR)
        sim.store.decide(FIRST_LEAD + 1, second(clock.now()) - 60, accepts=False)
        assert (await poll(source, clock, known))[key(ITEM)].is_deleted


async def test_a_form_comes_after_what_the_lead_tells_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Clues of the lead's own fields are better evidence, so they come first."""
    async with waiting(monkeypatch, tmp_path) as (sim, source, clock):
        sim.store.come_in(FIRST_LEAD + 2, second(START) + 60, PAGE)
        clues = (await poll(source, clock))[key(OTHER)].clues
        assert clues[-1] == CLUES[0]
        assert clues[0].where == "field YCLID"


@pytest.mark.parametrize(("has_unsorted", "requests"), [(False, 0), (True, 3)])
async def test_forms_cost_one_request_a_poll_where_there_are_any_and_none_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, has_unsorted: bool, requests: int
) -> None:
    """The account says whether it has incoming leads; a backfill of the past does not ask for them."""
    async with waiting(monkeypatch, tmp_path, has_unsorted=has_unsorted) as (sim, source, clock):
        for _ in range(3):
            await poll(source, clock)
        await read(source, Window(START - 3 * HOUR, START - HOUR))
        assert sim.requests["GET /api/v4/leads/unsorted"] == requests
        assert sim.requests["GET /api/v4/account"] == 1


async def test_metadata_of_any_type_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A form without a page tells nothing, and spoils nothing (contract amocrm 15.22)."""
    async with waiting(monkeypatch, tmp_path) as (sim, source, clock):
        sim.store.come_in(FIRST_LEAD + 2, second(START) + 60, 5)  # type: ignore[arg-type]  # what a vendor may send
        found = await poll(source, clock)
        assert found[key(ITEM)].clues == CLUES
        assert all(clue.where != CLUES[0].where for clue in found[key(OTHER)].clues)


async def test_a_lead_that_is_asked_for_by_its_key_has_the_clues_of_its_form(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A hint may name a lead before any window does, and the window then finds it unchanged."""
    async with waiting(monkeypatch, tmp_path) as (sim, source, clock):
        ever = Window(utc(0), clock.now())
        listing = await source.fetch([key(ITEM)])
        assert deals(await source.complete(listing.heads, frozenset(), ever))[key(ITEM)].clues == CLUES
        asked = sim.requests["GET /api/v4/leads/unsorted"]
        await source.complete(listing.heads, frozenset([key(ITEM)]), ever)
        assert sim.requests["GET /api/v4/leads/unsorted"] == asked == 1

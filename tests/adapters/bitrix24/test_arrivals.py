"""Records that appear with past times are found by their ids, across restarts and races, at no extra request."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.bitrix24.arrivals import Arrivals
from adapters.bitrix24.entities import DEAL, LEAD
from adapters.bitrix24.fake import Bitrix24
from adapters.bitrix24.fake_rest import Reply
from adapters.bitrix24.source import Bitrix24Source
from bridge.errors import Drift
from bridge.model import Deal
from bridge.ports import Window
from tests.adapters.bitrix24.kit import YCLID, Rig, add_deals, add_leads, read, running
from tests.support import START

PAST = START - timedelta(days=200)
MINUTE = timedelta(minutes=1)


async def poll(rig: Rig, marks: str | None, source: Bitrix24Source | None = None) -> tuple[list[str], str]:
    """The keys that a poll of the last ten minutes lists, and what it wants remembered."""
    rig.clock.advance(MINUTE)
    now = rig.clock.now()
    keys: list[str] = []
    told = ""
    async for listing in (source or rig.source).scan(Window(now - 10 * MINUTE, now, marks)):
        assert listing.bad == ()
        keys += [head.key for head in listing.heads]
        told = told if listing.marks is None else listing.marks
    return keys, told


async def test_imported_records_are_found_although_no_window_holds_them(tmp_path: Path) -> None:
    """An import keeps its past times; what was there at the first reading is no import."""
    async with running(tmp_path) as rig:
        add_deals(rig.portal, 3, PAST)
        _, marks = await poll(rig, "")
        add_deals(rig.portal, 2, PAST)
        add_leads(rig.portal, 1, PAST)
        assert (await poll(rig, None))[0] == []
        assert sorted((await poll(rig, marks))[0]) == ["deal:4", "deal:5", "lead:1"]


async def test_marks_are_all_a_restarted_process_needs(tmp_path: Path) -> None:
    """They are text; a source that was built anew goes on from them."""
    async with running(tmp_path) as rig:
        add_deals(rig.portal, 3, PAST)
        _, marks = await poll(rig, "")
        add_deals(rig.portal, 1, PAST)
        keys, marks = await poll(rig, marks, rig.another())
        assert keys == ["deal:4"]
        _, marks = await poll(rig, marks, rig.another())
        assert (await poll(rig, marks, rig.another()))[0] == []


async def test_a_large_import_is_read_whole(tmp_path: Path) -> None:
    """More than a page: the walk goes on behind the first one."""
    async with running(tmp_path, processes=(1032,)) as rig:
        _, marks = await poll(rig, "")
        add_deals(rig.portal, 2_613, PAST)
        for _ in range(51):
            rig.portal.data.add("item:1032", PAST, {"CATEGORY_ID": "5", "STAGE_ID": "DT1032_5:NEW"})
        keys, _ = await poll(rig, marks)
        expected = [f"deal:{number}" for number in range(1, 2_614)]
        assert keys == expected + [f"item:1032-{number}" for number in range(1, 52)]


async def test_a_quiet_poll_is_one_request(tmp_path: Path) -> None:
    """First pages and late records of all entities share a batch."""
    async with running(tmp_path) as rig:
        add_deals(rig.portal, 3, PAST)
        _, marks = await poll(rig, "")
        rig.portal.requests.clear()
        assert (await poll(rig, marks))[0] == []
        assert rig.asked == {"batch": 1}


async def test_new_and_changed_records_are_listed_as_ever(tmp_path: Path) -> None:
    """The shared first request loses no page of a long list."""
    async with running(tmp_path) as rig:
        _, marks = await poll(rig, "")
        add_deals(rig.portal, 2_613, rig.clock.now())
        add_leads(rig.portal, 60, rig.clock.now())
        keys, _ = await poll(rig, marks)
        assert len(keys) == len(set(keys)) == 2_673


class Racing(Bitrix24):
    """A portal in which an import is committed just after it was looked for, and a deal of today after that."""

    is_racing = False

    def _timed(self, name: str, params: Mapping[str, Any]) -> tuple[Reply, dict[str, Any]]:
        answer = super()._timed(name, params)
        if self.is_racing and name == "crm.deal.list" and ">=DATE_MODIFY" not in params["filter"]:
            self.is_racing = False
            self._add(PAST)
            self._add(self.clock.now() - MINUTE / 2)
        return answer

    def _add(self, at: datetime) -> None:
        self.data.add("deal", at, {"CATEGORY_ID": "1", "STAGE_ID": "C1:NEW"})


async def test_an_import_overtaken_by_a_newer_id_is_found_later(tmp_path: Path) -> None:
    """The list of today's deals shows a higher id than the import's: the next scan looks behind both, not between."""
    async with running(tmp_path) as rig:
        portal = Racing(rig.clock, is_limited=False)
        await portal.start()
        source = rig.another(base_url=portal.base_url, entities=["deal"])
        _, marks = await poll(rig, "", source)
        add_deals(portal, 50, rig.clock.now())
        portal.is_racing = True
        keys, marks = await poll(rig, marks, source)
        assert keys == [f"deal:{number}" for number in (*range(1, 51), 52)]
        assert "deal:51" in (await poll(rig, marks, source))[0]
        await portal.stop()


async def test_a_portal_that_ignores_the_filter_on_ids_is_an_alarm(tmp_path: Path) -> None:
    """A row behind which nothing should stand would make the walk endless."""

    class Widened(Bitrix24):
        """Drops the filter as if its key were mistyped (contract 3.1)."""

        def _timed(self, name: str, params: Mapping[str, Any]) -> tuple[Reply, dict[str, Any]]:
            wanted = {key: value for key, value in params.get("filter", {}).items() if key not in (">ID", "@ID")}
            return super()._timed(name, {**params, "filter": wanted})

    async with running(tmp_path) as rig:
        portal = Widened(rig.clock, is_limited=False)
        await portal.start()
        add_deals(portal, 2, PAST)
        source = rig.another(base_url=portal.base_url, entities=["deal"])
        with pytest.raises(Drift, match="filter"):
            await poll(rig, '{"deal":[7,7]}', source)
        with pytest.raises(Drift, match="not asked for"):
            await source.fetch(["deal:2"])
        await portal.stop()


@given(st.text(max_size=20))
def test_marks_that_cannot_be_read_count_as_none(text: str) -> None:
    """A first reading again, not a source that never reads."""
    assert Arrivals(text).after(DEAL) is None


def test_a_scan_looks_behind_what_the_one_before_the_last_had_seen() -> None:
    """Each entity by itself; an empty entity begins at 0."""
    first = Arrivals("")
    first.note(LEAD, [])
    assert first.text() == '{"lead":[0,0]}'
    later = Arrivals('{"deal":[5,9],"lead":[0,0]}')
    assert (later.after(DEAL), later.after(LEAD)) == (5, 0)
    assert later.text() == '{"deal":[9,9],"lead":[0,0]}'


async def test_a_merged_record_is_gone_and_the_surviving_one_has_changed(tmp_path: Path) -> None:
    """The first id survives with what the others alone knew; the others are in no list (contract 14)."""
    async with running(tmp_path) as rig:
        add_deals(rig.portal, 1, PAST)
        add_deals(rig.portal, 1, PAST, UF_CRM_YCLID=YCLID)
        _, marks = await poll(rig, "")
        rig.portal.data.merge("deal", [1, 2], rig.clock.now())
        assert (await poll(rig, marks))[0] == ["deal:1"]
        found = (await rig.source.fetch(["deal:1", "deal:2"])).heads
        told = await rig.source.complete(found, frozenset(), rig.all_time())
        assert [(item.key, item.is_deleted) for item in told if isinstance(item, Deal)] == [
            ("deal:1", False),
            ("deal:2", True),
        ]
        assert [clue.text for clue in (await read(rig.source, rig.all_time()))["deal:1"].clues] == [YCLID]

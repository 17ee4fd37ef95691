"""What goes over the wire, exactly; limits kept; the webhook's code nowhere but in the path."""

from __future__ import annotations

import os
from datetime import timedelta
from itertools import chain, repeat
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qsl, unquote

import httpx
import msgspec
import pytest
import respx
from hypothesis import given
from hypothesis import strategies as st

from adapters.bitrix24.directory import Directory
from adapters.bitrix24.fake_rest import parse_query
from adapters.bitrix24.portal import Command
from adapters.bitrix24.settings import Bitrix24Settings, webhook
from bridge.errors import AuthError, BridgeError, ConfigError, Drift, Refused, Throttled, Unavailable
from bridge.ports import Window
from bridge.sim.clock import ManualClock
from tests.adapters.bitrix24.kit import add_deals, add_leads, build, listed, running
from tests.support import START, adapter_tools

CODE = "k3v9x2m8q4w7t1z5"
BASE = "https://okna.bitrix24.ru"
SECTION = {"kind": "bitrix24", "base_url": BASE, "auth": {"webhook": {"env": "B24_TEST"}}, "entities": ["deal"]}
WINDOW = Window(START, START + timedelta(hours=1))


def page(first: int, count: int) -> list[dict[str, Any]]:
    return [{"ID": str(number), "DATE_MODIFY": "2026-03-02T12:30:00+03:00"} for number in range(first, first + count)]


# --- exact requests ----------------------------------------------------------------------------------------------


async def test_the_requests_of_a_scan_are_exactly_these(tmp_path: Path) -> None:
    """The first page of the list, then fifty chained pages behind its last id in one batch."""
    pages = {"p0": page(51, 50), "p1": page(101, 7)} | {f"p{n}": [] for n in range(2, 50)}
    answers = [{"result": found, "result_error": []} for found in ({"deal": page(1, 50)}, pages)]
    with patch.dict(os.environ, {"B24_TEST": f"12/{CODE}"}), respx.mock(using="httpx") as mock:
        batch = mock.post(f"{BASE}/rest/12/{CODE}/batch")
        batch.side_effect = [httpx.Response(200, json={"result": answer}) for answer in answers]
        async with adapter_tools(ManualClock(START), tmp_path) as tools:
            heads = await listed(build(tools, SECTION), WINDOW)
    assert [head.key for head in heads] == [f"deal:{number}" for number in range(1, 108)]
    begun, sent = [msgspec.json.decode(call.request.content) for call in batch.calls]
    (first,) = begun["cmd"].values()
    assert first.startswith("crm.deal.list?")
    asked = parse_query(first.partition("?")[2])
    assert asked["filter"] == {
        ">=DATE_MODIFY": "2026-03-02T09:00:00+00:00",
        "<DATE_MODIFY": "2026-03-02T10:00:00+00:00",
        "IS_RECURRING": "N",
        ">ID": "0",
    }
    assert (asked["order"], asked["start"]) == ({"ID": "ASC"}, "-1")
    assert {"UF_*", "STAGE_SEMANTIC_ID", "MOVED_TIME", "CONTACT_ID"} <= set(asked["select"])
    assert (sent["halt"], list(sent["cmd"])) == (1, [f"p{n}" for n in range(50)])
    assert "filter[%3EID]=50&" in sent["cmd"]["p0"]
    assert "filter[%3EID]=$result[p0][49][ID]&" in sent["cmd"]["p1"]
    assert dict(parse_qsl(sent["cmd"]["p1"].partition("?")[2]))["filter[>=DATE_MODIFY]"] == "2026-03-02T09:00:00+00:00"


plain_text = st.text(st.characters(blacklist_characters="$[]\x00", blacklist_categories=["Cs"]), max_size=12)


@given(
    st.dictionaries(st.sampled_from([">ID", "NAME", "=%TITLE", "<DATE"]), plain_text, min_size=1), st.lists(plain_text)
)
def test_a_command_says_in_a_query_what_the_json_body_would(only: dict[str, str], ids: list[str]) -> None:
    """Encoding and the portal's own reading of it agree for any text."""
    text = Command("crm.deal.list", {"filter": {**only, "@ID": ids}, "start": -1}).encode()
    expected = {"filter": {**only, **({"@ID": ids} if ids else {})}, "start": "-1"}
    assert parse_query(text.partition("?")[2]) == expected
    assert unquote(text).startswith("crm.deal.list?filter[")


# --- answers that are wrong --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([{"TITLE": "x"}], None),
        (page(5, 2)[::-1], None),
        ({"items": []}, None),
        (page(1, 50), {"result": {"p0": page(1, 50)}, "result_error": []}),
        (page(1, 50), {"result": {}, "result_error": []}),
        (page(1, 50), {"result": {f"p{n}": page(1, 50) for n in range(50)}, "result_error": []}),
        (page(1, 50), []),
    ],
)
async def test_pages_that_make_no_sense_are_drift(tmp_path: Path, first: Any, second: Any) -> None:
    """No ids, shuffled or repeated rows, another shape, missing pages: the cursor stays where it was."""
    with patch.dict(os.environ, {"B24_TEST": f"12/{CODE}"}), respx.mock(using="httpx") as mock:
        answers = chain([{"result": {"deal": first}, "result_error": []}], repeat(second))
        batch = mock.post(f"{BASE}/rest/12/{CODE}/batch")
        batch.side_effect = (httpx.Response(200, json={"result": answer}) for answer in answers)
        async with adapter_tools(ManualClock(START), tmp_path) as tools:
            with pytest.raises(Drift):
                await listed(build(tools, SECTION), WINDOW)
    assert (batch.call_count > 1) is (second is not None)


@pytest.mark.parametrize("odd", [[], None, {"result": {"deal": []}, "result_error": "x"}])
async def test_an_answer_of_another_shape_is_asked_for_once_more(tmp_path: Path, odd: Any) -> None:
    """As any other that makes no sense: a portal under load sends such."""
    good = {"result": {"deal": page(1, 3)}, "result_error": []}
    with patch.dict(os.environ, {"B24_TEST": f"12/{CODE}"}), respx.mock(using="httpx") as mock:
        batch = mock.post(f"{BASE}/rest/12/{CODE}/batch")
        batch.side_effect = [httpx.Response(200, json={"result": answer}) for answer in (odd, good)]
        async with adapter_tools(ManualClock(START), tmp_path) as tools:
            assert len(await listed(build(tools, SECTION), WINDOW)) == 3


async def test_many_lists_are_begun_by_as_many_requests_as_the_portal_needs(tmp_path: Path) -> None:
    """Every first page counts against the 60 seconds of one request."""
    sizes: list[int] = []

    def answer(request: httpx.Request) -> httpx.Response:
        commands = msgspec.json.decode(request.content)["cmd"]
        sizes.append(len(commands))
        if len(commands) > 3:
            return httpx.Response(504, html="<html>")
        pages = {name: {"items": []} if "item.list" in text else [] for name, text in commands.items()}
        return httpx.Response(200, json={"result": {"result": pages, "result_error": []}})

    entities = ["lead", "deal", *[f"item:{number}" for number in range(1032, 1042)]]
    with patch.dict(os.environ, {"B24_TEST": f"12/{CODE}"}), respx.mock(using="httpx") as mock:
        mock.post(f"{BASE}/rest/12/{CODE}/batch").mock(side_effect=answer)
        async with adapter_tools(ManualClock(START), tmp_path) as tools:
            source = build(tools, {**SECTION, "entities": entities})
            source._names = Directory()
            assert await listed(source, WINDOW) == []
    assert (max(sizes), sizes[-1]) == (12, 3)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (httpx.Response(401, json={"error": "INVALID_CREDENTIALS", "error_description": "x"}), AuthError),
        (httpx.Response(503, json={"error": "QUERY_LIMIT_EXCEEDED", "error_description": "x"}), Throttled),
        (httpx.Response(502, html="<html>"), Unavailable),
        (httpx.Response(302, headers={"location": f"https://new.bitrix24.ru/rest/12/{CODE}/x"}), Refused),
        (httpx.Response(400, json={"error": "", "error_description": "Access denied."}), Refused),
    ],
)
async def test_no_error_text_holds_the_webhook(tmp_path: Path, answer: httpx.Response, kind: type[BridgeError]) -> None:
    """The secret is part of the URL, so every text about a URL is suspect."""
    with patch.dict(os.environ, {"B24_TEST": f"12/{CODE}"}), respx.mock(using="httpx") as mock:
        mock.post(url__regex=r"https://(okna|new)\.bitrix24\.ru/.*").mock(return_value=answer)
        async with adapter_tools(ManualClock(START), tmp_path) as tools:
            with pytest.raises(kind) as caught:
                await listed(build(tools, SECTION), WINDOW)
    assert CODE not in f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"


async def test_an_unreachable_portal_is_named_without_its_secret(tmp_path: Path) -> None:
    """Host and method are enough to repair it."""
    section = {**SECTION, "base_url": "http://127.0.0.1:9"}
    with patch.dict(os.environ, {"B24_TEST": f"12/{CODE}"}):
        async with adapter_tools(ManualClock(START), tmp_path) as tools:
            with pytest.raises(Unavailable) as caught:
                await listed(build(tools, section), WINDOW)
    assert "127.0.0.1" in str(caught.value)
    assert CODE not in repr(caught.value)


# --- limits ------------------------------------------------------------------------------------------------------


async def test_our_own_pace_never_meets_the_portals_limit(tmp_path: Path) -> None:
    """A burst of 40 and two a second after it stay below the 50 at which the portal refuses."""
    async with running(tmp_path, is_limited=True) as rig:
        add_deals(rig.portal, 1)
        refused = 0
        for _ in range(43):
            await rig.source.fetch(["deal:1"])
            refused += rig.portal._bucket.level > 49
        assert rig.asked == {"batch": 43}
        assert refused == 0


async def test_another_program_on_this_host_only_slows_us_down(tmp_path: Path) -> None:
    """The limit is per address: a bucket that others filled means "later", and later it works."""
    async with running(tmp_path, is_limited=True) as rig:
        add_deals(rig.portal, 1)
        rig.portal._bucket.level, rig.portal._bucket.drain = 50.0, 0.0
        with pytest.raises(Throttled):
            await rig.source.fetch(["deal:1"])
        rig.portal._bucket.level = 0.0
        assert len((await rig.source.fetch(["deal:1"])).heads) == 1


async def test_operating_time_is_left_before_the_portal_refuses(tmp_path: Path) -> None:
    """Near the limit the method is held back until the portal says it drops; no request is refused."""
    async with running(tmp_path, operating_limit=480.0, costs={"crm.deal.list": 100.0}) as rig:
        add_deals(rig.portal, 1)
        for _ in range(12):
            assert len((await rig.source.fetch(["deal:1"])).heads) == 1
        assert rig.asked == {"batch": 12}
        assert rig.clock.now() - START >= timedelta(minutes=20)


async def test_a_refused_method_waits_for_the_reset_it_has_seen(tmp_path: Path) -> None:
    """Somebody else used up the time: the error says how long to wait."""
    async with running(tmp_path, operating_limit=480.0, costs={"crm.deal.list": 1.0}) as rig:
        add_deals(rig.portal, 1)
        await rig.source.fetch(["deal:1"])
        rig.portal.operating.costs["crm.deal.list"] = 480.0
        rig.portal.operating.add("crm.deal.list", rig.clock.now().timestamp(), 0.0)
        with pytest.raises(Throttled) as caught:
            await rig.source.fetch(["deal:1"])
        assert caught.value.retry_after == pytest.approx(600, abs=2)
        rig.portal.operating.costs["crm.deal.list"] = 1.0
        rig.clock.advance(timedelta(minutes=11))
        assert len((await rig.source.fetch(["deal:1"])).heads) == 1


async def test_the_methods_of_a_batch_are_held_back_each_by_its_own_time(tmp_path: Path) -> None:
    """Leads and deals share requests: the one near its limit decides, whichever comes first."""
    async with running(tmp_path, operating_limit=480.0, costs={"crm.deal.list": 100.0, "crm.lead.list": 1.0}) as rig:
        add_deals(rig.portal, 1)
        add_leads(rig.portal, 1)
        for _ in range(12):
            assert len((await rig.source.fetch(["lead:1", "deal:1"])).heads) == 2
        assert rig.asked == {"batch": 12}
        assert rig.clock.now() - START >= timedelta(minutes=20)


async def test_a_method_refused_inside_a_batch_waits_for_its_own_reset(tmp_path: Path) -> None:
    """The error names no time: that of the refused method counts, not that of the batch's first one."""
    async with running(tmp_path, operating_limit=480.0, costs={"crm.deal.list": 1.0, "crm.lead.list": 1.0}) as rig:
        add_deals(rig.portal, 1)
        add_leads(rig.portal, 1)
        await rig.source.fetch(["deal:1"])
        rig.clock.advance(timedelta(minutes=5))
        await rig.source.fetch(["lead:1"])
        rig.portal.operating.costs["crm.deal.list"] = 480.0
        rig.portal.operating.add("crm.deal.list", rig.clock.now().timestamp(), 0.0)
        with pytest.raises(Throttled, match=r"crm\.deal\.list") as caught:
            await rig.source.fetch(["lead:1", "deal:1"])
        assert caught.value.retry_after == pytest.approx(300, abs=2)


# --- settings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["12/abcd1234", " 12/abcd1234/ ", "https://x.bitrix24.ru/rest/12/abcd1234/"])
def test_a_webhook_is_understood_as_people_paste_it(text: str) -> None:
    """USER/CODE, or the whole URL the portal shows."""
    assert webhook(text) == "12/abcd1234"


@pytest.mark.parametrize("text", ["abcd1234", "12/", "/abcd1234", "12/ab cd", "0/abcd1234", "12/abcd/profile"])
def test_a_wrong_webhook_is_named_but_not_repeated(text: str) -> None:
    """It may be the secret after all."""
    with pytest.raises(ConfigError) as caught:
        webhook(text)
    assert text not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"base_url": f"{BASE}/rest/12/{CODE}/"},
        {"base_url": "okna.bitrix24.ru"},
        {"entities": []},
        {"entities": ["company"]},
        {"requests_per_second": 0},
        {"auth": {"webhook": f"12/{CODE}"}},
        {"webhook": "x"},
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, Any]) -> None:
    """A pasted webhook in the address would be a secret in a file."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - pydantic's own; the text is checked below
        Bitrix24Settings.model_validate({**SECTION, **changes})
    assert changes.keys() & {error["loc"][0] for error in caught.value.errors()}  # type: ignore[attr-defined]  # pydantic's


def test_settings_have_the_documented_defaults() -> None:
    """Both entities, two requests a second."""
    made = Bitrix24Settings.model_validate({key: value for key, value in SECTION.items() if key != "entities"})
    assert (made.entities, made.requests_per_second, made.loss_reason_field) == (("lead", "deal"), 2.0, None)

"""Words of vendors that their contracts do not have are tolerated, and counted: one of each adapter that meets some."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import respx

from adapters.amocrm import SPEC as AMOCRM
from adapters.amocrm import fake_store
from adapters.amocrm.fake import AmoCrm
from adapters.bitrix24 import SPEC as BITRIX24
from adapters.bitrix24.fake import Bitrix24
from adapters.callibri import SPEC as CALLIBRI
from adapters.callibri.fake import Callibri
from adapters.calltouch import SPEC as CALLTOUCH
from adapters.calltouch.fake import Calltouch, Quirks
from adapters.hubspot import SPEC as HUBSPOT
from adapters.hubspot import fake_rest
from adapters.hubspot.fake import HubSpot
from adapters.meta_capi import SPEC as META
from adapters.meta_capi import answers
from adapters.roistat import SPEC as ROISTAT
from bridge.errors import BridgeError, Refused
from bridge.frozen import replace
from bridge.ports import AdapterSpec, Payload, Sealed, Source, Window
from bridge.sim.clock import ManualClock
from bridge.sim.server import Simulator
from bridge.tools import Tools
from tests.adapters.hubspot.kit import NO_LAG
from tests.support import START, adapter_tools, simulated

Drift = dict[tuple[str, str], int]


def build(spec: AdapterSpec, fake: Any, tools: Tools) -> Source:
    assert spec.source is not None
    return spec.source.build("crm", spec.source.settings.model_validate(fake.settings()), tools)


async def named(spec: AdapterSpec, fake: Simulator, folder: Path, change: Callable[[], None]) -> Drift:
    """What is counted when names are read again after a change of the vendor's; nothing is before it."""
    async with simulated(fake, folder) as tools:
        source = build(spec, fake, tools)
        before = await source.catalogue()
        assert not tools.drift.take()
        change()
        after = await source.catalogue()
        assert len(after.pipelines) == len(before.pipelines)
        return dict(tools.drift.take())


async def of_amocrm(folder: Path, patch: pytest.MonkeyPatch) -> Drift:
    fields = (*fake_store.LEAD_FIELDS, (999, "Новое", None, "hologram"))
    change = lambda: patch.setattr(fake_store, "LEAD_FIELDS", fields)  # noqa: E731 - a call to be made later
    return await named(AMOCRM, AmoCrm(ManualClock(START), is_limited=False), folder, change)


async def of_bitrix24(folder: Path, patch: pytest.MonkeyPatch) -> Drift:
    portal = Bitrix24(ManualClock(START), is_limited=False)
    places = [number for number, one in enumerate(portal.data.statuses) if one.directory == "STATUS"]

    def change() -> None:
        portal.data.statuses[places[0]] = replace(portal.data.statuses[places[0]], semantics="X")

    return await named(BITRIX24, portal, folder, change)


async def of_hubspot(folder: Path, patch: pytest.MonkeyPatch) -> Drift:
    shown = fake_rest.pipelines

    def changed(*args: Any) -> Any:
        reply = shown(*args)
        reply.body["results"][0]["stages"][0]["metadata"]["isClosed"] = "maybe"
        return reply

    change = lambda: patch.setattr(fake_rest, "pipelines", changed)  # noqa: E731 - a call to be made later
    return await named(HUBSPOT, HubSpot(ManualClock(START), is_limited=False, lag=NO_LAG), folder, change)


async def of_callibri(folder: Path, patch: pytest.MonkeyPatch) -> Drift:
    """Appeals of a kind that nobody reads."""
    fake = Callibri(ManualClock(START), is_limited=False)
    patch.setattr(fake, "_channels", lambda calls: [{"channel_id": 1, "name_channel": "x", "telegrams": []}])
    async with simulated(fake, folder) as tools:
        source = build(CALLIBRI, fake, tools)
        assert [one.heads async for one in source.scan(Window(START, START))] == [()]
        return dict(tools.drift.take())


async def of_calltouch(folder: Path, patch: pytest.MonkeyPatch) -> Drift:
    """Another name for the number of all calls."""
    fake = Calltouch(ManualClock(START), is_limited=False, quirks=Quirks(total="recordsAmount"))
    async with simulated(fake, folder) as tools:
        source = build(CALLTOUCH, fake, tools)
        assert [one.heads async for one in source.scan(Window(START, START))] == [(), ()]
        return dict(tools.drift.take())


async def of_roistat(folder: Path, patch: pytest.MonkeyPatch) -> Drift:
    """A success by another name, and an error that nobody has heard of."""
    patch.setenv("ROISTAT_KEY", "k")
    section = {
        "kind": "roistat",
        "project": 1,
        "api_key": {"env": "ROISTAT_KEY"},
        "base_url": "https://roistat.example",
    }
    with respx.mock(using="httpx") as mock:
        good = {"status": "partial", "data": [], "total": 0, "trace": "a"}
        bad = {"status": "error", "error": "project_is_asleep"}
        mock.post().mock(side_effect=[respx.MockResponse(200, json=one) for one in (good, bad)])
        async with adapter_tools(ManualClock(START), folder) as tools:
            assert ROISTAT.source is not None
            settings = ROISTAT.source.settings.model_validate(
                {**section, "entities": ["call"], "requests_per_second": 1000}
            )
            source = ROISTAT.source.build("crm", settings, tools)
            assert [one.heads async for one in source.scan(Window(START, START))] == [()]
            with pytest.raises(Refused):
                assert [one.heads async for one in source.scan(Window(START, START))]
            return dict(tools.drift.take())


async def of_meta(folder: Path, patch: pytest.MonkeyPatch) -> Drift:
    """A field of a good answer, and a reason that is no payload's fault."""
    patch.setenv("META_TOKEN", "EAAx")
    section = {
        **{"kind": "meta_capi", "dataset_id": "123456", "token": {"env": "META_TOKEN"}, "lead_event_source": "CRM"},
        "base_url": "https://graph.example",
    }
    assert META.destination is not None
    with respx.mock(using="httpx") as mock:
        good = {"events_received": 1, "messages": [], "fbtrace_id": "A", "events_held": 1}
        bad = {"error": {"code": 987, "error_subcode": 1}}
        mock.post().mock(side_effect=[respx.MockResponse(200, json=good), respx.MockResponse(400, json=bad)])
        async with adapter_tools(ManualClock(START), folder) as tools:
            made = META.destination.build("meta", META.destination.settings.model_validate(section), tools)
            batch = Sealed("0" * 32, Payload(b"{}"), ("1" * 32,))
            await made.send(batch)
            with pytest.raises(BridgeError):
                await made.send(batch)
            return dict(tools.drift.take())


@pytest.mark.parametrize(
    ("play", "counted"),
    [
        (of_amocrm, {("field type", "hologram"): 1}),
        (of_bitrix24, {("stage semantics", "X"): 1}),
        (of_hubspot, {("stage isClosed", "maybe"): 1}),
        (of_callibri, {("field", "channels_statistics.telegrams"): 1}),
        (of_calltouch, {("field", "recordsAmount"): 1}),
        (of_roistat, {("field", "trace"): 1, ("status", "partial"): 1, ("error", "project_is_asleep"): 1}),
        (of_meta, {("field", "events_held"): 1, ("error", "code-987/1"): 1}),
    ],
)
async def test_what_no_contract_has_is_counted(
    play: Callable[[Path, pytest.MonkeyPatch], Awaitable[Drift]],
    counted: Drift,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And read as before: the record, the stage, the answer stand."""
    assert await play(tmp_path, monkeypatch) == counted


@pytest.mark.parametrize(
    ("code", "is_known"), [("100/2804003", True), ("100/33", True), ("http_404", True), ("100/1", False), ("7", False)]
)
def test_metas_reasons_are_known_by_their_codes(code: str, is_known: bool) -> None:
    """Payload faults are a family (contract meta_capi 2)."""
    assert answers.is_known(Refused("x", code=code)) == is_known

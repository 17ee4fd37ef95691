"""Clients that list all deals of a portal with the same fields: the bridge's source, and two that others wrote."""

from __future__ import annotations

import asyncio
import inspect
import os
import tempfile
import warnings
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tests.bench import child
from tests.bench.child import Watch, library

# What the bridge selects (adapters/bitrix24/mapping.py), written out so that the others need not import it.
FIELDS = (
    *("ID", "DATE_CREATE", "DATE_MODIFY", "MOVED_TIME", "OPPORTUNITY", "CURRENCY_ID", "CONTACT_ID", "SOURCE_ID"),
    *("SOURCE_DESCRIPTION", "COMMENTS", "UTM_SOURCE", "UTM_MEDIUM", "UTM_CAMPAIGN", "UTM_CONTENT", "UTM_TERM", "UF_*"),
    *("STAGE_ID", "STAGE_SEMANTIC_ID", "CATEGORY_ID", "LEAD_ID", "IS_RECURRING"),
)
_QUERY = {"select": list(FIELDS), "filter": {">ID": 0}}


def _webhook(told: dict[str, Any]) -> str:
    return f"{told['crm']}/rest/{told['crm_secret']}/"


def ours(told: dict[str, Any], watch: Watch) -> tuple[int, float]:
    """Listings are consumed as they come."""
    return asyncio.run(_ours(told, watch))


async def _ours(told: dict[str, Any], watch: Watch) -> tuple[int, float]:
    bitrix24, clocks = library("adapters.bitrix24"), library("bridge.sim.clock")
    library("bridge.log").setup("error", "console")
    now = datetime.fromisoformat(told["now"])
    os.environ["WEBHOOK"] = told["crm_secret"]
    section = {
        "kind": "bitrix24",
        "base_url": told["crm"],
        "auth": {"webhook": {"env": "WEBHOOK"}},
        "entities": ["deal"],
        "requests_per_second": 1000,
    }
    count = 0
    spec = bitrix24.SPEC.source
    folder = Path(tempfile.gettempdir())
    async with library("tests.support").adapter_tools(clocks.ManualClock(now), folder) as tools:
        source = spec.build("b24", spec.settings.model_validate(section), tools)
        before = child.peak_rss()
        watch.start()
        async for listing in source.scan(library("bridge.ports").Window(now - timedelta(days=60), now)):
            count += len([bitrix24.mapping.opened(head) for head in listing.heads])  # the others decode every row, too
        watch.stop()
    return count, before


def fast_bitrix24(told: dict[str, Any], watch: Watch) -> tuple[int, float]:
    """Its ``get_all``; its own pace lets 50 requests go at once, which is more than it needs."""
    client = library("fast_bitrix24").BitrixAsync(_webhook(told), verbose=False)
    before = child.peak_rss()
    watch.start()
    rows = asyncio.run(client.get_all("crm.deal.list", _QUERY))
    watch.stop()
    return len(rows), before


def b24pysdk(told: dict[str, Any], watch: Watch, *, is_fast: bool) -> tuple[int, float]:
    """The vendor's SDK. It knows ``https://`` only, so the scheme is changed as the request leaves."""
    sdk = library("b24pysdk.credentials.bitrix_token")
    session_class = library("requests").Session
    send = session_class.send

    def plain(session: Any, request: Any, **options: Any) -> Any:
        request.url = request.url.replace("https://", "http://", 1)
        return send(session, request, **options)

    session_class.send = plain
    token = sdk.BitrixWebhook(domain=told["crm"].removeprefix("http://"), webhook_token=told["crm_secret"])
    call = token.call_list_fast if is_fast else token.call_list
    before = child.peak_rss()
    watch.start()
    rows: Iterable[Any] = call("crm.deal.list", {"select": list(FIELDS)})["result"]
    count = sum(1 for _ in rows) if inspect.isgenerator(rows) else len(list(rows))
    watch.stop()
    return count, before


def main(told: dict[str, Any], watch: Watch) -> None:
    """Run the named reader."""
    warnings.simplefilter("ignore")
    name = told["part"]
    if name == "ours":
        count, before = ours(told, watch)
    elif name == "fast_bitrix24":
        count, before = fast_bitrix24(told, watch)
    else:
        count, before = b24pysdk(told, watch, is_fast=name.endswith("fast"))
    child.report(watch, count, before=before)


if __name__ == "__main__":
    main(child.arguments(), Watch())

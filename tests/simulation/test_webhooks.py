"""A business told by webhooks that are lost, doubled, shuffled and forged: what is delivered is the same as ever."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from adapters.amocrm.fake import Quirks
from adapters.amocrm.registration import EVENTS
from adapters.bitrix24.fake_events import Outgoing
from adapters.hubspot.fake import HubSpot
from bridge.loops import hints
from bridge.sim.stage import Cast
from bridge.web.server import WebServer
from tests.e2e.kit import free_port
from tests.simulation.kit import CRMS, START, play, staged

SECRET, TOKEN = "k3v0p1q8w2z7m4n6b9c5x1l2", "q4t8zk2m7w1x5r9c3n6v0b8d2f4h6j1p"
DAYS = 6
HOOKS: dict[str, dict[str, Any]] = {
    "amocrm": {"secret": {"env": "HOOK"}},
    "bitrix24": {"secret": {"env": "HOOK"}, "application_token": {"env": "HOOK_TOKEN"}},
    "hubspot": {"secret": {"env": "HOOK"}, "client_secret": {"env": "HOOK_APP"}},
}
DEAL_EVENTS = frozenset(f"ONCRM{kind}{action}" for kind in ("LEAD", "DEAL") for action in ("ADD", "UPDATE", "DELETE"))

HUBSPOT_EVENTS = (
    *("deal.creation", "deal.propertyChange:dealstage", "deal.propertyChange:amount"),
    *("contact.creation", "contact.propertyChange:lifecyclestage"),
)


def subscribed(crm: Any, kind: str, address: str) -> Callable[[], list[Any]]:
    """The vendor posts to this address from now on; what gives its posts on their way."""
    if kind == "amocrm":
        crm.hooks._save(address, list(EVENTS))
        return lambda: crm.hooks.pending
    if kind == "hubspot":
        crm.hooks.target, crm.hooks.subscriptions = address, HUBSPOT_EVENTS
        return lambda: crm.hooks.pending
    crm.events.webhooks.append(Outgoing(address, DEAL_EVENTS, TOKEN))
    return lambda: crm.events.pending


def disordered(posts: list[Any], dice: random.Random) -> None:
    """Some lost, some doubled, none in its place."""
    kept = [post for post in posts for _ in range(dice.choice((0, 1, 1, 1, 2, 3)))]
    dice.shuffle(kept)
    posts[:] = kept


async def forged(address: str, dice: random.Random) -> int:
    """A post of somebody who has the address: about leads that are not, and nonsense."""
    number = dice.randrange(10**6)
    body = f"leads[update][0][id]={number}&event=ONCRMDEALUPDATE&data[FIELDS][ID]={number}"
    async with aiohttp.ClientSession() as session, session.post(address, data=body) as answer:
        return answer.status


@pytest.mark.parametrize("kind", CRMS)
async def test_webhooks_in_any_disorder_change_nothing_but_the_time(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most of it is read by webhooks between rare polls; nothing is missing, doubled or invented, and nothing waits."""
    dice = random.Random(11)
    listen = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("BRIDGE_WEB__PUBLIC_URL", f"http://{listen}")  # some vendors sign it
    late = {"quirks": Quirks(event_delay=2.0)} if kind == "amocrm" else {}
    stage = staged(Cast(11, START, days=DAYS, leads=60, kinds=(kind,), crm_options=late))
    (tmp_path / "secrets").mkdir()
    app = stage.scenes[0].crm.tokens.client_secret if isinstance(stage.scenes[0].crm, HubSpot) else TOKEN
    for name, secret in (("HOOK", SECRET), ("HOOK_TOKEN", TOKEN), ("HOOK_APP", app)):
        (tmp_path / "secrets" / name).write_text(secret, encoding="utf-8")
    async with play(tmp_path, stage, web=listen, source={"hook": HOOKS[kind]}) as made:
        server = WebServer(made.installation, made.installation.names())
        await server.start()
        (scene,) = stage.scenes
        crm: Any = scene.crm
        address = f"http://{listen}/hooks/{scene.tenant}/crm/{SECRET}"
        posts = subscribed(crm, kind, address)
        desk = crm.events if kind == "bitrix24" else crm.hooks
        tenant = await made.installation.tenant(scene.tenant)
        read = planned = 0
        for number in range(DAYS * 8):
            stage.advance(stage.told_until + timedelta(hours=3))
            disordered(posts(), dice)
            assert set(await desk.deliver()) <= {200}
            assert await forged(address, dice) == (200 if kind == "amocrm" else 404)
            told = await hints.once(tenant)
            read += told.done["hints"]
            planned += told.done["planned"]
            if number % 8 == 7:
                await made.turn()
        await server.stop()
        posts().clear()
        await made.live(timedelta(hours=6))
        assert made.problems == []
        assert read > 100
        assert planned > 20
        assert {key: verdict.counts() for key, verdict in stage.verdicts().items() if not verdict.is_clean} == {}
        assert (await tenant.hints.report(scene.tenant, "crm")).waiting == 0

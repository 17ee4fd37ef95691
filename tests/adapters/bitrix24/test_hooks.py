"""What is read from a portal's webhook: one id, if the portal's own token stands beside it. What the portal posts."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from adapters.bitrix24 import hooks
from adapters.bitrix24.entities import DEAL, LEAD, Entity, process
from adapters.bitrix24.fake_events import Outgoing
from adapters.bitrix24.settings import Bitrix24Settings
from bridge.errors import Refused
from bridge.hints import Hook
from tests.adapters.bitrix24.kit import add_deals, add_leads, running
from tests.support import START, served

TOKEN = "q4t8zk2m7w1x5r9c3n6v0b8d2f4h6j1p"
ALL = [LEAD, DEAL, process(1032)]
EVENTS = frozenset([*hooks.events_of(ALL), "ONCRMCONTACTUPDATE"])


def read(event: str, fields: dict[str, object], token: str = TOKEN, entities: list[Entity] = ALL) -> tuple[str, ...]:
    named = [(f"data[FIELDS][{name}]", str(value)) for name, value in fields.items()]
    body = urlencode([("event", event), *named, ("auth[application_token]", token)])
    return hooks.records_of(Hook("", {}, body.encode(), START), token=TOKEN.encode(), read=entities)


@pytest.mark.parametrize(
    ("event", "fields", "key"),
    [
        ("ONCRMLEADADD", {"ID": 5}, "lead:5"),
        ("oncrmleaddelete", {"ID": 5}, "lead:5"),
        ("ONCRMDEALUPDATE", {"ID": "7310"}, "deal:7310"),
        ("ONCRMDEALMOVETOCATEGORY", {"ID": 7, "CATEGORY_ID": 1, "STAGE_ID": "C1:NEW"}, "deal:7"),
        ("ONCRMDYNAMICITEMUPDATE", {"ID": 9, "ENTITY_TYPE_ID": 1032}, "item:1032-9"),
        ("ONCRMDYNAMICITEMUPDATE", {"ID": 9, "ENTITY_TYPE_ID": 31}, ""),
        ("ONCRMDYNAMICITEMUPDATE", {"ID": 9}, ""),
        ("ONCRMCONTACTUPDATE", {"ID": 9}, ""),
        ("ONCRMDEALUPDATE", {}, ""),
        ("ONAPPTEST", {"ID": 9}, ""),
        *(("ONCRMDEALUPDATE", {"ID": bad}, "") for bad in ("", "0", "-1", "1.5", "x", "9" * 30, "٥")),
    ],
)
def test_an_event_names_one_record(event: str, fields: dict[str, object], key: str) -> None:
    """Whatever we do not read is no hint and no error (contract bitrix24 8.1)."""
    assert read(event, fields) == ((key,) if key else ())


def test_what_is_not_read_is_no_hint() -> None:
    """A source without leads is not asked for them."""
    assert read("ONCRMLEADADD", {"ID": 5}, entities=[DEAL]) == ()


@pytest.mark.parametrize("token", ["", "q4t8", TOKEN + "x", "я"])
def test_the_token_of_another_is_refused(token: str) -> None:
    """It is the only proof there is."""
    with pytest.raises(Refused) as refused:
        read("ONCRMDEALUPDATE", {"ID": 5}, token)
    assert refused.value.code == "wrong_token"


def test_the_token_is_a_secret_of_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read once, when the door is made."""
    monkeypatch.setenv("T", TOKEN)
    hook = {"secret": {"env": "S"}, "application_token": {"env": "T"}}
    section = {"base_url": "https://x.bitrix24.ru", "auth": {"webhook": {"env": "W"}}, "entities": ["deal"]}
    parse = hooks.reader(Bitrix24Settings.model_validate({**section, "hook": hook}), tmp_path)
    body = urlencode([("event", "ONCRMDEALADD"), ("data[FIELDS][ID]", "3"), ("auth[application_token]", TOKEN)])
    assert parse(Hook("", {}, body.encode(), START)) == ("deal:3",)


@given(st.binary(max_size=400))
def test_garbage_is_refused(body: bytes) -> None:
    """Without the token nothing else is looked at."""
    with pytest.raises(Refused):
        hooks.records_of(Hook("", {}, body, START), token=TOKEN.encode(), read=ALL)


@given(st.text(max_size=40), st.dictionaries(st.text(max_size=10), st.text(max_size=10), max_size=5))
def test_garbage_beside_the_token_names_nobody(event: str, others: dict[str, str]) -> None:
    """Only a known event with a number is a hint."""
    safe = {
        name.encode("utf-8", "replace").decode(): text.encode("utf-8", "replace").decode()
        for name, text in others.items()
    }
    pairs = [("event", event.encode("utf-8", "replace").decode()), *safe.items(), ("auth[application_token]", TOKEN)]
    found = hooks.records_of(Hook("", {}, urlencode(pairs).encode(), START), token=TOKEN.encode(), read=ALL)
    assert found == ()


# --- the simulator -----------------------------------------------------------------------------------------------


@asynccontextmanager
async def handled(status: int = 200) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that a portal's webhooks are posted to: its address, and the bodies that came."""
    bodies: list[bytes] = []

    async def take(request: web.Request) -> web.Response:
        bodies.append(await request.read())
        return web.Response(status=status)

    async with served(take) as address:
        yield address, bodies


def named(bodies: list[bytes]) -> list[str]:
    """Keys of what these webhooks name, as our parser reads them."""
    token = TOKEN.encode()
    return [key for body in bodies for key in hooks.records_of(Hook("", {}, body, START), token=token, read=ALL)]


async def test_what_the_portal_posts_is_what_we_read(tmp_path: Path) -> None:
    """Created, changed, deleted; leads, deals and items; a change of pipeline not, since no webhook may have that."""
    async with running(tmp_path, processes=[1032]) as rig, handled() as (address, bodies):
        rig.portal.events.webhooks.append(Outgoing(address, EVENTS, TOKEN))
        add_leads(rig.portal, 1)
        add_deals(rig.portal, 1)
        rig.portal.data.add("item:1032", START, {"CATEGORY_ID": "5", "STAGE_ID": "DT1032_5:NEW"})
        rig.portal.data.update("deal", 1, START, {"TITLE": "x"})
        rig.portal.data.update("deal", 1, START, {"CATEGORY_ID": "10", "STAGE_ID": "C10:PREPAYMENT_INVOIC"})
        rig.portal.data.delete("deal", 1)
        assert await rig.portal.events.deliver() == [200] * 5
        assert named(bodies) == ["lead:1", "deal:1", "item:1032-1", "deal:1", "deal:1"]


async def test_the_portal_tries_once(tmp_path: Path) -> None:
    """An answer it does not like changes nothing (contract bitrix24 8.1)."""
    async with running(tmp_path) as rig, handled(500) as (address, bodies):
        rig.portal.events.webhooks.append(Outgoing(address, EVENTS, TOKEN))
        add_deals(rig.portal, 1)
        assert await rig.portal.events.deliver() == [500]
        assert await rig.portal.events.deliver() == []
        assert len(bodies) == 1


async def test_events_may_come_twice_shuffled_and_from_others(tmp_path: Path) -> None:
    """The parser does not mind the first two, and knows the third."""
    async with running(tmp_path) as rig, handled() as (address, bodies):
        rig.portal.events.webhooks.append(Outgoing(address, EVENTS, TOKEN))
        add_deals(rig.portal, 5)
        rig.portal.events.pending *= 2
        random.Random(4).shuffle(rig.portal.events.pending)
        await rig.portal.events.deliver()
        assert sorted(set(named(bodies))) == [f"deal:{number}" for number in range(1, 6)]
        rig.portal.events.webhooks[0].token = "of another webhook"
        rig.portal.data.update("deal", 1, START, {"TITLE": "x"})
        await rig.portal.events.deliver()
        with pytest.raises(Refused):
            named(bodies[-1:])

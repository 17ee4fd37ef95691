"""The collector over a real socket: who may post, what is kept, how much, and what the snippet is."""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from bridge.collector.post import BODY_MAX, Form
from bridge.collector.source import CollectorSource
from bridge.config import TenantSettings
from bridge.frozen import replace
from bridge.identity import seal_contacts
from bridge.model import Contact, Deal, DealKind, Outcome
from bridge.ports import Level
from bridge.store.collected import TAKEN, Collected, Post
from bridge.store.records import Records
from bridge.web.collect import snippet
from bridge.web.server import WebServer
from bridge.web.status import status
from tests.browser.minify import SMALL, minified
from tests.support import START
from tests.unit.collector.kit import KEY, SITE, body, settings
from tests.unit.web.test_server import Served, installed

FROM_SITE = {"Origin": SITE}
SIZE_MAX = 3 * 1024  # bytes


@pytest.fixture
async def served(tmp_path: Path, logged: io.StringIO) -> AsyncIterator[Served]:
    """An installation with one tenant that has a collector, and one that has none."""
    collector = settings(phone_input="[type=tel]", per_visitor=1000, per_minute=1000)
    okna = TenantSettings(sources={"collector": collector})
    async with installed(tmp_path, okna=okna, sad=TenantSettings()) as made:
        yield made


@pytest.fixture
async def server(served: Served) -> AsyncIterator[WebServer]:
    web = WebServer(served, ["okna", "sad"])
    await web.start()
    yield web
    await web.stop()


async def change(served: Served, server: WebServer, **changes: Any) -> None:
    """Other settings of the collector, as after a restart."""
    await server.stop()
    old = served.config.tenants["okna"].sources["collector"]
    tenant = TenantSettings(sources={"collector": old.model_copy(update=changes)})
    served.config = replace(served.config, tenants={**served.config.tenants, "okna": tenant})
    await server.start()


async def ask(
    served: Served, path: str, data: bytes | None = None, method: str = "POST", headers: Any = FROM_SITE
) -> tuple[int, str, Any]:
    url = f"http://{served.config.web.listen}{path}"
    async with aiohttp.ClientSession() as session, session.request(method, url, data=data, headers=headers) as answer:
        return answer.status, await answer.text(), answer.headers


async def posts_of(served: Served) -> Sequence[Post]:
    return await Collected(served.store).listed("okna", START, START + timedelta(days=1), None, 100)


async def kept(served: Served) -> list[Form]:
    return [msgspec.json.decode(post.body, type=Form) for post in await posts_of(served)]


async def counts(served: Served, server: WebServer) -> dict[str, int]:
    """What was counted; the server has to end for that, else counts wait for a while."""
    await server.stop()
    return dict((await served.reports.collected("okna")).counts)


PHONE = "+7 (916) 123-45-67"


@pytest.mark.usefixtures("server")
async def test_a_post_of_the_site_is_kept_before_it_is_answered(served: Served, logged: io.StringIO) -> None:
    """204 with the site's own origin; its phone becomes the digest that the deals of the person have, at once."""
    told = json.dumps(body(x={"p": [PHONE]})).encode()
    code, text, headers = await ask(served, "/collect/okna", told)
    assert (code, text, headers["Access-Control-Allow-Origin"], headers["Vary"]) == (204, "", SITE, "Origin")
    assert "Set-Cookie" not in headers
    (form,) = await kept(served)
    assert (form.key, form.at) == (KEY, START)
    contact = Contact("5", phones=("89161234567",))
    deal = Deal(DealKind.LEAD, "1", "", START, START, "", "", Outcome.OPEN, contacts=(contact,))
    sealed = seal_contacts(deal, await Records(served.store).join_key("okna"), "crm", "RU")
    assert form.joins == sealed.joins[:1]
    everything = "".join([*map(repr, await kept(served)), logged.getvalue()])
    assert [part for part in ("123-45-67", "9161234567") if part in everything] == []


async def test_nobody_else_may_post(served: Served, server: WebServer, logged: io.StringIO) -> None:
    """Other sites, pages without an origin, plain HTTP, likenesses of the site's name: 403, counted, said once."""
    told = json.dumps(body()).encode()
    others = [
        "",
        "null",
        "https://other.example",
        "http://okna.example",
        "https://okna.example.evil.example",
        "https://[",
    ]
    others += ["https://notokna.example", "https://www.okna.example"]
    for origin in others:
        answer = await ask(served, "/collect/okna", told, headers={"Origin": origin} if origin else {})
        assert answer[0] == 403, origin
        assert "Access-Control-Allow-Origin" not in answer[2]
    assert await kept(served) == []
    assert await counts(served, server) == {"other_site": len(others)}
    assert logged.getvalue().count("post_refused") == 1


@pytest.mark.usefixtures("server")
async def test_a_browser_may_ask_first(served: Served) -> None:
    """A preflight request of the site is allowed, that of others is not."""
    code, _, headers = await ask(served, "/collect/okna", method="OPTIONS")
    assert (code, headers["Access-Control-Allow-Methods"], headers["Access-Control-Allow-Origin"]) == (
        204,
        "POST",
        SITE,
    )
    assert (await ask(served, "/collect/okna", method="OPTIONS", headers={"Origin": "https://other.example"}))[0] == 403


async def test_subdomains_are_welcome_when_they_are_named(served: Served, server: WebServer) -> None:
    """By a star; the site itself has to be named beside it."""
    await change(served, server, sites=["*.okna.example"])
    for name, code in (("www.okna.example", 204), ("a.b.okna.example", 204), ("okna.example", 403)):
        headers = {"Origin": f"https://{name}"}
        assert (await ask(served, "/collect/okna", json.dumps(body()).encode(), headers=headers))[0] == code, name


@pytest.mark.parametrize(
    "path", ["/collect/sad", "/collect/none", "/collect/OKNA", "/collect/okna/x", "/collect/sad.js"]
)
@pytest.mark.usefixtures("server")
async def test_without_a_collector_there_is_nothing(served: Served, path: str) -> None:
    """404, as for any other path: it is off unless the tenant has its section."""
    method = "GET" if path.endswith(".js") else "POST"
    assert (await ask(served, path, b"{}", method))[:2] == (404, "404: Not Found")


async def test_posts_can_be_switched_off(served: Served, server: WebServer) -> None:
    """Then the snippet fills fields, and nothing is taken."""
    await change(served, server, post=False)
    assert (await ask(served, "/collect/okna", json.dumps(body()).encode()))[0] == 404
    assert (await ask(served, "/collect/okna", method="GET"))[0] == 404
    assert (await ask(served, "/collect/okna.js", method="GET"))[0] == 200


async def test_garbage_is_named_and_counted(served: Served, server: WebServer) -> None:
    """What is refused, and what is left out of a post that is taken."""
    assert (await ask(served, "/collect/okna", b"{"))[:2] == (400, "400: not_json")
    assert (await ask(served, "/collect/okna", b"{}"))[0] == 400
    assert (await ask(served, "/collect/okna", b"x" * (BODY_MAX + 1)))[:2] == (413, "413: too_large")
    assert (await ask(served, "/collect/okna", json.dumps(body(c={"client_id": "null"})).encode()))[0] == 204
    told = await counts(served, server)
    assert told == {TAKEN: 1, "not_json": 1, "not_as_documented": 1, "too_large": 1, "null": 1}
    report = await status(served.reports, served.config, ["okna", "sad"], START)
    assert report["tenants"]["sad"]["collector"] is None
    assert report["tenants"]["okna"]["collector"] == {
        "taken": told.pop(TAKEN),
        "taken_at": START.isoformat(),
        "refused": told,
    }


async def test_a_body_without_an_end_is_given_up(served: Served, server: WebServer) -> None:
    """One sent in pieces that says no length is read up to the limit and no further."""

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b"x" * 1024

    url = f"http://{served.config.web.listen}/collect/okna"
    async with aiohttp.ClientSession() as session:
        try:
            async with session.post(url, data=endless(), headers=FROM_SITE) as answer:
                assert answer.status == 413
        except aiohttp.ClientError:  # it does not listen to the end either
            pass
    assert await counts(served, server) == {"too_large": 1}


async def test_one_visitor_does_not_use_up_what_others_have(served: Served, server: WebServer) -> None:
    """So many a minute of one address, as its proxy tells; then 429, and others are still welcome."""
    await change(served, server, per_visitor=3, per_minute=5)

    async def post(address: str) -> int:
        headers = {**FROM_SITE, "X-Forwarded-For": f"6.6.6.6, {address}"}
        return (await ask(served, "/collect/okna", json.dumps(body()).encode(), headers=headers))[0]

    assert [await post("77.88.8.8") for _ in range(4)] == [204, 204, 204, 429]
    assert [await post("77.88.8.1") for _ in range(3)] == [204, 204, 429]
    served.clock.set(START + timedelta(minutes=1))
    assert await post("77.88.8.8") == 204


async def test_a_flood_does_not_fill_the_disk(served: Served, server: WebServer) -> None:
    """So many posts are kept of a day, also after a restart and beside other processes; then 429, counted and shown."""
    await change(served, server, per_day=3)
    numbers = iter(range(100))

    async def post() -> int:
        return (await ask(served, "/collect/okna", json.dumps(body(k=f"bl{next(numbers):024d}")).encode()))[0]

    assert [await post(), await post()] == [204, 204]
    await change(served, server)
    await Collected(served.store).add({("okna", "bl of another process"): b"{}"}, {}, served.clock)
    served.clock.set(START + timedelta(minutes=1))
    assert (await post(), len(await posts_of(served))) == (429, 3)
    port = CollectorSource("okna", settings(per_day=3), Collected(served.store), served.clock)
    await server.stop()
    assert (await served.reports.collected("okna")).counts["too_many_of_day"] == 1
    (finding,) = await port.check()
    assert (finding.level, "per_day = 3" in str(finding)) == (Level.WARNING, True)
    await server.start()
    served.clock.set(START + timedelta(days=1))
    assert await post() == 204


async def test_an_address_is_kept_as_a_digest_where_that_is_wanted(served: Served, server: WebServer) -> None:
    """Equal for equal visitors of one tenant, and never the address itself."""
    told = json.dumps(body()).encode()
    headers = {**FROM_SITE, "X-Forwarded-For": "77.88.8.8"}
    await ask(served, "/collect/okna", told, headers=headers)
    assert "address" not in (await kept(served))[0].facts
    await change(served, server, address="hashed")
    await ask(served, "/collect/okna", told, headers=headers)
    (digest,) = (await kept(served))[0].facts["address"]
    assert re.fullmatch("[0-9a-f]{32}", digest)


async def test_many_posts_share_few_transactions(served: Served, server: WebServer) -> None:
    """All of them are kept, each answered."""
    told = [json.dumps(body(k=f"bl{number:024d}")).encode() for number in range(60)]
    answers = await asyncio.gather(*(ask(served, "/collect/okna", one) for one in told))
    assert {answer[0] for answer in answers} == {204}
    assert len(await kept(served)) == 60
    assert (await counts(served, server))[TAKEN] == 60


async def test_a_database_that_fails_is_said(served: Served, server: WebServer, logged: io.StringIO) -> None:
    """503, so that nobody believes the post kept."""
    assert (await ask(served, "/collect/okna", json.dumps(body()).encode()))[0] == 204
    async with served.store.write("break") as connection:
        await connection.exec_driver_sql("ALTER TABLE collected RENAME TO elsewhere")
    assert (await ask(served, "/collect/okna", json.dumps(body()).encode()))[0] == 503
    assert "StoreError" in logged.getvalue()
    async with served.store.write("mend") as connection:
        await connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO collected")
    assert (await ask(served, "/collect/okna", json.dumps(body()).encode()))[0] == 204


@examples(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=400))
async def test_no_bytes_bring_it_down(served: Served, data: bytes) -> None:
    """Whatever is posted is answered, and nothing that is no form is kept."""
    web = WebServer(served, ["okna"])
    await web.start()
    try:
        assert (await ask(served, "/collect/okna", data))[0] == 400
        assert await kept(served) == []
    finally:
        await web.stop()


# --- the snippet -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "hidden_fields": {
                **{"lead_key": "bridge_lead", "client_id": "ym_client_id", "yclid": "yclid", "gclid": "gclid"},
                **{"utm_source": "utm_source", "utm_campaign": "utm_campaign"},
            },
            "phone_input": "[type=tel]",
            "email_input": "[type=email]",
            "honeypot": "website",
            "metrica_counter": 12345678,
        },
    ],
    ids=["default", "much"],
)
def test_the_snippet_is_small(changes: dict[str, Any]) -> None:
    """At most 3 KB as it is served, also with many settings."""
    assert len(snippet("okna", settings(**changes), "https://bridge.example.ru")) <= SIZE_MAX


def test_what_is_served_is_what_stands_in_the_repository() -> None:
    """``make snippet`` was run after the last change; its parser takes nothing newer than ES5."""
    assert SMALL.read_text(encoding="utf-8") == minified()


def test_no_setting_breaks_out_of_the_script() -> None:
    """Names are texts of the script, whatever stands in them."""
    text = snippet("okna", settings(phone_input="</script><x>\u2028'\""), "").decode()
    assert "</script" not in text
    assert "\u2028" not in text


async def test_browsers_keep_the_snippet_for_an_hour(served: Served, server: WebServer) -> None:
    """Then they ask whether it has changed; a change of settings is a change."""
    code, text, headers = await ask(served, "/collect/okna.js", method="GET", headers={})
    assert (code, headers["Content-Type"]) == (200, "text/javascript; charset=utf-8")
    assert headers["Cache-Control"] == "public, max-age=3600"
    assert "Set-Cookie" not in headers
    again = {"If-None-Match": headers["ETag"]}
    assert (await ask(served, "/collect/okna.js", method="GET", headers=again))[:2] == (304, "")
    await change(served, server, honeypot="website")
    changed = await ask(served, "/collect/okna.js", method="GET", headers=again)
    assert changed[0] == 200
    assert changed[1] != text

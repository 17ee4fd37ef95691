"""Webhooks over a real socket: who is let in, what is remembered, and how fast."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.amocrm.settings import AmoCrmSettings
from bridge.config import TenantSettings, WebSettings
from bridge.frozen import replace
from bridge.hints import Hook
from bridge.web import hooks
from bridge.web.hooks import BODY_MAX
from bridge.web.metrics import exposition
from bridge.web.server import WebServer
from bridge.web.status import attention, status
from tests.e2e.kit import free_port
from tests.support import START
from tests.unit.web.test_server import Served, installed

SECRET = "k3v0p1q8w2z7m4n6b9c5x1l2"
HERE = ("okna", "crm")
NOTHING = (404, "404: Not Found")


@pytest.fixture
async def served(tmp_path: Path, logged: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    """An installation with one amoCRM source that takes webhooks, and one that does not."""
    monkeypatch.setenv("SIM_HOOK", SECRET)
    section = {"base_url": "https://okna.amocrm.ru", "auth": {"token": {"env": "SIM_TOKEN"}}}
    hook = {"secret": {"env": "SIM_HOOK"}, "account_id": 31234567}
    monkeypatch.setenv("SIM_TOKEN", "no token")
    sources = {
        "crm": AmoCrmSettings.model_validate({**section, "hook": hook}),
        "quiet": AmoCrmSettings.model_validate(section),
    }
    async with installed(tmp_path, okna=TenantSettings(sources=sources)) as made:
        yield made


@pytest.fixture
async def running(served: Served) -> AsyncIterator[Served]:
    server = WebServer(served, ["okna"])
    await server.start()
    yield served
    await server.stop()


def form(*leads: int, action: str = "update", account: int = 31234567) -> bytes:
    """The body of one webhook about these leads."""
    pairs = [(f"leads[{action}][{n}][id]", str(lead)) for n, lead in enumerate(leads)]
    return urlencode([*pairs, ("account[id]", str(account))]).encode()


def address(served: Served, *parts: str) -> str:
    path = "/".join(parts or (*HERE, SECRET))
    return f"http://{served.config.web.listen}/hooks/{path}"


async def posted(url: str, body: bytes, method: str = "POST") -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.request(method, url, data=body) as answer:
        return answer.status, await answer.text()


async def waiting(served: Served) -> list[str]:
    return [hint.record for hint in await served.hints.take(*HERE, 100_000)]


async def test_a_webhook_is_remembered_and_answered(running: Served) -> None:
    """The records it names are in the database when the vendor has its answer."""
    assert await posted(address(running), form(7, 5)) == (200, "")
    assert sorted(await waiting(running)) == ["lead:5", "lead:7"]
    assert (await running.hints.report(*HERE)).received_at == START


async def test_a_webhook_of_nothing_we_read_is_welcome(running: Served) -> None:
    """A vendor that gets a bad answer for it would switch all of them off."""
    assert await posted(address(running), b"contacts[update][0][id]=9&account[id]=31234567") == (200, "")
    assert await waiting(running) == []


@pytest.mark.parametrize(
    "parts",
    [
        ("okna", "crm", SECRET[:-1]),
        ("okna", "crm", SECRET + "x"),
        ("okna", "crm", "%D1%8F"),
        ("okna", "quiet", SECRET),
        ("okna", "other", SECRET),
        ("dom", "crm", SECRET),
        ("okna", "crm"),
        ("okna", "crm", SECRET, "more"),
    ],
)
async def test_whoever_does_not_know_the_secret_learns_nothing(running: Served, parts: tuple[str, ...]) -> None:
    """A wrong secret, a source without webhooks, and a tenant that is not there look like any path that is not."""
    assert await posted(address(running, *parts), form(7)) == NOTHING
    assert await posted(f"http://{running.config.web.listen}/nowhere", b"") == NOTHING
    assert await waiting(running) == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
async def test_webhooks_are_posted(running: Served, method: str) -> None:
    """Any other method meets nothing."""
    assert await posted(address(running), form(7), method) == NOTHING


@pytest.mark.parametrize("body", [b"x" * (BODY_MAX + 1), form(7, account=99), b"\xff\xfe"])
async def test_what_is_too_large_foreign_or_no_form_is_refused(
    running: Served, body: bytes, logged: io.StringIO
) -> None:
    """With the right secret, too; the log says it once, without address and body, and again after a good one."""
    for _ in range(3):
        assert await posted(address(running), body) == NOTHING
    assert await waiting(running) == []
    assert logged.getvalue().count("hook_refused") == 1
    assert (await posted(address(running), form(7)))[0] == 200
    assert await posted(address(running), body) == NOTHING
    assert logged.getvalue().count("hook_refused") == 2


async def test_a_body_without_a_length_is_cut_off_too(running: Served) -> None:
    """Chunks are counted as they come."""

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(BODY_MAX // 65536 + 2):
            yield b"x" * 65536

    async with aiohttp.ClientSession() as session, session.post(address(running), data=endless()) as answer:
        assert answer.status == 404
    assert await waiting(running) == []


_NONSENSE = [
    b"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\nno gzip..",
    b"POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nZZ\r\n",
    b"POST {path} HTTP/9.x\r\n\r\n",
    b"\x16\x03\x01\x00\xa5\x01",
]


@pytest.mark.parametrize("secret", [SECRET, "nobody-knows-this-one"])
@pytest.mark.parametrize("sent", _NONSENSE)
async def test_what_is_no_http_is_refused_and_does_not_flood_the_log(
    running: Served, sent: bytes, secret: str, logged: io.StringIO
) -> None:
    """Packed bodies that cannot be unpacked, broken requests, TLS on a plain port: no traceback for each of them."""
    host, _, port = running.config.web.listen.rpartition(":")
    for _ in range(3):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(sent.replace(b"{path}", f"/hooks/okna/crm/{secret}".encode()))
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        assert answer.split()[1:2] in ([b"400"], [b"404"], [])
    assert "Traceback" not in logged.getvalue()
    assert len(logged.getvalue()) < 1000
    assert secret not in logged.getvalue()


async def test_a_flood_is_few_writes(running: Served) -> None:
    """1,000 webhooks, sent as fast as can be: each is answered before the vendor's patience ends (else it would be 503)
    and without asking the vendor; they cost a fraction of as many transactions, and each record waits once."""
    commits: list[str] = []
    running.store._on_commit = commits.append
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=200)) as session:

        async def one(number: int) -> int:
            async with session.post(address(running), data=form(number % 500)) as answer:
                return answer.status

        statuses = await asyncio.gather(*(one(number) for number in range(1000)))
    assert set(statuses) == {200}
    assert len(await waiting(running)) == 499  # there is no lead 0
    assert commits.count("after hints") < 400


async def test_a_database_that_refuses_lets_the_vendor_try_again(running: Served, logged: io.StringIO) -> None:
    """503: amoCRM repeats it four times. The log says it once, and again after one was good."""

    def refuse(label: str) -> None:
        raise OSError("disk full")

    running.store._on_commit = refuse
    for _ in range(3):
        assert (await posted(address(running), form(7)))[0] == 503
    assert logged.getvalue().count("hook_refused") == 1
    running.store._on_commit = lambda label: None
    assert (await posted(address(running), form(7)))[0] == 200
    assert await waiting(running) == ["lead:7"]
    running.store._on_commit = refuse
    assert (await posted(address(running), form(7)))[0] == 503
    assert logged.getvalue().count("hook_refused") == 2


async def test_a_source_whose_secret_is_missing_has_no_door(
    served: Served, monkeypatch: pytest.MonkeyPatch, logged: io.StringIO
) -> None:
    """It is said at the start; everything else is served."""
    monkeypatch.delenv("SIM_HOOK")
    server = WebServer(served, ["okna"])
    await server.start()
    assert await posted(address(served), form(7)) == NOTHING
    await server.stop()
    assert "environment variable SIM_HOOK is not set" in logged.getvalue()


async def test_a_shut_door_needs_attention_until_it_is_opened(
    served: Served, monkeypatch: pytest.MonkeyPatch, logged: io.StringIO
) -> None:
    """Vendors disable what answers 404: the log's one line is not enough. The note lasts until a daemon has the secret,
    whatever a command can read, and other trouble is not forgotten with it."""

    async def told() -> tuple[list[str], bool]:
        report = await status(served.reports, served.config, ["okna"], START)
        is_down = b'bridge_hook_up{source="crm",tenant="okna"} 0.0' in exposition(report)
        return attention(report, served.config, START), is_down

    async def restarted() -> None:
        await hooks.open_doors(served.config, ["okna"], served.hints, served.log)

    monkeypatch.delenv("SIM_HOOK")
    await restarted()
    why = "environment variable SIM_HOOK is not set"
    lines, is_down = await told()
    assert is_down
    assert [line.startswith("okna/crm: its webhooks are answered 404") and why in line for line in lines] == [True]
    monkeypatch.setenv("SIM_HOOK", SECRET)
    assert await told() == (lines, True)
    await restarted()
    assert await told() == ([], False)
    await served.hints.set_hook(*HERE, trouble="Refused: http_402")
    await restarted()
    assert await told() == (["okna/crm: its webhook is not kept: Refused: http_402"], True)


@pytest.mark.parametrize("secret", ["short", "x" * 129, "with/slash" * 3, "пароль" * 5])
async def test_a_secret_must_fit_an_address(
    served: Served, secret: str, monkeypatch: pytest.MonkeyPatch, logged: io.StringIO
) -> None:
    """Short ones can be guessed, odd ones are changed on the way; the text of the error does not repeat it."""
    monkeypatch.setenv("SIM_HOOK", secret)
    assert await hooks.open_doors(served.config, ["okna"], served.hints, served.log) == {}
    assert "hook_closed" in logged.getvalue()
    assert secret not in logged.getvalue()


async def test_nothing_logged_holds_the_secret_or_the_body(running: Served, logged: io.StringIO) -> None:
    """Whatever comes, also when the adapter itself fails."""

    def failing(hook: Hook) -> tuple[str, ...]:
        raise ValueError(hook.body.decode())

    place = {HERE: hooks.Door(SECRET.encode(), failing)}
    desk = hooks.HookDesk(place, None, running.clock, running.log)  # type: ignore[arg-type]  # nothing gets that far
    app = aiohttp.web.Application()
    app.add_routes([aiohttp.web.route("*", hooks.PATH, desk.take)])
    runner = aiohttp.web.AppRunner(app, access_log=None)
    await runner.setup()
    port = free_port()
    await aiohttp.web.TCPSite(runner, "127.0.0.1", port).start()
    assert await posted(f"http://127.0.0.1:{port}/hooks/okna/crm/{SECRET}", b"phone=79990000001") == NOTHING
    await runner.cleanup()
    for body in (form(7), form(7, account=1), b"\xff"):
        await posted(address(running), body)
    running.log.warning("quirk", what=f"GET /hooks/okna/crm/{SECRET} failed")
    assert "hook_refused" in logged.getvalue()
    assert SECRET not in logged.getvalue()
    assert "79990000001" not in logged.getvalue()


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=300))
async def test_whatever_is_posted_is_answered(running: Served, body: bytes) -> None:
    """Garbage from whoever knows the secret is 200 or 404, never an error of ours."""
    status, _ = await posted(address(running), body)
    assert status in (200, 404)


async def test_the_address_a_vendor_signs_is_the_public_one(served: Served) -> None:
    """Behind a proxy the request itself does not tell it."""
    web = WebSettings(listen=served.config.web.listen, public_url="https://hooks.example.ru/bridge/")
    doors = await hooks.open_doors(replace(served.config, web=web), ["okna"], served.hints, served.log)
    assert doors[HERE].beginning == "https://hooks.example.ru/bridge/hooks/okna/crm/"

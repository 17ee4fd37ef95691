"""One attempt: what goes out, what comes back, and what each way of failing means."""

from __future__ import annotations

import asyncio
import gzip
import socket

import httpx
import pytest
import respx
from aiohttp import web

from bridge.errors import Ambiguous, BridgeError, ConfigError, Drift, Unavailable
from bridge.net.failures import join
from bridge.tools import Rate, Request, Tokens
from tests.unit.net.support import bench, raw_vendor, say

CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"
CUT_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\nhalf"
GARBAGE = b"SMTP nonsense\r\n\r\n"


async def test_request_arrives_as_described() -> None:
    """Method, path under the base's own path, parameters, headers, body and token reach the vendor unchanged."""

    async def echo(request: web.Request) -> web.Response:
        return web.Response(body=await request.read(), headers={"X-Odd-Case": "Yes"}, status=201)

    async with bench(echo) as b:
        account = b.account(base_url=f"{b.base_url}/proxy/crm/")
        answer = await account.send(
            Request(
                "POST",
                "/api/v4/leads",
                params=[("filter[at][from]", "1+2 3&ж"), ("page", "1")],
                headers={"Content-Type": "text/csv"},
                body=b"\x00raw\xff",
            )
        )
        seen = b.seen[0]
    assert (answer.status, answer.body) == (201, b"\x00raw\xff")
    assert answer.headers["x-odd-case"] == "Yes"
    assert seen.path == "/proxy/crm/api/v4/leads"
    assert list(seen.query.items()) == [("filter[at][from]", "1+2 3&ж"), ("page", "1")]
    assert seen.headers["Authorization"] == "Bearer first-token"
    assert seen.headers["Content-Type"] == "text/csv"
    assert seen.headers["User-Agent"].startswith("conversion-bridge/")


async def test_parameters_join_a_query_that_is_already_there() -> None:
    """A URL with its own query keeps it."""
    async with bench(say((200, "ok"))) as b:
        await b.account().send(Request("GET", "/list?page=2", params=[("limit", "50")]))
        assert b.seen[0].query_string == "page=2&limit=50"


@pytest.mark.parametrize(
    ("base", "url", "full"),
    [
        ("https://a.ru", "/x", "https://a.ru/x"),
        ("https://a.ru/", "x", "https://a.ru/x"),
        ("https://a.ru/p/", "/x", "https://a.ru/p/x"),
        ("https://a.ru/p", "", "https://a.ru/p"),
        ("https://a.ru", "https://b.ru/y", "https://b.ru/y"),
    ],
)
def test_base_and_url_join(base: str, url: str, full: str) -> None:
    """Relative URLs are appended to the base and its path; absolute ones stand."""
    assert join(base, url) == full


async def test_an_address_goes_out_letter_by_letter() -> None:
    """What is encoded stays so, and nothing is encoded twice: a vendor may want ``%3A`` where others take a colon."""
    async with raw_vendor(b"HTTP/1.1 204 No Content\r\n\r\n") as (b, heard):
        await b.account().send(Request("GET", "/a%2Fb?id=1;e=RG%3A5/%D1%8F;x=a%3Bb%2B", params=[("c", "d:e f")]))
    (line,) = heard
    assert line.startswith(b"GET /a%2Fb?id=1;e=RG%3A5/%D1%8F;x=a%3Bb%2B&c=d%3Ae%20f HTTP/1.1")


async def test_redirects_are_answers() -> None:
    """A 302 comes back to the judge; its target is never visited."""

    async def redirect(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    async with bench(redirect) as b:
        answer = await b.account().send(Request("GET", "/here"))
        assert (answer.status, answer.headers["location"], len(b.seen)) == (302, "/elsewhere", 1)


async def test_cookies_are_never_kept() -> None:
    """What a vendor sets for one account reaches no later request; repeated headers are joined."""

    async def cookie(_: web.Request) -> web.Response:
        response = web.Response(text="ok")
        response.set_cookie("session", "a")
        response.set_cookie("other", "b")
        return response

    async with bench(cookie) as b:
        named = b.base_url.replace("127.0.0.1", "localhost")  # jars keep no cookies of bare addresses
        answer = await b.account(base_url=named).send(Request("GET", "/"))
        await b.account(name="other", base_url=named).send(Request("GET", "/"))
        assert "session=a" in answer.headers["set-cookie"]
        assert "other=b" in answer.headers["set-cookie"]
        assert "Cookie" not in b.seen[1].headers


async def test_compressed_answers_are_opened() -> None:
    """gzip is asked for and undone."""

    async def squeeze(_: web.Request) -> web.Response:
        return web.Response(body=gzip.compress(b"plain" * 100), headers={"Content-Encoding": "gzip"})

    async with bench(squeeze) as b:
        answer = await b.account().send(Request("GET", "/"))
        assert answer.body == b"plain" * 100
        assert "gzip" in b.seen[0].headers["Accept-Encoding"]


@pytest.mark.parametrize("is_packed", [False, True])
async def test_large_answers_are_drift(is_packed: bool) -> None:
    """Reading stops at the account's maximum, counted after decompression (a small bomb does not explode)."""

    async def flood(_: web.Request) -> web.StreamResponse:
        if is_packed:
            return web.Response(body=gzip.compress(b"0" * 5_000_000), headers={"Content-Encoding": "gzip"})
        return web.Response(body=b"0" * 5_000_000)

    async with bench(flood) as b:
        with pytest.raises(Drift, match="larger than 100000 bytes"):
            await b.account(max_body=100_000).send(Request("POST", "/"))
        assert len(b.seen) == 1


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (Request("GET", "/a"), Unavailable),
        (Request("POST", "/a", body=b"x", is_safe=True), Unavailable),
        (Request("POST", "/a", body=b"x"), Ambiguous),
        (Request("PUT", "/a", body=b"x"), Ambiguous),
        (Request("DELETE", "/a"), Ambiguous),
        (Request("GET", "/a", is_safe=False), Ambiguous),  # some vendors count conversions by GET
    ],
)
@pytest.mark.parametrize("answer", [b"", CUT, CUT_CHUNKED, GARBAGE], ids=["none", "cut", "cut-chunked", "garbage"])
async def test_lost_answer(request_: Request, error: type[BridgeError], answer: bytes) -> None:
    """No answer, a cut one, or nonsense: a read may be repeated and is; a write is sent once and nobody knows."""
    async with raw_vendor(answer) as (b, heard):
        with pytest.raises(error):
            await b.account().send(request_)
        assert len(heard) == (3 if error is Unavailable else 1)


@pytest.mark.parametrize(("is_safe", "error"), [(True, Unavailable), (False, Ambiguous)])
async def test_slow_answer(is_safe: bool, error: type[BridgeError]) -> None:
    """After the request's own timeout the answer counts as lost."""

    async def sleepy(_: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    async with bench(sleepy) as b:
        with pytest.raises(error, match="no answer in time"):
            await b.account().send(Request("POST", "/slow", timeout=0.05, is_safe=is_safe))


async def test_dripping_answer_hits_the_total_timeout() -> None:
    """An answer that never ends is cut at the total, though each byte comes in time."""

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b".")
            await asyncio.sleep(0.01)

    async with bench(drip) as b:
        with pytest.raises(Ambiguous, match="no answer in time"):
            await b.account().send(Request("POST", "/drip", timeout=0.1))


async def test_refused_connection_did_not_arrive() -> None:
    """Nobody listens: even an unsafe write certainly did not arrive."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        async with bench(say((200, ""))) as b:
            with pytest.raises(Unavailable, match="connection refused, nothing listens there"):
                await b.account(base_url=f"http://127.0.0.1:{port}").send(Request("POST", "/x"))


async def test_unanswered_connection_did_not_arrive() -> None:
    """A host that accepts no connection in time: even an unsafe write did not arrive; the total comes later."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        async with bench(say((200, ""))) as b:
            with pytest.raises(Unavailable, match="connecting took too long"):
                await b.account(base_url=f"http://127.0.0.1:{port}").send(Request("POST", "/x", timeout=0.1))
        for filler in fillers:
            filler.close()


async def test_unknown_host_says_so() -> None:
    """A wrong base_url is named as such (.invalid never resolves, RFC 2606)."""
    async with bench(say((200, ""))) as b:
        with pytest.raises(Unavailable, match="host name not found"):
            await b.account(base_url="http://okna.invalid").send(Request("POST", "/x"))


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (httpx.ConnectError("x"), Unavailable),
        (httpx.PoolTimeout("x"), Unavailable),
        (httpx.ConnectTimeout("x"), Unavailable),
        (httpx.ReadTimeout("x"), Ambiguous),
        (httpx.WriteError("x"), Ambiguous),
        (httpx.RemoteProtocolError("x"), Ambiguous),
    ],
)
async def test_respx_intercepts(failure: Exception, error: type[BridgeError]) -> None:
    """respx sees requests made over the aiohttp transport, and its failures are classified like real ones."""
    async with bench(say((500, ""))) as b:
        with respx.mock(using="httpx", base_url="https://vendor.test") as vendor:
            vendor.get("/good", params={"a": "1"}).respond(200, json={"ok": True}, headers={"X-A": "b"})
            vendor.post("/bad").mock(side_effect=failure)
            account = b.account(base_url="https://vendor.test")
            answer = await account.send(Request("GET", "/good", params=[("a", "1")]))
            assert (answer.body, answer.headers["x-a"]) == (b'{"ok":true}', "b")
            with pytest.raises(error):
                await account.send(Request("POST", "/bad"))
        assert b.seen == []


@pytest.mark.parametrize("status", [500, 502, 504, 520])
async def test_server_error_after_a_write_is_ambiguous(status: int) -> None:
    """A judge may call a 5xx Unavailable; for an unsafe write only 503 proves that nothing was applied."""
    async with bench(say((status, "oops"))) as b:
        with pytest.raises(Ambiguous):
            await b.account().send(Request("POST", "/w"))
        assert len(b.seen) == 1
        with pytest.raises(Unavailable):
            await b.account().send(Request("POST", "/w", is_safe=True))


async def test_503_after_a_write_is_unavailable() -> None:
    """503 is the one server error that may be repeated."""
    async with bench(say((503, "down"), (503, "down"), (200, "up"))) as b:
        assert (await b.account().send(Request("POST", "/w"))).body == b"up"


@pytest.mark.parametrize("answer", [b"", CUT, b"HTTP/1.1 500 X\r\nContent-Length: 7\r\n\r\nsecret!"])
async def test_error_texts_hold_nothing_secret(answer: bytes) -> None:
    """Method, host and path, never the query, body, headers, user info or a webhook's code."""
    async with raw_vendor(answer) as (b, _):
        account = b.account(tokens=Tokens("tokentokentoken"))
        request = Request("POST", "/rest/1/webhookcode/crm.add?auth=queryvalue", body=b"+79161234567")
        with pytest.raises(Ambiguous) as caught:
            await account.send(request)
    text = f"{caught.value!r} {caught.value.__cause__!r}"
    assert caught.value.__suppress_context__
    for secret in ("tokentoken", "webhookcode", "queryvalue", "79161234567", "secret!"):
        assert secret not in text
    if not answer.startswith(b"HTTP/1.1 500"):
        assert "POST 127.0.0.1" in text
        assert "/rest/1/***/crm.add" in text


async def test_credentials_stay_at_home() -> None:
    """An authorized account refuses an absolute URL on another host before anything is sent."""
    async with bench(say((200, "ok"))) as b, bench(say((200, "ok"))) as stranger:
        with pytest.raises(Drift, match="credentials stay"):
            await b.account().send(Request("GET", f"{stranger.base_url}/steal"))
        assert stranger.seen == []
        await b.account(tokens=None).send(Request("GET", f"{stranger.base_url}/open"))
        await b.account().send(Request("GET", f"{b.base_url}/next"))
        assert (len(stranger.seen), len(b.seen)) == (1, 1)
        assert "Authorization" not in stranger.seen[0].headers


async def test_connections_are_kept_and_shared() -> None:
    """Twenty requests of two accounts, one after another, use one connection."""
    ports: set[int] = set()

    async def note(request: web.Request) -> web.Response:
        assert request.transport is not None
        ports.add(request.transport.get_extra_info("peername")[1])
        return web.Response(text="ok")

    async with bench(note) as b:
        for number in range(20):
            await b.account(name=f"a{number % 2}").send(Request("GET", "/"))
    assert len(ports) == 1


async def test_environment_proxies_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment does not see requests (they hold tokens)."""
    async with bench(say((200, "direct"))) as b:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
        assert (await b.account().send(Request("GET", "/"))).body == b"direct"


async def test_parallel_requests_are_bounded() -> None:
    """No more requests are in flight than the account's rate allows, and all get their answers."""
    flying = most = 0

    async def count(_: web.Request) -> web.Response:
        nonlocal flying, most
        flying += 1
        most = max(most, flying)
        await asyncio.sleep(0.005)
        flying -= 1
        return web.Response(text="ok")

    async with bench(count) as b:
        account = b.account(rate=Rate(1e6, burst=100, parallel=3))
        await asyncio.gather(*(account.send(Request("GET", "/")) for _ in range(20)))
    assert most == 3


@pytest.mark.parametrize("token", ["two\nlines", "кириллица"])
async def test_impossible_tokens_are_named(token: str) -> None:
    """A token pasted with a line break or Cyrillic letters is a configuration error, and is not shown."""
    async with bench(say((200, "ok"))) as b:
        with pytest.raises(ConfigError, match="cannot be sent") as caught:
            await b.account(tokens=Tokens(token)).send(Request("GET", "/"))
        assert token not in str(caught.value)
        assert b.seen == []

"""An account: throttling feeds the limit, refused credentials stop it, tokens are renewed once and saved first."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta

import pytest
from aiohttp import web

from bridge.errors import Ambiguous, AuthError, Drift, Refused, StoreError, Throttled, Unavailable
from bridge.frozen import replace
from bridge.net.token import seed_of
from bridge.tools import Account, Rate, Request, Tokens
from tests.unit.net.support import START, Bench, bench, rotating, say

GET = Request("GET", "/leads")
SEED = hashlib.sha256(b"seed-refresh").hexdigest()


class Store:
    """A token store with a real lock that notes the order of what happens, shared by "processes"."""

    def __init__(self) -> None:
        self.saved: dict[tuple[str, str], Tokens] = {}
        self.steps: list[str] = []
        self._lock = asyncio.Lock()

    async def load(self, account: str, seed: str) -> Tokens | None:
        await asyncio.sleep(0)
        return self.saved.get((account, seed))

    async def save(self, account: str, seed: str, tokens: Tokens) -> None:
        await asyncio.sleep(0)
        self.steps.append(f"saved {tokens.access}")
        self.saved[account, seed] = tokens

    def lock(self, account: str) -> AbstractAsyncContextManager[None]:
        return self._locked()

    @asynccontextmanager
    async def _locked(self) -> AsyncIterator[None]:
        async with self._lock:
            self.steps.append("locked")
            yield
            self.steps.append("unlocked")


class Vendor:
    """Knows one valid access token and one valid refresh token; each refresh token works once."""

    def __init__(self, life: float | None = 3600.0) -> None:
        self.access = "access-1"
        self.refresh = "seed-refresh"
        self.life = life
        self.refreshes = 0
        self.steps: list[str] = []
        self.clock_now: Callable[[], datetime] = lambda: START

    async def handler(self, request: web.Request) -> web.Response:
        await asyncio.sleep(0.001)
        if request.path == "/oauth":
            return self._renew(await request.text(), request)
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.steps.append(f"used {given}")
        return web.Response(status=200 if given == self.access else 401, text=given)

    def _renew(self, spent: str, request: web.Request) -> web.Response:
        assert "Authorization" not in request.headers
        if spent != self.refresh:
            return web.Response(status=401, text="spent")
        self.refreshes += 1
        self.access, self.refresh = f"access-{self.refreshes + 1}", f"refresh-{self.refreshes + 1}"
        return web.Response(text=f"{self.access} {self.refresh}")

    async def refresher(self, door: Account, tokens: Tokens | None) -> Tokens:
        assert tokens is not None
        assert tokens.refresh is not None
        answer = await door.send(Request("POST", "/oauth", body=tokens.refresh.encode()))
        access, refresh = answer.body.decode().split()
        ends = None if self.life is None else self.clock_now() + timedelta(seconds=self.life)
        return Tokens(access, ends, refresh)


# --- tokens ------------------------------------------------------------------------------------------------------


async def test_renewed_once_and_saved_before_use() -> None:
    """Ten requests refused together cause one renewal, committed under the lock before the new token is used."""
    vendor, store = Vendor(), Store()
    store.steps = vendor.steps
    async with bench(vendor.handler, store) as b:
        account = b.account(**rotating(vendor.refresher))
        answers = await asyncio.gather(*(account.send(GET) for _ in range(10)))
        assert {answer.body for answer in answers} == {b"access-2"}
        assert vendor.refreshes == 1
        assert store.saved["okna.crm", SEED].refresh == "refresh-2"
        first_use = vendor.steps.index("used access-2")
        assert vendor.steps.index("locked") < vendor.steps.index("saved access-2") < first_use
        assert vendor.steps.count("used access-2") == 10
        assert b.log.names() == ["token_refreshed"]


async def test_start_value_without_access_token_is_renewed_first() -> None:
    """With only a refresh token configured, no request goes out before the first renewal."""
    vendor, store = Vendor(), Store()
    async with bench(vendor.handler, store) as b:
        account = b.account(**rotating(vendor.refresher, tokens=Tokens("", refresh="seed-refresh")))
        assert (await account.send(GET)).body == b"access-2"
        assert [request.path for request in b.seen] == ["/oauth", "/leads"]


async def test_stored_tokens_of_the_same_seed_win() -> None:
    """After a restart the newest saved token is used; a new start value in the configuration beats it."""
    vendor, store = Vendor(), Store()
    async with bench(vendor.handler, store) as b:
        await b.account(**rotating(vendor.refresher)).send(GET)
        await b.account(**rotating(vendor.refresher)).send(GET)
        assert vendor.refreshes == 1
        vendor.refresh = "operator-gave-new"
        fresh = Tokens("", refresh="operator-gave-new")
        assert (await b.account(**rotating(vendor.refresher, tokens=fresh)).send(GET)).body == b"access-3"


@pytest.mark.parametrize(("life", "early"), [(3600.0, 60.0), (100.0, 10.0)])
async def test_renewed_a_little_early(life: float, early: float) -> None:
    """60 seconds, or a tenth of a short life, before the end; not sooner, and without a refused request."""
    vendor, store = Vendor(life), Store()
    async with bench(vendor.handler, store) as b:
        vendor.clock_now = b.clock.now
        account = b.account(**rotating(vendor.refresher, tokens=Tokens("", refresh="seed-refresh")))
        await account.send(GET)
        b.clock.advance(timedelta(seconds=life - early - 1))
        await account.send(GET)
        assert vendor.refreshes == 1
        b.clock.advance(timedelta(seconds=2))
        assert (await account.send(GET)).body == b"access-3"
        assert vendor.refreshes == 2
    assert vendor.steps == ["used access-2", "used access-2", "used access-3"]


async def test_two_processes_renew_once() -> None:
    """Two processes with the same start token: the second finds the first one's under the lock and uses it."""
    vendor, store = Vendor(), Store()
    async with bench(vendor.handler, store) as one, bench(vendor.handler, store) as two:
        accounts = [b.account(**rotating(vendor.refresher, base_url=one.base_url)) for b in (one, two)]
        answers = await asyncio.gather(*(account.send(GET) for account in accounts * 5))
        assert {answer.body for answer in answers} == {b"access-2"}
        assert vendor.refreshes == 1
        # The first renews once more; the second meets a refusal and finds the saved token.
        vendor.access = "revoked"
        await accounts[0].send(GET)
        await accounts[1].send(GET)
        assert vendor.refreshes == 2


async def test_refresh_token_is_kept_when_the_vendor_sends_none() -> None:
    """Vendors that do not rotate (Google) leave the refresh token out of their answers."""
    vendor, store = Vendor(), Store()

    async def refresher(door: Account, tokens: Tokens | None) -> Tokens:
        return replace(await vendor.refresher(door, tokens), refresh=None)

    async with bench(vendor.handler, store) as b:
        await b.account(**rotating(refresher)).send(GET)
        assert store.saved["okna.crm", SEED] == Tokens("access-2", START + timedelta(hours=1), "seed-refresh")


async def test_an_account_may_have_no_start_value() -> None:
    """A service account signs its own requests: the refresher gets None and is asked before the first request."""
    asked: list[Tokens | None] = []

    async def refresher(door: Account, tokens: Tokens | None) -> Tokens:
        asked.append(tokens)
        return Tokens("made-up", START + timedelta(hours=1))

    async with bench(say((200, "ok"))) as b:
        account = b.account(tokens=None, refresh=refresher)
        await account.send(GET)
        await account.send(GET)
        assert asked == [None]
        assert b.seen[0].headers["Authorization"] == "Bearer made-up"


class Failing(Store):
    """Fails once to save."""

    failures = 1

    async def save(self, account: str, seed: str, tokens: Tokens) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreError("disk full")
        await super().save(account, seed, tokens)


async def test_unsaved_tokens_are_neither_used_nor_lost() -> None:
    """When the store fails, nobody sends with the new token; the next try saves it without spending another."""

    vendor, store = Vendor(), Failing()
    async with bench(vendor.handler, store) as b:
        vendor.access = "expired"
        account = b.account(**rotating(vendor.refresher))
        with pytest.raises(StoreError):
            await account.send(GET)
        assert vendor.steps == ["used old"]
        assert (await account.send(GET)).body == b"access-2"
        assert vendor.refreshes == 1
        assert vendor.steps == ["used old", "used old", "used access-2"]


async def test_unsaved_tokens_do_not_overwrite_newer_ones() -> None:
    """A token got while the store failed is forgotten once another process has saved one of its own (the vendor took
    the old refresh token a second time): at the next renewal it would put the newer refresh token out of reach."""

    vendor, store = Vendor(), Failing()
    async with bench(vendor.handler, store) as b:
        vendor.access = "expired"
        unlucky, other = (b.account(**rotating(vendor.refresher)) for _ in range(2))
        with pytest.raises(StoreError):
            await unlucky.send(GET)
        vendor.refresh = "seed-refresh"
        assert (await other.send(GET)).body == b"access-3"
        assert (await unlucky.send(GET)).body == b"access-3"
        vendor.access = "expired again"
        assert (await unlucky.send(GET)).body == b"access-4"
        assert store.saved["okna.crm", SEED].refresh == "refresh-4"


async def test_cancelled_renewal_is_still_saved() -> None:
    """A daemon that stops in the middle of a renewal does not lose the only valid refresh token."""
    vendor, store = Vendor(), Store()
    is_asked = asyncio.Event()

    async def refresher(door: Account, tokens: Tokens | None) -> Tokens:
        is_asked.set()
        return await vendor.refresher(door, tokens)

    async with bench(vendor.handler, store) as b:
        sending = asyncio.create_task(b.account(**rotating(refresher)).send(GET))
        await is_asked.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert store.saved["okna.crm", SEED].refresh == "refresh-2"


@pytest.mark.parametrize("kind", [Ambiguous, Drift, Unavailable])
async def test_a_failed_renewal_sends_nothing(kind: type[Exception]) -> None:
    """When the token endpoint's answer is lost or senseless, the account's own write is certainly not applied."""

    async def refresher(door: Account, tokens: Tokens | None) -> Tokens:
        raise kind("token endpoint")

    async with bench(say((200, "ok"))) as b:
        with pytest.raises(Unavailable):
            await b.account(**rotating(refresher, tokens=Tokens("", refresh="r"))).send(Request("POST", "/w"))
        assert b.seen == []


# --- refusals ----------------------------------------------------------------------------------------------------


async def expect_stopped(b: Bench, account: Account, match: str) -> None:
    sent = len(b.seen)
    with pytest.raises(AuthError, match=match) as caught:
        await account.send(Request("POST", "/any", scope="any"))
    assert caught.value.is_final
    assert len(b.seen) == sent


async def test_static_token_refused_stops_the_account() -> None:
    """A long-lived token is never retried: one request, then errors at once, until ``stop_for`` has passed."""
    async with bench(say((401, "no"), (200, "fine"))) as b:
        account = b.account(stop_for=900)
        with pytest.raises(AuthError, match=r"the token was refused; account okna\.crm is stopped, check") as caught:
            await account.send(GET)
        assert caught.value.is_final
        await expect_stopped(b, account, "account okna.crm is stopped")
        b.clock.advance(timedelta(seconds=899))
        await expect_stopped(b, account, "account okna.crm is stopped")
        b.clock.advance(timedelta(seconds=1))
        assert (await account.send(GET)).body == b"fine"
        assert b.log.names() == ["auth_failed"]


async def test_second_refusal_is_final() -> None:
    """One renewal, one replay; refused again, the account stops (no endless renewing)."""
    vendor = Vendor()

    async def handler(request: web.Request) -> web.Response:
        return await vendor.handler(request) if request.path == "/oauth" else web.Response(status=401)

    async with bench(handler, Store()) as b:
        account = b.account(**rotating(vendor.refresher))
        with pytest.raises(AuthError) as caught:
            await account.send(GET)
        assert caught.value.is_final
        assert [request.path for request in b.seen] == ["/leads", "/oauth", "/leads"]
        await expect_stopped(b, account, "stopped")


async def test_ban_is_final_without_renewing() -> None:
    """A final refusal wastes no refresh token."""
    vendor = Vendor()
    async with bench(say((403, "banned")), Store()) as b:
        account = b.account(**rotating(vendor.refresher))
        with pytest.raises(AuthError, match="banned"):
            await account.send(GET)
        assert len(b.seen) == 1
        await expect_stopped(b, account, "banned")


@pytest.mark.parametrize("refusal", [AuthError("spent"), AuthError("x", is_final=True), Refused("invalid_grant")])
async def test_refused_renewal_stops_the_account(refusal: Exception) -> None:
    """A spent or revoked refresh token needs a human."""

    async def refresher(door: Account, tokens: Tokens | None) -> Tokens:
        raise refusal

    async with bench(say((401, "")), Store()) as b:
        account = b.account(**rotating(refresher))
        with pytest.raises(AuthError, match=str(refusal)) as caught:
            await account.send(GET)
        assert caught.value.is_final
        await expect_stopped(b, account, "stopped")


async def test_a_stop_ends_when_access_is_granted_anew() -> None:
    """Another process has stored other tokens meanwhile: they are used at once, and refused, they stop the account as
    long as the first ones did."""
    vendor, store = Vendor(), Store()

    async def refresher(door: Account, tokens: Tokens | None) -> Tokens:
        raise AuthError("not authorized yet", is_final=True)

    async with bench(vendor.handler, store) as b:
        account = b.account(**rotating(refresher, tokens=None))
        with pytest.raises(AuthError, match="not authorized yet"):
            await account.send(GET)
        await expect_stopped(b, account, "not authorized yet")
        await store.save("okna.crm", seed_of(None), Tokens(vendor.access, refresh="granted"))
        assert (await account.send(GET)).body == vendor.access.encode()
        vendor.access = "revoked"
        with pytest.raises(AuthError):
            await account.send(GET)
        await expect_stopped(b, account, "stopped")


async def test_requests_under_way_do_not_prolong_the_stop() -> None:
    """Many refused together: one stop, one log line, one text."""
    async with bench(say((401, ""))) as b:
        account = b.account(rate=Rate(1e6, burst=50, parallel=2))
        results = await asyncio.gather(*(account.send(GET) for _ in range(20)), return_exceptions=True)
        assert all(isinstance(result, AuthError) and result.is_final for result in results)
        assert all(str(result).count("is stopped") == 1 for result in results)
        assert b.log.names() == ["auth_failed"]
        assert len(b.seen) <= 2


async def test_one_account_stopped_leaves_others() -> None:
    """Another account of the same client and vendor goes on."""

    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=401 if "bad" in request.headers["Authorization"] else 200)

    async with bench(handler) as b:
        with pytest.raises(AuthError):
            await b.account(name="a", tokens=Tokens("bad")).send(GET)
        assert (await b.account(name="b").send(GET)).status == 200


# --- throttling --------------------------------------------------------------------------------------------------


def throttle_once(retry_after: str | None) -> Vendor:
    vendor = Vendor()
    left = [1]

    async def handler(request: web.Request) -> web.Response:
        if left:
            left.pop()
            return web.Response(status=429, headers={"Retry-After": retry_after} if retry_after else {})
        return web.Response(text="ok")

    vendor.handler = handler  # type: ignore[method-assign] # a vendor with one behaviour
    return vendor


@pytest.mark.parametrize(("retry_after", "waited"), [("20", 20.0), (None, 1.0)])
async def test_throttling_holds_the_account(retry_after: str | None, waited: float) -> None:
    """After "too many requests" the request is repeated, and the whole account waits as long as asked (else 1 s)."""
    async with bench(throttle_once(retry_after).handler) as b:
        assert (await b.account().send(Request("POST", "/w"))).body == b"ok"
        assert (b.clock.now() - START).total_seconds() == pytest.approx(waited, abs=1.0)
        assert (b.clock.now() - START).total_seconds() >= waited
        assert len(b.seen) == 2
        assert b.log.names() == ["throttled"]


async def test_long_throttling_is_left_to_the_loop() -> None:
    """Asked for more than 30 s: Throttled at once, and at once again with what is left, without a request."""
    async with bench(throttle_once("600").handler) as b:
        account = b.account()
        with pytest.raises(Throttled) as caught:
            await account.send(Request("POST", "/w", scope="upload"))
        assert caught.value.retry_after == 600
        b.clock.advance(timedelta(seconds=100))
        with pytest.raises(Throttled) as caught:
            await account.send(Request("POST", "/w", scope="upload"))
        assert caught.value.retry_after == pytest.approx(500)
        assert (await account.send(Request("GET", "/r", scope="other"))).body == b"ok"
        b.clock.advance(timedelta(seconds=500))
        assert (await account.send(Request("POST", "/w", scope="upload"))).body == b"ok"
        assert len(b.seen) == 3


async def test_accounts_of_one_name_share_the_limit() -> None:
    """A vendor counts a credential's requests, however many objects we made of it: a pause holds for all of them."""
    async with bench(say((200, "ok"))) as b:
        first, second, stranger = b.account(), b.account(), b.account(name="other")
        first.pause(50)
        await stranger.send(GET)
        assert b.clock.now() == START
        await second.send(GET)
        assert (b.clock.now() - START).total_seconds() == pytest.approx(50)


async def test_cut_json_is_read_again_and_writes_are_not() -> None:
    """Drift on a read is tried once more; on a write it is raised."""
    async with bench(say((200, "{cut"), (200, "fine"))) as b:
        assert (await b.account().send(GET)).body == b"fine"
    async with bench(say((200, "{cut"))) as b:
        with pytest.raises(Drift):
            await b.account().send(Request("POST", "/w"))
        assert len(b.seen) == 1

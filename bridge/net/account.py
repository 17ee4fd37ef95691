"""One credential at one vendor: stopped? - limit - token - attempt - judge - renew and replay once - short retry."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import NoReturn

import httpx

from bridge.errors import Ambiguous, AuthError, BridgeError, Drift, Throttled, Unavailable
from bridge.frozen import frozen
from bridge.net import failures
from bridge.net.limit import Limiter
from bridge.net.retry import LONGEST_WAIT, Retry
from bridge.net.token import keeper_of
from bridge.tools import AccountSetup, Clock, Log, Request, Response, TokenStore

_HOLD = 1.0  # seconds the whole account waits after a "too many requests" that names no time


@frozen
class Caps:
    """Limits of one attempt: ``total`` seconds, ``max_body`` bytes."""

    total: float
    max_body: int

    def deadline(self) -> asyncio.Timeout:
        return asyncio.timeout(self.total)


@frozen
class Station:
    """What an account stands on: the process's ``attempt`` (request, absolute URL, caps), limit, clock, log, tokens."""

    attempt: Callable[[Request, str, Caps], Awaitable[Response]]
    limiter: Limiter
    clock: Clock
    log: Log
    tokens: TokenStore


class Gate:
    """Remembers, per scope, until when requests are answered with an error without being sent."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._closed: dict[str, tuple[datetime, Callable[[float], BridgeError]]] = {}

    def close(self, seconds: float, reason: Callable[[float], BridgeError], scope: str = "") -> None:
        """Answer with ``reason(seconds left)`` for so long."""
        self._closed[scope] = (self._clock.now() + timedelta(seconds=seconds), reason)

    def open(self) -> None:
        """What is closed for everyone is so no longer."""
        self._closed.pop("", None)

    def check(self, scope: str) -> None:
        """Raise if the gate is closed for everyone or for this scope."""
        if self._closed:
            self._check("")
            self._check(scope)

    def _check(self, scope: str) -> None:
        if scope not in self._closed:
            return
        until, reason = self._closed[scope]
        left = (until - self._clock.now()).total_seconds()
        if left <= 0:
            del self._closed[scope]
            return
        raise reason(left)


class Exchange:
    """Requests with a given token: limit, attempt, judge, short retry. Knows nothing of renewing."""

    def __init__(self, setup: AccountSetup, station: Station, gate: Gate) -> None:
        self._setup = setup
        self._station = station
        self._gate = gate
        self._retry = Retry(station.clock)
        self._origin = httpx.URL(setup.base_url)

    async def run(self, request: Request, token: str | None) -> Response:
        """Send until judged good; raises what ``tools.Account.send`` promises, AuthError unhandled."""
        if token is not None:
            self._keep_credentials_home(request)
        is_repeatable = failures.is_repeatable(request)
        return await self._retry.run(partial(self._once, request, token), is_repeatable=is_repeatable)

    def pause(self, seconds: float, scope: str = "") -> None:
        self._station.limiter.pause(seconds, scope)

    async def _once(self, request: Request, token: str | None) -> Response:
        limiter = self._station.limiter
        await limiter.acquire(request.scope)
        try:
            self._gate.check(request.scope)
            response = await self._attempt(request, token)
        finally:
            limiter.release()
        self._judge(request, response)
        return response

    async def _attempt(self, request: Request, token: str | None) -> Response:
        setup = self._setup
        dressed = request if token is None else setup.apply(request, token)
        caps = Caps(request.timeout or setup.timeout, setup.max_body)
        try:
            return await self._station.attempt(dressed, failures.join(setup.base_url, dressed.url), caps)
        except failures.TransportError as failure:
            raise failures.as_error(failure, request, self._place(request)) from None
        except failures.BodyTooLargeError as error:
            raise failures.too_large(error.limit, self._place(request)) from None

    def _judge(self, request: Request, response: Response) -> None:
        try:
            self._setup.judge(request, response)
        except Throttled as error:
            self._slow_down(error, request.scope)
            raise
        except Unavailable as error:
            if response.status < 500 or response.status == 503 or failures.is_repeatable(request):
                raise
            raise Ambiguous(f"{error} (status {response.status} after a write; it may have been applied)") from None

    def _slow_down(self, error: Throttled, scope: str) -> None:
        """Let the answer to one request hold back the others of the account (or of the scope it belongs to)."""
        seconds = error.retry_after
        self._station.log.warning("throttled", account=self._setup.name, scope=scope, retry_after=seconds)
        if seconds is None:
            self._station.limiter.pause(_HOLD)
        elif seconds <= LONGEST_WAIT:
            self._station.limiter.pause(seconds, scope)
        else:
            message = str(error)
            self._gate.close(seconds, lambda left: Throttled(message, retry_after=left), scope)

    def _keep_credentials_home(self, request: Request) -> None:
        if not request.url.startswith(("https://", "http://")):
            return
        target = httpx.URL(request.url)
        if (target.scheme, target.host, target.port) != (self._origin.scheme, self._origin.host, self._origin.port):
            raise Drift(f"{self._place(request)}: not on {self._origin.host}; credentials stay with their own host")

    def _place(self, request: Request) -> str:
        return failures.place(self._setup.base_url, request)


class Door:
    """The unauthorized account a refresher gets: the same limit and judge, no token, no memory of refusals."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.pause = exchange.pause

    async def send(self, request: Request) -> Response:
        """Send without a token; raises what the judge raises."""
        return await self._exchange.run(request, None)


def door_of(setup: AccountSetup, station: Station) -> Door:
    """A door of its own, which no refusal of the account has closed."""
    return Door(Exchange(setup, station, Gate(station.clock)))


class StoppedError(AuthError):
    """Raised without sending while an account is stopped."""


class VendorAccount:
    """``tools.Account`` over a shared HTTP client."""

    def __init__(self, setup: AccountSetup, station: Station) -> None:
        self._setup = setup
        self._log = station.log
        self._gate = Gate(station.clock)
        self._exchange = Exchange(setup, station, self._gate)
        self._keeper = keeper_of(setup, door_of(setup, station), station)
        self.pause = self._exchange.pause

    async def send(self, request: Request) -> Response:
        """See ``tools.Account.send``."""
        await self._enter(request.scope)
        token: str | None = None
        try:
            token = await self._keeper.current()
            return await self._exchange.run(request, token)
        except AuthError as error:
            if error.is_final or not self._keeper.can_renew:
                self._stop(error)
        try:
            token = await self._keeper.renewed(token)
            return await self._exchange.run(request, token)
        except AuthError as error:
            self._stop(error)

    async def _enter(self, scope: str) -> None:
        """Pass the gate. A stop ends as soon as somebody has granted access anew: other tokens are stored."""
        try:
            self._gate.check(scope)
        except StoppedError:
            if not await self._keeper.has_changed():
                raise
            self._gate.open()
            self._gate.check(scope)

    def _stop(self, error: AuthError) -> NoReturn:
        """Close the gate and raise; a request that was under way when another one closed it changes nothing."""
        if isinstance(error, StoppedError):
            raise error
        self._gate.check("")
        stop_for = error.stop_for or self._setup.stop_for
        name, minutes = self._setup.name, math.ceil(stop_for / 60)
        text = f"{error}; account {name} is stopped, check its credentials and rights, then restart"
        self._log.error("auth_failed", account=name, error=str(error), stopped_for=stop_for)
        self._gate.close(stop_for, lambda _: StoppedError(text, is_final=True))
        raise AuthError(f"{text} (or wait: it tries again every {minutes} min)", is_final=True) from None

"""Calls to one portal: single methods, batches of fifty commands, the operating time they use up, a new address."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Any
from urllib.parse import quote

import msgspec

from adapters.bitrix24 import auth, wire
from adapters.bitrix24.entities import ITEM_LIST
from bridge.errors import BridgeError, Drift, Refused, Unavailable
from bridge.frozen import frozen, replace
from bridge.tools import Account, AccountSetup, Clock, Request, Response, Tools

PAGE = 50  # rows of a page, commands of a batch (contract 9)
LISTING = PAGE * PAGE  # rows handed out at once: their contacts and histories then fill whole requests
OPERATING_MAX = 480.0  # seconds in ten minutes; a method that used up more is refused (contract 9)
OPERATING_SOFT = 420.0  # one request takes at most 60
_FEW_LISTS = 4  # of which a page each is never too much for one request
_MOVES_MAX = 3  # redirects followed for one request
_HEADERS = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "conversion-bridge"}


@frozen
class Command:
    """One method call inside a batch. ``params`` nest like the JSON body of a single call."""

    method: str
    params: Mapping[str, Any] = field(default_factory=dict)

    def encode(self) -> str:
        return f"{self.method}?{_joined([_encoded(name, value) for name, value in self.params.items()])}"


def _encoded(name: str, value: Any) -> str:
    """PHP's bracket keys: ``filter[>ID]=5&select[0]=ID``."""
    if isinstance(value, Mapping):
        return _joined([_encoded(f"{name}[{key}]", item) for key, item in value.items()])
    if isinstance(value, tuple):
        return _encoded_tuple(name, value)
    if isinstance(value, list):
        return _joined([_encoded(f"{name}[{index}]", item) for index, item in enumerate(value)])
    return f"{_quoted(name)}={_quoted(str(value))}"


@lru_cache(maxsize=256)  # the fields asked for are the same on every page of a chain
def _encoded_tuple(name: str, value: tuple[str, ...]) -> str:
    return _encoded(name, list(value))


def _joined(parts: Sequence[str]) -> str:
    return "&".join([part for part in parts if part])


@lru_cache(maxsize=4096)
def _quoted(text: str) -> str:
    return quote(text, safe="$[]")


@frozen
class Done:
    """What became of a command: the bytes of its result, or why it failed. ``total`` where the portal counted."""

    command: Command
    result: msgspec.Raw | None
    error: wire.CommandError | None = None
    total: int | None = None
    next: int | None = None

    def rows(self, decoder: msgspec.json.Decoder[wire.T]) -> wire.T:
        """The typed result.

        Raises:
            AuthError, Refused, Throttled, Unavailable: what the command's error means.
            Drift: another shape than promised.
        """
        if self.error is not None:
            raise wire.meaning(self.error, self.command.method)
        assert self.result is not None
        return wire.decode(decoder, self.result, self.command.method)

    def listed(self) -> list[wire.Listed]:
        """The rows of a list; raises like ``rows``."""
        if self.error is not None:
            raise wire.meaning(self.error, self.command.method)
        assert self.result is not None
        return wire.page(self.result, self.command.method)


@dataclass(slots=True)
class Operating:
    """Each method's operating time (seconds), and when it drops (Unix seconds, the portal's clock), as last seen.

    Contract 9. The commands of a batch are accounted each under its own method.
    """

    clock: Clock
    resets: dict[str, float] = field(default_factory=dict)
    used: dict[str, float] = field(default_factory=dict)

    def wait(self, method: str) -> float | None:
        """Seconds to hold a refused method back: at least ten; None while nothing is known of it."""
        reset = self.resets.get(method)
        return None if reset is None else max(reset - self.clock.now().timestamp(), 10.0)

    def refused(self, method: str) -> float | None:
        """The method was refused, its time is used up. Seconds to wait as ``wait`` tells."""
        self.used[method] = OPERATING_MAX
        return self.wait(method)

    def busiest(self, methods: Iterable[str]) -> str:
        """The method a batch has to wait for: the one nearest to its limit."""
        return max(methods, key=lambda method: self.used.get(method, 0.0))

    def note(self, method: str, time: wire.Time) -> float | None:
        """Remember; seconds to pause when the limit is near, else None."""
        self.used[method] = time.operating or 0.0
        if time.operating_reset_at is not None:
            self.resets[method] = time.operating_reset_at
        return self.wait(method) if (time.operating or 0.0) >= OPERATING_SOFT else None


class Portal:
    """One portal through one webhook or application. Nearly every call here reads, and may be repeated.

    ``moved_to``: the address the portal answers at since it was renamed, which base_url should be set to.
    """

    def __init__(self, setup: AccountSetup, tools: Tools) -> None:
        self.moved_to: str | None = None
        self._tools = tools
        self._operating = Operating(tools.clock)
        self._setup = replace(setup, judge=self._judge)
        self._account: Account = tools.http.account(self._setup)

    def _judge(self, request: Request, response: Response) -> None:
        auth.judge(request, response, self._operating.refused)

    async def call(self, command: Command, *, is_safe: bool = True) -> bytes:
        """One method; the whole answer. Unless ``is_safe``, it is not repeated when its answer is lost.

        Raises:
            AuthError, Throttled, Unavailable, Ambiguous, Refused, Drift: as the answer means.
        """
        body = await self._post(command.method, command.params, command.method, is_safe=is_safe)
        self._note(command.method, wire.spent(body))
        return body

    async def batch(self, commands: Mapping[str, Command], *, is_chain: bool = False) -> dict[str, Done]:
        """Up to fifty commands in one request, in the order given.

        A chain stops at its first error; the commands after it are then missing from the answer.

        Raises:
            AuthError, Throttled, Unavailable, Refused, Drift: as the answer means; a command's own error is in its
                ``Done`` unless it concerns the whole account.
        """
        encoded = {key: command.encode() for key, command in commands.items()}
        scope = self._operating.busiest(command.method for command in commands.values())
        answer = wire.batch(await self._post("batch", {"halt": int(is_chain), "cmd": encoded}, scope))
        self._note_all(commands, wire.mapped(answer.result_time))
        return _done(commands, answer, is_chain)

    async def batches(self, groups: Sequence[Mapping[str, Command]]) -> list[dict[str, Done]]:
        """Several independent batches side by side; answers in the same order.

        Raises:
            AuthError, Throttled, Unavailable, Refused, Drift: as for ``batch``; the first one ends the others.
        """
        tasks = [asyncio.ensure_future(self.batch(group)) for group in groups]
        try:
            return list(await asyncio.gather(*tasks))
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    async def all(self, commands: Sequence[Command]) -> list[Done]:
        """Any number of independent commands in as few requests as possible; results in the same order.

        Raises:
            AuthError, Throttled, Unavailable, Refused, Drift: as for ``batch``.
        """
        groups = [commands[at : at + PAGE] for at in range(0, len(commands), PAGE)]
        answers = await self.batches([{f"c{index}": item for index, item in enumerate(group)} for group in groups])
        return [done for answer in answers for done in answer.values()]

    async def _post(self, method: str, params: Mapping[str, Any], scope: str, *, is_safe: bool = True) -> bytes:
        body = msgspec.json.encode(params)
        request = Request("POST", method, headers=_HEADERS, body=body, is_safe=is_safe, scope=scope)
        for _ in range(_MOVES_MAX):
            account = self._account
            try:
                return (await account.send(request)).body
            except wire.Moved as moved:
                if account is self._account:  # else another request has followed already
                    self._follow(moved)
        raise Refused(f"{method}: the portal's addresses redirect to each other: check base_url", code="moved")

    def _follow(self, moved: wire.Moved) -> None:
        """Talk to the renamed portal's new address from now on: a 302 turns nothing into GET here (contract 1.2).

        Raises:
            Refused: the redirect leads from https to plain http, where credentials do not go.
        """
        if self._setup.base_url.startswith("https://") and not moved.base_url.startswith("https://"):
            raise Refused(
                "the portal redirects from https to http, which is not followed: check base_url", code="moved"
            )
        self.moved_to = moved.base_url
        self._tools.log.warning("quirk", what=str(moved), account=self._setup.name)
        self._setup = replace(self._setup, base_url=moved.base_url)
        self._account = self._tools.http.account(self._setup)

    def _note(self, method: str, time: wire.Time) -> None:
        pause = self._operating.note(method, time)
        if pause is not None:
            self._account.pause(pause, method)

    def _note_all(self, commands: Mapping[str, Command], times: Mapping[str, Any]) -> None:
        latest = {commands[key].method: time for key, time in times.items() if key in commands}
        for method, time in latest.items():
            if isinstance(time, wire.Time):
                self._note(method, time)


def _done(commands: Mapping[str, Command], answer: wire.Batch, is_chain: bool) -> dict[str, Done]:
    results, errors = wire.mapped(answer.result), wire.mapped(answer.result_error)
    totals, nexts = wire.mapped(answer.result_total), wire.mapped(answer.result_next)
    done: dict[str, Done] = {}
    for key, command in commands.items():
        result, error = results.get(key), errors.get(key)
        if result is not None or error is not None:
            done[key] = Done(command, result, error, totals.get(key), nexts.get(key))
            continue
        if is_chain and any(earlier.error for earlier in done.values()):
            break
        raise Drift(f"batch: the answer holds nothing for one of its commands ({command.method})")
    return done


@frozen
class Begun:
    """The first page of a walk, which was read already: what lies behind an id."""

    after: int
    page: list[wire.Listed]


async def pages(portal: Portal, commands: Mapping[str, Command]) -> dict[str, list[wire.Listed]]:
    """A page of each of these lists: in one request, or in several where the portal cannot answer so many at once.

    Raises:
        AuthError, Throttled, Unavailable, Refused, Drift: the portal's answer, to one of the lists or to all.
    """
    try:
        return {name: done.listed() for name, done in (await portal.batch(commands)).items()}
    except BridgeError as error:
        if len(commands) <= _FEW_LISTS or not _is_overload(error):
            raise
    named, middle = list(commands.items()), len(commands) // 2
    return await pages(portal, dict(named[:middle])) | await pages(portal, dict(named[middle:]))


async def keyset(portal: Portal, command: Command, pace: Pace, begun: Begun) -> AsyncGenerator[list[wire.Listed], None]:
    """Every row of a list by ascending ID, from its first page on: fifty pages per request.

    Inside a batch each page starts behind the last row of the page before. After a short page such a reference
    points nowhere and the portal starts again from the beginning (contract 7): all later pages are ignored.

    Raises:
        Drift: a page does not go on behind the one before.
    """
    held = begun.page
    last = checked(held, begun.after)
    is_last = len(held) < PAGE
    while not is_last:
        rows, is_last = await _chain(portal, command, last, pace)
        last = checked(rows, last)
        held = held + rows
        if not is_last:
            yield held[:LISTING]
            held = held[LISTING:]
    yield held


@dataclass(slots=True)
class Pace:
    """How many pages to ask for in one batch. A portal that cannot answer within its 60 seconds gets smaller ones."""

    pages: int = PAGE

    def shrink(self) -> bool:
        """Halve; False when there is nothing left to halve."""
        was, self.pages = self.pages, max(self.pages // 2, 1)
        return was > 1

    def grow(self) -> None:
        self.pages = min(self.pages * 2, PAGE)


async def _chain(portal: Portal, command: Command, last: int, pace: Pace) -> tuple[list[wire.Listed], bool]:
    """The next pages behind ``last``, and whether a short one ended the list."""
    while True:
        chained = {"p0": after(command, last)}
        chained.update((f"p{n}", after(command, _last_of(f"p{n - 1}", command))) for n in range(1, pace.pages))
        try:
            answer = await portal.batch(chained, is_chain=True)
            break
        except BridgeError as error:
            if not _is_overload(error) or not pace.shrink():
                raise
    pace.grow()
    rows: list[wire.Listed] = []
    for done in answer.values():
        page = done.listed()
        rows += islice(page, PAGE)
        if len(page) < PAGE:
            return rows, True
    return rows, False


def _is_overload(error: BridgeError) -> bool:
    """What a request cut off after 60 seconds looks like: a gateway's 5xx, a closed connection or half a body."""
    return isinstance(error, Unavailable | Drift)


def after(command: Command, last: int | str) -> Command:
    """The page behind an id (or a reference to one), without counting (contract 3.2)."""
    name = "id" if command.method == ITEM_LIST else "ID"
    params = {**command.params, "filter": {**command.params["filter"], f">{name}": str(last)}}
    return replace(command, params={**params, "order": {name: "ASC"}, "start": -1})


def _last_of(page: str, command: Command) -> str:
    """A reference to the id of a page's last row (contract 7)."""
    return f"$result[{page}]{f'[items][{PAGE - 1}][id]' if command.method == ITEM_LIST else f'[{PAGE - 1}][ID]'}"


def checked(rows: Sequence[wire.Listed], last: int) -> int:
    """The last id. Ids must grow, or the portal ignores the filter and the walk would never end.

    Raises:
        Drift: they do not.
    """
    for row in rows:
        if row.id <= last:
            raise Drift("a list does not go on behind its last row: does the portal ignore the filter >ID?")
        last = row.id
    return last

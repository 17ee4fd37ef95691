"""The simulated account's webhooks: registered through the API, posted in the old v2 shape, repeated, switched off.

Nothing is posted by itself: what is due at the account's clock goes out when ``deliver`` is called. ``pending`` is a
plain list, so that a test may lose, double or shuffle what is on its way (contract amocrm 8.3, 15.12).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec
from aiohttp import web

from adapters.amocrm.fake_http import as_json, problem
from adapters.amocrm.fake_store import ACCOUNT, USER, SimLead
from bridge.sim.post import post
from bridge.tools import Clock

# Until the next attempt, by the number of those made: any bad answer twice, then only 499 and 5xx.
_PAUSES = {1: timedelta(minutes=5), 2: timedelta(minutes=15), 3: timedelta(minutes=15), 4: timedelta(hours=1)}
_ANY_TWICE = 2
_BAD_MOST, _BAD_SPAN = 100, timedelta(hours=2)
_HOOKS_MOST = 100
_KNOWN = frozenset(
    f"{action}_{kind}"
    for kind in ("lead", "contact", "company", "task")
    for action in ("add", "update", "status", "delete", "restore", "responsible", "note")
)

Form = list[tuple[str, str]]


@dataclass(slots=True)
class SimHook:
    """One registered webhook. ``bad`` are times of answers that were no success."""

    id: int
    destination: str
    settings: list[str]
    created_at: int
    disabled: bool = False
    bad: deque[datetime] = field(default_factory=deque)


@dataclass(slots=True)
class Posting:
    """One POST on its way: ``attempt`` counts from 1, ``due`` is when it goes out."""

    hook: SimHook
    form: Form = field(repr=False)
    due: datetime
    attempt: int = 1


class HookDesk:
    """Registration and delivery. What is not verified (contract amocrm 17) is a switch.

    Args:
        repost: what posting a known address again does to its events.
        reenables: whether it wakes a disabled webhook.
        created: status of a first registration.
        is_in_plan, is_admin: False answers 402, 403.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._made = 0
        self.hooks: dict[str, SimHook] = {}
        self.pending: list[Posting] = []
        self.answers: list[int | None] = []
        self.repost: Literal["replaces", "merges"] = "replaces"
        self.reenables = True
        self.created = 201
        self.is_in_plan = True
        self.is_admin = True
        self.forgets_status = False  # status hooks go missing while update hooks arrive
        self.account = ACCOUNT

    # --- what happens to leads ---

    def tell(self, action: str, lead: SimLead, old_status: int | None = None) -> None:
        """Something happened to a lead: every webhook that wants to know of it is to be posted."""
        event = f"{action}_lead"
        if action == "status" and self.forgets_status:
            return
        for hook in self.hooks.values():
            if event in hook.settings and not hook.disabled:
                self.pending.append(Posting(hook, self.form(action, lead, old_status), self._clock.now()))

    def form(self, action: str, lead: SimLead, old_status: int | None = None) -> Form:
        """The body of one webhook, v2 names (contract amocrm 8.2)."""
        head = f"leads[{action}][0]"
        if action == "delete":
            fields: dict[str, Any] = {"id": lead.id, "status_id": lead.status, "pipeline_id": lead.pipeline}
        else:
            fields = _fields(lead)
            if old_status is not None:
                fields["old_status_id"] = old_status
        own = [(f"{head}[{name}]", str(value)) for name, value in fields.items()]
        return [*own, *(_custom(head, lead) if action != "delete" else ()), *self._signature()]

    def _signature(self) -> Form:
        subdomain = [("account[subdomain]", "sim"), ("account[id]", str(self.account))]
        return [*subdomain, ("account[_links][self]", "https://sim.amocrm.ru")]

    # --- delivery ---

    async def deliver(self) -> list[int | None]:
        """Post everything that is due, the oldest first; the answers' statuses (None: no answer in time)."""
        now = self._clock.now()
        due = [posting for posting in self.pending if posting.due <= now]
        self.pending = [posting for posting in self.pending if posting.due > now]
        answers = []
        for posting in due:
            if posting.hook.disabled or posting.hook.destination not in self.hooks:
                continue
            status = await post(posting.hook.destination, posting.form)
            answers.append(status)
            if status is None or not 100 <= status <= 299:
                self._missed(posting, status, now)
        self.answers += answers
        return answers

    def _missed(self, posting: Posting, status: int | None, now: datetime) -> None:
        """Plan another attempt, and switch the webhook off after too many bad answers."""
        is_worth_more = status == 499 or (status is not None and 500 <= status <= 599)
        pause = _PAUSES.get(posting.attempt)
        if pause is not None and (posting.attempt <= _ANY_TWICE or is_worth_more):
            self.pending.append(Posting(posting.hook, posting.form, now + pause, posting.attempt + 1))
        bad = posting.hook.bad
        bad.append(now)
        while bad[0] <= now - _BAD_SPAN:
            bad.popleft()
        posting.hook.disabled |= len(bad) > _BAD_MOST

    # --- registration (contract amocrm 8.1) ---

    async def listed(self, request: web.Request) -> web.Response:
        """GET: all of them, or the one with this address."""
        wanted = request.query.get("filter[destination]")
        hooks = [hook for hook in self.hooks.values() if wanted in (None, hook.destination)]
        denied = self._denied()
        if denied is not None or not hooks:
            return denied or web.Response(status=204)
        body = {"_total_items": len(hooks), "_links": {}, "_embedded": {"webhooks": [_json(hook) for hook in hooks]}}
        return as_json(msgspec.json.encode(body))

    async def saved(self, request: web.Request) -> web.Response:
        """POST of a single object."""
        body = await _body(request)
        address, events = body.get("destination"), body.get("settings")
        denied = self._denied()
        if denied is not None:
            return denied
        if not isinstance(address, str) or not address.startswith(("https://", "http://127.0.0.1")):
            return problem(400, "Bad Request", "destination")
        if not isinstance(events, list) or not events or not _KNOWN.issuperset(events):
            return problem(400, "Bad Request", "settings")
        known = self.hooks.get(address)
        if known is None and len(self.hooks) >= _HOOKS_MOST:
            return problem(422, "Unprocessable Entity", "too many webhooks")
        return as_json(msgspec.json.encode(_json(self._save(address, events))), 200 if known else self.created)

    def _save(self, address: str, events: list[str]) -> SimHook:
        hook = self.hooks.get(address)
        if hook is None:
            self._made += 1
            made_at = int(self._clock.now().timestamp())
            hook = self.hooks[address] = SimHook(1_056_900 + self._made, address, list(events), made_at)
            return hook
        hook.settings = list(events) if self.repost == "replaces" else sorted({*hook.settings, *events})
        if self.reenables:
            hook.disabled = False
            hook.bad.clear()
        return hook

    async def removed(self, request: web.Request) -> web.Response:
        """DELETE with the address in the body."""
        address = (await _body(request)).get("destination")
        denied = self._denied()
        if denied is not None:
            return denied
        if self.hooks.pop(str(address), None) is None:
            return problem(404, "Not Found", "webhook")
        return web.Response(status=204)

    def _denied(self) -> web.Response | None:
        if not self.is_in_plan:
            return problem(402, "Payment Required", "")
        return None if self.is_admin else problem(403, "Forbidden", "Нет прав")

    def routes(self, guarded: Callable[[Any], Any]) -> Iterator[web.RouteDef]:
        """Its part of the API, behind the account's own checks."""
        yield web.get("/api/v4/webhooks", guarded(self.listed))
        yield web.post("/api/v4/webhooks", guarded(self.saved))
        yield web.delete("/api/v4/webhooks", guarded(self.removed))


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _json(hook: SimHook) -> dict[str, Any]:
    times = {"created_at": hook.created_at, "updated_at": hook.created_at}
    about = {"account_id": ACCOUNT, "created_by": USER, "sort": 10, "disabled": hook.disabled}
    return {"id": hook.id, "destination": hook.destination, **times, **about, "settings": hook.settings}


def _fields(lead: SimLead) -> dict[str, Any]:
    """Everything is text, and has the names of version 2; who modified it is sometimes nobody (contract amocrm 8.3)."""
    times = {"last_modified": lead.updated_at, "date_create": lead.created_at}
    people = {"modified_user_id": USER if lead.id % 3 else 0, "created_user_id": 0, "responsible_user_id": USER}
    place = {"status_id": lead.status, "pipeline_id": lead.pipeline, "price": lead.price, "account_id": ACCOUNT}
    name = msgspec.json.decode(lead.name)
    new = {"created_at": lead.created_at, "updated_at": lead.updated_at}
    return {"id": lead.id, "name": name, **place, **people, **times, **new}


def _custom(head: str, lead: SimLead) -> Iterator[tuple[str, str]]:
    for number, item in enumerate(msgspec.json.decode(lead.custom) or ()):
        place = f"{head}[custom_fields][{number}]"
        yield f"{place}[id]", str(item["field_id"])
        yield f"{place}[name]", str(item["field_name"])
        yield f"{place}[code]", str(item["field_code"] or "")
        for index, value in enumerate(item["values"]):
            yield f"{place}[values][{index}][value]", str(value["value"])


def decided(lead: int, *, accepts: bool) -> Form:
    """The body that tells what became of an incoming lead."""
    word = "accept" if accepts else "decline"
    head = "unsorted[delete][0]"
    own = [(f"{head}[action]", word), (f"{head}[uid]", f"{lead:060x}"), (f"{head}[category]", "forms")]
    return [*own, (f"{head}[{word}_result][leads][0]", str(lead)), ("account[id]", str(ACCOUNT))]

"""What a simulated portal tells of changes: outgoing webhooks, and the queue of offline events (contract bitrix24 8).

Webhooks go out when ``deliver`` is called, each once, whatever the answer. ``pending`` is a plain list, so that a test
may lose, double or shuffle what is on its way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec

from adapters.bitrix24 import fake_query as query
from adapters.bitrix24.fake_data import PortalData
from adapters.bitrix24.fake_query import RestError
from adapters.bitrix24.fake_rest import Reply, param
from adapters.bitrix24.fake_schema import ITEM
from bridge.sim.post import post
from bridge.tools import Clock

KEPT_RESERVED = timedelta(days=30)
_APPLICATION_ONLY = "ONCRMDEALMOVETOCATEGORY"
_QUEUE_TYPES = {
    **dict.fromkeys(("EVENT_NAME", "MESSAGE_ID", "PROCESS_ID"), "text"),
    **{"ID": "id", "ERROR": "id", "TIMESTAMP_X": "time"},
}

Form = list[tuple[str, str]]


@dataclass(slots=True)
class Outgoing:
    """An outgoing webhook as made in the portal: where to, of what, and the token it signs with."""

    handler: str
    events: frozenset[str]
    token: str = field(repr=False)


@dataclass(slots=True)
class Queued:
    """One row of the queue: changes of one object by one event, merged until somebody reserves it."""

    id: int
    at: int
    event: str
    fields: Mapping[str, Any]
    connector: str
    process: str = ""
    is_error: bool = False

    @property
    def message(self) -> str:
        """A hash of the event's name and data."""
        return hashlib.md5(self.event.encode() + msgspec.json.encode(self.fields), usedforsecurity=False).hexdigest()


class EventDesk:
    """Both roads of a portal's events.

    What is not verified (contract bitrix24 17) or depends on the plan is a switch. ``sends_text``: ids in the queue are
    texts. ``shows_process``: the list of the queue tells who has reserved a row. ``blind``: ``EVENT_DATA`` is false.
    """

    def __init__(self, data: PortalData, clock: Clock, address: Callable[[], str]) -> None:
        self._data = data
        self._clock = clock
        self._address = address
        self.webhooks: list[Outgoing] = []
        self.pending: list[tuple[str, Form]] = []
        self.answers: list[int | None] = []
        self.bound: set[tuple[str, str]] = set()  # offline: event and connector
        self.rows: list[Queued] = []
        self.has_confirmation = True
        self.has_connectors = False
        self.is_admin = True
        self.sends_text = False
        self.shows_process = True
        self.blind = False
        self.unknown = ""  # an event that this portal does not have
        self._made = 0
        self._methods: dict[str, Callable[[Mapping[str, Any]], Reply]] = {
            "event.bind": self._bind,
            "event.get": self._handlers,
            "event.offline.get": self._get,
            "event.offline.list": self._list,
            "event.offline.clear": self._clear,
            "event.offline.error": self._error,
            "feature.get": self._feature,
        }

    # --- what happens ---

    def tell(self, kind: str, number: int, action: str) -> None:
        """A record was changed. A change of pipeline is not an update, and webhooks do not hear of it."""
        if not (self.webhooks or self.bound):
            return
        name, _, type_id = kind.partition(":")
        event = f"ONCRMDYNAMICITEM{action}" if name == ITEM else f"ONCRM{name.upper()}{action}"
        fields: dict[str, Any] = {"ID": str(number) if self.sends_text else number}
        if name == ITEM:
            fields["ENTITY_TYPE_ID"] = int(type_id)
        at = int(self._clock.now().timestamp())
        for webhook in self.webhooks:
            if event in webhook.events and event != _APPLICATION_ONLY:
                self.pending.append((webhook.handler, self.form(event, fields, webhook.token, at)))
        for bound, connector in self.bound:
            if bound == event:
                self._queue(event, fields, connector, at)

    def form(self, event: str, fields: Mapping[str, Any], token: str, at: int) -> Form:
        """The body of one webhook; all values are texts (contract bitrix24 8.1)."""
        portal = self._address()
        named = [(f"data[FIELDS][{name}]", str(value)) for name, value in fields.items()]
        place = [("auth[domain]", portal.partition("://")[2]), ("auth[client_endpoint]", f"{portal}/rest/")]
        about = [("auth[server_endpoint]", "https://oauth.bitrix24.tech/rest/"), ("auth[member_id]", "0f3d9b7c51e8")]
        head = [("event", event), ("event_handler_id", "58"), *named, ("ts", str(at))]
        return [*head, *place, *about, ("auth[application_token]", token)]

    async def deliver(self) -> list[int | None]:
        """Post everything that waits, once; the answers' statuses (None: no answer in time)."""
        due, self.pending = self.pending, []
        answers = [await post(handler, form) for handler, form in due]
        self.answers += answers
        return answers

    def _queue(self, event: str, fields: Mapping[str, Any], connector: str, at: int) -> None:
        """Repeated changes merge into the row that nobody has reserved; only its time moves."""
        for row in self.rows:
            same = (row.event, row.fields, row.connector) == (event, fields, connector)
            if same and not row.process and not row.is_error:
                row.at = at
                return
        self._made += 1
        self.rows.append(Queued(self._made, at, event, fields, connector))

    # --- methods, for an application (contract bitrix24 8.2) ---

    def knows(self, name: str) -> bool:
        return name in self._methods

    def call(self, name: str, params: Mapping[str, Any]) -> Reply:
        """Run a method.

        Raises:
            RestError: as the portal refuses.
        """
        if name.startswith("event.offline.") and not self.is_admin:
            raise RestError("ACCESS_DENIED", "Access denied!", 403)
        edge = self._clock.now() - KEPT_RESERVED
        self.rows = [row for row in self.rows if not row.process or row.at >= int(edge.timestamp())]
        return self._methods[name](params)

    def _feature(self, params: Mapping[str, Any]) -> Reply:
        has = {"rest_offline_extended": self.has_confirmation, "rest_auth_connector": self.has_connectors}
        return Reply({"value": "Y" if has.get(str(param(params, "CODE")), False) else "N"})

    def _bind(self, params: Mapping[str, Any]) -> Reply:
        event, connector = str(param(params, "event", "")).upper(), self._connector(params)
        if str(param(params, "event_type", "")) != "offline":
            raise RestError("ERROR_ARGUMENT", "handler is required")
        if not event.startswith("ONCRM") or event == self.unknown:
            raise RestError("EVENT_NOT_FOUND", "Event not found")
        if (event, connector) in self.bound:
            raise RestError("ERROR_CORE", "Unable to set event handler: Handler already binded")
        self.bound.add((event, connector))
        return Reply(True)

    def _handlers(self, _: Mapping[str, Any]) -> Reply:
        """Handlers of this application; offline ones have no address."""
        about = {"handler": None, "auth_type": 0, "offline": 1}
        return Reply([{"event": event, **about, "connector_id": connector} for event, connector in sorted(self.bound)])

    def _connector(self, params: Mapping[str, Any]) -> str:
        asked = str(param(params, "auth_connector", "") or "")
        if asked and not self.has_connectors:
            raise RestError("ACCESS_DENIED", "auth_connector is not available on this plan", 403)
        return asked

    def _get(self, params: Mapping[str, Any]) -> Reply:
        is_kept = str(param(params, "clear", 1)) in ("0", "N", "False")
        if is_kept and not self.has_confirmation:
            raise RestError("ACCESS_DENIED", "Confirmation is not available on this plan", 403)
        wants_errors = str(param(params, "error", 0)) == "1"
        free = [row for row in self._mine(params) if not row.process and row.is_error == wants_errors]
        free = sorted(free, key=lambda row: (row.at, row.id))[: query.php_int(param(params, "limit", query.PAGE))]
        process = ""
        if is_kept and free:
            self._made += 1
            process = hashlib.sha256(f"process {self._made}".encode()).hexdigest()[:32]
        for row in free:
            row.process, row.is_error = process, False
        if not is_kept:
            self.rows = [row for row in self.rows if row not in free]
        shown = [self._shown(row) for row in free]
        return Reply({"process_id": process or None, "events": shown})

    def _list(self, params: Mapping[str, Any]) -> Reply:
        start = query.php_int(param(params, "start", 0) or 0)
        page = query.cut(sorted(self._mine(params), key=lambda row: row.id), max(start, 0))
        more = [{**self._shown(row), **self._state(row)} for row in page.records]
        return Reply(more, page.total, page.next)

    def _state(self, row: Queued) -> dict[str, Any]:
        return {"PROCESS_ID": row.process, "ERROR": str(int(row.is_error))} if self.shows_process else {}

    def _mine(self, params: Mapping[str, Any]) -> list[Queued]:
        """Rows of the connector given that fit the filter; without the right connector there is nothing."""
        connector, zone = self._connector(params), self._data.zone
        wanted = query.conditions(_QUEUE_TYPES, param(params, "filter"), zone, is_strict=False)
        rows = [row for row in self.rows if row.connector == connector]
        if not wanted:
            return rows
        shown = [(row, {**self._shown(row), "PROCESS_ID": row.process, "ERROR": int(row.is_error)}) for row in rows]
        return [row for row, told in shown if all(self._fits(item, told) for item in wanted)]

    def _fits(self, wanted: query.Condition, told: Mapping[str, Any]) -> bool:
        value = query.typed(_QUEUE_TYPES[wanted.field], told[wanted.field], self._data.zone)
        return wanted.holds(value)

    def _shown(self, row: Queued) -> dict[str, Any]:
        about = {"ID": str(row.id), "TIMESTAMP_X": self._data.stamp(row.at), "EVENT_NAME": row.event}
        content = False if self.blind else {"FIELDS": dict(row.fields)}
        return {**about, "EVENT_DATA": content, "EVENT_ADDITIONAL": False, "MESSAGE_ID": row.message}

    def _named(self, params: Mapping[str, Any]) -> list[Queued]:
        """Rows of a process, those named if any are."""
        process = str(param(params, "process_id", "") or "")
        if not process:
            raise RestError("ERROR_ARGUMENT", "Argument 'process_id' is null or empty")
        rows = [row for row in self.rows if row.process == process]
        messages, ids = _texts(param(params, "message_id")), _texts(param(params, "id"))
        if messages or ids:
            return [row for row in rows if row.message in messages or str(row.id) in ids]
        return rows

    def _clear(self, params: Mapping[str, Any]) -> Reply:
        named = self._named(params)
        self.rows = [row for row in self.rows if row not in named]
        return Reply(True)

    def _error(self, params: Mapping[str, Any]) -> Reply:
        """Flagged and free again: only whoever asks for errors gets them."""
        for row in self._named(params):
            row.process, row.is_error = "", True
        return Reply(True)

    def flagged(self) -> list[Queued]:
        """Rows somebody has put aside."""
        return [row for row in self.rows if row.is_error]


def _texts(value: Any) -> list[str]:
    items: Sequence[Any] = list(value.values()) if isinstance(value, dict) else value or []
    return [str(item) for item in items]

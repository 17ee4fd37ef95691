"""The simulated Metrica's CRM orders: what it takes, in which order it applies it, what it links (contract 4)."""

from __future__ import annotations

import csv
import io
import random
import re
import uuid
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from aiohttp import web

from adapters.yandex_metrica.fake_file import BadFileError, file_of
from adapters.yandex_metrica.fake_limits import DeniedError, answered, whole
from bridge.frozen import frozen
from bridge.tools import Clock

LINK_S, UPDATE_S = 21 * 86400, 111 * 86400
TYPES = ("IN_PROGRESS", "PAID", "CANCELLED", "SPAM")
# Goals by type of order: "CRM: Order created" is reached by a paid one, too (contract 4.4).
REACHED = {
    "IN_PROGRESS": ("cdp_order_in_progress",),
    "PAID": ("cdp_order_in_progress", "cdp_order_paid"),
    "CANCELLED": ("cdp_order_cancelled",),
    "SPAM": ("cdp_order_spam",),
}
COLUMNS = (
    *("id", "create_date_time", "client_uniq_id", "client_ids", "emails", "phones", "emails_md5", "phones_md5"),
    *("order_status", "revenue", "cost", "goals", "currency"),
)
IDENTITIES = ("client_ids", "emails", "phones", "emails_md5", "phones_md5")
_FORMATS = [date + time for date in ("%Y-%m-%d", "%d.%m.%Y", "%d.%m.%y") for time in (" %H:%M:%S", " %H:%M", "")]
_AMOUNT = re.compile(r"[0-9]+(\.[0-9]+)?")
_MD5 = re.compile(r"[0-9a-f]{32}")
_CHECKS = {
    "client_ids": re.compile(r"[0-9]{1,20}"),
    "phones": re.compile(r"[0-9]{10,15}"),
    "emails": re.compile(r"[!-~]+@[!-~]+"),
    "emails_md5": _MD5,
    "phones_md5": _MD5,
}


@frozen
class SimState:
    """An order as one row leaves it. ``status`` is as sent, after the dangerous default."""

    at: datetime
    status: str
    revenue: Decimal | None
    currency: str


@dataclass(slots=True)
class SimOrder:
    """One order. ``created`` in Unix seconds is what the first row said; ``visit`` is its visit's time, None: unlinked.

    ``states`` are those it went through; ``refused`` counts rows that came when it could not be changed any more.
    ``reached`` are goals in its visit: types ``cdp_...`` and event identifiers.
    """

    id: str
    created: int
    identities: dict[str, tuple[str, ...]] = field(repr=False)
    states: list[SimState] = field(default_factory=list)
    visit: int | None = None
    client_id: str = ""
    reached: dict[str, datetime] = field(default_factory=dict)
    refused: int = 0

    @property
    def last(self) -> SimState:
        return self.states[-1]


class NewStatus(msgspec.Struct):
    id: str
    humanized: str
    type: str
    goal_action_ids: str = ""


class NewStatuses(msgspec.Struct):
    order_statuses: list[NewStatus]


@frozen
class Site:
    """What orders need to know of the rest of the counter.

    ``visits``: Unix seconds of a ClientID's visits, in order; ``is_event``: whether a JavaScript-event goal has it.
    """

    visits: Callable[[str], Sequence[int]]
    is_event: Callable[[str], bool]


class Orders:
    """Orders of one counter. ``dice`` decides in which order the rows of a file are applied."""

    def __init__(self, clock: Clock, site: Site, zone: str, seed: int = 1) -> None:
        self.orders: dict[str, SimOrder] = {}
        self.statuses: list[NewStatus] = []
        self.bad_ids: set[str] = set()  # orders whose rows fail validation on purpose
        self.fails_whole = False  # a bad row fails its whole file, instead of being left out
        self.rows_received = 0
        self.uploads: list[dict[str, Any]] = []
        self.contacts: dict[str, str] = {}  # md5 of a phone or e-mail -> the ClientID it is known to belong to
        self._clock = clock
        self._site = site
        self.zone = ZoneInfo(zone)
        self._dice = random.Random(seed)  # noqa: S311 - the order of rows, no secret

    # --- the wire ---

    def upload(self, query: Mapping[str, str], content_type: str, body: bytes) -> web.Response:
        """``POST data/simple_orders``."""
        if query.get("merge_mode") not in ("SAVE", "UPDATE", "APPEND"):
            raise DeniedError(400, "missing_parameter", "Required parameter merge_mode is missing or wrong")
        delimiter = {"COMMA": ",", "SEMICOLON": ";"}.get(query.get("delimiter_type", "COMMA"))
        if delimiter is None:
            raise DeniedError(400, "invalid_parameter", "Wrong parameter: delimiter_type")
        if query["merge_mode"] != "SAVE":
            raise DeniedError(400, "invalid_parameter", "Only SAVE is simulated")
        try:
            rows = list(_rows(file_of(content_type, body), delimiter))
        except BadFileError as bad:
            raise DeniedError(400, bad.error_type, str(bad)) from None
        self.rows_received += len(rows)
        good = [row for row in rows if self._is_good(row)]
        is_failed = not good or any(self._is_unknown(row) for row in good) or (self.fails_whole and good != rows)
        if not is_failed:
            self._dice.shuffle(good)  # contract 4.1: rows of one upload are applied in random order
            for row in good:
                self._apply(row)
        return answered({"uploading": self._noted(0 if is_failed else len(good), is_failed)})

    def last_uploadings(self, query: Mapping[str, str]) -> web.Response:
        """``GET last_uploadings``: newest first, strictly before the cursor."""
        limit = whole(query.get("limit", "10"))
        if not 1 <= limit <= 1000 or query.get("source", "API") != "API":
            raise DeniedError(400, "invalid_parameter", "Wrong parameter: limit or source")
        cursor = query.get("datetime_offset", "9999")
        listed = [upload for upload in reversed(self.uploads) if upload["datetime"] < cursor]
        return answered({"uploadings": listed[:limit]})

    def list_statuses(self) -> web.Response:
        """``GET schema/order_statuses``."""
        return answered({"order_statuses": [msgspec.to_builtins(status) for status in self.statuses]})

    def map_statuses(self, body: bytes) -> web.Response:
        """``POST schema/order_statuses``."""
        try:
            asked = msgspec.json.decode(body, type=NewStatuses).order_statuses
        except msgspec.DecodeError:
            raise DeniedError(400, "invalid_json", "Invalid JSON") from None
        if any(status.type not in (*TYPES, "OTHER") for status in asked):
            raise DeniedError(400, "invalid_parameter", "Wrong parameter: type")
        known = {status.id: status for status in (*self.statuses, *asked)}
        self.statuses = list(known.values())
        return answered({"success": True})

    def _noted(self, count: int, is_failed: bool) -> dict[str, Any]:
        upload = {
            "uploading_id": str(uuid.UUID(int=0x3F0C1A2B00004000800000000000 << 16 | len(self.uploads))),
            "datetime": self._clock.now().astimezone(self.zone).strftime("%Y-%m-%d %H:%M:%S"),
            "api_validation_status": "FAILED" if is_failed else "PASSED",
            "elements_count": count,
            "entity_type": "SYSTEM",
            "uploading_format": "CSV",
            "uploading_source": "API",
        }
        self.uploads.append(upload)
        return upload

    # --- rows ---

    def _is_good(self, row: Mapping[str, str]) -> bool:
        if row["id"] in self.bad_ids or self._created(row["create_date_time"]) is None:
            return False
        lists = {name: _listed(row[name]) for name in IDENTITIES}
        if not any(lists.values()):
            return False
        if not all(_CHECKS[name].fullmatch(value) for name, values in lists.items() for value in values):
            return False
        return all(not row[name] or _AMOUNT.fullmatch(row[name]) for name in ("revenue", "cost"))

    def _created(self, text: str) -> int | None:
        """Unix seconds of a time in the counter's zone; a bare date is the last minute of its day."""
        for form in _FORMATS:
            try:
                at = datetime.strptime(text, form)  # noqa: DTZ007 - the zone is put in below
            except ValueError:
                continue
            at = at if "%H" in form else at + timedelta(hours=23, minutes=59)
            seconds = int(at.replace(tzinfo=self.zone).timestamp())
            return seconds if seconds >= 0 else None
        return None

    def _is_unknown(self, row: Mapping[str, str]) -> bool:
        """A status without a goal or a mapping fails the file (contract 4.4: undocumented, this is the choice)."""
        status = row["order_status"] or "PAID"
        is_mapped = any(known.id == status for known in self.statuses)
        return status not in TYPES and not is_mapped and not self._site.is_event(status)

    def _apply(self, row: Mapping[str, str]) -> None:
        now = self._clock.now()
        identities = {name: _listed(row[name]) for name in IDENTITIES}
        order = self.orders.get(row["id"])
        if order is None:
            created = self._created(row["create_date_time"])
            assert created is not None, "a good row has a time"
            order = self.orders[row["id"]] = SimOrder(row["id"], created, identities)
            self._link(order, now)
        elif order.visit is not None and now.timestamp() - order.visit > UPDATE_S:
            order.refused += 1  # contract 4.6: PASSED, and nothing changes
            return
        order.identities = identities
        revenue = Decimal(row["revenue"]) if row["revenue"] else None
        status = row["order_status"] or "PAID"  # contract 4.2: the dangerous default
        order.states.append(SimState(now, status, revenue, row["currency"] or "RUB"))
        for goal in (*self._goals(status), *_named(row["goals"])):
            order.reached.setdefault(goal, now)

    def _link(self, order: SimOrder, now: datetime) -> None:
        """To the latest visit of a known visitor before the order was created, if that is not 21 days ago."""
        if now.timestamp() - order.created > LINK_S:
            return
        told = order.identities
        digests = [digest for name in ("phones_md5", "emails_md5") for digest in told[name]]
        visitors = dict.fromkeys([*told["client_ids"], *(c for d in digests if (c := self.contacts.get(d)))])
        for visitor in visitors:
            visits = self._site.visits(visitor)
            before = bisect_right(visits, order.created)
            if before and (order.visit is None or visits[before - 1] > order.visit):
                order.visit, order.client_id = visits[before - 1], visitor

    def _goals(self, status: str) -> tuple[str, ...]:
        mapped = next((known for known in self.statuses if known.id == status), None)
        if mapped is not None:
            return (*REACHED.get(mapped.type, ()), *_named(mapped.goal_action_ids))
        return REACHED.get(status, (status,))

    # --- for the rest of the counter ---

    def shown(self, until: datetime) -> Iterator[tuple[tuple[str, int], Iterable[str]]]:
        """Of each linked order its visit, as (ClientID, time), and the goals reached in it by then."""
        for order in self.orders.values():
            goals = [goal for goal, at in order.reached.items() if at <= until]
            if order.visit is not None and goals:
                yield (order.client_id, order.visit), goals


def _rows(content: bytes, delimiter: str) -> Iterator[dict[str, str]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadFileError("invalid_uploading", "File is not in UTF-8") from None
    try:
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True) if line]
    except csv.Error:
        raise BadFileError("invalid_uploading", "File is not a CSV") from None
    names = [name.strip() for name in lines[0]] if lines else []
    if not set(names) <= set(COLUMNS) or len(set(names)) != len(names):
        raise BadFileError("invalid_uploading", "Unknown or repeated column")
    if "create_date_time" not in names or not any(name in names for name in IDENTITIES):
        raise BadFileError("invalid_uploading", "A required column is missing")
    if len(lines) < 2:
        raise BadFileError("invalid_uploading", "File is empty")
    for cells in lines[1:]:
        if len(cells) != len(names):
            raise BadFileError("invalid_uploading", "A line has another number of cells than the header")
        yield dict.fromkeys(COLUMNS, "") | dict(zip(names, cells, strict=True))


def _listed(cell: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in cell.split(",") if part.strip())


def _named(cell: str) -> tuple[str, ...]:
    """Events of the column ``goals``: ``goal_a:200,goal_b``."""
    return tuple(part.partition(":")[0] for part in _listed(cell))

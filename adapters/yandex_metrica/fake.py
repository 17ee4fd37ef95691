"""A simulated Metrica: one counter with goals, visits, offline conversions and orders (contract yandex 1-6, 10)."""

from __future__ import annotations

import re
from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from aiohttp import web

from adapters.yandex_metrica.fake_file import BadFileError, ParsedFile, Row, file_of, parse
from adapters.yandex_metrica.fake_limits import QUOTA, DeniedError, Limits, answered, denied, whole
from adapters.yandex_metrica.fake_orders import REACHED, Orders, Site
from adapters.yandex_metrica.fake_stats import SimVisit, Statistics
from bridge.model import utc
from bridge.sim.events import Applied, Click
from bridge.sim.faults import FaultPlan
from bridge.sim.server import DestinationSimulator, Handler
from bridge.tools import Clock

WINDOW_S = 21 * 86400
FIRST_GOAL = 611000001
FIRST_UPLOAD = 500000001
GOALS = ("qualified_lead", "spam_lead", "deal_won", "deal_paid")
FORM = "lead_form"  # of the site itself
# Share of the processing time after which an upload is in each status (contract 2.4).
_STEPS = ((0.75, "MATCHED"), (0.5, "EXPORTED"), (0.1, "PREPARED"), (0.0, "UPLOADED"))
_ROOT = "/management/v1/counter/{counter}"
_CDP = "/cdp/api/v1/counter/{counter}"

# (column, value, target, Unix seconds): rows equal in all four are one goal reach (contract 2.6).
Key = tuple[str, str, str, int]


@dataclass(slots=True)
class Upload:
    """One accepted file. ``end`` is its final status once it is processed."""

    id: int
    created: datetime
    comment: str
    source_quantity: int
    keys: list[Key] = field(repr=False)
    end: str = ""


class Version(msgspec.Struct, frozen=True, gc=False):
    """A row as one upload brought it; ``processed_at`` in Unix seconds."""

    processed_at: int
    price: Decimal | None


class NewCondition(msgspec.Struct):
    type: str
    url: str


class NewGoal(msgspec.Struct):
    """A goal as asked for; only what is simulated."""

    name: str
    type: str
    conditions: list[NewCondition]


class NewGoalRequest(msgspec.Struct):
    goal: NewGoal


class Metrica(DestinationSimulator):
    """One counter of one login. What the constructor does not take may be set before ``start``.

    Beside the truth (``applied``) it counts for statistics: ``rows_received`` (good or bad), ``rows_repeated`` (the
    same reach again) and ``repeated_labels`` (uploads whose comment was seen before). ``bad_rows`` holds identifiers
    whose rows fail validation on purpose.
    """

    def __init__(
        self,
        clock: Clock,
        faults: FaultPlan | None = None,
        *,
        name: str = "sim",
        is_limited: bool = True,
        processing: timedelta = timedelta(minutes=40),
    ) -> None:
        super().__init__(clock, faults, name=name, is_limited=is_limited)
        self.counter_id = 90000001
        self.permission = "edit"
        self.daily_quota = 5000
        self.showing = timedelta(minutes=30)  # from processing until the statistics show a reach
        self.is_newest_first = True  # the order of the list of uploads, which the vendor does not document
        self.token = f"y0_{name}_metrica_sample"
        self.read_back = "reports"  # of the client's settings
        self.unseen: set[int] = set()  # clicks whose visits the counter missed: the tag was blocked or came too late
        self.scopes = {"metrika:read", "metrika:offline_data"}  # of the token; creating goals needs metrika:write
        self.goals_max = 200  # contract yandex 5: the limit exists, its number is not verified
        self.bad_rows: set[str] = set()
        self.goals: list[dict[str, Any]] = []
        self.uploads: dict[int, Upload] = {}
        self.rows_received = 0
        self.rows_repeated = 0
        self.repeated_labels = 0
        self.mode = "offline_conversions"  # of the client's settings
        self.zone = "Europe/Moscow"
        self.statistics = Statistics(clock, self._shown)
        self.orders = Orders(
            clock, Site(lambda visitor: self._visits.get(("ClientId", visitor), ()), self._has_goal), self.zone
        )
        self._processing = processing
        self._reaches: dict[Key, list[Version]] = {}
        self._visits: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        self._site: dict[tuple[str, str, int], SimVisit] = {}  # (column, value, time) of each identifier of a visit
        self._users: dict[str, str] = {}
        self._labels: set[str] = set()
        self._limits = Limits(clock)
        for goal in GOALS:
            self.add_goal(goal)

    # --- the world ---

    def know(self, click: Click) -> None:
        """A visit: found again by its ClientID and by its yclid."""
        ids = {"ClientId": click.client_id or "", "Yclid": click.yclid or ""}
        if click.id in self.unseen:
            return
        self._visited({column: value for column, value in ids.items() if value}, click.at, click.landing)

    def visit(self, column: str, value: str, at: datetime) -> None:
        """A visit found by one identifier (``PurchaseId``: the visit with that purchase)."""
        self._visited({column: value}, at, "https://okna.example/")

    def fill_in(self, client_id: str, began: datetime, at: datetime, url: str, goal: str = FORM) -> SimVisit:
        """A visit in which a form was sent, which reaches a goal."""
        visit = self._visited({"ClientId": client_id}, began, url)
        number = next((known["id"] for known in self.goals if known["conditions"][0]["url"] == goal), None)
        reach = (number or self.add_goal(goal, kind="form"), int(at.timestamp()))
        self.statistics.forms.setdefault(visit, []).append(reach)
        return visit

    def _visited(self, ids: dict[str, str], at: datetime, url: str) -> SimVisit:
        """Whoever comes has a ClientID; a click on an ad has its yclid in the address."""
        seconds = int(at.timestamp())
        yclid = ids.get("Yclid", "")
        if yclid and yclid not in url:
            url += f"{'&' if '?' in url else '?'}yclid={yclid}"
        visit = SimVisit(seconds, ids.get("ClientId") or f"{seconds}{len(self._site) + 1_000_000}", url)
        for column, value in ids.items():
            insort(self._visits[column, value], seconds)
            self._site[column, value, seconds] = visit
        return visit

    def bind_user(self, user_id: str, client_id: str) -> None:
        """``setUserID`` on the site: a UserID stands for the last ClientID it was bound to (contract 2.5)."""
        self._users[user_id] = client_id

    def add_goal(self, identifier: str, *, kind: str = "action", condition: str = "exact", name: str = "") -> int:
        """A goal of the counter; returns its id."""
        number = FIRST_GOAL + len(self.goals)
        goal = {
            "id": number,
            "name": name or f"Goal {identifier}",
            "type": kind,
            "default_price": 0.0,
            "goal_source": "auto" if kind.startswith("cdp_") else "user",
            "is_favorite": 0,
            "status": "Active",
            "conditions": [{"type": condition, "url": identifier}],
            "flag": "",
        }
        self.goals.append(goal)
        return number

    def lose(self, value: str, target: str) -> int:
        """The counter forgets what it was sent of one identifier and target; returns how many reaches that were."""
        keys = [key for key in self._reaches if key[1] == value and key[2] == target]
        for key in keys:
            del self._reaches[key]
        return len(keys)

    def applied(self) -> list[Applied]:
        """Every distinct (identifier, target, time) received so far, once each, with the value that stands."""
        known = {target: self._has_goal(target) for target in {key[2] for key in self._reaches}}
        return [self._applied(key, versions, known[key[2]]) for key, versions in self._reaches.items()]

    def _applied(self, key: Key, versions: Sequence[Version], has_goal: bool) -> Applied:
        column, value, target, at = key
        linked = [version for version in versions if has_goal and self._is_visited(column, value, at, version)]
        price = (linked or versions)[-1].price
        return Applied(target, utc(at), price, (value,), "", 1, bool(linked))

    def _is_visited(self, column: str, value: str, at: int, version: Version) -> bool:
        return self._visit_of(column, value, at, version) is not None

    def _visit_of(self, column: str, value: str, at: int, version: Version) -> SimVisit | None:
        """Contract 2.5: the latest visit not after the conversion, at most 21 days before processing."""
        if column == "UserId":
            column, value = "ClientId", self._users.get(value, "")
        visits = self._visits.get((column, value), ())
        before = bisect_right(visits, at)
        if before == 0 or version.processed_at - visits[before - 1] > WINDOW_S:
            return None
        return self._site[column, value, visits[before - 1]]

    def _shown(self, now: datetime) -> Iterator[tuple[SimVisit, Sequence[int]]]:
        """Every visit with the goals that statistics show in it by now."""
        seen_until = int((now - self.showing).timestamp())
        reached: defaultdict[SimVisit, list[int]] = defaultdict(list)
        for (column, value, target, at), versions in self._reaches.items():
            done = (version for version in versions if version.processed_at <= seen_until)
            visit = next(filter(None, (self._visit_of(column, value, at, version) for version in done)), None)
            if visit is not None:
                reached[visit] += self._goals_on(target)
        for (visitor, at), goals in self.orders.shown(now - self.showing):
            known = self._site["ClientId", visitor, at]
            reached[known] += [number for goal in goals for number in self._goals_of(goal)]
        for visit in dict.fromkeys(self._site.values()):
            if visit.at <= now.timestamp():
                sent = [goal for goal, at in self.statistics.forms.get(visit, ()) if at <= now.timestamp()]
                yield visit, [*reached.get(visit, ()), *sent]

    def _has_goal(self, target: str) -> bool:
        """Contract 15: a row with an unknown target is taken, and linked to nothing."""
        return bool(self._goals_on(target))

    def _goals_on(self, target: str) -> list[int]:
        """Numbers of the goals which this event reaches."""
        return [goal["id"] for goal in self.goals if goal["type"] == "action" and _is_reached(target, goal)]

    def _goals_of(self, goal: str) -> list[int]:
        """Numbers of the goals which an order reaches: Metrica's own of a type, or those of an event."""
        own = [known["id"] for known in self.goals if known["type"] == goal]
        return own if goal.startswith("cdp_") else self._goals_on(goal)

    # --- configuration ---

    def keep_orders(self) -> None:
        """The client is to send CRM orders; a counter of today has their goals before the first (contract 4.4)."""
        self.mode = "crm_orders"
        for kind in dict.fromkeys(goal for goals in REACHED.values() for goal in goals):
            self.add_goal("", kind=kind, name=kind)
            self.goals[-1]["conditions"] = []

    def settings(self) -> dict[str, Any]:
        return {
            "kind": "yandex_metrica",
            "counter_id": self.counter_id,
            "token": {"env": self._variable},
            "mode": self.mode,
            "read_back": self.read_back,
            "base_url": self.base_url,
        }

    def secrets(self) -> dict[str, str]:
        return {self._variable: self.token}

    @property
    def _variable(self) -> str:
        return re.sub(r"[^A-Z0-9]", "_", f"{self.name}_METRICA_TOKEN".upper())

    # --- the wire ---

    def routes(self) -> Sequence[web.RouteDef]:
        offline = f"{_ROOT}/offline_conversions"
        return [
            web.get(_ROOT, self._guarded(self._counter)),
            web.get(f"{_ROOT}/goals", self._guarded(self._list_goals)),
            web.post(f"{_ROOT}/goals", self._guarded(self._create_goal)),
            web.post(f"{offline}/upload", self._guarded(self._upload)),
            web.get(f"{offline}/uploading/{{upload}}", self._guarded(self._uploading)),
            web.get(f"{offline}/uploadings", self._guarded(self._uploadings)),
            web.post(f"{_CDP}/data/simple_orders", self._guarded(self._simple_orders)),
            web.get(f"{_CDP}/last_uploadings", self._guarded(self._last_uploadings)),
            web.get(f"{_CDP}/schema/order_statuses", self._guarded(self._order_statuses)),
            web.post(f"{_CDP}/schema/order_statuses", self._guarded(self._map_statuses)),
            web.get("/stat/v1/data", self._guarded(self._report)),
            web.get(f"{_ROOT}/logrequests", self._guarded(self._log_orders)),
            web.get(f"{_ROOT}/logrequests/evaluate", self._guarded(self._log_evaluate)),
            web.post(f"{_ROOT}/logrequests", self._guarded(self._log_order)),
            web.get(f"{_ROOT}/logrequest/{{order}}/part/{{part}}/download", self._guarded(self._log_part)),
            web.post(f"{_ROOT}/logrequest/{{order}}/clean", self._guarded(self._log_clean)),
        ]

    def label(self, request: web.Request) -> str:
        """Method and last fixed word of the path: ``POST upload``, ``GET uploading``."""
        path = request.path.removeprefix("/management/v1/").removeprefix("/stat/v1/")
        words = path.removeprefix("/cdp/api/v1/").split("/")
        return f"{request.method} {'uploading' if 'uploading' in words else words[-1] if len(words) > 2 else words[0]}"

    def throttled(self, request: web.Request) -> web.Response:
        return denied(DeniedError(429, "quota_requests_by_ip", QUOTA))

    def unavailable(self, request: web.Request) -> web.Response:
        return denied(DeniedError(503, "backend_error", "Backend error"))

    def _guarded(self, handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            try:
                if not self.is_limited:
                    return await self._admitted(request, handler)
                with self._limits.one(self.daily_quota):
                    return await self._admitted(request, handler)
            except DeniedError as refusal:
                return denied(refusal)

        return guarded

    async def _admitted(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "OAuth" or not token:
            raise DeniedError(401, "unauthorized", "Unauthorized")
        if token != self.token:
            raise DeniedError(403, "invalid_token", "Invalid oauth_token")
        if request.match_info.get("counter", str(self.counter_id)) != str(self.counter_id):
            raise DeniedError(404, "not_found", "Object not found")
        return await handler(request)

    async def _counter(self, request: web.Request) -> web.Response:
        counter = {
            "id": self.counter_id,
            "status": "Active",
            "owner_login": "owner",
            "name": "Shop",
            "type": "simple",
            "permission": self.permission,
            "time_zone_name": self.zone,
            "time_zone_offset": 180,
        }
        return answered({"counter": counter})

    async def _list_goals(self, request: web.Request) -> web.Response:
        return answered({"goals": self.goals})

    async def _create_goal(self, request: web.Request) -> web.Response:
        """Contract yandex 5; the right by contract 1."""
        if "metrika:write" not in self.scopes or self.permission not in ("own", "edit"):
            raise DeniedError(403, "access_denied", "Access is denied")
        try:
            goal = msgspec.json.decode(await request.read(), type=NewGoalRequest).goal
        except msgspec.DecodeError:
            raise DeniedError(400, "invalid_json", "Invalid JSON") from None
        if goal.type != "action" or len(goal.conditions) != 1 or len(goal.name) > 255:
            raise DeniedError(400, "invalid_parameter", "Invalid parameter")
        if len(self.goals) >= self.goals_max:
            raise DeniedError(400, "limit_exceeded", "Limit exceeded")
        condition = goal.conditions[0]
        self.add_goal(condition.url, condition=condition.type, name=goal.name)
        return answered({"goal": self.goals[-1]})

    async def _upload(self, request: web.Request) -> web.Response:
        if self.permission not in ("own", "edit"):
            raise DeniedError(403, "access_denied", "Access is denied")
        comment = request.query.get("comment", "")
        if request.query.get("type", "BASIC") != "BASIC" or len(comment) > 255:
            raise DeniedError(400, "invalid_parameter", "Invalid parameter")
        body = await request.read()
        now = self.clock.now()
        try:
            content = file_of(request.headers.get("Content-Type", ""), body)
            parsed = parse(content, int(now.timestamp()), self.bad_rows)
        except BadFileError as bad:
            raise DeniedError(400, bad.error_type, str(bad)) from None
        return answered({"uploading": self._view(self._take(parsed, comment, now), now)})

    def _take(self, parsed: ParsedFile, comment: str, now: datetime) -> Upload:
        self.rows_received += parsed.source_quantity
        self.repeated_labels += bool(comment) and comment in self._labels
        self._labels.add(comment)
        processed_at = int((now + self._processing).timestamp())
        keys = [self._reach(row, processed_at) for row in parsed.rows]
        upload = Upload(FIRST_UPLOAD + len(self.uploads), now, comment, parsed.source_quantity, keys)
        self.uploads[upload.id] = upload
        return upload

    def _reach(self, row: Row, processed_at: int) -> Key:
        version = Version(processed_at, row.price)
        keys: list[Key] = [(column, value, row.target, row.at) for column, value in row.ids]
        found = (key for key in keys if self._is_visited(key[0], key[1], key[3], version))
        key = keys[0] if len(keys) == 1 else next(found, keys[0])
        versions = self._reaches.setdefault(key, [])
        self.rows_repeated += bool(versions)
        versions.append(version)
        return key

    async def _uploading(self, request: web.Request) -> web.Response:
        asked = request.match_info["upload"]
        upload = self.uploads.get(int(asked)) if asked.isdecimal() else None
        if upload is None:
            raise DeniedError(404, "not_found", "Object not found")
        return answered({"uploading": self._view(upload, self.clock.now())})

    async def _uploadings(self, request: web.Request) -> web.Response:
        limit, offset = (whole(request.query.get(name, default)) for name, default in _PAGING)
        ids = range(FIRST_UPLOAD, FIRST_UPLOAD + len(self.uploads))
        listed = (ids[::-1] if self.is_newest_first else ids)[offset : offset + limit]
        now = self.clock.now()
        return answered({"uploadings": [self._view(self.uploads[number], now) for number in listed]})

    def _view(self, upload: Upload, now: datetime) -> dict[str, Any]:
        return {
            "id": upload.id,
            "create_time": upload.created.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "source_quantity": upload.source_quantity,
            "line_quantity": len(upload.keys),
            "comment": upload.comment,
            "type": "BASIC",
            "client_id_type": "CLIENT_ID",
            "status": self._status(upload, now),
        }

    def _status(self, upload: Upload, now: datetime) -> str:
        if upload.end:
            return upload.end
        passed = now - upload.created
        if passed >= self._processing:
            upload.end = "PROCESSED" if self._is_linked(upload) else "LINKAGE_FAILURE"
            return upload.end
        return next(status for share, status in _STEPS if passed >= self._processing * share)

    def _is_linked(self, upload: Upload) -> bool:
        """Contract 2.4: one match among all rows is enough."""
        version = Version(int((upload.created + self._processing).timestamp()), None)
        return any(self._is_visited(key[0], key[1], key[3], version) and self._has_goal(key[2]) for key in upload.keys)

    # --- orders ---

    async def _simple_orders(self, request: web.Request) -> web.Response:
        if self.permission not in ("own", "edit"):
            raise DeniedError(403, "access_denied", "Access is denied")
        return self.orders.upload(request.query, request.headers.get("Content-Type", ""), await request.read())

    async def _last_uploadings(self, request: web.Request) -> web.Response:
        return self.orders.last_uploadings(request.query)

    async def _order_statuses(self, request: web.Request) -> web.Response:
        return self.orders.list_statuses()

    async def _map_statuses(self, request: web.Request) -> web.Response:
        return self.orders.map_statuses(await request.read())

    # --- statistics ---

    async def _report(self, request: web.Request) -> web.Response:
        if self.is_limited:
            self._limits.report()
        return self.statistics.report(request.query, self.counter_id, (goal["id"] for goal in self.goals))

    async def _log_orders(self, request: web.Request) -> web.Response:
        return self.statistics.listed()

    async def _log_evaluate(self, request: web.Request) -> web.Response:
        return self.statistics.evaluate(request.query)

    async def _log_order(self, request: web.Request) -> web.Response:
        return self.statistics.order(request.query)

    async def _log_part(self, request: web.Request) -> web.Response:
        return self.statistics.download(request.match_info["order"], request.match_info["part"])

    async def _log_clean(self, request: web.Request) -> web.Response:
        return self.statistics.clean(request.match_info["order"])


_PAGING = (("limit", "10000"), ("offset", "0"))


def _is_reached(target: str, goal: dict[str, Any]) -> bool:
    condition = goal["conditions"][0]
    return condition["url"] == target or (condition["type"] == "contain" and condition["url"] in target)

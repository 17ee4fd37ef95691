"""A Metrica counter as a destination of CRM orders: one per deal, moved from state to state (contract yandex 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from adapters.yandex_metrica import mapping, orders_mapping
from adapters.yandex_metrica.destination import account_of, send_file
from adapters.yandex_metrica.goals import counter_error, counter_findings, goal_in_words
from adapters.yandex_metrica.orders_evidence import UPLOAD_PASSED
from adapters.yandex_metrica.orders_mapping import FAILED, PASSED, VALIDATION_FAILED
from adapters.yandex_metrica.orders_read_back import OrdersReadBack
from adapters.yandex_metrica.settings import MetricaSettings
from adapters.yandex_metrica.wire import (
    Counter,
    CounterReply,
    GoalsReply,
    OrderStatusesReply,
    OrdersUploadingReply,
    OrdersUploadingsReply,
    read,
)
from bridge.errors import BridgeError, Refused
from bridge.frozen import replace
from bridge.model import IdKind, Outgoing
from bridge.ports import (
    Accepted,
    Admission,
    Answer,
    DealOrders,
    DestinationTraits,
    Finding,
    Level,
    Payload,
    Proof,
    RowVerdict,
    Sealed,
    Seen,
)
from bridge.tools import Request, Response, Tools

# Whether Metrica applies two uploads in the order they came in is not documented: they come apart.
APART = timedelta(minutes=5)
TRAITS = DestinationTraits(
    proof=Proof.ROW,
    accepts=(IdKind.CLIENT_ID,),  # no yclid (contract yandex 4.2)
    accepts_persons=True,
    persons_suffice=True,
    adjusts=True,
    deal_orders=DealOrders(
        first=frozenset({orders_mapping.IN_PROGRESS}),
        last=frozenset({orders_mapping.PAID, orders_mapping.CANCELLED, orders_mapping.SPAM}),
        apart=APART,
        void=orders_mapping.CANCELLED,
    ),
    give_up_after=timedelta(days=111),
)
LATEST = "1000"  # uploads in one list, the most there can be (contract yandex 4.3)
_ZONE_EVERY = timedelta(hours=1)


class Orders:
    """One counter. The order's id is the deal's, so that a row sent again changes nothing."""

    def __init__(self, own: str, settings: MetricaSettings, tools: Tools) -> None:
        self.traits = replace(
            TRAITS,
            verify_first=settings.verify_first,
            verify_every=settings.verify_every,
            verify_limit=settings.verify_limit,
            give_up_after=settings.update_window,
        )
        self._settings = settings
        self._clock = tools.clock
        self._zone = ZoneInfo(settings.timezone or tools.tenant.timezone)
        self._counter = f"/management/v1/counter/{settings.counter_id}"
        self._root = f"/cdp/api/v1/counter/{settings.counter_id}"
        self._account = account_of(own, settings, tools)
        self._read_back = None if settings.read_back == "off" else OrdersReadBack(self._account, tools.clock, settings)
        self._drift = tools.drift
        self._passed: set[str] = set()  # uploads known to be valid, of which rows are looked for; lost with the process
        self._zone_seen_at: datetime | None = None

    async def check(self, targets: Mapping[str, str]) -> list[Finding]:
        """Token, counter, access level, time zone, and that each target is a status the counter knows."""
        try:
            counter = await self._look()
            goals = read(GoalsReply, await self._get(f"{self._counter}/goals", ("useDeleted", "false"))).goals
            mapped = read(OrderStatusesReply, await self._get(f"{self._root}/schema/order_statuses")).order_statuses
        except BridgeError as error:
            return [counter_error(self._settings.counter_id, error)]
        fault = orders_mapping.zone_fault(counter, self._zone, self._clock.now())
        zone = [Finding(Level.ERROR, "time zone", fault)] if fault else []
        statuses = orders_mapping.status_findings(targets, goals, mapped)
        read_back = await self._read_back.findings(targets.values()) if self._read_back is not None else []
        return [*counter_findings(counter), *zone, *statuses, *read_back]

    def shared_goal(self, target: str) -> str:
        """See ``ports.SharesGoals``. Metrica's own goals of orders are reached by nothing else."""
        return "" if target in orders_mapping.STATUSES else goal_in_words(target, self._settings.counter_id)

    def batch_size(self, due: int) -> int:
        return min(due, self._settings.max_rows)

    def batch_key(self, row: Outgoing) -> str:
        """One file takes all states; that an order is in it once is seen to by the core."""
        return ""

    def admit(self, row: Outgoing, now: datetime) -> Admission:
        return orders_mapping.admit(row, now, self._settings.window, self._settings.update_window)

    def render(self, rows: Sequence[Outgoing], label: str) -> Payload:
        return orders_mapping.render(rows, label, self._zone)

    async def send(self, batch: Sealed) -> Answer:
        """Upload one file.

        Raises:
            Ambiguous: the answer is lost or unreadable; the same bytes may be sent again.
            Refused: the counter is in another time zone (``time_zone``), or Metrica refuses the request for a reason
                that lies not in its rows.
        """
        await self._expect_zone()
        path, params = f"{self._root}/data/simple_orders", (("merge_mode", "SAVE"), ("delimiter_type", "COMMA"))

        def told(response: Response) -> Answer:
            return orders_mapping.answer(read(OrdersUploadingReply, response).uploading, batch.rows)

        return await send_file(self._account, path, params, batch, told)

    async def lookup(self, batch: Sealed, sent_at: datetime) -> Answer | None:
        """Never asked: proof is by row."""
        return None

    async def verify(self, accepted: Accepted) -> list[RowVerdict] | None:
        """Whether the upload is listed as valid (None while it is not), and then what the reports show of each row.

        What became of single orders the list does not tell (contract yandex 4.3).
        """
        upload = accepted.receipt["uploading_id"]
        if upload not in self._passed:
            status = await self._status(accepted)
            if status == FAILED:
                return mapping.all_verdicts(accepted.deliveries, Seen.REJECTED, VALIDATION_FAILED)
            if status is not None and status != PASSED:
                self._drift.note("orders upload status", status)
            if status != PASSED:
                return None
        if self._read_back is None:
            return mapping.all_verdicts(accepted.deliveries, Seen.VERIFIED, UPLOAD_PASSED)
        self._passed.add(upload)
        verdicts = await self._read_back.verdicts(accepted)
        if all(verdict.seen is not Seen.LATER for verdict in verdicts):
            self._passed.discard(upload)
        return verdicts

    async def _status(self, accepted: Accepted) -> str | None:
        """How the counter's list of uploads has this one; None if it has not."""
        cursor = orders_mapping.after(accepted.receipt.get("datetime", ""))
        params = [("limit", LATEST), ("source", "API"), *([("datetime_offset", cursor)] if cursor else [])]
        listed = read(OrdersUploadingsReply, await self._get(f"{self._root}/last_uploadings", *params)).uploadings
        wanted = accepted.receipt["uploading_id"]
        return next((one.api_validation_status for one in listed if one.uploading_id == wanted), None)

    async def close(self) -> None:
        """Nothing is held: the HTTP client belongs to the process."""

    async def _expect_zone(self) -> None:
        """Orders are dated in the counter's time; looked at again each hour."""
        now = self._clock.now()
        if self._zone_seen_at is not None and now - self._zone_seen_at < _ZONE_EVERY:
            return
        fault = orders_mapping.zone_fault(await self._look(), self._zone, now)
        if fault:
            raise Refused(fault, code="time_zone")
        self._zone_seen_at = now

    async def _look(self) -> Counter:
        return read(CounterReply, await self._get(self._counter)).counter

    async def _get(self, path: str, *params: tuple[str, str]) -> Response:
        return await self._account.send(Request("GET", path, params=params, is_safe=True))

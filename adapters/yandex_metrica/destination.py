"""A Metrica counter as a destination of offline conversions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from adapters.yandex_metrica import mapping
from adapters.yandex_metrica.counts import Counting, zone_of
from adapters.yandex_metrica.evidence import FILE_PROCESSED
from adapters.yandex_metrica.goals import (
    counter_error,
    counter_findings,
    goal_in_words,
    listed,
    new_goal,
    target_findings,
    target_of,
)
from adapters.yandex_metrica.read_back import ReadBack
from adapters.yandex_metrica.reports import OwnDays
from adapters.yandex_metrica.settings import MetricaSettings, MetricaVisitSettings
from adapters.yandex_metrica.wire import (
    CounterReply,
    Goal,
    GoalReply,
    GoalsReply,
    Uploading,
    UploadingReply,
    UploadingsReply,
    read,
)
from bridge.audits import Counts, Sent
from bridge.errors import Ambiguous, AuthError, BridgeError, Drift, Refused
from bridge.frozen import replace
from bridge.model import Outgoing
from bridge.ports import (
    Accepted,
    Admission,
    Answer,
    DestinationTraits,
    Finding,
    Payload,
    Proof,
    RowVerdict,
    Sealed,
    Seen,
)
from bridge.survey import DestinationSurvey, Target
from bridge.tools import Account, AccountSetup, Clock, Rate, Request, Response, Tokens, Tools, bearer

TRAITS = DestinationTraits(proof=Proof.TAG, accepts=mapping.PREFERENCE, adjusts=True)
# Contract yandex 10: 30 requests/s per IP address, 3 at once per login. Some air, other tenants share the address.
RATE = Rate(per_second=20.0, burst=5, parallel=3)
PAGE = 10_000  # contract yandex 2.4: the list's default limit
_UPLOAD_TIMEOUT = 300.0
BODY = 64 * 1024 * 1024
LOG_BODY = 512 * 1024 * 1024  # one part of a log
JSON = {"Content-Type": "application/json"}
# How far Metrica's create_time and our sent_at may lie apart (its time zone is not stated) in an ordered list.
LIST_SLACK = timedelta(days=1)
AUDITED = timedelta(days=52)  # four weeks of conversions, their visits (contract yandex 2.5), and some air


def authorize(request: Request, token: str) -> Request:
    """Metrica's own scheme, not Bearer (contract yandex 1)."""
    return bearer(request, token, "OAuth")


def account_of(own: str, settings: MetricaSettings | MetricaVisitSettings, tools: Tools) -> Account:
    """The login that both modes, and the source of visits, talk to Metrica as.

    Raises:
        ConfigError: the token cannot be read.
    """
    has_logs = isinstance(settings, MetricaVisitSettings) or settings.read_back == "logs"
    return tools.http.account(
        AccountSetup(
            name=f"{tools.tenant.name}/{own}",
            base_url=settings.base_url,
            judge=mapping.judge,
            rate=RATE,
            tokens=Tokens(settings.token.read(tools.folder).get_secret_value()),
            apply=authorize,
            max_body=LOG_BODY if has_logs else BODY,
        )
    )


async def send_file(
    account: Account, path: str, params: Sequence[tuple[str, str]], batch: Sealed, told: Callable[[Response], Answer]
) -> Answer:
    """One file. ``told`` reads what became of its rows.

    Raises:
        Ambiguous: the answer is lost or unreadable.
        Refused: Metrica refuses the request for a reason that lies not in its rows.
    """
    headers, body = {"Content-Type": batch.payload.content_type}, batch.payload.body
    try:
        response = await account.send(Request("POST", path, params, headers, body, timeout=_UPLOAD_TIMEOUT))
    except Refused as refusal:
        answer = mapping.refused_answer(refusal, batch.rows)
        if answer is None:
            raise
        return answer
    try:
        return told(response)
    except Drift as drift:
        raise Ambiguous(f"{drift}; the file may have been taken") from None


class Metrica:
    """One counter. Conversions go up as CSV files whose ``comment`` is the batch's label."""

    def __init__(self, own: str, settings: MetricaSettings, tools: Tools) -> None:
        self.traits = replace(
            TRAITS,
            visibility=settings.visibility,
            verify_first=settings.verify_first,
            verify_every=settings.verify_every,
            verify_limit=settings.verify_limit,
            give_up_after=settings.window,
        )
        self._settings = settings
        self._root = f"/management/v1/counter/{settings.counter_id}"
        self._account = account_of(own, settings, tools)
        self._read_back = None if settings.read_back == "off" else ReadBack(self._account, tools.clock, settings)
        self._counting = self._counted(tools.clock) if self._read_back is not None else None
        self._drift = tools.drift
        self._processed: set[str] = set()  # uploads of which no more is to be learned; forgotten with the process

    async def check(self, targets: Mapping[str, str]) -> list[Finding]:
        """Token, counter, access level, and that each target is a JavaScript-event goal of the counter."""
        try:
            counter = read(CounterReply, await self._account.send(self._get(""))).counter
            goals = await self._goals()
        except BridgeError as error:
            return [counter_error(self._settings.counter_id, error)]
        read_back = await self._read_back.findings(targets.values()) if self._read_back is not None else []
        return [*counter_findings(counter), *target_findings(targets, goals), *read_back]

    async def targets(self) -> DestinationSurvey:
        """See ``survey.ListsTargets``."""
        counter = read(CounterReply, await self._account.send(self._get(""))).counter
        return DestinationSurvey(listed(await self._goals()), timezone=counter.time_zone_name or "")

    async def create_target(self, id: str, name: str) -> Target:
        """See ``survey.CreatesTargets``. A goal of this identifier that is there already is not made twice.

        Raises:
            AuthError: the token lacks the right metrika:write, or its account edit access.
        """
        create = Request("POST", f"{self._root}/goals", headers=JSON, body=new_goal(id, name))
        try:
            return target_of(await self._there(id) or read(GoalReply, await self._account.send(create)).goal)
        except Ambiguous:
            made = await self._there(id)
            if made is None:
                raise
            return target_of(made)
        except AuthError:
            text = "Metrica refused to create a goal: that needs a token with metrika:write; create it by hand instead"
            raise AuthError(text, is_final=True) from None

    async def _there(self, identifier: str) -> Goal | None:
        targets = ((goal, target_of(goal)) for goal in await self._goals())
        return next((goal for goal, target in targets if target.is_usable and target.id == identifier), None)

    async def _goals(self) -> list[Goal]:
        asked = self._get("/goals", ("useDeleted", "false"))
        return read(GoalsReply, await self._account.send(asked)).goals

    def batch_size(self, due: int) -> int:
        return min(due, self._settings.max_rows)

    def batch_key(self, row: Outgoing) -> str:
        """One file takes all targets and kinds of identifiers (contract yandex 2.2)."""
        return ""

    def admit(self, row: Outgoing, now: datetime) -> Admission:
        return mapping.admit(row, now, self._settings.window)

    def render(self, rows: Sequence[Outgoing], label: str) -> Payload:
        return mapping.render(rows, label)

    def shared_goal(self, target: str) -> str:
        """See ``ports.SharesGoals``."""
        return goal_in_words(target, self._settings.counter_id)

    async def send(self, batch: Sealed) -> Answer:
        """Upload one file.

        Raises:
            Ambiguous: the answer is lost or unreadable; ``lookup`` decides.
            Refused: Metrica refuses the request for a reason that lies not in its rows.
        """
        path, params = f"{self._root}/offline_conversions/upload", (("type", "BASIC"), ("comment", batch.label))

        def told(response: Response) -> Answer:
            return mapping.answer(read(UploadingReply, response).uploading, batch.rows)

        return await send_file(self._account, path, params, batch, told)

    async def lookup(self, batch: Sealed, sent_at: datetime) -> Answer | None:
        """The answer recorded under the batch's label, found in the counter's list of uploads.

        Raises:
            Drift: the list repeats itself instead of going on.
        """
        known: set[int] = set()
        while True:
            page = await self._page(len(known))
            found = [uploading for uploading in page if uploading.comment == batch.label]
            if found:
                return mapping.answer(max(found, key=_id), batch.rows)
            if len(page) < PAGE or _is_past(page, sent_at):
                return None
            before = len(known)
            known.update(map(_id, page))
            if len(known) == before:
                raise Drift("Metrica's list of uploads repeats a page")

    async def verify(self, accepted: Accepted) -> list[RowVerdict] | None:
        """The upload's final status, and once it is processed what the statistics show of each row (contract 2.4).

        An upload that Metrica does not (or no longer) know is "too early": it said 200 to it, so nothing is refused,
        and ``verify_limit`` ends the asking.
        """
        upload = accepted.receipt["uploading_id"]
        if upload not in self._processed:
            status = await self._status(upload)
            if status == mapping.LINKAGE_FAILURE:
                return mapping.all_verdicts(accepted.deliveries, Seen.UNLINKED, "linkage_failure")
            if status is not None and status not in mapping.STATUSES:
                self._drift.note("upload status", status)
            if status != mapping.PROCESSED:  # one nobody knows is "not yet", too
                return None
        if self._read_back is None:
            return mapping.all_verdicts(accepted.deliveries, Seen.VERIFIED, FILE_PROCESSED)
        self._processed.add(upload)
        verdicts = await self._read_back.verdicts(accepted)
        if all(verdict.seen is not Seen.LATER for verdict in verdicts):
            self._processed.discard(upload)
        return verdicts

    @property
    def uncounted(self) -> str:
        """See ``audits.CountsConversions``."""
        return "" if self._counting is not None else 'read_back is "off", so no reports are read'

    async def counts(self, sent: Sequence[Sent], since: datetime) -> Counts:
        """See ``audits.CountsConversions``. Days are the counter's; others may reach the same goals."""
        if self._counting is None:
            return Counts(())
        counter = read(CounterReply, await self._account.send(self._get(""))).counter
        counted = await self._counting.counts(sent, zone_of(counter))
        return replace(counted, days=tuple(one for one in counted.days if one.day >= since.date()))

    def _counted(self, clock: Clock) -> Counting:
        """Reports as old as the oldest visit of the oldest conversion that is audited."""
        settings = self._settings
        reports = OwnDays(self._account, clock, settings.counter_id, fresh=settings.verify_every, reach=AUDITED)
        return Counting(reports, clock, settings.unlinked_after)

    async def _status(self, upload: str) -> str | None:
        asked = self._get(f"/offline_conversions/uploading/{upload}")
        try:
            response = await self._account.send(asked)
        except Refused as refusal:
            if refusal.code == "not_found":
                return None
            raise
        return read(UploadingReply, response).uploading.status

    async def close(self) -> None:
        """Nothing is held: the HTTP client belongs to the process."""

    async def _page(self, offset: int) -> list[Uploading]:
        params = (("limit", str(PAGE)), ("offset", str(offset)))
        response = await self._account.send(self._get("/offline_conversions/uploadings", *params))
        return read(UploadingsReply, response).uploadings

    def _get(self, path: str, *params: tuple[str, str]) -> Request:
        return Request("GET", f"{self._root}{path}", params=params, is_safe=True)


def _id(uploading: Uploading) -> int:
    return uploading.id


def _is_past(page: Sequence[Uploading], sent_at: datetime) -> bool:
    """A list that runs newest first has gone by the moment of sending. Its order is undocumented: look at it."""
    is_newest_first = all(page[i].id >= page[i + 1].id for i in range(len(page) - 1))
    oldest = _moment(page[-1].create_time)
    return is_newest_first and oldest is not None and oldest < sent_at - LIST_SLACK


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

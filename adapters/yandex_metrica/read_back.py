"""Each row of a processed file is looked for in the counter's statistics, within their delays, rights and quotas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from adapters.yandex_metrica import evidence
from adapters.yandex_metrica.mapping import ACCESS_DENIED
from adapters.yandex_metrica.reports import Reports
from adapters.yandex_metrica.settings import MetricaSettings
from adapters.yandex_metrica.visit_log import VisitLog
from adapters.yandex_metrica.wire import LogEvaluation
from bridge.errors import AuthError, BridgeError, Refused
from bridge.model import IdKind, Outgoing
from bridge.ports import Accepted, Finding, Level, RowVerdict, Seen
from bridge.tools import Account, Clock

_SUBJECT = "read-back"
_Verdicts = dict[str, RowVerdict]


class ReadBack:
    """Reports by ClientID; with ``read_back = "logs"`` also the raw visits, for rows that went out by yclid."""

    def __init__(self, account: Account, clock: Clock, settings: MetricaSettings) -> None:
        self._clock = clock
        self._settings = settings
        counter = settings.counter_id
        reach = settings.window + settings.verify_limit
        self._reports = Reports(account, clock, counter, fresh=settings.verify_every, reach=reach)
        self._log = VisitLog(account, clock, counter) if settings.read_back == "logs" else None

    async def verdicts(self, accepted: Accepted) -> list[RowVerdict]:
        """One for each row of a file that Metrica has processed; LATER while it may still show.

        Raises:
            AuthError, Throttled, Unavailable, Drift: the statistics cannot be read now.
        """
        goals = await self._reports.goals()
        targets = {row.target: evidence.goals_of(row.target, goals) for row in accepted.rows}
        named = {
            row.delivery: RowVerdict(row.delivery, Seen.UNLINKED, evidence.GOAL_MISSING)
            for row in accepted.rows
            if not targets[row.target]
        }
        named |= await self._by_reports(_others(accepted.rows, named), targets, accepted.answered_at)
        named |= await self._by_log(_others(accepted.rows, named), targets, accepted.answered_at)
        named |= await self._by_absence(_others(accepted.rows, named), targets, accepted.answered_at)
        return [named[row.delivery] for row in accepted.rows]

    def _is_late(self, answered_at: datetime) -> bool:
        return self._clock.now() - answered_at >= self._settings.unlinked_after

    # --- evidence for ---

    async def _by_reports(
        self, rows: Sequence[Outgoing], targets: Mapping[str, Sequence[int]], answered_at: datetime
    ) -> _Verdicts:
        """Rows whose visitor reached the goal."""
        known = [row for row in rows if evidence.client_ids(row)]
        try:
            reaches = await self._reports.reaches(goal for row in known for goal in targets[row.target])
        except Refused as refusal:
            return self._unread(known, refusal, answered_at)
        return evidence.by_reaches(known, targets, reaches, answered_at)

    async def _by_log(
        self, rows: Sequence[Outgoing], targets: Mapping[str, Sequence[int]], answered_at: datetime
    ) -> _Verdicts:
        """Rows that were sent by yclid: their visit tells all of them."""
        clicks = [row for row in rows if evidence.sent_as(row)[0] is IdKind.YCLID]
        if self._log is None or not clicks:
            return {}
        try:
            visits = await self._log.visits(answered_at)
        except Refused as refusal:
            return self._unread(clicks, refusal, answered_at)
        if visits is None:
            return _all(clicks, Seen.LATER)
        found = evidence.by_visits(clicks, targets, visits, answered_at)
        if self._is_late(answered_at):
            return found
        return {
            key: verdict if verdict.seen is Seen.VERIFIED else RowVerdict(key, Seen.LATER)
            for key, verdict in found.items()
        }

    # --- evidence against ---

    async def _by_absence(
        self, rows: Sequence[Outgoing], targets: Mapping[str, Sequence[int]], answered_at: datetime
    ) -> _Verdicts:
        """Rows that nothing has shown: too early, never to be shown, or not linked and why."""
        blind = [row for row in rows if not evidence.client_ids(row)]
        named = _all(blind, Seen.VERIFIED, evidence.FILE_PROCESSED)
        rest = _others(rows, named)
        if not self._is_late(answered_at):
            return named | _all(rest, Seen.LATER)
        reaches = await self._reports.reaches(goal for row in rest for goal in targets[row.target])
        for row in rest:
            doubt = evidence.doubt(row, targets[row.target], reaches, answered_at)
            if doubt:
                named[row.delivery] = RowVerdict(row.delivery, Seen.UNKNOWN, doubt)
        absent = _others(rest, named)
        days = await self._reports.days_of(absent)
        return named | {row.delivery: evidence.by_absence(row, days, answered_at) for row in absent}

    def _unread(self, rows: Sequence[Outgoing], refusal: Refused, answered_at: datetime) -> _Verdicts:
        """Without statistics there is no more than the file's own status; but they may be made another time."""
        if refusal.code == ACCESS_DENIED or self._is_late(answered_at):
            return _all(rows, Seen.VERIFIED, evidence.FILE_PROCESSED)
        return _all(rows, Seen.LATER)

    # --- check ---

    async def findings(self, targets: Iterable[str]) -> list[Finding]:
        """May this token read what the setting promises? The reports asked for are those that are read later."""
        try:
            goals = await self._reports.goals()
            await self._reports.reaches(number for target in targets for number in evidence.goals_of(target, goals))
            await self._reports.visit_days(["1700000000000000000"])
            log = await self._log.evaluate() if self._log is not None else None
        except AuthError as error:
            return [Finding(Level.ERROR, _SUBJECT, str(error))]
        except Refused as refusal:
            return [Finding(Level.WARNING, _SUBJECT, _advice(refusal))]
        except BridgeError as error:
            return [Finding(Level.WARNING, _SUBJECT, f"Metrica's statistics cannot be read now: {error}")]
        return [_log_finding(log) if log is not None else Finding(Level.OK, _SUBJECT, "goal reaches can be read")]


def _others(rows: Sequence[Outgoing], named: Mapping[str, RowVerdict]) -> list[Outgoing]:
    return [row for row in rows if row.delivery not in named]


def _all(rows: Sequence[Outgoing], seen: Seen, code: str = "") -> _Verdicts:
    return {row.delivery: RowVerdict(row.delivery, seen, code) for row in rows}


def _advice(refusal: Refused) -> str:
    if refusal.code != ACCESS_DENIED:
        return f'{refusal}; while that lasts, "verified" says no more than that Metrica processed the file'
    return (
        f'{refusal}: give it metrika:read and issue it anew, or set read_back = "off". Until then "verified" says no '
        f'more than that Metrica processed the file (code "{evidence.FILE_PROCESSED}")'
    )


def _log_finding(log: LogEvaluation) -> Finding:
    if log.possible is not False:
        return Finding(Level.OK, _SUBJECT, "goal reaches and raw visits can be read")
    days = log.max_possible_day_quantity or 0
    text = f'the counter is too large for a log of 27 days (possible: {days}); set read_back = "reports"'
    return Finding(Level.WARNING, _SUBJECT, text)

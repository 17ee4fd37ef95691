"""Each order of a valid upload is looked for in the counter's reports, within their delays, rights and quotas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from adapters.yandex_metrica import evidence, orders_evidence
from adapters.yandex_metrica.mapping import ACCESS_DENIED
from adapters.yandex_metrica.orders_evidence import UPLOAD_PASSED
from adapters.yandex_metrica.reports import Reports
from adapters.yandex_metrica.settings import MetricaSettings
from bridge.errors import AuthError, BridgeError, Refused
from bridge.model import Outgoing
from bridge.ports import Accepted, Finding, Level, RowVerdict, Seen
from bridge.tools import Account, Clock

_SUBJECT = "read-back"
_PROBE = "1700000000000000000"


class OrdersReadBack:
    """Reports by ClientID. What they say is kept for ``verify_every``, so that many uploads cost one report."""

    def __init__(self, account: Account, clock: Clock, settings: MetricaSettings) -> None:
        self._clock = clock
        self._late = settings.unlinked_after
        reach = settings.update_window + settings.verify_limit
        self._reports = Reports(account, clock, settings.counter_id, fresh=settings.verify_every, reach=reach)

    async def verdicts(self, accepted: Accepted) -> list[RowVerdict]:
        """One for each row of a valid upload; LATER while it may still show.

        Raises:
            AuthError, Throttled, Unavailable, Drift: the reports cannot be read now.
        """
        goals = await self._reports.goals()
        numbers = {row.delivery: orders_evidence.order_goals(row, goals) for row in accepted.rows}
        found = {
            row.delivery: RowVerdict(row.delivery, Seen.VERIFIED, UPLOAD_PASSED)
            for row in accepted.rows
            if not numbers[row.delivery] or not evidence.client_ids(row)
        }
        rest = [row for row in accepted.rows if row.delivery not in found]
        is_late = self._clock.now() - accepted.answered_at >= self._late
        try:
            found |= await self._looked_for(rest, numbers, is_late)
        except Refused as refusal:
            is_final = refusal.code == ACCESS_DENIED or is_late
            seen, code = (Seen.VERIFIED, UPLOAD_PASSED) if is_final else (Seen.LATER, "")
            found |= {row.delivery: RowVerdict(row.delivery, seen, code) for row in rest}
        return [found[row.delivery] for row in accepted.rows]

    async def _looked_for(
        self, rows: Sequence[Outgoing], numbers: Mapping[str, Sequence[int]], is_late: bool
    ) -> dict[str, RowVerdict]:
        reaches = await self._reports.reaches(number for row in rows for number in numbers[row.delivery])
        found = orders_evidence.shown(rows, numbers, reaches)
        absent = [row for row in rows if row.delivery not in found]
        if not is_late:
            return found | {row.delivery: RowVerdict(row.delivery, Seen.LATER) for row in absent}
        days = await self._reports.days_of(absent)
        return found | {
            row.delivery: orders_evidence.unseen(row, numbers[row.delivery], reaches, days) for row in absent
        }

    async def findings(self, targets: Iterable[str]) -> list[Finding]:
        """May this token read what proves an order's link? The reports asked for are those that are read later."""
        try:
            goals = await self._reports.goals()
            own = [goal.id for goal in goals if (goal.type or "").startswith("cdp_order")]
            await self._reports.reaches([*own, *(one for name in targets for one in evidence.goals_of(name, goals))])
            await self._reports.visit_days([_PROBE])
        except AuthError as error:
            return [Finding(Level.ERROR, _SUBJECT, str(error))]
        except BridgeError as error:
            is_denied = isinstance(error, Refused) and error.code == ACCESS_DENIED
            advice = 'give the token metrika:read and issue it anew, or set read_back = "off"; ' if is_denied else ""
            text = f'{error}; {advice}until then "verified" says no more than that the file was valid ({UPLOAD_PASSED})'
            return [Finding(Level.WARNING, _SUBJECT, text)]
        return [Finding(Level.OK, _SUBJECT, "goals of orders can be read")]

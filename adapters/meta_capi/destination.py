"""One dataset of Meta as a destination."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from adapters.meta_capi import answers, mapping, wire
from adapters.meta_capi.settings import MetaCapiSettings
from bridge.destinations import TellsNothing
from bridge.errors import AuthError, BridgeError, Refused
from bridge.frozen import replace
from bridge.model import Outgoing
from bridge.ports import (
    Admission,
    Answer,
    DestinationTraits,
    Finding,
    Level,
    Payload,
    Proof,
    Sealed,
)
from bridge.tools import AccountSetup, Rate, Request, Tokens, Tools

TRAITS = DestinationTraits(
    # Meta documents that a browser's event and a server's with one event_id count once. Whether two of a server do, and
    # for how long, is not documented well enough to repeat events unasked (contract meta_capi, unverified 1).
    proof=Proof.NONE,
    accepts=mapping.KINDS,
    verify_first=None,
    give_up_after=timedelta(days=14),  # ``window`` ends sooner
)
RATE = Rate(per_second=5.0, burst=5, parallel=2)  # events have no limit of their own (contract meta_capi 2)
_TIMEOUT = 60.0


def build(own: str, settings: MetaCapiSettings, tools: Tools) -> MetaCapi:
    """A destination for validated settings.

    Raises:
        ConfigError: the token cannot be read.
    """
    return MetaCapi(own, settings, tools)


class MetaCapi(TellsNothing):
    """One dataset. A batch is one request, which is taken or refused whole.

    Meta tells of received events, and of matched ones only in sums.
    """

    def __init__(self, own: str, settings: MetaCapiSettings, tools: Tools) -> None:
        self.traits = replace(TRAITS, accepts_persons=settings.persons, persons_suffice=settings.persons)
        self._settings = settings
        self._clock = tools.clock
        self._drift = tools.drift
        self._place = f"/{settings.api_version}/{settings.dataset_id}"
        self._account = tools.http.account(
            AccountSetup(
                name=f"{tools.tenant.name}/{own}",
                base_url=settings.base_url,
                judge=answers.judge,
                rate=RATE,
                tokens=Tokens(settings.token.read(tools.folder).get_secret_value()),
            )
        )

    async def check(self, targets: Mapping[str, str]) -> list[Finding]:
        """Whether the dataset can be read; with ``test_event_code`` also whether it takes an event for each target."""
        try:
            await self._account.send(Request("GET", self._place, params=[("fields", "id,name")], is_safe=True))
            found = Finding(Level.OK, "dataset", "the token reaches it")
        except AuthError as error:
            return [Finding(Level.ERROR, "token", str(error))]
        except Refused as error:
            found = _unread(error)
        except BridgeError as error:
            found = Finding(Level.ERROR, "dataset", f"cannot be asked now: {error}")
        if found.level is Level.ERROR or self._settings.test_event_code is None:
            return [found]
        return [found, await self._tested(sorted(set(targets.values())))]

    async def _tested(self, names: Sequence[str]) -> Finding:
        code = self._settings.test_event_code
        try:
            answer = await self._account.send(self._post(mapping.render_test(names, self._clock.now(), self._settings)))
            answers.accepted(answer.body, names)
        except BridgeError as error:
            return Finding(Level.ERROR, "test_event_code", f"test events were not taken: {error}")
        told = f"{len(names)} test events were taken; see them under Test Events, code {code}, then remove the setting"
        return Finding(Level.OK, "test_event_code", told)

    def batch_size(self, due: int) -> int:
        return min(due, self._settings.max_rows)

    def batch_key(self, row: Outgoing) -> str:
        """One request takes all events."""
        return ""

    def admit(self, row: Outgoing, now: datetime) -> Admission:
        return mapping.admit(row, now, self._settings)

    def render(self, rows: Sequence[Outgoing], label: str) -> Payload:
        """The request's body. Meta keeps no label."""
        return mapping.render(rows, self._settings)

    async def send(self, batch: Sealed) -> Answer:
        """One request.

        Raises:
            Ambiguous: the answer is lost, or says nothing certain.
            Drift: not every event was received.
            AuthError, Refused: the trouble lies with the token or the dataset, not with the rows.
        """
        try:
            answer = await self._account.send(self._post(batch.payload.body))
        except Refused as refusal:
            if not answers.is_known(refusal):
                self._drift.note("error", f"code-{refusal.code}")
            outcome = answers.refused(refusal, batch.rows)
            if outcome is None:
                raise
            return outcome
        found = answers.accepted(answer.body, batch.rows)
        self._drift.note_fields(msgspec.json.decode(answer.body), wire.FIELDS)
        return found

    def _post(self, body: bytes) -> Request:
        headers = {"content-type": "application/json"}
        return Request("POST", f"{self._place}/events", headers=headers, body=body, timeout=_TIMEOUT)


def _unread(error: Refused) -> Finding:
    """A token that may only send cannot read, and that is no error."""
    if error.code.partition("/")[0] in map(str, answers.PERMISSION):
        advice = "the token may not read the dataset; sending may work all the same: try it with test_event_code"
        return Finding(Level.WARNING, "dataset", advice)
    return Finding(Level.ERROR, "dataset", str(error))

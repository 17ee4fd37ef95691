"""An endpoint of the advertiser's own as a destination."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from adapters.webhook import mapping
from adapters.webhook.settings import WebhookSettings
from bridge.destinations import TellsNothing
from bridge.errors import AuthError, BridgeError, Refused
from bridge.frozen import replace
from bridge.model import Outgoing
from bridge.ports import (
    Admission,
    Answer,
    DestinationTraits,
    Fate,
    Finding,
    Level,
    Payload,
    Proof,
    Sealed,
)
from bridge.tools import AccountSetup, Rate, Request, Tools

TRAITS = DestinationTraits(
    proof=Proof.NONE,  # with ``idempotent`` ROW: the endpoint knows a conversion by its id
    accepts=mapping.KINDS,
    adjusts=True,
    verify_first=None,
    give_up_after=timedelta(days=90),
)
RATE = Rate(per_second=10.0, burst=10, parallel=2)
_TIMEOUT = 30.0
_PING_LABEL = "ping"


def build(own: str, settings: WebhookSettings, tools: Tools) -> Webhook:
    """A destination for validated settings.

    Raises:
        ConfigError: a secret cannot be read, or not be signed with.
    """
    return Webhook(own, settings, tools)


class Webhook(TellsNothing):
    """One endpoint. A batch is one signed message: an endpoint that said 2xx has taken it."""

    def __init__(self, own: str, settings: WebhookSettings, tools: Tools) -> None:
        self.traits = replace(
            TRAITS,
            proof=Proof.ROW if settings.idempotent else Proof.NONE,
            accepts_persons=settings.persons,
            persons_suffice=settings.persons,
            give_up_after=settings.window,
        )
        self._settings = settings
        self._clock = tools.clock
        self._key = mapping.key_of(settings.secret.read(tools.folder).get_secret_value())
        self._headers = {"content-type": "application/json"}
        if settings.authorization is not None:
            self._headers["authorization"] = settings.authorization.read(tools.folder).get_secret_value()
        self._account = tools.http.account(
            AccountSetup(name=f"{tools.tenant.name}/{own}", base_url=settings.url, judge=mapping.judge, rate=RATE)
        )

    async def check(self, targets: Mapping[str, str]) -> list[Finding]:
        """A signed message of the type "ping", which an endpoint answers and otherwise ignores."""
        try:
            await self._account.send(self._message(_PING_LABEL, mapping.PING))
        except AuthError as error:
            return [Finding(Level.ERROR, "secret", str(error))]
        except Refused as error:
            advice = f"{error}; it must answer 2xx to a message of the type ping"
            return [Finding(Level.ERROR, "endpoint", advice)]
        except BridgeError as error:
            return [Finding(Level.ERROR, "endpoint", f"the endpoint cannot be asked now: {error}")]
        return [Finding(Level.OK, "endpoint", "it took a signed ping"), *self._idempotence()]

    def _idempotence(self) -> list[Finding]:
        if self._settings.idempotent or self._settings.when_unsure != "hold":
            return []
        advice = (
            "after a lost answer conversions are held for you; set idempotent = true if the endpoint ignores "
            "conversions whose id it has seen"
        )
        return [Finding(Level.WARNING, "idempotent", advice)]

    def batch_size(self, due: int) -> int:
        return min(due, self._settings.max_rows)

    def batch_key(self, row: Outgoing) -> str:
        """One message takes all goals."""
        return ""

    def admit(self, row: Outgoing, now: datetime) -> Admission:
        return mapping.admit(row, now, self._settings.window, has_persons=self._settings.persons)

    def render(self, rows: Sequence[Outgoing], label: str) -> Payload:
        """The message's body. The label goes into the headers."""
        return mapping.render(rows, has_persons=self._settings.persons)

    async def send(self, batch: Sealed) -> Answer:
        """One message.

        Raises:
            Ambiguous: the answer is lost, or says nothing certain.
            Refused: the endpoint refuses for a reason that lies not in the rows.
        """
        try:
            await self._account.send(self._message(batch.label, batch.payload.body))
        except Refused as refusal:
            answer = mapping.refused_answer(refusal, batch.rows)
            if answer is None:
                raise
            return answer
        return Answer.alike(batch.rows, Fate.ACCEPTED)

    def _message(self, label: str, body: bytes) -> Request:
        signature = mapping.signed(body, label, self._clock.now(), self._key)
        headers = {**self._headers, **signature}
        return Request("POST", self._settings.url, headers=headers, body=body, timeout=_TIMEOUT)

"""One web stream of Google Analytics 4 as a destination."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from adapters.ga4 import mapping, wire
from adapters.ga4.settings import Ga4Settings
from bridge.destinations import OneByOne
from bridge.errors import BridgeError
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
    RowOutcome,
    Sealed,
)
from bridge.survey import DestinationSurvey, Target
from bridge.tools import AccountSetup, Rate, Request, Tokens, Tools

TRAITS = DestinationTraits(
    proof=Proof.NONE,  # a lead event that comes twice counts twice, and nothing can be asked
    accepts=mapping.KINDS,
    verify_first=None,
    give_up_after=timedelta(days=7),  # ``window`` ends sooner
)
RATE = Rate(per_second=20.0, burst=20, parallel=4)  # no limit is documented
_TIMEOUT = 30.0
_DOUBT = (
    "Google tells nobody whether measurement_id and api_secret are right and takes events for wrong ones too: "
    "after the first conversion look for it in the property's Realtime report"
)


def build(own: str, settings: Ga4Settings, tools: Tools) -> Ga4:
    """A destination for validated settings.

    Raises:
        ConfigError: the secret cannot be read.
    """
    return Ga4(own, settings, tools)


def _with_secret(request: Request, secret: str) -> Request:
    """Google wants it in the query, which error texts and logs leave out."""
    return replace(request, params=[*request.params, ("api_secret", secret)])


class Ga4(OneByOne):
    """One stream. A batch is one row: events of one request share their visitor and time.

    Google answers the same to what it keeps and to what it drops.
    """

    def __init__(self, own: str, settings: Ga4Settings, tools: Tools) -> None:
        self.traits = TRAITS
        self._settings = settings
        self._clock = tools.clock
        self._account = tools.http.account(
            AccountSetup(
                name=f"{tools.tenant.name}/{own}",
                base_url=settings.base_url,
                judge=mapping.judge,
                rate=RATE,
                tokens=Tokens(settings.api_secret.read(tools.folder).get_secret_value()),
                apply=_with_secret,
            )
        )

    async def check(self, targets: Mapping[str, str]) -> list[Finding]:
        """Each event as the debug path sees it. The secret and the stream cannot be checked, and that is said."""
        seen = {target: await self._checked(target) for target in sorted(set(targets.values()))}
        findings = [Finding(seen[target][0], f"goal {goal}", seen[target][1]) for goal, target in targets.items()]
        return [*findings, Finding(Level.WARNING, "api_secret", _DOUBT)]

    async def _checked(self, target: str) -> tuple[Level, str]:
        """What there is to say of an event."""
        if not mapping.is_event_name(target):
            advice = "no name for an event: letters, digits, underscores, at most 40, no google_, ga_ or firebase_"
            return Level.ERROR, f"{target}: {advice}"
        try:
            complaints = await self._validate(target)
        except BridgeError as error:
            return Level.ERROR, f"{target}: cannot be asked now: {error}"
        except msgspec.DecodeError:
            return Level.ERROR, f"{target}: the debug path answers no JSON that is known; check base_url"
        if complaints:
            told = "; ".join(f"{one.validation_code} {one.field_path}".strip() for one in complaints)
            return Level.ERROR, f"{target}: Google would drop this event: {told}"
        if target not in mapping.LEAD_EVENTS:
            advice = f"an event of your own; those made for leads are {', '.join(sorted(mapping.LEAD_EVENTS))}"
            return Level.WARNING, f"{target}: {advice}"
        return Level.OK, f"{target}: a valid event"

    async def _validate(self, target: str) -> tuple[wire.Complaint, ...]:
        body = mapping.render_check(target, self._clock.now(), self._settings)
        answer = await self._account.send(replace(self._request(wire.VALIDATE, body), is_safe=True))
        return wire.read_validation(answer.body).validation_messages

    async def targets(self) -> DestinationSurvey:
        """See ``survey.ListsTargets``: the events recommended for leads. Nothing has to exist in the property."""
        events = mapping.LEAD_EVENTS.items()
        return DestinationSurvey(tuple([Target(name, name, "lead event", means) for name, means in events]))

    def admit(self, row: Outgoing, now: datetime) -> Admission:
        return mapping.admit(row, now, self._settings.window)

    def render(self, rows: Sequence[Outgoing], label: str) -> Payload:
        """The body of the only row. Google keeps no label."""
        (row,) = rows
        return mapping.render(row, self._settings)

    async def send(self, batch: Sealed) -> Answer:
        """One event.

        Raises:
            Ambiguous: the answer is lost, or says nothing certain.
            Refused: the address or the stream is refused; rows are never blamed by Google.
        """
        (row,) = batch.rows
        await self._account.send(self._request(wire.COLLECT, batch.payload.body))
        return Answer((RowOutcome(row, Fate.ACCEPTED),))

    def _request(self, path: str, body: bytes) -> Request:
        return Request(
            "POST",
            path,
            params=[("measurement_id", self._settings.measurement_id)],
            headers={"content-type": "application/json"},
            body=body,
            timeout=_TIMEOUT,
        )

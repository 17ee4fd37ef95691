"""One mailbox to send from, as a destination: people are told that a goal was reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from adapters.email import mapping, wire
from adapters.email.settings import EmailSettings
from bridge import notices
from bridge.destinations import OneByOne
from bridge.errors import BridgeError, Refused
from bridge.model import TOLD, Outgoing
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
from bridge.tools import MailServer, Tools

TRAITS = DestinationTraits(
    proof=Proof.NONE,  # a mail server tells nobody what it has taken
    accepts=TOLD,
    needs_click=False,
    verify_first=None,
    give_up_after=timedelta(days=2),
)


def build(own: str, settings: EmailSettings, tools: Tools) -> Email:
    """A destination for validated settings.

    Raises:
        ConfigError: the password cannot be read.
    """
    return Email(settings, tools)


class Email(OneByOne):
    """One mailbox. A batch is one mail."""

    def __init__(self, settings: EmailSettings, tools: Tools) -> None:
        self.traits = TRAITS
        self._settings = settings
        self._zone = tools.tenant.timezone
        self._mail = tools.mail
        password = settings.password.read(tools.folder).get_secret_value() if settings.password else ""
        self._server = MailServer(settings.host, settings.port, settings.security, settings.user, password)

    async def check(self, targets: Mapping[str, str]) -> list[Finding]:
        """The login, and that every goal names somebody. Nothing is sent."""
        goals = [self._named(goal, name) for goal, name in targets.items()]
        try:
            await self._mail.greet(self._server)
        except BridgeError as error:
            return [Finding(Level.ERROR, "server", str(error)), *goals]
        return [Finding(Level.OK, "server", "it lets us log in"), *goals]

    def _named(self, goal: str, name: str) -> Finding:
        if name in self._settings.to:
            return Finding(Level.OK, f"goal {goal}", f"{name!r}, {len(self._settings.to[name])} recipients")
        names = ", ".join(sorted(self._settings.to))
        return Finding(Level.ERROR, f"goal {goal}", f"nobody is called {name!r} in to; there are {names}")

    async def targets(self) -> DestinationSurvey:
        """See ``survey.ListsTargets``: the names of the settings."""
        return DestinationSurvey(tuple([Target(name, name, "recipients") for name in self._settings.to]))

    def admit(self, row: Outgoing, now: datetime) -> Admission:
        return notices.admit(row, now, self._settings, self._zone)

    def render(self, rows: Sequence[Outgoing], label: str) -> Payload:
        """The mail about the only row."""
        (row,) = rows
        return mapping.render(row, label, self._settings, self._zone)

    async def send(self, batch: Sealed) -> Answer:
        """One mail.

        Raises:
            Ambiguous: the answer is lost.
            Refused: the server refuses the sender; mails wait.
        """
        (row,) = batch.rows
        mail = batch.payload.body
        try:
            await self._mail.send(self._server, self._settings.sender, wire.recipients(mail), mail)
        except Refused as refusal:
            if refusal.code not in ("recipient", "message"):
                raise
            return Answer((RowOutcome(row, Fate.REJECTED, f"{refusal.code}_refused"),))
        return Answer((RowOutcome(row, Fate.ACCEPTED),))

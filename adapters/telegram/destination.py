"""One bot of Telegram as a destination: people are told that a goal was reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from adapters.telegram import mapping, wire
from adapters.telegram.settings import TelegramSettings
from bridge import notices
from bridge.destinations import OneByOne
from bridge.errors import BridgeError, Refused
from bridge.frozen import replace
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
from bridge.tools import AccountSetup, Rate, Request, Tokens, Tools

TRAITS = DestinationTraits(
    proof=Proof.NONE,  # a message has no id of ours, and a bot cannot read what it has said
    accepts=TOLD,
    needs_click=False,
    verify_first=None,
    give_up_after=timedelta(days=2),
)
RATE = Rate(per_second=1.0, burst=20, parallel=1)  # a group takes some twenty messages a minute
_TIMEOUT = 30.0


def build(own: str, settings: TelegramSettings, tools: Tools) -> Telegram:
    """A destination for validated settings.

    Raises:
        ConfigError: the token cannot be read.
    """
    return Telegram(own, settings, tools)


class Telegram(OneByOne):
    """One bot. A batch is one message."""

    def __init__(self, own: str, settings: TelegramSettings, tools: Tools) -> None:
        self.traits = TRAITS
        self._settings = settings
        self._zone = tools.tenant.timezone
        self._account = tools.http.account(
            AccountSetup(
                name=f"{tools.tenant.name}/{own}",
                base_url=settings.base_url,
                judge=mapping.judge,
                rate=RATE,
                tokens=Tokens(settings.token.read(tools.folder).get_secret_value()),
                apply=_in_path,
                timeout=_TIMEOUT,
            )
        )

    async def check(self, targets: Mapping[str, str]) -> list[Finding]:
        """The bot, every chat that a goal names, and nothing posted."""
        try:
            me = await self._ask(wire.ME)
        except BridgeError as error:
            return [Finding(Level.ERROR, "bot", str(error))]
        found = [Finding(Level.OK, "bot", f"@{me.result.username}")]
        return [*found, *[await self._checked(goal, chat) for goal, chat in targets.items()]]

    async def _checked(self, goal: str, name: str) -> Finding:
        chat = self._settings.chats.get(name)
        if chat is None:
            known = ", ".join(sorted(self._settings.chats))
            return Finding(Level.ERROR, f"goal {goal}", f"no chat {name!r} in chats; there are {known}")
        try:
            answer = await self._ask(wire.CHAT, ("chat_id", chat))
        except Refused as refusal:
            return Finding(Level.ERROR, f"goal {goal}", f"chat {name!r}: {mapping.advice(refusal.code)}")
        except BridgeError as error:
            return Finding(Level.ERROR, f"goal {goal}", f"chat {name!r}: {error}")
        return Finding(Level.OK, f"goal {goal}", f"chat {name!r} ({answer.result.type or 'chat'})")

    async def _ask(self, method: str, *params: tuple[str, str]) -> wire.Answer:
        return wire.read((await self._account.send(Request("GET", method, params))).body)

    async def targets(self) -> DestinationSurvey:
        """See ``survey.ListsTargets``: the chats of the settings; a bot cannot list those it is in."""
        return DestinationSurvey(tuple([Target(name, name, "chat") for name in self._settings.chats]))

    def admit(self, row: Outgoing, now: datetime) -> Admission:
        return notices.admit(row, now, self._settings, self._zone)

    def render(self, rows: Sequence[Outgoing], label: str) -> Payload:
        """The message of the only row. There is no place in it for the label."""
        (row,) = rows
        return mapping.render(row, self._settings, self._zone)

    async def send(self, batch: Sealed) -> Answer:
        """One message. What is wrong with one chat keeps only its own messages waiting.

        Raises:
            Ambiguous: the answer is lost, or says nothing certain.
            Refused: for a reason that lies neither in the message nor in its chat.
        """
        (row,) = batch.rows
        request = Request(
            "POST", wire.SEND, headers={"content-type": batch.payload.content_type}, body=batch.payload.body
        )
        try:
            await self._account.send(request)
        except Refused as refusal:
            if refusal.code in mapping.CHAT_CODES:
                return Answer((RowOutcome(row, Fate.AGAIN, refusal.code),))
            if refusal.code != "http_400":
                raise
            return Answer((RowOutcome(row, Fate.REJECTED, refusal.code),))
        return Answer((RowOutcome(row, Fate.ACCEPTED),))


def _in_path(request: Request, token: str) -> Request:
    """The token is part of the path; it is put there only for sending, so that no error text can hold it."""
    return replace(request, url=f"/bot{token}/{request.url}")

"""A bot's messages: their letters, what each answer means, and where the token never is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from adapters.telegram import mapping
from adapters.telegram.destination import Telegram
from adapters.telegram.fake import LONGEST, SALES, Messenger
from adapters.telegram.settings import TelegramSettings
from bridge.errors import Ambiguous, AuthError, BridgeError, Drift, Refused, RowRejected, Throttled
from bridge.frozen import replace
from bridge.model import Outgoing
from bridge.ports import Fate, Level, Sealed
from bridge.sim.clock import ManualClock
from bridge.sim.faults import Fault, FaultPlan
from bridge.tools import Request, Response, Tools
from tests.support import NOTICE, START, simulated

LABEL = "0123456789abcdef0123456789abcdef"
SAMPLE = Path(__file__).parents[3] / "adapters" / "telegram" / "samples" / "message.json"


@dataclass
class Here:
    fake: Messenger
    tools: Tools

    def port(self, **changes: Any) -> Telegram:
        return Telegram("bot", TelegramSettings.model_validate(self.fake.settings() | changes), self.tools)

    async def send(self, row: Outgoing = NOTICE, **changes: Any) -> tuple[Fate, str]:
        port = self.port(**changes)
        answer = await port.send(Sealed(LABEL, port.render([row], LABEL), (row.delivery,)))
        return answer.outcomes[0].fate, answer.outcomes[0].code


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Here]:
    fake = Messenger(ManualClock(START))
    async with simulated(fake, tmp_path) as tools:
        yield Here(fake, tools)


def test_a_message_has_these_letters() -> None:
    """The sample: plain text, no preview of links."""
    settings = TelegramSettings.model_validate(
        {"kind": "telegram", "token": {"env": "X"}, "chats": {"sales": int(SALES)}}
    )
    row = replace(NOTICE, occurred_at=START.replace(day=10))
    assert mapping.render(row, settings, "Europe/Moscow").body == SAMPLE.read_bytes().strip()


async def test_a_deal_without_any_click_is_told_of(here: Here) -> None:
    """Somebody should call, whoever brought the lead."""
    assert await here.send() == (Fate.ACCEPTED, "")
    assert here.fake.messages == [(SALES, "qualified: lead:5123, 100000.50 RUB, 2026-03-02 12:00")]


async def test_an_endless_text_is_cut_at_what_telegram_takes(here: Here) -> None:
    """Rather than refused and lost."""
    assert await here.send(replace(NOTICE, goal="g" * 5000)) == (Fate.ACCEPTED, "")
    assert len(here.fake.messages[0][1]) == LONGEST


async def test_a_chat_that_is_called_otherwise_is_the_rows_fault(here: Here) -> None:
    """``send`` names one that ``chats`` does not have; check says which there are."""
    with pytest.raises(RowRejected):
        await here.send(replace(NOTICE, target="head"))
    (_, finding) = await here.port().check({"qualified": "head"})
    assert finding.level is Level.ERROR
    assert "sales" in finding.message


@pytest.mark.parametrize(
    ("status", "description", "code"),
    [
        (403, "Forbidden: bot was kicked from the supergroup chat", "bot_kicked"),
        (403, "Forbidden: bot was blocked by the user", "bot_blocked"),
        (400, "Bad Request: group chat was upgraded to a supergroup chat", "chat_moved"),
        (400, "Bad Request: not enough rights to send text messages to the chat", "bot_may_not_write"),
    ],
)
async def test_a_chat_that_refuses_keeps_its_own_messages_waiting(
    here: Here, status: int, description: str, code: str
) -> None:
    """The message goes again later, and check says what to do."""
    here.fake.trouble[SALES] = status, description
    assert await here.send() == (Fate.AGAIN, code)
    (_, finding) = await here.port().check({"qualified": "sales"})
    assert finding.level is Level.ERROR
    assert finding.message == f"chat 'sales': {mapping.advice(code)}"


async def test_an_unknown_chat_waits_too(here: Here) -> None:
    """A typing error in the configuration loses nothing that is put right within the window; check names what it asked
    for, not a message: none was sent."""
    assert await here.send(chats={"sales": "-5"}) == (Fate.AGAIN, "chat_not_found")
    (_, finding) = await here.port(chats={"sales": "-5"}).check({"qualified": "sales"})
    assert "the bot knows no chat of this number; add the bot to the chat" in finding.message


async def test_a_question_that_telegram_cannot_answer_posts_nothing(here: Here) -> None:
    """A good bot and a server that is down: no word of a message that may have been posted."""
    here.fake.trouble[SALES] = 502, "Bad Gateway"
    (_, finding) = await here.port().check({"qualified": "sales"})
    assert (finding.level, finding.message) == (Level.ERROR, "chat 'sales': Telegram answered 502")


async def test_another_refusal_of_a_message_is_final(here: Here) -> None:
    """What Telegram does not take today it does not take tomorrow."""
    here.fake.trouble[SALES] = 400, "Bad Request: message text is empty"
    assert await here.send() == (Fate.REJECTED, "http_400")


async def test_the_token_is_in_no_error(here: Here) -> None:
    """Whatever goes wrong, although every address holds it."""
    (token,) = here.fake.secrets().values()
    for fault in (Fault.THROTTLE, Fault.ERROR_BEFORE, Fault.LOST_ANSWER, Fault.CUT_BODY, Fault.DROP_BEFORE):
        here.fake.faults = FaultPlan(1, {fault: 1.0})
        with pytest.raises(BridgeError) as raised:
            await here.send()
        assert token not in f"{raised.value!r} {raised.value.__cause__!r} {raised.value.__context__!r}"


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, b'{"ok":false}', AuthError),
        (404, b'{"ok":false}', AuthError),
        (429, b'{"ok":false,"parameters":{"retry_after":7}}', Throttled),
        (500, b"", Ambiguous),
        (502, b"<html>", Ambiguous),
        (200, b"<html>", Drift),
        (200, b'{"ok":false}', Drift),
        (418, b"tea", Refused),
    ],
)
def test_every_answer_means_something(status: int, body: bytes, expected: type[BridgeError]) -> None:
    """A proxy's page is no success."""
    with pytest.raises(expected):
        mapping.judge(Request("POST", "sendMessage"), Response(status, {}, body))


def test_telegrams_pause_is_kept() -> None:
    """It names seconds in the body."""
    response = Response(429, {}, b'{"ok":false,"parameters":{"retry_after":7}}')
    with pytest.raises(Throttled) as raised:
        mapping.judge(Request("POST", "sendMessage"), response)
    assert raised.value.retry_after == 7

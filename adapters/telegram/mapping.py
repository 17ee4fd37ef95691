"""A row to a message, and what the Bot API's answers mean. Pure."""

from __future__ import annotations

import msgspec

from adapters.telegram import wire
from adapters.telegram.settings import TelegramSettings
from bridge.errors import Ambiguous, AuthError, Drift, Refused, RowRejected, Throttled, Unavailable
from bridge.model import Outgoing
from bridge.notices import text_of
from bridge.ports import Payload
from bridge.tools import Request, Response

LONGEST = 4096  # characters of a message
# What is wrong with a chat by the beginning of the vendor's description: others are told meanwhile.
_CHAT = {
    "chat not found": "chat_not_found",
    "bot was blocked": "bot_blocked",
    "bot was kicked": "bot_kicked",
    "bot is not a member": "bot_not_a_member",
    "user is deactivated": "user_deactivated",
    "group chat was upgraded": "chat_moved",
    "have no rights": "bot_may_not_write",
    "not enough rights": "bot_may_not_write",
    "need administrator rights": "bot_may_not_write",
    "bot can't initiate": "bot_not_started",
}
CHAT_CODES = frozenset(_CHAT.values())
_ASKED = {wire.ME: "the question for the bot", wire.CHAT: "the question for the chat"}  # else a message is sent


_SEEN = "add the bot to the chat, or write to it once, and compare the number in chats"
_ADVICE = {
    "chat_not_found": f"the bot knows no chat of this number; {_SEEN}",
    "bot_blocked": "the bot was blocked by the person; have it unblocked",
    "bot_kicked": "the bot was removed from the chat; add it again",
    "bot_not_a_member": "the bot is not in the chat; add it",
    "user_deactivated": "this person's account is deactivated; write another chat's number in chats",
    "chat_moved": "the group has become a supergroup, whose number is another; write that in chats",
    "bot_may_not_write": "the bot may not write there; let it post",
    "bot_not_started": "the bot may not begin a talk; have the person write to it once",
}


def advice(code: str) -> str:
    """What is wrong with a chat that Telegram does not show, and what to do; ``code`` as in ``Refused``."""
    return f"{_ADVICE.get(code, f'Telegram does not show it to the bot; {_SEEN}')} ({code})"


def render(row: Outgoing, settings: TelegramSettings, zone: str) -> Payload:
    """The message of one row, cut at what Telegram takes.

    Raises:
        RowRejected: ``send`` names a chat that ``chats`` does not have.
    """
    chat = settings.chats.get(row.target)
    if chat is None:
        raise RowRejected(f"no chat {row.target!r} in chats", code="unknown_chat")
    return Payload(wire.encode(wire.Message(chat, text_of(row, settings, zone)[:LONGEST])))


def judge(request: Request, response: Response) -> None:
    """The error an answer means.

    Raises:
        AuthError: 401, and 404, which is what a token of no bot gets.
        Throttled: 429, with the seconds it names.
        Ambiguous: 408 and 5xx to a message, which may have been posted.
        Unavailable: the same to a question.
        Refused: anything else; ``code`` names what is wrong with a chat, else it is ``http_`` and the status.
        Drift: a good status without a good answer.
    """
    status = response.status
    if status == 408 or status >= 500:
        if request.url in _ASKED:
            raise Unavailable(f"Telegram answered {status}")
        raise Ambiguous(f"Telegram answered {status}; the message may have been posted")
    answer = _read(response)
    if status == 429:
        raise Throttled(
            "Telegram asks for fewer messages", retry_after=answer.parameters.retry_after if answer else None
        )
    if status in (401, 404):
        raise AuthError("Telegram does not know this bot's token; take it from @BotFather anew", is_final=True)
    if 200 <= status < 300:
        if answer is None or not answer.ok:
            raise Drift("Telegram answered something else than a result; check base_url")
        return
    code = _code(answer.description if answer else "", status)
    raise Refused(f"Telegram refused {_ASKED.get(request.url, 'the message')} ({status}, {code})", code=code)


def _read(response: Response) -> wire.Answer | None:
    try:
        return wire.read(response.body)
    except msgspec.DecodeError:
        return None


def _code(description: str, status: int) -> str:
    told = description.lower()
    return next((code for words, code in _CHAT.items() if words in told), f"http_{status}")

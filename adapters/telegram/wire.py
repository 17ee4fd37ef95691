"""Messages of the Bot API. Answers say ``ok``, and otherwise in ``description`` what is wrong."""

from __future__ import annotations

import msgspec

SEND = "sendMessage"
ME = "getMe"
CHAT = "getChat"


class Preview(msgspec.Struct, frozen=True):
    is_disabled: bool = True


class Message(msgspec.Struct, frozen=True):
    """Plain text: nothing in it is markup."""

    chat_id: str
    text: str
    link_preview_options: Preview = Preview()


class Hints(msgspec.Struct, frozen=True):
    retry_after: float | None = None


class Result(msgspec.Struct, frozen=True):
    """Of ``getMe`` the bot, of ``getChat`` the chat; a bot in a group has to be let write."""

    username: str = ""
    type: str = ""


class Answer(msgspec.Struct, frozen=True):
    ok: bool = False
    description: str = ""
    parameters: Hints = Hints()
    result: Result = Result()


encode = msgspec.json.Encoder().encode
read = msgspec.json.Decoder(Answer).decode

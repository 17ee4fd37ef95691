"""Settings of a Telegram destination."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from bridge.config import SecretRef, as_text
from bridge.notices import NoticeSettings

Chat = Annotated[str, BeforeValidator(as_text), Field(pattern=r"^(-?[0-9]{1,20}|@[A-Za-z0-9_]{4,64})$")]


class TelegramSettings(NoticeSettings):
    """One bot. ``chats`` gives the names that ``send`` uses their numbers, or the @name of a channel."""

    kind: Literal["telegram"]
    token: SecretRef
    chats: Annotated[dict[str, Chat], Field(min_length=1)]
    base_url: str = "https://api.telegram.org"

"""A simulated Bot API. Written from the vendor's documentation alone; it shares no code with the client."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from aiohttp import web

from bridge.sim.events import Applied, Click
from bridge.sim.faults import FaultPlan
from bridge.sim.server import DestinationSimulator
from bridge.tools import Clock

SALES = "-1001234567890"
LONGEST = 4096


class Messenger(DestinationSimulator):
    """One bot that is in one chat. ``trouble``: the description with which the chat refuses, by chat."""

    def __init__(
        self, clock: Clock, faults: FaultPlan | None = None, *, name: str = "sim", is_limited: bool = True
    ) -> None:
        super().__init__(clock, faults, name=name, is_limited=is_limited)
        self.trouble: dict[str, tuple[int, str]] = {}
        self.chats = [SALES]
        self.messages: list[tuple[str, str]] = []
        self._first: dict[tuple[str, str], datetime] = {}
        self._token = f"123456789:{name}-sample-token-of-a-bot"

    def settings(self) -> dict[str, Any]:
        return {
            "kind": "telegram",
            "base_url": self.base_url,
            "token": {"env": f"{self.name.upper()}_TELEGRAM_TOKEN"},
            "chats": {"sales": SALES},
        }

    def secrets(self) -> dict[str, str]:
        return {f"{self.name.upper()}_TELEGRAM_TOKEN": self._token}

    def routes(self) -> Sequence[web.RouteDef]:
        return [
            web.get("/bot{token}/getMe", self._me),
            web.get("/bot{token}/getChat", self._chat),
            web.post("/bot{token}/sendMessage", self._send),
        ]

    def label(self, request: web.Request) -> str:
        return f"{request.method} {request.path.rpartition('/')[2]}"

    def throttled(self, request: web.Request) -> web.Response:
        return _refusal(429, "Too Many Requests: retry after 7", {"retry_after": 7})

    def know(self, click: Click) -> None:
        """People do not look at clicks."""

    def applied(self) -> list[Applied]:
        """Every distinct message, and how often it was posted."""
        count = Counter(self.messages)
        return [
            Applied(
                target=chat,
                at=at,
                value=None,
                identifiers=(),
                order_key=text,
                reaches=count[chat, text],
                is_linked=True,
            )
            for (chat, text), at in self._first.items()
        ]

    async def _me(self, request: web.Request) -> web.Response:
        refusal = self._stranger(request)
        return refusal or web.json_response({"ok": True, "result": {"id": 123456789, "username": "okna_leads_bot"}})

    async def _chat(self, request: web.Request) -> web.Response:
        chat = request.query.get("chat_id", "")
        refusal = self._stranger(request) or self._closed(chat)
        return refusal or web.json_response({"ok": True, "result": {"id": int(chat), "type": "supergroup"}})

    async def _send(self, request: web.Request) -> web.Response:
        message = await request.json()
        chat, text = str(message["chat_id"]), message["text"]
        refusal = self._stranger(request) or self._closed(chat)
        if refusal is not None:
            return refusal
        if not text.strip() or len(text) > LONGEST:
            return _refusal(400, f"Bad Request: message {'is too long' if text.strip() else 'text is empty'}")
        self.messages.append((chat, text))
        self._first.setdefault((chat, text), self.clock.now())
        return web.json_response({"ok": True, "result": {"message_id": len(self.messages), "text": text}})

    def _stranger(self, request: web.Request) -> web.Response | None:
        given = request.match_info["token"]
        if given == self._token:
            return None
        return _refusal(401, "Unauthorized") if ":" in given else _refusal(404, "Not Found")

    def _closed(self, chat: str) -> web.Response | None:
        if chat in self.trouble:
            return _refusal(*self.trouble[chat])
        return None if chat in self.chats else _refusal(400, "Bad Request: chat not found")


def _refusal(status: int, description: str, parameters: dict[str, Any] | None = None) -> web.Response:
    body: dict[str, Any] = {"ok": False, "error_code": status, "description": description}
    if parameters:
        body["parameters"] = parameters
    return web.json_response(body, status=status)

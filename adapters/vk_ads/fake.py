"""A simulated pixel (contract vk_ads 2): it answers a picture to everything, and counts what it understands.

Written from the contract's table alone; it shares no code with the client.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from bridge.sim.events import Applied, Click
from bridge.sim.faults import FaultPlan
from bridge.sim.server import DestinationSimulator
from bridge.tools import Clock

PIXEL = "1234567"
GOALS = ("qualified_lead", "deal_won")
GIF = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")
_EVENT = re.compile(r"RG%3A(?P<value>[0-9]+)/(?P<goal>[^/]+)", re.I)


class Pixel(DestinationSimulator):
    """One pixel with its goals. ``answers``: the status of every answer; a pixel may also redirect.

    It counts every hit: that repeated ones are recognised is nowhere said. ``strays`` are hits it could not use.
    """

    tells_credentials = False

    def __init__(
        self, clock: Clock, faults: FaultPlan | None = None, *, name: str = "sim", is_limited: bool = True
    ) -> None:
        super().__init__(clock, faults, name=name, is_limited=is_limited)
        self.answers = 200
        self.strays: list[str] = []
        self._clicks: set[str] = set()
        self._first: dict[tuple[str, str], tuple[datetime, Decimal]] = {}
        self._hits: Counter[tuple[str, str]] = Counter()

    def settings(self) -> dict[str, Any]:
        return {"kind": "vk_ads", "pixel_id": PIXEL, "base_url": self.base_url}

    def routes(self) -> Sequence[web.RouteDef]:
        return [web.get("/tracker", self._hit)]

    def is_write(self, request: web.Request) -> bool:
        """Here a GET counts a conversion."""
        return True

    def know(self, click: Click) -> None:
        if click.rb_clickid:
            self._clicks.add(click.rb_clickid)

    def applied(self) -> list[Applied]:
        return [
            Applied(
                target=goal,
                at=at,
                value=value,
                identifiers=(click,),
                order_key="",
                reaches=self._hits[goal, click],
                is_linked=click in self._clicks,
            )
            for (goal, click), (at, value) in self._first.items()
        ]

    async def _hit(self, request: web.Request) -> web.Response:
        self._take(request.raw_path.partition("?")[2])
        if 300 <= self.answers < 400:
            return web.Response(status=self.answers, headers={"location": "/elsewhere"})
        return web.Response(status=self.answers, body=GIF, content_type="image/gif")

    def _take(self, query: str) -> None:
        """By the letters on the wire: semicolons between parameters, and an encoded colon."""
        given = dict(part.split("=", 1) for part in query.split(";") if "=" in part)
        event = _EVENT.fullmatch(given.get("e", ""))
        click = unquote(given.get("rb_clickid", ""))
        goal = unquote(event["goal"]) if event else ""
        if given.get("id") != PIXEL or event is None or goal not in GOALS or not click:
            self.strays.append(query)
            return
        self._first.setdefault((goal, click), (self.clock.now(), Decimal(event["value"])))
        self._hits[goal, click] += 1

"""Bots among the leads of an imaginary business, and which leads the rules of its owner call spam: the oracle's own
count, sharing no code with ``bridge.rules``.

A bot sends several requests within minutes from one browser, now as somebody new, now as the same person once more,
with a telephone that is none or a mailbox for ten minutes; managers take some of them for real, and even sell.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from bridge.frozen import frozen, replace
from bridge.sim.events import Carrier, Click, Lead, StageName, Step
from bridge.sim.world import World

_DUPLICATE, _BURST = timedelta(hours=3), timedelta(hours=1)
_COUNT, _NEEDED = 3, 2
_DISPOSABLE = "@mailinator.com"
RULES: Mapping[str, Any] = {
    "needs": _NEEDED,
    "phone_invalid": True,
    "email_disposable": True,
    "duplicate": {"within": "3h"},
    "burst_client": {"within": "1h", "count": _COUNT},
}


def with_bots(world: World) -> World:
    """The same business, and some bots: one raid for every dozen of its leads."""
    raids = _Raids(world)
    everyone = sorted((*world.leads, *raids.leads), key=lambda lead: (lead.created_at, lead.id))
    leads = tuple([replace(lead, id=number) for number, lead in enumerate(everyone, start=1)])
    clicks = tuple(sorted((*world.clicks, *raids.clicks), key=lambda click: click.at))
    return replace(world, leads=leads, clicks=clicks)


class _Raids:
    """Drawn from a generator of their own, so that the rest of the world stays what it is."""

    def __init__(self, world: World) -> None:
        self._rng = random.Random(f"{world.seed} bots")  # noqa: S311 - an imaginary business, no secret
        self._persons = max((lead.person for lead in world.leads), default=0)
        self._numbers = len(world.leads)
        self.leads: list[Lead] = []
        self.clicks: list[Click] = []
        for _ in range(max(len(world.leads) // 12, 1)):
            self._raid(
                world.start + timedelta(seconds=self._rng.randrange(world.days * 86400 - 7200)), len(world.clicks)
            )

    def _raid(self, at: datetime, known: int) -> None:
        browser = f"{int(at.timestamp())}{self._rng.randrange(10**8, 10**9)}"
        for number in range(self._rng.randrange(2, 7)):
            at += timedelta(seconds=self._rng.randrange(40, 900))
            is_new = number == 0 or self._rng.random() < 0.6
            if is_new:
                self._persons += 1
                phone, email = self._contacts()
            yclid = str(9 * 10**18 + self._rng.randrange(10**17) * 10 + len(self.clicks) % 10)
            landing = f"https://okna.example/?utm_source=yandex&utm_medium=cpc&yclid={yclid}"
            where = (known + len(self.clicks) + 1, at - timedelta(minutes=1), self._persons, landing)
            click = Click(*where, "https://yandex.ru/", yclid, None, browser)
            self.clicks.append(click)
            self._numbers += 1
            about = ("Бот", (phone,), (email,), click, Carrier.FIELD, "", "Сайт", ())
            self.leads.append(Lead(self._numbers, self._persons, at, *about, self._steps(at, number)))

    def _contacts(self) -> tuple[str, str]:
        """A telephone and a mailbox of somebody who is nobody: both, one or neither look real."""
        number = f"+7997{self._persons:07d}"
        phone = self._rng.choice((number, number, "12345"))
        domain = self._rng.choice((_DISPOSABLE, "@example.org"))
        return phone, f"bot{self._persons}{domain}"

    def _steps(self, at: datetime, number: int) -> tuple[Step, ...]:
        """Each at a second of its own: Metrica knows a conversion by browser, goal and second."""
        steps = [Step(at, StageName.NEW)]
        if self._rng.random() < 0.8:
            steps.append(Step(at + timedelta(hours=2, seconds=61 * number), StageName.QUALIFIED))
            if self._rng.random() < 0.4:
                won = at + timedelta(hours=30, seconds=67 * number)
                steps.append(Step(won, StageName.WON, value=Decimal(500 * self._rng.randrange(20, 600))))
        return tuple(steps)


# --- what is spam by the rules ---------------------------------------------------------------------------------------


@frozen
class Suspect:
    """A lead with what speaks against it."""

    lead: Lead
    signals: frozenset[str]

    @property
    def is_spam(self) -> bool:
        return len(self.signals) >= _NEEDED


def suspects(world: World) -> list[Suspect]:
    """Every lead of the world as the rules see it, by itself and by those that came before it."""
    persons: dict[int, list[datetime]] = defaultdict(list)
    browsers: dict[str, list[datetime]] = defaultdict(list)
    found = []
    for lead in sorted(world.leads, key=lambda one: (one.created_at, one.id)):
        browser = _browser(lead)
        found.append(
            Suspect(lead, frozenset(_signals(lead, persons[lead.person], browsers[browser] if browser else [])))
        )
        persons[lead.person].append(lead.created_at)
        if browser:
            browsers[browser].append(lead.created_at)
    return found


def spam_leads(world: World) -> frozenset[int]:
    """Ids of the leads that are spam by the rules."""
    return frozenset(one.lead.id for one in suspects(world) if one.is_spam)


def _browser(lead: Lead) -> str:
    """The ClientID that stands on the lead; "" where none does."""
    if lead.click is None or lead.carrier not in (Carrier.FIELD, Carrier.CONVERTED):
        return ""
    return lead.click.client_id or ""


def _signals(lead: Lead, of_person: list[datetime], of_browser: list[datetime]) -> Iterator[str]:
    if not any(len([sign for sign in phone if sign.isdigit()]) >= 10 for phone in lead.phones):
        yield "phone_invalid"
    if lead.emails and all(email.strip().lower().endswith(_DISPOSABLE) for email in lead.emails):
        yield "email_disposable"
    if any(lead.created_at - at <= _DUPLICATE for at in of_person):
        yield "duplicate"
    if 1 + sum(lead.created_at - at <= _BURST for at in of_browser) >= _COUNT:
        yield "burst_client"

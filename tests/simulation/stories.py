"""Leads that change their minds at every stage of their lives, and what else is done to them: plain seeded values."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from bridge.frozen import frozen
from bridge.sim.events import Carrier, Click, Lead, StageName, Step

START = datetime(2026, 3, 2, tzinfo=UTC)
SPAM = ("Спам", "Дубль")


class Turn(StrEnum):
    """What happens to a lead beside its steps."""

    DELETE = "delete"
    RESTORE = "restore"
    MERGE = "merge"  # into the lead ``other``: this one is gone


@frozen
class Op:
    at: datetime
    lead: int
    turn: Turn
    other: int = 0
    leaves_stub: bool = True


# --- the world ---------------------------------------------------------------------------------------------------

_S = StageName
_Part = tuple[StageName, str | None, bool]  # stage, loss reason, whether a new value comes with it

_QUALIFIED: list[_Part] = [(_S.CONTACTED, None, False), (_S.QUALIFIED, None, False)]
_WON: list[_Part] = [*_QUALIFIED, (_S.MEETING, None, True), (_S.WON, None, True)]
_SPOILT: list[_Part] = [(_S.LOST, SPAM[0], False)]
_DEAR: list[_Part] = [(_S.LOST, "Дорого", False)]
_EDITED: list[_Part] = [(_S.WON, None, True)]
PATHS: Mapping[str, list[_Part]] = {
    "qualified, spam": [*_QUALIFIED, *_SPOILT],
    "qualified, spam, qualified again": [*_QUALIFIED, *_SPOILT, *_QUALIFIED],
    "qualified, lost": [*_QUALIFIED, *_DEAR],
    "lost, reopened, won": [*_QUALIFIED, *_DEAR, *_WON],
    "won": _WON,
    "won, edited twice": [*_WON, *_EDITED, *_EDITED],
    "won, lost": [*_WON, *_DEAR],
    "won, lost, reopened, won": [*_WON, *_DEAR, (_S.MEETING, None, False), (_S.WON, None, True)],
    "won, edited, spam": [*_WON, *_EDITED, (_S.LOST, SPAM[1], False)],
    "won, reopened": [*_WON, (_S.MEETING, None, True)],
    "spam": _SPOILT,
    "spam, qualified after all": [*_SPOILT, *_QUALIFIED],
    "spam, won after all": [*_SPOILT, *_WON],
}


@dataclass(slots=True)
class Story:
    """One imaginary business: leads with their futures, and what is done to them."""

    leads: list[Lead] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)

    @classmethod
    def make(cls, seed: int, leads: int) -> Story:
        dice = random.Random(f"{seed} flips")
        story = cls()
        for number in range(1, leads + 1):
            story._add(number, dice)
        return story

    def _add(self, number: int, dice: random.Random) -> None:
        at = START + timedelta(hours=dice.randrange(30), minutes=17, seconds=number)
        path = PATHS[dice.choice(list(PATHS))]
        steps = [Step(at, StageName.NEW)]
        for stage, reason, has_value in path:
            at += timedelta(minutes=dice.choice((20, 60, 240, 600, 1200, 1800)))
            at = at.replace(minute=10 + dice.randrange(40), second=number % 60)
            value = Decimal(500 * dice.randrange(20, 600)) if has_value else None
            steps.append(Step(max(at, steps[-1].at + timedelta(minutes=3)), stage, reason, value))
            at = steps[-1].at
        self.leads.append(_lead(number, tuple(steps), dice))
        self._happens(number, steps, dice)

    def _happens(self, number: int, steps: Sequence[Step], dice: random.Random) -> None:
        """A deletion, which may be undone, or a merge; in the middle of a life as well as after it."""
        luck = dice.random()
        if luck > 0.35 or len(steps) < 3:
            return
        index = dice.randrange(2, len(steps))
        after = steps[index].at + timedelta(minutes=dice.choice((5, 400, 1500)))
        at = after.replace(minute=11 + dice.randrange(40))
        if luck < 0.12 and number > 1:
            at = max(at, steps[-1].at + timedelta(minutes=5))
            other = dice.randrange(1, number)
            is_there = self.leads[other - 1].created_at < at and not any(op.lead == other for op in self.ops)
            if is_there:
                self.ops.append(Op(at, number, Turn.MERGE, other, dice.random() < 0.5))
            return
        at = max(at, steps[-1].at + timedelta(minutes=2))  # what is in the bin takes no steps
        self.ops.append(Op(at, number, Turn.DELETE))
        if dice.random() < 0.4:
            again = at + timedelta(hours=dice.choice((1, 9, 30)))
            self.ops.append(Op(again.replace(minute=12 + dice.randrange(40)), number, Turn.RESTORE))

    @property
    def end(self) -> datetime:
        moments = [step.at for lead in self.leads for step in lead.steps] + [op.at for op in self.ops]
        return max(moments)


def _lead(number: int, steps: tuple[Step, ...], dice: random.Random) -> Lead:
    at = steps[0].at - timedelta(hours=7 + dice.randrange(20))
    yclid = str(10**17 * 5 + dice.randrange(10**9) * 1000 + number)
    gclid = f"Cj0KCQiA{dice.randrange(10**20):020d}{number:026d}"
    click = Click(
        number,
        at,
        number,
        f"https://okna.example/?utm_source=yandex&utm_medium=cpc&yclid={yclid}",
        "https://yandex.ru/",
        yclid=yclid,
        gclid=gclid,
        client_id=f"{int(at.timestamp())}{100_000_000 + dice.randrange(10**7) * 10 + number % 10}",
        ga_client_id=f"{100_000_000 + number}.{int(at.timestamp())}",
        rb_clickid=f"RbSample{dice.randrange(10**9):09d}x{number:04d}",
        fb_lead_id=f"{10**15 + dice.randrange(10**9) * 10_000 + number}",
    )
    phone = f"+7999{dice.randrange(10_000):04d}{number:03d}"
    name = "Тест"
    return Lead(number, number, steps[0].at, name, (phone,), (), click, Carrier.FIELD, "", "Сайт", (), steps)

"""A seeded plan of what goes wrong on the wire. The same seed gives the same faults for the same requests."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Fault(StrEnum):
    THROTTLE = "throttle"  # 429, not applied
    ERROR_BEFORE = "error_before"  # 5xx, not applied
    ERROR_AFTER = "error_after"  # 5xx, applied
    DROP_BEFORE = "drop_before"  # connection closed, not applied
    LOST_ANSWER = "lost_answer"  # connection closed, applied
    CUT_BODY = "cut_body"  # half of the answer
    EXPIRED = "expired"  # access token expired


@dataclass(slots=True)
class FaultPlan:
    """Probability of each fault per request. ``stop`` ends all trouble (to see that everything heals)."""

    seed: int
    rates: Mapping[Fault, float] = field(default_factory=dict)
    drawn: dict[Fault, int] = field(default_factory=dict)
    is_stopped: bool = False
    _random: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - seeded on purpose

    @classmethod
    def calm(cls) -> FaultPlan:
        """Nothing goes wrong."""
        return cls(0)

    @classmethod
    def harsh(cls, seed: int) -> FaultPlan:
        """Every fault, each in some percent of the requests."""
        return cls(seed, dict.fromkeys(Fault, 0.03))

    def draw(self, name: str, is_write: bool) -> Fault | None:
        """The fault of this request, or None. One random number per request keeps runs comparable."""
        dice = self._random.random()
        if self.is_stopped:
            return None
        for fault, rate in self.rates.items():
            if dice < rate:
                self.drawn[fault] = self.drawn.get(fault, 0) + 1
                return fault
            dice -= rate
        return None

    def stop(self) -> None:
        self.is_stopped = True

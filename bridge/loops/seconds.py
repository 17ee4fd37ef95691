"""Two deals of one visitor that reach a goal in one second, as when both are closed in a bulk edit.

To Metrica they would be one conversion: it knows them by identifier, goal and second (contract yandex 2.6). The one
that is judged later is told a second later, here and wherever else it goes; it keeps that second when it is judged
again. Which of the two that is matters not: the seconds taken in all are the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from bridge.model import ONCE_PER_DEAL, Identifier, Judgement, Unmatched, Verdict
from bridge.rules.plan import KnownConversion, Plan, Subject
from bridge.store import relatives
from bridge.tenant import Tenant

_SECOND = timedelta(seconds=1)
_NEAR = 3  # seconds that are looked up at first; only where one visitor has them all, those up to _FAR
_FAR = timedelta(seconds=60)  # nobody closes more deals of one visitor at once

_Place = tuple[str, datetime]  # goal, second
_Clicks = frozenset[tuple[str, str]]  # kind and value of each identifier


@dataclass(slots=True)
class Seconds:
    """By goal and second: the deals that reach it there, with their clicks."""

    taken: defaultdict[_Place, list[tuple[str, _Clicks]]] = field(default_factory=lambda: defaultdict(list))

    def take(self, goal: str, at: datetime, deal: str, identifiers: Iterable[Identifier]) -> None:
        self.taken[goal, _whole(at)].append((deal, _clicks(identifiers)))

    def apart(
        self, subject: Subject, judgements: Sequence[Judgement], known: Sequence[KnownConversion], kin: Collection[str]
    ) -> Sequence[Judgement]:
        """The judgements of a deal, each at a second that no other deal of its visitor has taken.

        ``kin``: its lead, or the deals made from it: what is counted on one of them is not counted on the other.
        """
        if not self.taken or isinstance(subject.match, Unmatched):
            return judgements
        own = sorted(known, key=lambda one: one.conversion.revision)
        before = {one.conversion.goal: one.conversion.occurred_at for one in own if _is_once(one.conversion.occurrence)}
        visitor = _Visitor({subject.deal.key, *kin}, _clicks(subject.match.identifiers))
        return [self._moved(judgement, before.get(judgement.goal), visitor) for judgement in judgements]

    def _moved(self, judgement: Judgement, before: datetime | None, visitor: _Visitor) -> Judgement:
        at, goal = judgement.occurred_at, judgement.goal
        if not _is_timed(judgement) or at is None or self._is_free(goal, at, visitor):
            return judgement
        if before is not None:  # what was told keeps its second, moved or not
            return replace(judgement, occurred_at=before) if at < before <= at + _FAR else judgement
        while not self._is_free(goal, at, visitor):
            at += _SECOND
        return replace(judgement, occurred_at=at)

    def _is_free(self, goal: str, at: datetime, visitor: _Visitor) -> bool:
        here = self.taken.get((goal, _whole(at)), ())
        return all(other in visitor.own or visitor.clicks.isdisjoint(theirs) for other, theirs in here)

    def full(self, moments: Iterable[datetime]) -> list[datetime]:
        """Those seconds that some visitor has taken for one goal, together with the next ones."""
        goals = {goal for goal, _ in self.taken}
        return [at for at in moments if any(self._is_full(goal, at) for goal in goals)]

    def _is_full(self, goal: str, at: datetime) -> bool:
        each = [self.taken.get((goal, at + step * _SECOND), ()) for step in range(_NEAR)]
        nobody: _Clicks = frozenset()
        return bool(frozenset.intersection(*[nobody.union(*(theirs for _, theirs in here)) for here in each]))

    def note(self, deal: str, outcome: Plan) -> None:
        """What is promised just now counts for the deals of the same page, too."""
        for new in outcome.deliveries:
            self.take(new.content.goal, new.content.occurred_at, deal, new.content.identifiers)


@dataclass(frozen=True, slots=True)
class _Visitor:
    """Deals that are one with the one that is judged, and its clicks."""

    own: set[str]
    clicks: _Clicks


async def of_page(tenant: Tenant, source: str, judged: Iterable[Sequence[Judgement]]) -> Seconds:
    """What is promised of the seconds in which deals of a page reach their goals, and of the next few."""
    seconds = Seconds()
    moments = {
        _whole(one.occurred_at)
        for judgements in judged
        for one in judgements
        if _is_timed(one) and one.occurred_at is not None
    }
    await _look(tenant, source, moments, range(_NEAR), seconds)
    await _look(tenant, source, seconds.full(moments), range(_NEAR, _FAR // _SECOND + 1), seconds)
    return seconds


async def _look(
    tenant: Tenant, source: str, moments: Collection[datetime], steps: Iterable[int], seconds: Seconds
) -> None:
    """What is promised so many seconds after these moments."""
    after = [at + step * _SECOND for step in steps for at in moments]
    for one in await relatives.in_seconds(tenant.store, tenant.name, after) if after else ():
        key = one.deal if one.source == source else f"{one.source}/{one.deal}"
        seconds.take(one.goal, one.at, key, one.identifiers)


def _is_timed(judgement: Judgement) -> bool:
    return judgement.verdict is Verdict.QUALIFIED and _is_once(judgement.occurrence)


def _is_once(occurrence: str) -> bool:
    return occurrence == ONCE_PER_DEAL


def _whole(at: datetime) -> datetime:
    return at.replace(microsecond=0)


def _clicks(identifiers: Iterable[Identifier]) -> _Clicks:
    return frozenset([(identifier.kind.value, identifier.value) for identifier in identifiers])

"""Two deals of one visitor that reach a goal in one second, as when both are closed in a bulk edit, or paid on one day
of which the CRM tells no hour. (Payments of one deal alone: ``rules.apart``.)

To Metrica they would be one conversion: it knows them by identifier, goal and second (contract yandex 2.6). The one
that is judged later is told a second later, here and wherever else it goes; it keeps that second when it is judged
again. Which of the two that is matters not: the seconds taken in all are the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bridge.frozen import frozen, replace
from bridge.model import ONCE_PER_DEAL, Identifier, IdKind, Judgement, Match, Outgoing, Verdict
from bridge.rules.apart import APART_MOST
from bridge.rules.plan import KnownConversion, Plan, Subject
from bridge.store import relatives
from bridge.store.codec import EPOCH
from bridge.tenant import Tenant

_SECOND = timedelta(seconds=1)
_AT_ONCE = 3  # seconds that are looked at together
_QUALIFIED = Verdict.QUALIFIED  # Python is slow to look up a member of an enum

_Place = tuple[str, int]  # goal, Unix second
_Clicks = frozenset[tuple[IdKind, str]]  # kind and value of each identifier


@dataclass(slots=True)
class Seconds:
    """By goal and second: the deals that reach it there, with their clicks."""

    taken: defaultdict[_Place, list[tuple[str, _Clicks]]] = field(default_factory=lambda: defaultdict(list))

    def take(self, goal: str, at: datetime, deal: str, identifiers: Iterable[Identifier]) -> None:
        self.taken[goal, _second(at)].append((deal, _clicks(identifiers)))

    def apart(
        self, subject: Subject, judgements: Sequence[Judgement], known: Sequence[KnownConversion], kin: Collection[str]
    ) -> Sequence[Judgement]:
        """The judgements of a deal, each at a second that no other deal of its visitor has taken.

        ``kin``: its lead, or the deals made from it: what is counted on one of them is not counted on the other.
        """
        if not [one for one in judgements if self._may_move(one)]:
            return judgements
        matches = [one for one in (subject.match, *subject.matches.values()) if isinstance(one, Match)]
        clicks = _clicks([identifier for one in matches for identifier in one.identifiers])
        if not self.taken or not clicks:
            return judgements
        own = sorted(filter(_holds_its_second, known), key=lambda one: one.conversion.revision)
        before = {(one.conversion.goal, one.conversion.occurrence): one.conversion.occurred_at for one in own}
        paid = {(goal, _second(at)) for (goal, occurrence), at in before.items() if not _is_once(occurrence)}
        visitor = _Visitor({subject.deal.key, *kin}, clicks, paid)
        return [self._moved(one, before.get((one.goal, one.occurrence)), visitor) for one in judgements]

    def _may_move(self, judgement: Judgement) -> bool:
        """Only from a second that somebody has taken; and payments, which are told apart from each other as well."""
        at = judgement.occurred_at
        return at is not None and ((judgement.goal, _second(at)) in self.taken or not _is_once(judgement.occurrence))

    def _moved(self, judgement: Judgement, before: datetime | None, visitor: _Visitor) -> Judgement:
        at, goal, is_payment = judgement.occurred_at, judgement.goal, not _is_once(judgement.occurrence)
        if judgement.verdict is not _QUALIFIED or at is None:
            return judgement
        if before is not None:  # what was told keeps its second, moved or not
            is_kept = at <= before <= at + APART_MOST and (is_payment or not self._is_free(goal, at, visitor))
            return replace(judgement, occurred_at=before) if is_kept else judgement
        while not self._is_free(goal, at, visitor) or (is_payment and (goal, _second(at)) in visitor.paid):
            at += _SECOND
        if is_payment:
            visitor.paid.add((goal, _second(at)))
        return replace(judgement, occurred_at=at)

    def _is_free(self, goal: str, at: datetime, visitor: _Visitor) -> bool:
        """Whether no other deal of this visitor has taken it; its own payments are ``visitor.paid``."""
        here = self.taken.get((goal, _second(at)), ())
        return all(other in visitor.own or visitor.clicks.isdisjoint(theirs) for other, theirs in here)

    def note(self, deal: str, outcome: Plan) -> None:
        """What is promised just now counts for the deals of the same page, too."""
        for content in _told(outcome):
            self.take(content.goal, content.occurred_at, deal, content.identifiers)

    def is_passed(self, goal: str, second: int) -> bool:
        """Whether some visitor may have been told later than these seconds: they are all taken by the same click."""
        if (goal, second) not in self.taken:
            return False
        clicks = [{click for _, own in self.taken.get((goal, one), ()) for click in own} for one in _from(second)]
        return bool(set.intersection(*clicks))


@frozen
class _Visitor:
    """Deals that are one with the one that is judged, its clicks, and the seconds of its payments."""

    own: set[str]
    clicks: _Clicks
    paid: set[_Place]


async def of_page(
    tenant: Tenant,
    source: str,
    judged: Iterable[Sequence[Judgement]],
    meanwhile: Sequence[tuple[str, Plan]] = (),
) -> Seconds:
    """What is promised of the seconds in which deals of a page reach their goals, and of those next to them.

    ``meanwhile``: deals that are just being stored, with what they are promised.
    """
    seconds = Seconds()
    starts = {
        (one.goal, _second(one.occurred_at))
        for judgements in judged
        for one in judgements
        if one.verdict is _QUALIFIED and one.occurred_at is not None
    }
    if not starts:
        return seconds
    while starts:
        firsts = {second for _, second in starts}
        for one in await relatives.in_seconds(tenant.store, tenant.name, firsts, _AT_ONCE):
            key = one.deal if one.source == source else f"{one.source}/{one.deal}"
            seconds.take(one.goal, one.at, key, one.identifiers)
        near = {second for first in firsts for second in _from(first)} if meanwhile else ()
        for deal, plan in meanwhile:
            for content in _told(plan):
                if _second(content.occurred_at) in near:
                    seconds.take(content.goal, content.occurred_at, deal, content.identifiers)
        starts = {(goal, second + _AT_ONCE) for goal, second in starts if seconds.is_passed(goal, second)}
    return seconds


def _from(second: int) -> range:
    return range(second, second + _AT_ONCE)


def _told(outcome: Plan) -> list[Outgoing]:
    """Rows with the second they are told now."""
    found = [new.content for new in outcome.deliveries]
    if outcome.replaced or outcome.restored:
        found += [content for _, content in (*outcome.replaced, *outcome.restored)]
    return found


def _holds_its_second(one: KnownConversion) -> bool:
    """Not while nothing of it is promised: others may have taken the second meanwhile."""
    return not all(row.is_withdrawn for row in one.deliveries)


def _is_once(occurrence: str) -> bool:
    return occurrence == ONCE_PER_DEAL


def _second(at: datetime) -> int:
    return (at - EPOCH) // _SECOND


def _clicks(identifiers: Iterable[Identifier]) -> _Clicks:
    return frozenset([(identifier.kind, identifier.value) for identifier in identifiers])

"""Payments of one deal that were paid in one second: destinations must not take them for one. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from bridge.frozen import replace
from bridge.model import ONCE_PER_DEAL, Conversion, Judgement

APART_MOST = timedelta(seconds=60)  # nobody closes more deals of one visitor at once
_SECOND = timedelta(seconds=1)


def apart(judgements: Sequence[Judgement], known: Sequence[Conversion]) -> Sequence[Judgement]:
    """The judgements, no two occurrences of a goal in one second: to Metrica they would be one (contract yandex 2.6).

    The later one comes a second later. What is known keeps its second, so it matters not which was read first: the
    seconds taken in all are the same.
    """
    if not [one for one in judgements if one.occurrence != ONCE_PER_DEAL]:
        return judgements
    taken: dict[str, set[datetime]] = {}
    times: dict[tuple[str, str], datetime] = {}
    for one in sorted(known, key=lambda conversion: conversion.revision):
        if one.occurrence != ONCE_PER_DEAL:
            times[one.goal, one.occurrence] = one.occurred_at
            taken.setdefault(one.goal, set()).add(one.occurred_at.replace(microsecond=0))
    return [_moved(judgement, times, taken.setdefault(judgement.goal, set())) for judgement in judgements]


def _moved(judgement: Judgement, times: Mapping[tuple[str, str], datetime], taken: set[datetime]) -> Judgement:
    at = judgement.occurred_at
    if at is None or judgement.occurrence == ONCE_PER_DEAL:
        return judgement
    before = times.get((judgement.goal, judgement.occurrence))
    if before is not None and at <= before <= at + _SECOND * len(taken):
        return replace(judgement, occurred_at=before)
    while at.replace(microsecond=0) in taken:
        at += _SECOND
    taken.add(at.replace(microsecond=0))
    return replace(judgement, occurred_at=at)

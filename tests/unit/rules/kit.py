"""Deals, histories and a catalogue to judge in the tests of ``bridge.rules``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from bridge.config import Goal
from bridge.model import (
    Catalogue,
    Deal,
    DealKind,
    Judgement,
    Money,
    Outcome,
    Pipeline,
    Stage,
    StageChange,
)
from bridge.rules.case import Case
from bridge.rules.floor import Floor
from bridge.rules.qualify import Compiled, compile_goals, judge

START = datetime(2026, 3, 1, 9, tzinfo=UTC)
WON, LOST = Outcome.WON, Outcome.LOST
STAGES = (
    Stage("1", "Новая заявка"),
    Stage("2", "Первичный контакт"),
    Stage("3", "Квалифицирован"),
    Stage("142", "Успешно реализовано", WON),
    Stage("143", "Закрыто и не реализовано", LOST),
)
CATALOGUE = Catalogue(
    (
        Pipeline("10", "Продажи", DealKind.LEAD, STAGES),
        Pipeline("20", "Сервис / ремонт", DealKind.LEAD, (Stage("5", "Квалифицирован"), *STAGES[3:])),
        Pipeline("0", "Сделки", DealKind.DEAL, (Stage("3", "Встреча назначена"), Stage("WON", "Успех", WON))),
    ),
    (("7", "Спам"), ("8", "Дубль"), ("9", "Дорого")),
    ("Бюджет", "Город", "Дата договора"),
)
_OUTCOMES = {"142": WON, "143": LOST, "WON": WON}


def history(*stages: str, pipeline: str = "10", source: str = "events") -> tuple[StageChange, ...]:
    """One entry an hour; "20:5" names another pipeline."""
    changes = []
    for hour, stage in enumerate(stages):
        at, _, own = stage.rpartition(":")
        outcome = _OUTCOMES.get(own, Outcome.OPEN)
        changes.append(StageChange(START + timedelta(hours=hour), at or pipeline, own, outcome, source))
    return tuple(changes)


def deal(*stages: str, kind: DealKind = DealKind.LEAD, **facts: Any) -> Deal:
    """A deal that went through these stages, an hour each."""
    changes = history(*(stages or ("1",)), pipeline="0" if kind is DealKind.DEAL else "10")
    last = changes[-1]
    given: dict[str, Any] = {"history": changes, "created_at": START, "updated_at": last.at, **facts}
    return Deal(kind, "5", "v", pipeline=last.pipeline, stage=last.stage, outcome=last.outcome, **given)


def compiled(when: dict[str, Any], catalogue: Catalogue = CATALOGUE, **facts: Any) -> Compiled:
    return compile_goals([goal("goal", when, **facts)], catalogue, "RUB")


def goal(name: str, when: dict[str, Any], **facts: Any) -> Goal:
    """A goal from a TOML-like table."""
    return Goal.model_validate({"name": name, "when": when, **facts})


def verdict(when: dict[str, Any], deal: Deal, floor: datetime | None = None, **facts: Any) -> Judgement:
    """What one goal, made from a TOML-like table, says of a deal."""
    ready = compiled(when, **facts)
    assert ready.problems == ()
    return judge(ready.goals[0], case(deal), Floor(floor))


def case(deal: Deal, source: str = "crm", **known: Any) -> Case:
    """A deal as goals look at it, long after all that happened to it."""
    return Case(deal, source, **{"looked_at": START + timedelta(days=300), **known})


def hour(count: int) -> datetime:
    return START + timedelta(hours=count)


def money(amount: str, currency: str = "RUB") -> Money:
    return Money.of(amount, currency)

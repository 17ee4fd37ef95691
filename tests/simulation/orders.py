"""A business whose Metrica counter keeps one order per deal: its goals, and the oracle's opinion of the orders."""

from __future__ import annotations

from datetime import timedelta
from hashlib import md5
from typing import Any

from adapters.yandex_metrica.fake import Metrica
from adapters.yandex_metrica.fake_orders import SimOrder
from bridge.model import utc
from bridge.sim.oracle_orders import Found, OrdersVerdict, compare
from bridge.sim.stage import METRICA, Scene, Stage

STATUSES = {
    "created": "IN_PROGRESS",
    "qualified": "qualified_lead",
    "sale": "PAID",
    "lost": "CANCELLED",
    "spam": "SPAM",
}
LOST_REASONS = ["Дорого", "Не дозвонились", "Выбрали других"]
CONDITIONS: dict[str, dict[str, Any]] = {
    "created": {"when": {"outcome": ["open", "won", "lost"]}},
    "qualified": {"when": {"stage": ["Квалифицирован"]}},
    "sale": {"when": {"outcome": "won"}, "value": "deal"},
    "lost": {"when": {"outcome": "lost", "loss_reason": LOST_REASONS}},
    "spam": {"when": {"outcome": "lost", "loss_reason": ["Спам", "Дубль"]}},
}
GOALS = [{"name": name, **CONDITIONS[name], "send": {METRICA: status}} for name, status in STATUSES.items()]
LAG = timedelta(hours=48)


def keep_orders(stage: Stage) -> None:
    for scene in stage.scenes:
        metrica_of(scene).keep_orders()


def metrica_of(scene: Scene) -> Metrica:
    metrica = scene.ads[METRICA]
    assert isinstance(metrica, Metrica)
    return metrica


def verdict_of(stage: Stage, scene: Scene, lag: timedelta = LAG) -> OrdersVerdict:
    phones = {md5(p.encode()).hexdigest(): p for lead in scene.world.leads for p in _digits(lead.phones)}
    found = [_found(order, phones) for order in metrica_of(scene).orders.orders.values()]
    return compare(scene.world, stage.told_until, found, STATUSES, lag)


def _digits(phones: tuple[str, ...]) -> list[str]:
    return ["7" + "".join(filter(str.isdigit, phone))[-10:] for phone in phones]


def _found(order: SimOrder, phones: dict[str, str]) -> Found:
    known = frozenset(phones[digest] for digest in order.identities["phones_md5"] if digest in phones)
    states = tuple((state.status, state.revenue) for state in order.states)
    return Found(order.id, utc(order.created), known, states)

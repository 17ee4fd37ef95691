"""The whole chain behind one deal: what was read, matched, judged, promised and answered, as plain data."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from bridge import unsent
from bridge.catalogue import Catalogue
from bridge.loops import assess
from bridge.model import Deal, Identifier, Judgement, Match, Money, Payment, Touch, Unmatched
from bridge.rules.case import Case
from bridge.rules.reach import Account, account, criteria
from bridge.store.records import Assessed
from bridge.store.reports import DealReport, DeliveryReport
from bridge.tenant import Tenant


async def explain(tenant: Tenant, report: DealReport) -> dict[str, Any]:
    """Match and judgements are worked out again from the stored facts, deliveries come from the ledger.

    Keys are part of the public interface (docs/reference/commands.md). Identifiers are shown, persons never are.
    """
    facts = report.facts
    unit = tenant.sources.get(report.source)
    if unit is None:
        return _facts_alone(report, Catalogue(), report.quarantine)
    desk = await assess.desk_for(tenant, unit)
    judged = await assess.judge_all(desk, assess.entered_before([facts]), frozenset([facts.deal.key]))
    for bad in judged.failed:
        return _facts_alone(report, unit.catalogue or Catalogue(), (bad.code, bad.message))
    (again,) = judged.assessed
    case = assess.case_of(desk, again.deal, again.reading, again.match)
    judgements = assess.judge(desk, case)
    return {
        "deal": _deal(report, again.deal, unit.catalogue or Catalogue()),
        "touches": _touches(report, again),
        "match": _match(again.match),
        "spam": _spam(tenant, again.deal),
        "learnt": _learnt(again.deal),
        "matches": {name: _match(match) for name, match in sorted(again.told.items())},
        "scores": [] if case.deal.is_touch else [_score(account(one, case)) for one in desk.compiled.scores],
        "judgements": [
            {**_judgement(one, tenant.name), "criteria": _criteria(desk, one.goal, case)} for one in judgements
        ],
        "deliveries": [_delivery(item) for item in report.deliveries],
        "not_promised": [
            {
                "goal": skip.goal,
                "occurrence": skip.occurrence,
                "destination": skip.destination or None,
                "reason": _with_tenant(skip.reason, tenant.name),
            }
            for skip in (*again.plan.skipped, *unsent.skips(tenant.settings, judgements))
        ],
        "quarantine": _quarantine(report.quarantine),
    }


def _facts_alone(report: DealReport, catalogue: Catalogue, aside: tuple[str, str] | None) -> dict[str, Any]:
    """Of a deal that cannot be judged: its source is no longer configured, or judging it fails."""
    return {
        "deal": _deal(report, report.facts.deal, catalogue),
        "touches": [],
        "match": None,
        "spam": None,
        "learnt": [],
        "matches": {},
        "scores": [],
        "judgements": [],
        "deliveries": [_delivery(item) for item in report.deliveries],
        "not_promised": [],
        "quarantine": _quarantine(aside),
    }


def _quarantine(aside: tuple[str, str] | None) -> dict[str, str] | None:
    return None if aside is None else {"code": aside[0], "message": aside[1]}


def _deal(report: DealReport, deal: Deal, catalogue: Catalogue) -> dict[str, Any]:
    pipelines = {p.id: p for p in catalogue.pipelines if p.kind is deal.kind}
    stages = {(p.id, stage.id): stage.name for p in pipelines.values() for stage in p.stages}
    return {
        "source": report.source,
        "key": deal.key,
        "pipeline": deal.pipeline,
        "stage": deal.stage,
        "outcome": deal.outcome,
        "value": _money(deal.value),
        "value_changes": [{"at": _time(c.at), "value": _money(c.value)} for c in deal.value_changes],
        "created_at": _time(deal.created_at),
        "updated_at": _time(deal.updated_at),
        "parent": deal.parent,
        "is_parent_read": report.is_parent_read,
        "is_deleted": deal.is_deleted,
        "merged_into": deal.merged_into if deal.is_deleted else None,
        "payments": None if deal.payments is None else [_payment(payment) for payment in deal.payments],
        "history": [
            {
                "at": _time(c.at),
                "pipeline": c.pipeline,
                "pipeline_name": pipelines[c.pipeline].name if c.pipeline in pipelines else c.pipeline,
                "stage": c.stage,
                "stage_name": stages.get((c.pipeline, c.stage), c.stage),
                "outcome": c.outcome,
                "source": c.source,
            }
            for c in deal.history
        ],
    }


def _payment(payment: Payment) -> dict[str, str | None]:
    paid_at, value = _time(payment.paid_at), _money(payment.value)
    return {"id": payment.id, "state": payment.state, "paid_at": paid_at, "value": value}


def _touches(report: DealReport, again: Assessed) -> list[dict[str, Any]]:
    touches: list[Touch] = [report.touch] if report.touch is not None and report.touch.identifiers else []
    listed = [
        {"deal": touch.deal, "at": _time(touch.at), "identifiers": _identifiers(touch.identifiers)} for touch in touches
    ]
    refused = [{"where": item.where, "garbage": item.reason} for item in again.reading.garbage]
    return listed + refused


def _identifiers(identifiers: Sequence[Identifier]) -> list[dict[str, str]]:
    return [{"kind": i.kind, "value": i.value, "found_in": i.found_in} for i in identifiers]


def _match(match: Match | Unmatched) -> dict[str, Any]:
    if isinstance(match, Unmatched):
        return {"method": None, "confidence": None, "reason": match.reason, "evidence": match.evidence}
    return {
        "method": match.method,
        "confidence": match.confidence,
        "evidence": match.evidence,
        "touched_at": _time(match.touched_at),
        "identifiers": _identifiers(match.identifiers),
    }


def _spam(tenant: Tenant, deal: Deal) -> dict[str, Any] | None:
    """What was noticed, by which rules; None where no rule is on."""
    known, rules = deal.background, tenant.settings.spam
    if known is None or not rules.rules:
        return None
    signals = [{"signal": s.name, "evidence": s.evidence, "is_enough": s.is_enough} for s in known.signals]
    return {"is_spam": known.is_spam, "needs": rules.needs, "signals": signals}


def _learnt(deal: Deal) -> list[dict[str, Any]]:
    """Facts that goals ask for and other records tell."""
    found = {} if deal.background is None else deal.background.learnt
    return [
        {"fact": name, "values": list(one.values), "known_from": one.known_from} for name, one in sorted(found.items())
    ]


def _judgement(judgement: Judgement, tenant: str) -> dict[str, Any]:
    return {
        "goal": judgement.goal,
        "occurrence": judgement.occurrence,
        "verdict": judgement.verdict,
        "rule": judgement.rule,
        "reason": _with_tenant(judgement.reason, tenant),
        "occurred_at": _time(judgement.occurred_at),
        "value": _money(judgement.value),
        "recheck_at": _time(judgement.recheck_at),
    }


def _criteria(desk: assess.Desk, goal: str, case: Case) -> list[dict[str, Any]]:
    """Of a goal that asks for a number of conditions: each of them."""
    block = next(one.block for one in desk.compiled.goals if one.name == goal)
    return [
        {"rule": one.rule, "met": one.is_met, "reason": one.reason, "since": _time(one.since)}
        for one in criteria(block, case)
    ]


def _score(found: Account) -> dict[str, Any]:
    """A score with everything it was added up from."""
    return {
        "score": found.score,
        "points": found.points,
        "band": found.band or None,
        "summands": [
            {"points": s.points, "most": s.most, "rule": s.rule, "reason": s.reason, "since": _time(s.since)}
            for s in found.summands
        ],
    }


def _with_tenant(reason: str, tenant: str) -> str:
    """The command that a reason names is to be copied; only here is it known for which tenant."""
    return re.sub(r'"bridge (backfill|plan)\b', rf'"bridge \1 --tenant {tenant}', reason)


def _delivery(item: DeliveryReport) -> dict[str, Any]:
    return {
        "id": item.id,
        "destination": item.destination,
        "goal": item.conversion.goal,
        "occurrence": item.conversion.occurrence,
        "target": item.content.target,
        "state": item.state,
        "reason": item.code,
        "kind": item.content.kind,
        "occurred_at": _time(item.content.occurred_at),
        "value": _money(item.content.value),
        "due": _time(item.due) if item.state == "pending" else None,
        "events": [
            {"at": _time(e.at), "from": e.before, "to": e.after, "batch": e.batch, "code": e.code} for e in item.events
        ],
    }


def _money(value: Money | None) -> str | None:
    return None if value is None else str(value)


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()

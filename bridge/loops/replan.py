"""Judge all stored deals by the goals as they are now, whatever they were before: to tell what that would change, or
to carry it out.

Nothing is asked of a source. A changed goal keeps back what was reached before (``rules.definitions``); here it does
not, neither in the preview nor, once it is carried out, anywhere else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from bridge.errors import ConfigError
from bridge.loops import assess
from bridge.loops.definitions import note
from bridge.model import Deal, Outgoing, frozen
from bridge.ports import Pass
from bridge.rules import definitions
from bridge.rules.plan import Plan
from bridge.rules.preview import Look, Tally, entries
from bridge.store.families import Families, count, families
from bridge.store.records import Page
from bridge.store.requests import Requests, WorkRequest
from bridge.tenant import Progress, SourceUnit, Tenant

_PAGE = 500


@dataclass(slots=True)
class Preview:
    """``deals`` were looked at, ``failed`` of them could not be judged."""

    tally: Tally
    deals: int = 0
    failed: int = 0


@frozen
class Looked:
    """A page of stored deals, judged: ``listed`` of them, with a look at each that could be."""

    source: str
    listed: int
    judged: assess.Judged
    looks: Sequence[tuple[Deal, Look]]

    def tell(self, tally: Tally) -> None:
        """Count what would change."""
        for deal, look in self.looks:
            for entry in entries(look):
                tally.add(f"{self.source}/{deal.key}", entry)


async def preview(tenant: Tenant, names: Sequence[str], examples: int) -> Preview:
    """What these goals would change now. Reads only, beside whoever works for the tenant."""
    found = Preview(Tally(frozenset(names), examples))
    async with aclosing(looks(tenant, names)) as pages:
        async for page in pages:
            page.tell(found.tally)
            found.deals += page.listed
            found.failed += len(page.judged.failed)
    return found


async def looks(tenant: Tenant, names: Sequence[str]) -> AsyncGenerator[Looked, None]:
    """Every stored deal as these goals see it now, page by page. Reads only."""
    for unit in tenant.sources.values():
        if not await assess.has_names(tenant, unit):
            continue  # nothing was read of it yet
        desk = await _desk(tenant, unit, names)
        async with aclosing(families(tenant.store, tenant.name, unit.name, "", _PAGE)) as pages:
            async for page in pages:
                yield await _looked(desk, page)


async def _desk(tenant: Tenant, unit: SourceUnit, names: Sequence[str]) -> assess.Desk:
    """Where these goals are judged as if they had never been others."""
    state = await tenant.records.source_state(tenant.name, unit.name)
    seen = definitions.noted(state.goals, tenant.digests, tenant.clock.now())
    return await assess.desk_for(tenant, unit, None, definitions.lifted(seen, names))


async def _looked(desk: assess.Desk, page: Families) -> Looked:
    records, name = desk.tenant.records, desk.tenant.name
    context = await records.context(name, desk.source, page.keys, ())
    stored = context.facts
    judged = await assess.judge_all(desk, assess.entered_before(stored.values()), frozenset(stored))
    hinder = _Windows(desk.tenant).hinder
    looks = []
    for item in judged.assessed:
        judgements = assess.judge(desk, assess.case_of(desk, item.deal, item.reading, item.match))
        known = context.conversions.get(item.deal.key, ())
        looks.append((item.deal, Look(known, judgements, item.plan, desk.routes, hinder)))
    return Looked(desk.source, len(page.keys), judged, looks)


class _Windows:
    """What destinations say of rows at this moment."""

    def __init__(self, tenant: Tenant) -> None:
        self._units, self._now = tenant.destinations, tenant.clock.now()

    def hinder(self, destination: str, content: Outgoing) -> str:
        """Why a row would never be sent; "" if it would, sooner or later."""
        port = self._units[destination].port
        if port is None:
            return ""  # it cannot be asked; its rows wait
        admission = port.admit(content, self._now)
        if admission.verdict is Pass.EXPIRED:
            return f"window closed: {admission.code}"
        return f"would be refused: {admission.code}" if admission.verdict is Pass.REFUSED else ""


# --- carried out -------------------------------------------------------------------------------------------------


def arguments(tenant: Tenant, names: Sequence[str], *, is_left: bool = False) -> dict[str, Any]:
    """Of a request that carries out what these goals would change; ``is_left``: that decides to change nothing.

    It names the definitions it was made by: another configuration does not carry it out.
    """
    return {"goals": list(names), "definition": definitions.fingerprint(tenant.digests, names), "leave": is_left}


@dataclass(slots=True)
class _Report:
    """The request's row: what was done, and where a crashed one goes on."""

    requests: Requests
    request: WorkRequest
    total: int = 0
    looked: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    finished: list[str] = field(default_factory=list)
    after: str = ""

    @classmethod
    def of(cls, requests: Requests, request: WorkRequest) -> _Report:
        before = request.progress
        done = Counter(before.get("counts", {}))
        return cls(
            requests, request, 0, done["listed"], done, list(before.get("finished", ())), before.get("after", "")
        )

    async def save(self) -> None:
        progress: Mapping[str, Any] = {
            "share": min(self.looked / self.total, 1.0) if self.total else 0.0,
            "counts": dict(self.counts),
            "finished": self.finished,
            "after": self.after,
        }
        await self.requests.update(self.request.id, "running", progress)


async def apply(tenant: Tenant, requests: Requests, request: WorkRequest) -> Progress:
    """Take away what keeps old reaches back, and judge every stored deal. Resumes after the last page.

    Raises:
        ConfigError: the goals are not those the request was made by.
    """
    names = [name for name in request.arguments["goals"] if name in tenant.digests]
    is_same = len(names) == len(request.arguments["goals"])
    if not is_same or definitions.fingerprint(tenant.digests, names) != request.arguments["definition"]:
        raise ConfigError(
            "the goals are not those that were looked at. Whoever works for the tenant has another configuration: "
            f'restart the daemon, then run "bridge plan --tenant {tenant.name}" again'
        )
    decide = definitions.left if request.arguments["leave"] else definitions.lifted
    for unit in tenant.sources.values():
        async with tenant.left:
            state = await note(tenant, unit)
            await tenant.records.set_goals(tenant.name, unit.name, decide(state.goals or {}, names))
    report = _Report.of(requests, request)
    if not request.arguments["leave"]:
        for name in tenant.sources:
            report.total += await count(tenant.store, tenant.name, name)
        for name, unit in tenant.sources.items():
            if name not in report.finished and await assess.has_names(tenant, unit):
                await _apply_to(tenant, unit, names, report)
    return Progress(report.counts)


async def _apply_to(tenant: Tenant, unit: SourceUnit, names: Sequence[str], report: _Report) -> None:
    stored: AsyncGenerator[Families, None] = families(tenant.store, tenant.name, unit.name, report.after, _PAGE)
    async with aclosing(stored) as pages:
        async for page in pages:
            async with tenant.left:  # given back from page to page: polls get their turn
                tally = Tally(frozenset(names))
                looked = await _looked(await assess.desk_for(tenant, unit), page)
                looked.tell(tally)
                judged = looked.judged
                changed = [item for item in judged.assessed if _changes(item.plan) or item.recheck_at is not None]
                if changed or judged.failed:
                    written = Page(tenant.name, unit.name, tenant.clock.now(), changed, failed=judged.failed)
                    await tenant.records.write_page(written)
            report.counts.update({**tally.counts(), "listed": len(page.keys), "failed": len(judged.failed)})
            report.looked += len(page.keys)
            report.after = page.last
            await report.save()
    report.finished.append(unit.name)
    report.after = ""
    await report.save()


def _changes(plan: Plan) -> bool:
    return bool(plan.conversions or plan.deliveries or plan.changes_known)

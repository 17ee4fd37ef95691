"""Estimates of expected values, version by version; none is ever changed."""

from __future__ import annotations

from collections import defaultdict

from sqlalchemy import select

from bridge.rules.definitions import VALUE, Digests
from bridge.rules.expectation import Estimate
from bridge.store import codec, schema
from bridge.store.codec import micros
from bridge.store.engine import Store


class Estimates:
    """Estimates of one tenant. Whoever writes works for it."""

    def __init__(self, store: Store, tenant: str) -> None:
        self._store = store
        self._tenant = tenant

    async def of(self, source: str, digests: Digests) -> dict[str, tuple[Estimate, ...]]:
        """All versions by goal, the oldest first. ``digests``: the goals'; estimates by another value are of before."""
        table = schema.estimate
        here = (table.c.tenant == self._tenant, table.c.source == source)
        query = select(table.c.goal, table.c.rule, table.c.report).where(*here).order_by(table.c.goal, table.c.at)
        found: dict[str, list[Estimate]] = defaultdict(list)
        async with self._store.read() as connection:
            for goal, rule, report in await connection.execute(query):
                if goal in digests and digests[goal][VALUE] == rule:
                    found[goal].append(codec.estimate(report))
        return {goal: tuple(versions) for goal, versions in found.items()}

    async def add(self, source: str, goal: str, rule: str, estimate: Estimate) -> None:
        """One more version; one of the same moment stays as it is."""
        row = {
            "tenant": self._tenant,
            "source": source,
            "goal": goal,
            "rule": rule,
            "at": micros(estimate.at),
            "report": codec.encode(estimate),
        }
        async with self._store.write("estimate") as connection:
            await connection.execute(codec.insert_new(self._store.dialect, schema.estimate), row)

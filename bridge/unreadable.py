"""Records that could not be read: which they are, and which command says more."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bridge.store.reports import Reports
from bridge.tenant import Tenant
from bridge.typed import typed

_NAMED = 5


async def unreadable_records(reports: Reports, tenant: str) -> list[str]:
    """The tenant's unreadable records, one line each: of a table the message names row and column."""
    found, count = await reports.set_aside(tenant, _NAMED)
    lines = [f"{tenant}/{source}: {record} is unreadable: {message}" for source, record, message in found]
    return [*lines, *([f"{tenant}: {count - len(found)} more records are unreadable"] if count > len(found) else [])]


def unreadable_hint(tenant: Tenant, counts: Mapping[str, int], config: Path) -> str:
    """Where the unreadable records of this turn are named; "" where there is none."""
    if not counts.get("quarantined"):
        return ""
    ports = [unit.port for unit in tenant.sources.values() if unit.port is not None]
    told = f'"bridge explain RECORD --tenant {tenant.name}" says why a record is unreadable; the log names them'
    if any(port.traits.reads_everything for port in ports):
        told = f'"bridge check --tenant {tenant.name}" names unreadable rows of a table, with row and column'
    return typed(told, config)

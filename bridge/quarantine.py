"""Records in quarantine, which could not be read or judged: which they are, and which command says more."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bridge.loops.assess import JUDGING_FAILED
from bridge.store.reports import Reports
from bridge.tenant import Tenant
from bridge.terminal import number
from bridge.typed import typed

_NAMED = 5


async def records_in_quarantine(reports: Reports, tenant: str) -> list[str]:
    """The tenant's records in quarantine, one line each: of a table the message names row and column."""
    found, count = await reports.in_quarantine(tenant, _NAMED)
    lines = [f"{tenant}/{source}: {record} is in quarantine: {message}" for source, record, message in found]
    return [*lines, *([f"{tenant}: {number(count - len(found))} more in quarantine"] if count > len(found) else [])]


def quarantine_hint(tenant: Tenant, counts: Mapping[str, int], config: Path) -> str:
    """Where the records in quarantine of this turn are named; "" where there is none."""
    if not counts.get("quarantined"):
        return ""
    ports = [unit.port for unit in tenant.sources.values() if unit.port is not None]
    told = f'"bridge explain RECORD --tenant {tenant.name}" says why a record is in quarantine; the log names them'
    if any(port.traits.reads_everything for port in ports):
        told = f'"bridge check --tenant {tenant.name}" names rows of a table in quarantine, with row and column'
    return typed(told, config)


def advice(code: str) -> str:
    """What becomes of a record in quarantine, and what to do."""
    if code == JUDGING_FAILED:
        return "a fault of the program: the log's event of that name has the traceback; report it and upgrade"
    return "mended where it comes from, it is read again by itself"

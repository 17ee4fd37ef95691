"""Records that could not be read: which command names them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bridge.tenant import Tenant
from bridge.typed import typed


def unreadable_hint(tenant: Tenant, counts: Mapping[str, int], config: Path) -> str:
    """Where the unreadable records of this turn are named; "" where there is none."""
    if not counts.get("quarantined"):
        return ""
    ports = [unit.port for unit in tenant.sources.values() if unit.port is not None]
    told = f'"bridge explain RECORD --tenant {tenant.name}" says why a record is unreadable; the log names them'
    if any(port.traits.reads_everything for port in ports):
        told = f'"bridge check --tenant {tenant.name}" names unreadable rows of a table, with row and column'
    return typed(told, config)

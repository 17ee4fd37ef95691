"""Webhooks from the operator's side: what ``bridge check`` says of them, and how ours are taken away at a vendor."""

from __future__ import annotations

from typing import Any

from bridge.compose import Installation
from bridge.config import HookedSettings, hook_of
from bridge.errors import BridgeError, ConfigError
from bridge.hints import HookState, Registrar, registrar_of
from bridge.ports import Finding, Level
from bridge.tenant import SourceUnit

_NO_ADDRESS = 'vendors have no address to post to: set public_url in [web], or take "hook" away'
_TOLD = {
    HookState.MISSING: 'not registered at the vendor yet; "bridge run" does it when it starts',
    HookState.PARTIAL: 'registered for too few events; "bridge run" puts it right',
    HookState.DISABLED: 'the vendor has disabled it after too many bad answers; "bridge run" puts it right. '
    "Make sure that public_url leads to this machine",
}


async def findings(unit: SourceUnit) -> list[Finding]:
    """What is to be said of one source's webhooks. Changes nothing."""
    if hook_of(unit.settings) is None:
        return []
    if unit.hook_error:
        return [Finding(Level.ERROR, "webhook", unit.hook_error)]
    registrar = registrar_of(unit.port)
    if registrar is None or not registrar.is_wanted:
        where = f"{unit.hook_beginning}..." if unit.hook else "/hooks/..., behind a proxy of yours"
        return [Finding(Level.OK, "webhook", f"taken on {where}; it is made by hand at the vendor")]
    if not unit.hook:
        return [Finding(Level.WARNING, "webhook", _NO_ADDRESS)]
    return [await _at_vendor(unit, registrar)]


async def _at_vendor(unit: SourceUnit, registrar: Registrar) -> Finding:
    try:
        state = await registrar.state(unit.hook)
    except BridgeError as error:
        return Finding(Level.WARNING, "webhook", f"{type(error).__name__}: {error}")
    if state is HookState.GOOD:
        return Finding(Level.OK, "webhook", f"registered for {unit.hook_beginning}...")
    return Finding(Level.WARNING, "webhook", _TOLD[state])


async def remove(installation: Installation, tenant: str, source: str) -> dict[str, Any]:
    """Take every webhook of ours for this source away at the vendor, whatever its secret was.

    Raises:
        ConfigError: there is no such source, or its webhooks are not ours to take away.
        BridgeError: the vendor refuses.
    """
    section = installation.source_settings(tenant, source)
    if not isinstance(section, HookedSettings):
        raise ConfigError(f"source {source} takes no webhooks: {section.kind} has none")
    if section.hook is None:
        before = 'to take away one that it had before, write "hook" again first, or remove it at the vendor'
        raise ConfigError(f'source {source} takes no webhooks: it has no "hook"; {before}')
    unit = (await installation.tenant(tenant)).sources[source]
    if unit.port is None:
        raise ConfigError(f"source {source}: {unit.error}")
    registrar = registrar_of(unit.port)
    if registrar is None:
        raise ConfigError(f"webhooks of {section.kind} are made by hand; take it away where you made it")
    if not unit.hook_beginning:
        raise ConfigError(f"source {source}: {unit.hook_error or _NO_ADDRESS}; both are needed to know which are ours")
    removed = await registrar.remove(unit.hook_beginning)
    await installation.hints.set_hook(tenant, source, checked_at=None, trouble=None)
    return {"removed": removed, "still_wanted": registrar.is_wanted}

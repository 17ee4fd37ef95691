"""Keep our webhooks at the vendors: registered when the daemon starts, looked at from time to time, put right again."""

from __future__ import annotations

from bridge.errors import BridgeError
from bridge.hints import HookState, Registrar, registrar_of
from bridge.log import redact
from bridge.loops.guard import as_drift
from bridge.tenant import Progress, SourceUnit, Tenant


async def once(tenant: Tenant) -> Progress:
    """Look at the webhook of every source that has one to be kept by us."""
    progress = Progress()
    for unit in tenant.sources.values():
        registrar = _keeper(unit)
        if registrar is not None:
            await _look(tenant, unit, registrar, progress)
    return progress


def has_hook(tenant: Tenant) -> bool:
    """Whether there is anything to keep."""
    return any(_keeper(unit) is not None for unit in tenant.sources.values())


def _keeper(unit: SourceUnit) -> Registrar | None:
    """What keeps a source's webhook at the vendor; None where there is none to be kept by us."""
    registrar = registrar_of(unit.port) if unit.hook else None
    return registrar if registrar is not None and registrar.is_wanted else None


async def _look(tenant: Tenant, unit: SourceUnit, registrar: Registrar, progress: Progress) -> None:
    try:
        found = await registrar.keep(unit.hook, unit.hook_beginning)
    except Exception as error:
        if not isinstance(error, BridgeError) and not unit.hook_trouble:
            tenant.log.exception("loop_failed", loop="hooks", account=unit.name)
        await _failed(tenant, unit, as_drift(error), progress)
        return
    now = tenant.clock.now()
    restored = {} if found is HookState.GOOD else {"restored_at": now}
    await tenant.hints.set_hook(tenant.name, unit.name, checked_at=now, trouble=None, **restored)
    unit.hook_trouble = ""
    if found is HookState.MISSING:
        tenant.log.info("hook_registered", source=unit.name)
        progress.done["hooks registered"] += 1
    elif found is not HookState.GOOD:
        tenant.log.warning("hook_restored", source=unit.name, found=found.value)
        progress.done["hooks restored"] += 1


async def _failed(tenant: Tenant, unit: SourceUnit, error: BridgeError, progress: Progress) -> None:
    """Hooks stay away, polls go on: said once, and in the status for as long as it lasts."""
    text = redact(f"{type(error).__name__}: {error}")
    await tenant.hints.set_hook(tenant.name, unit.name, trouble=text)
    if unit.hook_trouble != text:
        tenant.log.warning("hook_failed", source=unit.name, error=str(error), kind=type(error).__name__)
    unit.hook_trouble = text
    progress.problems.append(f"{unit.name}: webhook: {text}")

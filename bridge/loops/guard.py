"""An adapter's own mistake is the trouble of its account alone: the tenant's other accounts are served."""

from __future__ import annotations

from collections.abc import Awaitable

from bridge.errors import BridgeError, Drift
from bridge.tenant import Progress, Tenant

_BUG = "in the adapter; the log says where"


async def contained(tenant: Tenant, loop: str, account: str, work: Awaitable[Progress]) -> Progress:
    """The work's progress; a bug in it is logged whole and becomes one problem of this account.

    Raises:
        BridgeError: as the work does.
    """
    try:
        return await work
    except BridgeError:
        raise
    except Exception as error:
        tenant.log.exception("loop_failed", loop=loop, account=account)
        return Progress(problems=[told(account, error)])


def as_drift(error: Exception) -> BridgeError:
    """An adapter's own mistake counts as an answer that makes no sense; errors of ours are what they are."""
    return error if isinstance(error, BridgeError) else Drift(f"{type(error).__name__} {_BUG}")


def told(account: str, error: Exception) -> str:
    """A problem of an account in one line: our own errors speak for themselves, a bug only points at the log."""
    kind = type(error).__name__
    if isinstance(error, BridgeError):
        return f"{account}: {kind}: {error}"
    return f"{account}: {kind} {_BUG}"

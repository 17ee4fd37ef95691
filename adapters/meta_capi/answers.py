"""What Graph's answers mean: error classes, and one outcome for every row. Pure.

Decisions rest on ``error.code`` and ``error_subcode``, not on statuses and never on prose (contract meta_capi 2).
"""

from __future__ import annotations

from collections.abc import Sequence

from adapters.meta_capi import wire
from bridge.errors import Ambiguous, AuthError, BridgeError, Drift, Refused, Throttled, Unavailable
from bridge.ports import Answer, Fate
from bridge.tools import Request, Response

PAYLOAD = 100  # something in the request, mostly in one event of it
NO_OBJECT = "100/33"
PERMISSION = frozenset((10, 200))
_THROTTLED = frozenset((4, 17, 341, 368, 80003))
_TRANSIENT = frozenset((1, 2))
_TOKEN = 190
_BLOCKED = 368  # temporarily blocked for what was done; asking again soon would not help
_BLOCK_WAIT = 3600.0  # seconds


def judge(request: Request, response: Response) -> None:
    """Raise what an answer means; return when it is a good one.

    Raises:
        AuthError: token or rights; final, since a system user's token is not renewed.
        Throttled: limits, or a temporary block.
        Ambiguous (of a read: Unavailable): 5xx, or an answer cut off.
        Refused: everything else; ``code`` is Graph's (``100/2804003``) or ``http_`` and the status.
    """
    status, answer = response.status, wire.read(response.body)
    if 200 <= status < 300 and answer is not None and answer.error is None:
        return
    if answer is None or answer.error is None:
        raise _unreadable(request, status)
    raise _meaning(request, status, answer.error)


def _unreadable(request: Request, status: int) -> BridgeError:
    """No body of Graph's: a proxy, a cut answer, another address."""
    if status == 429:
        return Throttled("Meta asks for fewer requests")
    if 200 <= status < 300:
        text = f"Meta answered {status} with a body that is no JSON, or cut"
        return Drift(text) if request.is_safe else Ambiguous(text)
    if status == 408 or status >= 500:
        return _lost(request, f"Meta answered {status}")
    return Refused(f"{status} without Meta's error body; check base_url and api_version", code=f"http_{status}")


def _lost(request: Request, text: str) -> BridgeError:
    return Unavailable(text) if request.is_safe else Ambiguous(f"{text}; the events may have been taken")


def _meaning(request: Request, status: int, fault: wire.Fault) -> BridgeError:
    code = fault.code
    if code in _THROTTLED:
        wait = _BLOCK_WAIT if code == _BLOCKED else None
        return Throttled(f"Meta's limit is reached ({fault.name})", retry_after=wait)
    if code == _TOKEN:
        return AuthError(f"Meta refused the token ({fault.name}); make a new one for the system user", is_final=True)
    if code in PERMISSION and not request.is_safe:
        advice = "give the system user access to the dataset and make it a new token"
        return AuthError(f"Meta forbids it ({fault.name}); {advice}", is_final=True)
    if status >= 500:
        return _lost(request, f"Meta answered {status} ({fault.name})")
    if code in _TRANSIENT:
        return Unavailable(f"Meta cannot answer now ({fault.name})")
    if fault.name == NO_OBJECT:
        return Refused("no such dataset, or no access to it; check dataset_id and the token's assets", code=NO_OBJECT)
    return Refused(f"Meta refused the request ({fault.name})", code=fault.name)


def accepted(body: bytes, rows: Sequence[str]) -> Answer:
    """Outcomes of a request that was taken.

    Raises:
        Drift: Meta received another number of events than were sent; nobody knows which.
    """
    answer = wire.read(body)
    received = answer.events_received if answer else None
    if received != len(rows):
        raise Drift(f"Meta says it received {received} of {len(rows)} events")
    return Answer.alike(rows, Fate.ACCEPTED)


def is_known(refusal: Refused) -> bool:
    """Whether the contract has the reason (meta_capi 2): a payload's fault (28040xx), no object, or none of Graph's."""
    return refusal.code.startswith((f"{PAYLOAD}/28040", "http_")) or refusal.code in (NO_OBJECT, str(PAYLOAD))


def refused(refusal: Refused, rows: Sequence[str]) -> Answer | None:
    """Outcomes of a request that was refused whole, or None when the refusal has nothing to do with its events.

    One invalid event refuses all and is not named (contract meta_capi 1), so halves find it. Not every subcode is
    known: whatever Graph calls a parameter's fault counts as an event's, once it stands alone.
    """
    code = refusal.code.partition("/")[0]
    if code != str(PAYLOAD) or refusal.code == NO_OBJECT:
        return None
    return Answer.halved(rows, refusal.code)

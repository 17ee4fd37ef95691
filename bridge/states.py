"""Life of a delivery and of a batch, as data plus one ``step``.

::

    pending --seal--> sealed --accept--> accepted --verify--> verified
       |                |                   |-----unlink--> unlinked
       |                |--reject--> rejected <--refute--/   (accepted --redo--> pending, where rows are recognised)
       |                |--again--> pending
       |                |--drop--> cancelled
       |                `--hold--> held --resend--> pending | --confirm--> accepted | --cancel--> cancelled
       |--expire--> expired | --refuse--> rejected
       `--withdraw--> cancelled --restore--> pending
                      (its deal was deleted, or its payment refunded; and it is there, or paid, again)
"""

from __future__ import annotations

from enum import StrEnum

from bridge.errors import StoreError


class DeliveryState(StrEnum):
    PENDING = "pending"
    SEALED = "sealed"
    ACCEPTED = "accepted"
    VERIFIED = "verified"
    UNLINKED = "unlinked"
    REJECTED = "rejected"
    EXPIRED = "expired"
    HELD = "held"
    CANCELLED = "cancelled"


class BatchState(StrEnum):
    """``sending`` is committed before the socket is touched: what a crash leaves there is repaired by proof."""

    SEALED = "sealed"
    SENDING = "sending"
    DONE = "done"
    HELD = "held"


class Move(StrEnum):
    PLAN = "plan"
    SEAL = "seal"
    ACCEPT = "accept"
    REJECT = "reject"
    AGAIN = "again"
    HOLD = "hold"
    DROP = "drop"
    VERIFY = "verify"
    UNLINK = "unlink"
    REFUTE = "refute"
    REDO = "redo"
    EXPIRE = "expire"
    REFUSE = "refuse"
    RESEND = "resend"
    CONFIRM = "confirm"
    CANCEL = "cancel"
    WITHDRAW = "withdraw"
    RESTORE = "restore"


_S = DeliveryState

STEPS: dict[tuple[DeliveryState | None, Move], DeliveryState] = {
    (None, Move.PLAN): _S.PENDING,
    (_S.PENDING, Move.SEAL): _S.SEALED,
    (_S.PENDING, Move.EXPIRE): _S.EXPIRED,
    (_S.PENDING, Move.REFUSE): _S.REJECTED,
    (_S.PENDING, Move.WITHDRAW): _S.CANCELLED,
    (_S.CANCELLED, Move.RESTORE): _S.PENDING,
    (_S.SEALED, Move.ACCEPT): _S.ACCEPTED,
    (_S.SEALED, Move.REJECT): _S.REJECTED,
    (_S.SEALED, Move.AGAIN): _S.PENDING,
    (_S.SEALED, Move.HOLD): _S.HELD,
    (_S.SEALED, Move.DROP): _S.CANCELLED,
    (_S.ACCEPTED, Move.VERIFY): _S.VERIFIED,
    (_S.ACCEPTED, Move.UNLINK): _S.UNLINKED,
    (_S.ACCEPTED, Move.REFUTE): _S.REJECTED,
    (_S.ACCEPTED, Move.REDO): _S.PENDING,
    (_S.HELD, Move.RESEND): _S.PENDING,
    (_S.HELD, Move.CONFIRM): _S.ACCEPTED,
    (_S.HELD, Move.CANCEL): _S.CANCELLED,
}


def step(state: DeliveryState | None, move: Move) -> DeliveryState:
    """The state after a move.

    Raises:
        StoreError: the move is not legal from there: a bug, or two writers.
    """
    after = STEPS.get((state, move))
    if after is None:
        raise StoreError(f"a delivery cannot {move} from {state or 'nothing'}")
    return after


def source_of(move: Move) -> DeliveryState:
    """The one state a move starts from: each move but ``plan`` has exactly one.

    Raises:
        StoreError: the move has none: deliveries are planned, not moved to pending.
    """
    starts = [state for state, name in STEPS if name is move and state is not None]
    if len(starts) != 1:
        raise StoreError(f"{move} starts from {len(starts)} states")
    return starts[0]

"""What is known of a deal's payments, reading after reading. Pure."""

from __future__ import annotations

from bridge.frozen import replace
from bridge.model import Payment, PaymentState


def merge(before: tuple[Payment, ...] | None, now: tuple[Payment, ...] | None) -> tuple[Payment, ...] | None:
    """Payments of two readings as one list, by time and id; the later reading decides what is known of each.

    One that was paid and is not any more was refunded. One that is no longer listed stays as it was: whoever may not
    read it any more does not see it either. Payments of another kind, from before the source was set up otherwise, go.
    """
    if before is None or now is None:
        return before if now is None else now
    kinds = {payment.kind for payment in now}
    known = {payment.id: payment for payment in before if payment.kind in kinds or not kinds}
    merged = {**known, **{payment.id: _refunded(known.get(payment.id), payment) for payment in now}}
    return tuple(sorted(merged.values(), key=by_time))


def _refunded(before: Payment | None, now: Payment) -> Payment:
    if before is None or before.state is PaymentState.UNPAID or now.state is PaymentState.PAID:
        return now
    return replace(now, state=PaymentState.REFUNDED, paid_at=now.paid_at or before.paid_at)


def by_time(payment: Payment) -> tuple[bool, float, int, str]:
    """Paid ones in time order, those of one moment in the order of their numbers; then the others."""
    at = 0.0 if payment.paid_at is None else payment.paid_at.timestamp()
    return payment.paid_at is None, at, len(payment.id), payment.id

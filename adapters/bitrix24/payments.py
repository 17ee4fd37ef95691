"""What deals were paid: their payments, or their smart invoices that are in a stage of success (contract bitrix24 4.4).

Neither is on the deal's row, and neither moves its time. Payments have no list of their own: each deal is asked for,
fifty in a request. Invoices are items, which can be listed by time of change and by deal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from adapters.bitrix24 import wire
from adapters.bitrix24.attached import attach
from adapters.bitrix24.details import chunks
from adapters.bitrix24.directory import Directory
from adapters.bitrix24.entities import DEAL, INVOICE, ITEM_LIST, id_of
from adapters.bitrix24.mapping import moment
from adapters.bitrix24.portal import PAGE, Command, Done, Portal, after, checked
from bridge.errors import AuthError, Drift, RecordInvalid, Refused
from bridge.model import Money, Outcome, Payment, PaymentState
from bridge.ports import Head, Listing

REFUSED = "payments_refused"  # code of a deal that is judged without its payments
_SUM_MAX = 10**13  # whole units
PAYMENT_LIST = "crm.item.payment.list"
_PAID = {"y": True, "true": True, "1": True}
_SELECT = ("id", "parentId2", "opportunity", "currencyId", "stageId", "movedTime", "updatedTime")

# What one deal was paid, or why that cannot be read.
Paid = tuple[Payment, ...] | RecordInvalid


def deals_of(heads: Iterable[Head]) -> list[str]:
    """Ids of the heads that can have payments at all: deals, unless they are gone."""
    return [id_of(head.key) for head in heads if head.key.startswith(DEAL.prefix) and isinstance(head.row, wire.Listed)]


def with_payments(listing: Listing, paid: Mapping[str, Paid | None]) -> Listing:
    """The listing with each deal's payments as part of its row and of its version.

    One whose payments may not be read is judged without them: its other goals do not wait for a right that somebody
    has to give.
    """
    return attach(listing, "payments", {DEAL.key(deal): one for deal, one in paid.items()}, frozenset((REFUSED,)))


# --- payments ----------------------------------------------------------------------------------------------------


async def of_deals(portal: Portal, deals: Sequence[str], currency: str) -> dict[str, Paid | None]:
    """Payments by the deal's id; None for a deal that is gone meanwhile. ``currency``: of a payment that names none.

    Raises:
        AuthError, Throttled, Unavailable, Drift: the portal's answer, where it is not about one deal alone.
    """
    commands = [Command(PAYMENT_LIST, {"entityTypeId": DEAL.type_id, "entityId": deal}) for deal in deals]
    answers = await portal.all(commands)
    return {deal: _of_deal(done, currency) for deal, done in zip(deals, answers, strict=True)}


def _of_deal(done: Done, currency: str) -> Paid | None:
    try:
        rows = done.rows(wire.PAYMENTS)
        return tuple({row.id: _payment(row, currency) for row in sorted(rows, key=_id)}.values())
    except (Refused, AuthError) as error:  # of a scope that only payments need; other refusals were raised before
        gone = done.error is not None and done.error.code == "NOT_FOUND"
        text = f"its payments cannot be read, so goals per payment wait: {error}"
        return None if gone else RecordInvalid(text, code=REFUSED)
    except Drift as error:  # of this deal alone: one odd row must not keep the others from being read
        return RecordInvalid(str(error), code="bad_payments")
    except RecordInvalid as error:
        return error


def _id(row: wire.PaymentRow) -> int:
    return row.id


def _payment(row: wire.PaymentRow, currency: str) -> Payment:
    is_paid = _PAID.get(str(row.paid).lower(), False)
    at = moment(row.date_paid) if is_paid else None
    state = PaymentState.PAID if is_paid else PaymentState.UNPAID
    return Payment(f"payment:{row.id}", state, _money(row.sum, row.currency or currency), at)


def _money(amount: Decimal | None, currency: str) -> Money:
    if amount is not None and not (amount.is_finite() and abs(amount) < _SUM_MAX):
        raise RecordInvalid("the sum of a payment is no amount", code="bad_amount")
    return Money.of(amount or 0, currency)


# --- invoices ----------------------------------------------------------------------------------------------------


async def invoices_of(portal: Portal, deals: Sequence[str]) -> dict[str, list[wire.InvoiceRow]]:
    """Invoices by the deal's id: fifty deals in a command, fifty commands in a request; every deal has an entry.

    Raises:
        AuthError, Throttled, Unavailable, Refused, Drift: the portal's answer, or a filter that is ignored.
    """
    found: dict[str, list[wire.InvoiceRow]] = {deal: [] for deal in deals}
    waiting = [after(_listing({"@parentId2": list(chunk)}), 0) for chunk in chunks(deals, PAGE)]
    while waiting:
        answers = await portal.all(waiting)
        waiting = []
        for done in answers:
            listed = done.listed()
            last = checked(listed, int(done.command.params["filter"][">id"]))
            for row in listed:
                invoice = wire.decode(wire.INVOICE, row.json, ITEM_LIST)
                if str(invoice.parent_id2) not in done.command.params["filter"]["@parentId2"]:
                    raise Drift("crm.item.list returned invoices of deals not asked for: is the filter ignored?")
                found[str(invoice.parent_id2)].append(invoice)
            if len(listed) >= PAGE:
                waiting.append(after(done.command, last))
    return found


def changed(start: datetime, end: datetime) -> Command:
    """The list of invoices modified in a window."""
    return _listing({f">={INVOICE.time_field}": start.isoformat(), f"<{INVOICE.time_field}": end.isoformat()})


def _listing(bounds: Mapping[str, object]) -> Command:
    return Command(INVOICE.list_method, {**INVOICE.params, "select": _SELECT, "filter": dict(bounds)})


def owners(rows: Iterable[wire.Listed], start: datetime) -> list[str]:
    """Keys of the deals these invoices belong to. Each row's time is checked, as for every window.

    Raises:
        Drift: a row from before the window.
    """
    keys: dict[str, None] = {}
    for row in rows:
        at = moment(row.modified)
        if at is not None and at < start:
            raise Drift("crm.item.list returned an invoice modified before the window: the portal ignores date filters")
        owner = wire.decode(wire.INVOICE, row.json, ITEM_LIST).parent_id2
        if owner:
            keys[DEAL.key(owner)] = None
    return list(keys)


def known(invoices: Mapping[str, Sequence[wire.InvoiceRow]], names: Directory) -> bool:
    """Whether the stages of all these invoices are among the names read so far."""
    return all(row.stage_id in names.invoices for rows in invoices.values() for row in rows)


def paid_invoices(
    invoices: Mapping[str, Sequence[wire.InvoiceRow]], names: Directory, currency: str
) -> dict[str, Paid | None]:
    """Invoices as payments: paid in a stage of success, since they entered it."""
    return {deal: _of_invoices(rows, names, currency) for deal, rows in invoices.items()}


def _of_invoices(rows: Sequence[wire.InvoiceRow], names: Directory, currency: str) -> Paid:
    try:
        return tuple({row.id: _invoice(row, names, currency) for row in rows}.values())
    except RecordInvalid as error:
        return error


def _invoice(row: wire.InvoiceRow, names: Directory, currency: str) -> Payment:
    is_paid = names.invoices.get(row.stage_id) is Outcome.WON
    at = (moment(row.moved_time) or moment(row.updated_time)) if is_paid else None
    state = PaymentState.PAID if is_paid else PaymentState.UNPAID
    return Payment(f"invoice:{row.id}", state, _money(row.opportunity, row.currency_id or currency), at)

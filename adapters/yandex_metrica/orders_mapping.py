"""Our rows to Metrica's CSV of CRM orders, and its answers to our outcomes (contract yandex 4). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from difflib import get_close_matches

from adapters.yandex_metrica.goals import FORBIDDEN, target_findings
from adapters.yandex_metrica.mapping import CLOCK_MARGIN, amount, cell, file_of, is_well_formed
from adapters.yandex_metrica.wire import Counter, Goal, OrderStatus, OrdersUploading
from bridge.errors import Ambiguous
from bridge.model import ConversionKind, IdKind, Outgoing
from bridge.ports import Admission, Answer, Fate, Finding, Level, Pass, Payload

HEADER = (
    "id,create_date_time,client_uniq_id,client_ids,emails,phones,emails_md5,phones_md5,order_status,revenue,cost,goals"
    ",currency"
)
IN_PROGRESS, PAID, CANCELLED, SPAM = "IN_PROGRESS", "PAID", "CANCELLED", "SPAM"
STATUSES = (IN_PROGRESS, PAID, CANCELLED, SPAM)
PASSED, FAILED = "PASSED", "FAILED"
VALIDATION_FAILED = "validation_failed"

_MD5 = re.compile(r"[0-9a-f]{32}")
_DATE = "%Y-%m-%d %H:%M:%S"  # without an offset: the counter's own time (contract yandex 4.2)
_ZONE_STEPS = [timedelta(days=30 * number) for number in range(7)]  # both halves of a year with summer time


# --- before sending ----------------------------------------------------------------------------------------------


def admit(row: Outgoing, now: datetime, link: timedelta, update: timedelta) -> Admission:
    """Whether a row may be sent now.

    Args:
        link: an order is linked when it comes at most so long after its creation (21 days, contract yandex 4.6).
        update: and changed for so long after the beginning of its visit (111 days).
    """
    if fault_of(row.target):
        return Admission(Pass.REFUSED, "bad_status")
    if not _client_ids(row) and not any(_digests(row)):
        return Admission(Pass.REFUSED, "bad_identifier" if row.identifiers else "no_identifier")
    if row.value is not None and row.value.minor < 0:
        return Admission(Pass.REFUSED, "negative_value")
    if row.follows and row.clicked_by + update <= now:
        return Admission(Pass.EXPIRED, "window_111d")
    if not row.follows and row.deal_created_at + link <= now:
        return Admission(Pass.EXPIRED, "window_21d")
    latest = max(row.deal_created_at, row.occurred_at)
    if latest + CLOCK_MARGIN > now:
        return Admission(Pass.WAIT, "in_future", latest + CLOCK_MARGIN)
    return Admission(Pass.SEND)


def fault_of(status: str) -> str:
    """Why a name can be no order status; "" if it can. An empty one would count as paid (contract yandex 4.2)."""
    if not status.strip():
        return "it is empty, which Metrica would take for PAID"
    if status.isdecimal():
        return "use the goal's event identifier, not its number"
    found = FORBIDDEN.search(status)
    if found or status != status.strip() or not status.isprintable():
        return f'"{found[0] if found else status}" is not allowed in a status; use Latin letters, digits, _ and -'
    if status == "OTHER":
        return "OTHER is a type, not a status; use the event identifier of a goal of your own"
    if status not in STATUSES and status.upper() in STATUSES:
        return f'write "{status.upper()}"'
    return ""


def _client_ids(row: Outgoing) -> list[str]:
    found = [one.value for one in row.identifiers if one.kind is IdKind.CLIENT_ID and is_well_formed(one)]
    return list(dict.fromkeys(found))


def _digests(row: Outgoing) -> tuple[list[str], list[str]]:
    """MD5 of e-mails and of phones, each once."""
    emails = [digest for person in row.persons for digest in person.email_md5]
    phones = [digest for person in row.persons for digest in person.phone_md5]
    return _each_once(emails), _each_once(phones)


def _each_once(digests: Iterable[str]) -> list[str]:
    return [digest for digest in dict.fromkeys(digests) if _MD5.fullmatch(digest)]


# --- rendering ---------------------------------------------------------------------------------------------------


def status_of(row: Outgoing) -> str:
    """The state that a row puts its order in: a sale that turns out to be worth nothing was refunded."""
    is_corrected = row.kind is ConversionKind.RESTATEMENT or row.retracted_at is not None
    is_refund = is_corrected and row.value is not None and row.value.minor == 0
    return CANCELLED if is_refund and row.target == PAID else row.target


def render(rows: Sequence[Outgoing], label: str, zone: tzinfo) -> Payload:
    """One file. Every row is its whole order, because ``merge_mode=SAVE`` forgets what is not there.

    Raises:
        ValueError: a row without a status, or an order twice in one file; ``admit`` and the core let none through.
    """
    if len({row.order_key for row in rows}) < len(rows):
        raise ValueError("an order is twice in one file: Metrica would apply its rows in random order")
    lines = "\n".join(_line(row, zone) for row in rows)
    return file_of(f"{HEADER}\n{lines}\n", "orders.csv", label)


def _line(row: Outgoing, zone: tzinfo) -> str:
    status = status_of(row)
    if fault_of(status):
        raise ValueError(f"delivery {row.delivery} has no status that Metrica takes")
    emails, phones = _digests(row)
    revenue, currency = ("", "") if row.value is None else (amount(row.value), row.value.currency)
    cells = [
        row.order_key,
        row.deal_created_at.astimezone(zone).strftime(_DATE),
        "",
        ",".join(_client_ids(row)),
        "",
        "",
    ]
    cells += [",".join(emails), ",".join(phones), status, revenue, "", "", currency]
    return ",".join(map(cell, cells))


# --- after sending -----------------------------------------------------------------------------------------------


def answer(uploading: OrdersUploading, rows: Sequence[str]) -> Answer:
    """What an upload's record means for our rows. Which row is bad is not told: the batch is halved.

    Raises:
        Ambiguous: it says neither that the file passed nor that it failed, nor how many rows did.
    """
    receipt = {"uploading_id": uploading.uploading_id, "datetime": uploading.datetime or ""}
    status, count = uploading.api_validation_status, uploading.elements_count
    if status == FAILED:
        return Answer.halved(rows, VALIDATION_FAILED, receipt)
    if count is not None and count < len(rows):
        return Answer.halved(rows, "row_refused", receipt)
    if status != PASSED and count is None:
        raise Ambiguous("Metrica does not say whether it took the orders")
    return Answer.alike(rows, Fate.ACCEPTED, receipt=receipt)


def after(text: str) -> str:
    """A cursor that the upload of this time lies before; "" if the time cannot be read (contract yandex 4.3)."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return ""
    return "" if at.tzinfo else (at + timedelta(seconds=1)).strftime(_DATE)


# --- check -------------------------------------------------------------------------------------------------------


def zone_fault(counter: Counter, zone: tzinfo, now: datetime) -> str:
    """How the counter's time differs from ours; "" if it does not. Wrong times would be linked to wrong visits."""
    advice = 'set timezone = "..." of this destination to the counter\'s'
    theirs = counter.zone
    if theirs is not None:
        moments = [now - step for step in _ZONE_STEPS]
        same = all(at.astimezone(theirs).utcoffset() == at.astimezone(zone).utcoffset() for at in moments)
        return "" if same else f"the counter's time zone is {theirs}, orders would be dated by {zone}; {advice}"
    offset = counter.time_zone_offset
    if offset is None or now.astimezone(zone).utcoffset() == timedelta(minutes=offset):
        return ""
    return f"the counter's time is {offset} minutes east of UTC, orders would be dated by {zone}; {advice}"


def status_findings(targets: Mapping[str, str], goals: Sequence[Goal], mapped: Sequence[OrderStatus]) -> list[Finding]:
    """One for each goal of ours: is what it is sent as a status that Metrica knows? And do orders begin early?"""
    findings = [_status(name, target, goals, mapped) for name, target in targets.items()]
    if targets and IN_PROGRESS not in targets.values():
        text = (
            f'no goal is sent as "{IN_PROGRESS}": an order that comes later than 21 days after its deal is never '
            "linked; add a goal that every deal reaches at once"
        )
        findings.append(Finding(Level.WARNING, "orders", text))
    return findings


def _status(name: str, target: str, goals: Sequence[Goal], mapped: Sequence[OrderStatus]) -> Finding:
    subject = f"goal {name} -> {target}"
    fault = fault_of(target)
    if fault:
        return Finding(Level.ERROR, subject, fault)
    if target in STATUSES:
        return Finding(Level.OK, subject, "a status of Metrica's own")
    own = next((status for status in mapped if status.id == target), None)
    if own is not None:
        return Finding(Level.OK, subject, f"a status of yours, of the type {own.type or 'unknown'}")
    found = target_findings({name: target}, goals)[0]
    near = get_close_matches(target, [*STATUSES, *(status.id for status in mapped)], n=1)
    hint = f'; or is "{near[0]}" meant?' if near and found.level is Level.ERROR else ""
    return Finding(found.level, subject, found.message + hint)

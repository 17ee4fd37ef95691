"""Bitrix24 rows made into the domain's values. Pure: no I/O, no clock.

Classic rows (contract bitrix24 3.1): everything is text, an empty time is "", an empty reference null or "0". Rows of a
smart process have numbers and nulls instead; under classic names they are read alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from hashlib import blake2b
from typing import Any
from unicodedata import normalize

from msgspec import Raw, json, structs

from adapters.bitrix24.directory import DATE, DATES, REPEATS, Directory, outcome
from adapters.bitrix24.entities import Entity
from adapters.bitrix24.wire import PARTS, ROW, ContactRow, HistoryRow, Listed, ProductRow, Row
from bridge.errors import RecordInvalid
from bridge.frozen import replace
from bridge.model import Clue, Contact, Deal, DealKind, IdKind, Money, Outcome, Payment, StageChange, frozen
from bridge.ports import BadRecord, Head
from bridge.products import Product

_encode = json.Encoder().encode
_UTM = ("UTM_SOURCE", "UTM_MEDIUM", "UTM_CAMPAIGN", "UTM_CONTENT", "UTM_TERM")
_FREE_TEXT = ("SOURCE_DESCRIPTION", "COMMENTS")
_TIMES = ("DATE_CREATE", "DATE_MODIFY", "MOVED_TIME")
_COMMON = ("ID", *_TIMES, "OPPORTUNITY", "CURRENCY_ID", "CONTACT_ID", "SOURCE_ID", *_FREE_TEXT, *_UTM, "UF_*")
# A narrow select keeps big portals from timing out (contract 15.17); phones only come when named (3.1).
# Names of a smart process's fields, and the classic ones under which they are read (contract 4.1, 4.2).
_CLASSIC = {
    "id": "ID",
    "createdTime": "DATE_CREATE",
    "updatedTime": "DATE_MODIFY",
    "movedTime": "MOVED_TIME",
    "opportunity": "OPPORTUNITY",
    "currencyId": "CURRENCY_ID",
    "contactId": "CONTACT_ID",
    "sourceId": "SOURCE_ID",
    "sourceDescription": "SOURCE_DESCRIPTION",
    "utmSource": "UTM_SOURCE",
    "utmMedium": "UTM_MEDIUM",
    "utmCampaign": "UTM_CAMPAIGN",
    "utmContent": "UTM_CONTENT",
    "utmTerm": "UTM_TERM",
    "begindate": "BEGINDATE",
    "closedate": "CLOSEDATE",
    "stageId": "STAGE_ID",
    "categoryId": "CATEGORY_ID",
    "parentId1": "LEAD_ID",
}
_SELECT: Mapping[DealKind, tuple[str, ...]] = {
    DealKind.LEAD: (*_COMMON, *REPEATS[:1], "STATUS_ID", "STATUS_SEMANTIC_ID", "DATE_CLOSED", "PHONE", "EMAIL"),
    DealKind.DEAL: (
        *(*_COMMON, *REPEATS, *DATES),
        *("STAGE_ID", "STAGE_SEMANTIC_ID", "CATEGORY_ID", "LEAD_ID", "IS_RECURRING"),
    ),
}
_HINTS = ("://", "clid", "braid", "ym_", "client_id", "clientid", "_ga")  # else a comment is nobody's business
_TAG = re.compile(r"\[/?[A-Za-z*]{1,16}(?:=([^\]]*))?\]")
_SUM_MAX = 10**13  # whole units that product rows come to
_NAME_MAX = 255  # characters of a product's name
_EMPTY = (None, "", "0", 0, False)
_TOLD = (*((code, None) for code in REPEATS), *((code, DATE) for code in DATES))  # standard fields, and their length
_ENDS = {Outcome.WON: "S", Outcome.LOST: "F"}

Texts = dict[str, tuple[str, ...]]  # by the names of custom fields


@frozen
class Rules:
    """What the settings say about reading: identifier fields, the loss-reason field, the currency of last resort."""

    fields: Mapping[IdKind, Sequence[str]]
    loss_reason_field: str | None
    currency: str


@frozen
class Plan:
    """The rules of one entity with every configured name resolved to its field's code.

    ``labels`` of options, by the codes of list fields.
    """

    entity: Entity
    identifiers: tuple[tuple[str, IdKind], ...]
    loss_reason: str
    currency: str
    names: Directory
    mapped: frozenset[str]
    labels: Mapping[str, frozenset[str]]


def select(entity: Entity, custom: Sequence[str] = ()) -> Sequence[str]:
    """Fields to ask for. A universal list has no mask for ``custom`` fields: they are asked for by code (3.1)."""
    return (*_CLASSIC, *custom) if entity.is_item else _SELECT[entity.kind]


def plan(entity: Entity, names: Directory, rules: Rules) -> Plan:
    """Resolve codes and labels; a name that does not exist (``bridge check`` reports it) stays as it is."""
    identifiers = tuple(
        (names.code(entity, name) or name, id_kind)
        for id_kind, configured in rules.fields.items()
        for name in configured
    )
    reason = rules.loss_reason_field or ""
    mapped = frozenset(code for code, _ in identifiers)
    known = names.fields.get(entity.name, {})
    labels = {code: frozenset(item.value for item in info.items) for code, info in known.items() if info.items}
    return Plan(entity, identifiers, names.code(entity, reason) or reason, rules.currency, names, mapped, labels)


@frozen
class Read:
    """All that was read of one record: its row, its stage entries, its contact (None if none or not readable).

    ``payments`` and ``products`` are None where they are not read.
    """

    row: Row
    version: str
    history: Sequence[HistoryRow]
    contact: ContactRow | None
    payments: tuple[Payment, ...] | None = None
    products: tuple[ProductRow, ...] | None = None


# --- heads -------------------------------------------------------------------------------------------------------


def moment(value: Any) -> datetime | None:
    """An ISO time with the portal's offset as UTC; None where the portal has none ("" or null).

    Raises:
        RecordInvalid: not a time with an offset.
    """
    if not value:
        return None
    if not isinstance(value, str):
        raise RecordInvalid("a time is no text", code="bad_time")
    return _moment(value)


@lru_cache(maxsize=16384)  # one save stamps many fields and rows with the same text
def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise RecordInvalid("a time cannot be read", code="bad_time") from None
    if found.tzinfo is None:
        raise RecordInvalid("a time has no offset", code="bad_time")
    return found.astimezone(UTC)


def known_moment(row: Row, name: str) -> datetime:
    """A time that every record has.

    Raises:
        RecordInvalid: it is missing or cannot be read.
    """
    found = moment(row.get(name))
    if found is None:
        raise RecordInvalid(f"{name} is missing", code="bad_time")
    return found


def version(row: Listed) -> str:
    """The modification time and a digest of the row as sent: differs for any change of what we read."""
    return f"{row.modified}:{blake2b(row.json, digest_size=8).hexdigest()}"


def unmarked(entity: Entity, row: Listed, own: str) -> tuple[Listed, str]:
    """The row without the field that holds our own mark, and its version.

    The digest leaves out the time of change, which stands before the "#": a mark changes nothing but that.
    """
    shown = PARTS.decode(row.json)
    shown.pop(own, None)
    plain = structs.replace(row, json=Raw(_encode(shown)))
    shown.pop(entity.time_field, None)
    return plain, f"{row.modified}#{blake2b(_encode(shown), digest_size=8).hexdigest()}"


def head(entity: Entity, row: Listed, own: str = "") -> Head | BadRecord:
    """A listed row with its key and version; a bad record where its modification time cannot be read.

    ``own``: code of the field that holds our own mark, which is left out.
    """
    if own:
        plain, of_plain = unmarked(entity, row, own)
        found = head(entity, plain)
        return replace(found, version=of_plain)
    key = entity.key(row.id)
    try:
        modified = moment(row.modified)
        if modified is None:
            raise RecordInvalid("DATE_MODIFY is missing", code="bad_time")
        return Head(key, version(row), modified, row)
    except RecordInvalid as error:
        return BadRecord(key, error.code, str(error), version(row))


def opened(head: Head) -> Head:
    """The head with its row decoded and under classic names."""
    row = ROW.decode(head.row.json)
    if "id" in row:
        row = {_CLASSIC.get(name, name): value for name, value in row.items()}
    return Head(head.key, head.version, head.updated_at, row)


def reference(value: Any) -> str:
    """An id as text; "" for null, "" and "0", which all mean none."""
    return "" if value in _EMPTY else str(value)


# --- deals -------------------------------------------------------------------------------------------------------


def deal(read: Read, plan: Plan) -> Deal:
    """One record with its history, contact and clues.

    Raises:
        RecordInvalid: a time or an amount cannot be read.
    """
    entity, row = plan.entity, read.row
    kind = entity.kind
    is_lead = kind is DealKind.LEAD
    pipeline = entity.pipeline(row.get("CATEGORY_ID"))
    stage = str(row.get("STATUS_ID" if is_lead else "STAGE_ID") or "")
    semantics = _semantics(row, pipeline, stage, plan)
    updated = known_moment(row, "DATE_MODIFY")
    entered = moment(row.get("MOVED_TIME")) or updated
    current = StageChange(entered, pipeline, stage, outcome(kind, semantics), "record")
    lead = "" if is_lead else reference(row.get("LEAD_ID"))
    fields, options = _fields(row, plan)
    return Deal(
        kind=kind,
        id=f"{entity.type_id}-{row['ID']}" if entity.is_item else str(row["ID"]),
        version=read.version,
        created_at=known_moment(row, "DATE_CREATE"),
        updated_at=updated,
        pipeline=pipeline,
        stage=stage,
        outcome=current.outcome,
        value=_money(row, plan.currency),
        closed_at=_closed_at(row, semantics, entered),
        loss_reason=_loss_reason(row, current, plan),
        origin=_origin(row, plan.names),
        fields=fields,
        clues=tuple(_clues(row, plan)),
        history=stage_history(entity, read.history, current, updated),
        parent=f"lead:{lead}" if lead else None,
        contacts=_contacts(read),
        payments=read.payments,
        products=_products(read, str(row.get("CURRENCY_ID") or plan.currency)),
        options=options,
    )


def _semantics(row: Row, pipeline: str, stage: str, plan: Plan) -> Any:
    """S, F or P. A row of a smart process need not tell: its stage's directory does (contract 4.4, 5)."""
    if not plan.entity.is_item:
        return row.get("STATUS_SEMANTIC_ID" if plan.entity.kind is DealKind.LEAD else "STAGE_SEMANTIC_ID")
    return _ENDS.get(plan.names.outcome_of(pipeline, stage), "P")


def _money(row: Row, currency: str) -> Money | None:
    """OPPORTUNITY in the record's own currency; None when it is empty or zero."""
    try:
        amount = Decimal(str(row.get("OPPORTUNITY") or "0"))
        value = Money.of(amount, str(row.get("CURRENCY_ID") or currency))
    except (InvalidOperation, OverflowError, ValueError):
        raise RecordInvalid("OPPORTUNITY is no amount", code="bad_amount") from None
    return value if value.minor else None


def _products(read: Read, currency: str) -> tuple[Product, ...] | None:
    """Product rows, with the record's currency; what they come to has to be an amount."""
    if read.products is None:
        return None
    rows = tuple([_product(row, currency) for row in read.products])
    is_sound = all(part.is_finite() and abs(part) < _SUM_MAX for row in rows for part in (row.price, row.quantity))
    if not is_sound or sum(abs(row.sum) for row in rows) >= _SUM_MAX:
        raise RecordInvalid("what the product rows come to is no amount", code="bad_amount")
    return rows


def _product(row: ProductRow, currency: str) -> Product:
    name = " ".join(normalize("NFC", row.product_name or "").split())[:_NAME_MAX]
    return Product(reference(row.product_id), name, row.price or Decimal(0), row.quantity or Decimal(0), currency)


def _closed_at(row: Row, semantics: Any, entered: datetime) -> datetime | None:
    """Leads have DATE_CLOSED, which may outlive a reopening (contract 17). A deal's CLOSEDATE is a plain date people
    edit, so its last move counts (4.2)."""
    return (moment(row.get("DATE_CLOSED")) or entered) if semantics in ("S", "F") else None


def _loss_reason(row: Row, current: StageChange, plan: Plan) -> tuple[str, str] | None:
    """The loss-reason field where it is filled, else the failure stage itself."""
    if current.outcome is not Outcome.LOST:
        return None
    for value in texts_of(row.get(plan.loss_reason)):
        return (value, plan.names.text(plan.entity, plan.loss_reason, value))
    return (current.stage, plan.names.stage_name(current.pipeline, current.stage))


def _origin(row: Row, names: Directory) -> tuple[str, str] | None:
    source = reference(row.get("SOURCE_ID"))
    return (source, names.sources.get(source, source)) if source else None


def texts_of(value: Any) -> list[str]:
    """A custom field's value or values as text. PHP writes an empty multiple field as [] or false (4.3)."""
    if isinstance(value, list | dict):
        items = value.values() if isinstance(value, dict) else value
        return [text for item in items for text in texts_of(item)]
    if value is None or value is False or value == "":
        return []
    return ["1"] if value is True else [str(value).strip()]


def _fields(row: Row, plan: Plan) -> tuple[Texts, Texts]:
    """Filled custom fields under code and labels; whether the customer came back (Y or N); planned dates as dates.

    Beside them the ids of options, under the same names. One that reads like an option's label is left out: who names
    that means the label.
    """
    found: dict[str, tuple[str, ...]] = {}
    options: dict[str, tuple[str, ...]] = {}
    for code, length in _TOLD:
        value = row.get(code)
        if value:
            found[code] = (str(value)[:length],)
    known = plan.names.fields.get(plan.entity.name, {})
    for code, value in row.items():
        if value is None or not code.startswith("UF_"):
            continue
        is_no = value is False and code in known and known[code].type == "boolean"  # else PHP's empty
        given = ["0"] if is_no else texts_of(value)
        if not given:
            continue
        texts = tuple([plan.names.text(plan.entity, code, text) for text in given])
        info = known.get(code)
        called = (code, *sorted(info.labels())) if info is not None else (code,)
        found.update(dict.fromkeys(called, texts))
        labels = plan.labels.get(code)
        if labels is not None:
            options.update(dict.fromkeys(called, tuple([own for own in given if own not in labels])))
    return found, options


# --- clues -------------------------------------------------------------------------------------------------------


def _clues(row: Row, plan: Plan) -> Iterator[Clue]:
    """Configured fields first, then texts that look like they hide an identifier, then utm tags."""
    for code, id_kind in plan.identifiers:
        for text in texts_of(row.get(code)):
            yield Clue(f"field {code}", text, id_kind)
    for code, value in row.items():
        if value and code not in plan.mapped and (code.startswith("UF_") or code in _FREE_TEXT):
            for text in texts_of(value):
                if _may_hide_id(text):
                    yield Clue(f"field {code}", _without_tags(text) if code in _FREE_TEXT else text)
    for code in _UTM:
        if code not in plan.mapped:
            for text in texts_of(row.get(code)):
                yield Clue(code.lower(), text)


def _without_tags(text: str) -> str:
    """A comment without BB codes, which would stick to an address (contract 15.20); that of ``[URL=...]`` stays."""
    return _TAG.sub(r" \1 ", text) if "[" in text else text


def _may_hide_id(text: str) -> bool:
    lowered = text.lower()
    return any(hint in lowered for hint in _HINTS)


# --- people ------------------------------------------------------------------------------------------------------


def _contacts(read: Read) -> tuple[Contact, ...]:
    """A lead has phones and e-mails of its own; a deal has only its contact's (contract 4.2)."""
    owner = reference(read.row.get("CONTACT_ID"))
    phones = list(_multi(read.row.get("PHONE")))
    emails = list(_multi(read.row.get("EMAIL")))
    if read.contact is not None:
        phones += [field.value for field in read.contact.phone if field.value]
        emails += [field.value for field in read.contact.email if field.value]
    if not (owner or phones or emails):
        return ()
    return (Contact(owner, tuple(dict.fromkeys(phones)), tuple(dict.fromkeys(emails)), is_main=True),)


def _multi(value: Any) -> Iterator[str]:
    for item in value if isinstance(value, list) else ():
        text = item.get("VALUE") if isinstance(item, dict) else None
        if text:
            yield str(text)


def wanted_contact(row: Row, *, is_lead: bool) -> str:
    """The contact to read for this record, or "": deals always, leads only without a phone and e-mail of their own."""
    if is_lead and (row.get("PHONE") or row.get("EMAIL")):
        return ""
    return reference(row.get("CONTACT_ID"))


# --- history -----------------------------------------------------------------------------------------------------


def stage_history(
    entity: Entity, rows: Iterable[HistoryRow], current: StageChange, updated: datetime
) -> tuple[StageChange, ...]:
    """Every stage entry in time order; the last one is the current stage.

    The history is read after the row, so it may already know later moves: those belong to the next version and are
    left to it. After a change of pipeline the portal hides earlier entries (contract 6); then, or when the history
    lags behind, the record itself says when it entered its stage.
    """
    known = [entry for entry, _ in sorted(((_entry(entity, row), row.id) for row in rows), key=_in_time)]
    if known and _is_same(known[-1], current):
        return tuple(known)
    while known and known[-1].at > updated:
        known.pop()
    if known and _is_same(known[-1], current):
        return tuple(known)
    latest = known[-1].at if known else current.at
    at = max(current.at, latest)
    return (*known, StageChange(at, current.pipeline, current.stage, current.outcome, current.source))


def _in_time(item: tuple[StageChange, int]) -> tuple[datetime, int]:
    return item[0].at, item[1]


def _entry(entity: Entity, row: HistoryRow) -> StageChange:
    at = moment(row.created_time)
    if at is None:
        raise RecordInvalid("a stage entry has no time", code="bad_time")
    pipeline = entity.pipeline(row.category_id)
    if entity.kind is DealKind.LEAD:
        ended = outcome(DealKind.LEAD, row.status_semantic_id)
        return StageChange(at, pipeline, row.status_id or "", ended, "stage history")
    ended = outcome(entity.kind, row.stage_semantic_id)
    return StageChange(at, pipeline, row.stage_id or "", ended, "stage history")


def _is_same(entry: StageChange, current: StageChange) -> bool:
    return (entry.pipeline, entry.stage) == (current.pipeline, current.stage)


# --- windows -----------------------------------------------------------------------------------------------------


def whole_seconds(start: datetime, end: datetime) -> tuple[datetime, datetime]:
    """A window widened to whole seconds, which is all the portal's times have."""
    last = end.replace(microsecond=0)
    return start.replace(microsecond=0), last if last == end else last + timedelta(seconds=1)

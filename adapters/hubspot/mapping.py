"""HubSpot records made into the domain's values. Pure: no I/O, no clock.

All values are text or null (contract hubspot 2). A contact is a lead in the stage of its lifecycle; a deal knows its
click by its own properties, else by its main contact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from hashlib import blake2b

import msgspec

from adapters.hubspot.clues import clues, clues_of_deal
from adapters.hubspot.entities import CONTACT, DEAL, LIFECYCLE, ORIGIN, PHONES, Entity
from adapters.hubspot.history import lifecycle, stages
from adapters.hubspot.plan import Plan
from adapters.hubspot.times import known
from adapters.hubspot.wire import Record
from bridge.errors import RecordInvalid
from bridge.model import Contact, Deal, DealKind, Money, Outcome, StageChange, ValueChange, frozen
from bridge.ports import BadRecord, Head

_MOST = 10**13  # whole units; more is no amount but damage

Texts = dict[str, tuple[str, ...]]  # by the names of properties


@frozen
class Read:
    """All that was read of one record: with its history, and (deals) its contacts, the main one first."""

    record: Record
    version: str
    people: Sequence[Record] = ()


@frozen
class Gone:
    """A record that was deleted or merged into another (``into``); since when, as far as that is known."""

    number: str
    at: datetime
    into: str | None = None


# --- heads -------------------------------------------------------------------------------------------------------


def version(record: Record, requested: Iterable[str], changed: str) -> str:
    """The modification time and a digest of the properties that are read, empty ones left out.

    The time alone would do, were it not for properties that begin to be read; the digest alone would not: a deal that
    moved on and back looks as before, and its history does not.
    """
    wanted = sorted(set(requested))
    content = [(name, value) for name in wanted if (value := record.get(name))]
    return f"{record.get(changed)}:{blake2b(msgspec.json.encode(content), digest_size=8).hexdigest()}"


def head(plan: Plan, record: Record) -> Head | BadRecord:
    """A listed record with its key and version; a bad record where its modification time cannot be read."""
    entity = plan.entity
    told = version(record, plan.requested, entity.changed)
    try:
        return Head(entity.key(record.number), told, known(record.get(entity.changed)), record)
    except RecordInvalid as error:
        return BadRecord(entity.key(record.number), error.code, str(error), told)


def gone_head(entity: Entity, record: Record) -> Head | BadRecord:
    """A deleted record, asked for by its key."""
    told = f"archived:{record.archived_at}"
    try:
        at = known(record.archived_at)
    except RecordInvalid as error:
        return BadRecord(entity.key(record.number), error.code, str(error), told)
    return Head(entity.key(record.number), told, at, Gone(record.number, at))


def merged_head(entity: Entity, number: str, survivor: Record) -> Head | BadRecord:
    """A record that became part of another, which came in its place (contract hubspot 7)."""
    told = f"merged:{survivor.number}"
    try:
        at = known(survivor.get(entity.changed))
    except RecordInvalid as error:
        return BadRecord(entity.key(number), error.code, str(error), told)
    return Head(entity.key(number), told, at, Gone(number, at, survivor.number))


def unreadable(entity: Entity, number: str) -> BadRecord:
    """A record that is not what the contract says."""
    return BadRecord(entity.key(number or "?"), "unreadable", "the record cannot be read", "")


# --- deals -------------------------------------------------------------------------------------------------------


def gone(entity: Entity, gone: Gone, version: str) -> Deal:
    """A record that is not there any more; all that is known of it now is since when."""
    into = None if gone.into is None else entity.key(gone.into)
    place = ("", "", Outcome.OPEN)
    return Deal(entity.kind, gone.number, version, gone.at, gone.at, *place, is_deleted=True, merged_into=into)


def lead(read: Read, plan: Plan) -> Deal:
    """A contact, as the lead it is.

    Raises:
        RecordInvalid: a time cannot be read.
    """
    record = read.record
    created, updated = _times(CONTACT, record)
    stage = record.get(CONTACT.stage)
    fields, options = _fields(record, plan)
    return Deal(
        kind=DealKind.LEAD,
        id=record.number,
        version=read.version,
        created_at=created,
        updated_at=updated,
        pipeline=LIFECYCLE,
        stage=stage,
        outcome=Outcome.OPEN,
        origin=_origin(record, plan),
        fields=fields,
        clues=tuple(clues(record, plan, created)),
        history=lifecycle(record, updated),
        contacts=(_contact(record, is_main=True),),
        options=options,
    )


def deal(read: Read, plan: Plan, people: Plan) -> Deal:
    """A deal with its history, its contacts and the click that is known of it. ``people``: the plan for contacts.

    Raises:
        RecordInvalid: a time or an amount cannot be read.
    """
    record = read.record
    created, updated = _times(DEAL, record)
    history = stages(record, plan.names, updated)
    now = history[-1]
    main = read.people[0] if read.people else None
    value = _money(record.get("amount"), _currency(record, plan))
    fields, options = _fields(record, plan)
    return Deal(
        kind=DealKind.DEAL,
        id=record.number,
        version=read.version,
        created_at=created,
        updated_at=updated,
        pipeline=now.pipeline,
        stage=now.stage,
        outcome=now.outcome,
        value=value if value is not None and value.minor else None,
        closed_at=None if now.outcome is Outcome.OPEN else now.at,
        loss_reason=_loss_reason(record, now, plan),
        origin=_origin(record, plan) or (_origin(main, people) if main is not None else None),
        fields=fields,
        clues=clues_of_deal(record, plan, None if main is None else (main, people), created),
        history=history,
        value_changes=tuple(_values(record, plan)),
        parent=CONTACT.key(main.number) if main is not None and plan.rules.parents else None,
        contacts=tuple([_contact(one, is_main=one is main) for one in read.people]),
        options=options,
    )


def _times(entity: Entity, record: Record) -> tuple[datetime, datetime]:
    return known(record.get("createdate") or record.created_at), known(record.get(entity.changed))


def _currency(record: Record, plan: Plan) -> str:
    """Deals name a currency in portals with several only (contract 4)."""
    return record.get("deal_currency_code") or plan.rules.currency


def _money(amount: str, currency: str) -> Money | None:
    if not amount:
        return None
    try:
        exact = Decimal(amount)
        if exact.is_finite() and abs(exact) < _MOST and len(currency) == 3:
            return Money.of(exact, currency)
    except InvalidOperation:
        pass
    raise RecordInvalid("amount is no amount", code="bad_amount")


def _values(record: Record, plan: Plan) -> Iterator[ValueChange]:
    """Every amount the deal had; an empty one is zero. The currency is today's."""
    currency = _currency(record, plan)
    for change in record.history("amount"):
        yield ValueChange(known(change.timestamp), _money(change.value or "0", currency) or Money(0, currency))


def _loss_reason(record: Record, now: StageChange, plan: Plan) -> tuple[str, str] | None:
    """The reason's property where it is filled, else the stage itself."""
    if now.outcome is not Outcome.LOST:
        return None
    text = record.get(plan.loss_reason).strip()
    if text:
        return text, plan.names.label(DEAL, plan.loss_reason, text)
    return now.stage, plan.names.stage(now.pipeline, now.stage).name


def _origin(record: Record, plan: Plan) -> tuple[str, str] | None:
    source = record.get(ORIGIN)
    return (source, plan.names.label(plan.entity, ORIGIN, source)) if source else None


def _fields(record: Record, plan: Plan) -> tuple[Texts, Texts]:
    """Filled properties under their names and labels as people see them, and the options among them as stored.

    A stored value that reads like an option's label is left out: who names that means the label.
    """
    found: dict[str, tuple[str, ...]] = {}
    options: dict[str, tuple[str, ...]] = {}
    for name in plan.told:
        value = record.get(name)
        about = plan.names.about(plan.entity, name)
        if not value or about is None:
            continue
        called = (name, about.label) if about.label else (name,)
        labels = plan.labels.get(name)
        if labels is None:
            found.update(dict.fromkeys(called, (value,)))
            continue
        chosen = list(dict.fromkeys(value.split(";")))
        texts = dict.fromkeys([plan.names.label(plan.entity, name, one) for one in chosen])
        found.update(dict.fromkeys(called, tuple(texts)))
        stored = tuple([one for one in chosen if one.strip().casefold() not in labels])
        options.update(dict.fromkeys(called, stored))
    return found, options


def _contact(record: Record, *, is_main: bool) -> Contact:
    """Phones and the e-mail as typed."""
    phones = tuple(dict.fromkeys(text for name in PHONES if (text := record.get(name))))
    email = record.get("email")
    return Contact(record.number, phones, (email,) if email else (), is_main)

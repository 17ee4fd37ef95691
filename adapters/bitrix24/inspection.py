"""``bridge check`` for a portal: one batch of harmless reads, each line of it a finding."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime, timedelta

from adapters.bitrix24 import payments, product_rows, wire
from adapters.bitrix24.directory import Directory
from adapters.bitrix24.entities import DEAL, Entity
from adapters.bitrix24.mapping import Rules, moment
from adapters.bitrix24.portal import Command, Done, Portal
from bridge.errors import BridgeError, RecordInvalid
from bridge.model import frozen
from bridge.ports import Finding, Level
from bridge.tools import Clock

_SKEW_MAX = timedelta(minutes=2)


@frozen
class Wanted:
    """What is to be read of the portal; ``payments`` as in the settings, "unused" where no goal is per payment.

    ``with_rows``: entities whose product rows are to be read.
    """

    entities: Sequence[Entity]
    rules: Rules
    payments: str
    with_rows: Sequence[Entity] = ()


async def check(
    portal: Portal, wanted: Wanted, clock: Clock, read_names: Callable[[], Awaitable[Directory]]
) -> list[Finding]:
    """Findings about credentials, rights, the clock, date filters and configured fields. Never raises for them."""
    entities, rules, what = wanted.entities, wanted.rules, wanted.payments
    commands = {name: Command(name) for name in ("profile", "scope", "server.time")}
    commands.update({entity.name: _latest(entity) for entity in entities})
    try:
        got = await portal.batch(commands)
    except BridgeError as error:
        return [Finding(Level.ERROR, "credentials", str(error))]
    findings = [*_user(got["profile"]), *_scope(got["scope"]), *_clock(got["server.time"], clock.now())]
    if portal.moved_to is not None:
        text = f'the portal was renamed and is followed to its new address: set base_url to "{portal.moved_to}"'
        findings.append(Finding(Level.WARNING, "address", text))
    for entity in entities:
        findings += await _entity(portal, entity, got[entity.name])
    if what == "unused":
        findings.append(Finding(Level.OK, "payments", 'not read: no goal has per = "payment"'))
    elif what != "off":
        findings.append(await _payments(portal, what, got[DEAL.name]))
    for entity in wanted.with_rows:
        findings.append(await _product_rows(portal, entity, got[entity.name]))
    try:
        findings += _fields(await read_names(), entities, rules)
    except BridgeError as error:
        findings.append(Finding(Level.ERROR, "stages and fields", str(error)))
    return findings


def _latest(entity: Entity) -> Command:
    params = {**_marks(entity), "filter": {}, "order": {entity.time_field: "DESC"}}
    return Command(entity.list_method, params)


def _marks(entity: Entity) -> dict[str, object]:
    return {**entity.params, "select": [entity.id_field, entity.time_field], "start": -1}


def _user(done: Done) -> Iterator[Finding]:
    try:
        profile = done.rows(wire.PROFILE)
    except BridgeError as error:
        yield Finding(Level.ERROR, "credentials", str(error))
        return
    if not isinstance(profile, wire.Profile):
        yield Finding(Level.ERROR, "credentials", "their user is not active: make new ones under another employee")
        return
    yield Finding(Level.OK, "credentials", f"accepted, as user {profile.id}")
    if not profile.admin:
        text = "their user is no administrator: records this user may not read are left out without a word"
        yield Finding(Level.WARNING, "rights", text)
    if profile.time_zone:
        text = f"their user has a time zone of their own ({profile.time_zone}): date filters may shift"
        yield Finding(Level.WARNING, "time zone", f"{text}; clear it in the user's profile")


def _scope(done: Done) -> Iterator[Finding]:
    try:
        granted = done.rows(wire.TEXTS)
    except BridgeError as error:
        yield Finding(Level.WARNING, "scope", str(error))
        return
    if "crm" in granted:
        yield Finding(Level.OK, "scope", "crm is granted")
    else:
        yield Finding(
            Level.ERROR, "scope", "crm is not granted: tick CRM in the settings of the webhook or application"
        )


def _clock(done: Done, now: datetime) -> Iterator[Finding]:
    try:
        theirs = moment(done.rows(wire.TEXT))
    except BridgeError as error:
        yield Finding(Level.WARNING, "clock", str(error))
        return
    skew = abs(theirs - now) if theirs else timedelta(0)
    zone = done.rows(wire.TEXT)[19:]
    if skew > _SKEW_MAX:
        text = f"the portal's clock and ours differ by {round(skew.total_seconds())} s: set ours by NTP"
        yield Finding(Level.WARNING, "clock", text)
    else:
        yield Finding(Level.OK, "clock", f"agrees with the portal's, whose zone is {zone}")


async def _entity(portal: Portal, entity: Entity, done: Done) -> list[Finding]:
    """Is the entity readable, and does a date filter find its latest record again?"""
    try:
        rows = done.listed()
        if not rows:
            return [Finding(Level.OK, entity.title, "readable; there are none (or none this user may read)")]
        at = moment(rows[0].modified)
        if at is None or await _is_found(portal, entity, rows[0].id, at):
            return [Finding(Level.OK, entity.title, "readable, date filters work")]
    except BridgeError as error:
        return [Finding(Level.ERROR, entity.title, str(error))]
    text = "a date filter does not find the latest record: use credentials of a user without a time zone of their own"
    return [Finding(Level.ERROR, entity.title, text)]


async def _payments(portal: Portal, what: str, deals: Done) -> Finding:
    """Are the payments of the latest deal, or its invoices, readable?"""
    try:
        listed = [str(row.id) for row in deals.listed()]
        if what == "invoices":
            await payments.invoices_of(portal, listed or ["0"])
            return Finding(Level.OK, "payments", "smart invoices are readable")
        if not listed:
            return Finding(Level.OK, "payments", "there is no deal to try them with")
        found = await payments.of_deals(portal, listed, "RUB")
    except BridgeError as error:
        return Finding(Level.ERROR, "payments", str(error))
    refused = [str(item) for item in found.values() if isinstance(item, RecordInvalid)]
    return Finding(Level.ERROR if refused else Level.OK, "payments", "; ".join(refused) or "readable")


async def _product_rows(portal: Portal, entity: Entity, latest: Done) -> Finding:
    """Are the product rows of the entity's latest record readable?"""
    subject = f"product rows of {entity.title}"
    try:
        keys = {entity.key(row.id): entity for row in latest.listed()}
        found = await product_rows.of_records(portal, keys)
    except BridgeError as error:
        return Finding(Level.ERROR, subject, str(error))
    refused = [str(item) for item in found.values() if isinstance(item, RecordInvalid)]
    fine = "readable" if keys else "there is no record to try them with"
    return Finding(Level.ERROR if refused else Level.OK, subject, "; ".join(refused) or fine)


async def _is_found(portal: Portal, entity: Entity, identifier: int, at: datetime) -> bool:
    """Whether the record is inside a window of two minutes around its own time (or was modified since)."""
    span, this = timedelta(minutes=1), {entity.id_field: identifier}
    around = {f">={entity.time_field}": (at - span).isoformat(), f"<{entity.time_field}": (at + span).isoformat()}
    filters = {"in": {**this, **around}, "now": this}
    commands = {name: Command(entity.list_method, {**_marks(entity), "filter": f}) for name, f in filters.items()}
    got = await portal.batch(commands)
    now = got["now"].listed()
    is_unchanged = bool(now) and moment(now[0].modified) == at
    return bool(got["in"].listed()) or not is_unchanged


def _fields(names: Directory, entities: Sequence[Entity], rules: Rules) -> Iterator[Finding]:
    """Each configured field exists in at least one entity; else the nearest real names."""
    wanted = [(f"fields.{id_kind}", name) for id_kind, configured in rules.fields.items() for name in configured]
    if rules.loss_reason_field:
        wanted.append(("loss_reason_field", rules.loss_reason_field))
    for setting, name in wanted:
        missing = [entity for entity in entities if names.code(entity, name) is None]
        if not missing:
            yield Finding(Level.OK, setting, f'"{name}" exists')
        elif len(missing) < len(entities):
            yield Finding(Level.WARNING, setting, f'"{name}" does not exist for {missing[0].title}')
        else:
            near = dict.fromkeys(text for entity in entities for text in names.nearest(entity, name))
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            yield Finding(Level.ERROR, setting, f'no field has the code or label "{name}"{hint}')

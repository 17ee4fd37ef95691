"""``bridge check`` for a portal: one batch of harmless reads, each line of it a finding."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime, timedelta

from adapters.bitrix24 import wire
from adapters.bitrix24.directory import Directory
from adapters.bitrix24.mapping import Rules, moment
from adapters.bitrix24.portal import Command, Done, Portal
from bridge.errors import BridgeError
from bridge.model import DealKind
from bridge.ports import Clock, Finding, Level

_SKEW_MAX = timedelta(minutes=2)


async def check(
    portal: Portal,
    kinds: Sequence[DealKind],
    rules: Rules,
    clock: Clock,
    read_names: Callable[[], Awaitable[Directory]],
) -> list[Finding]:
    """Findings about credentials, rights, the clock, date filters and configured fields. Never raises for them."""
    commands = {name: Command(name) for name in ("profile", "scope", "server.time")}
    commands.update({kind: Command(f"crm.{kind}.list", _latest()) for kind in kinds})
    try:
        got = await portal.batch(commands)
    except BridgeError as error:
        return [Finding(Level.ERROR, "credentials", str(error))]
    findings = [*_user(got["profile"]), *_scope(got["scope"]), *_clock(got["server.time"], clock.now())]
    if portal.moved_to is not None:
        text = f'the portal was renamed and is followed to its new address: set base_url to "{portal.moved_to}"'
        findings.append(Finding(Level.WARNING, "address", text))
    for kind in kinds:
        findings += await _entity(portal, kind, got[kind])
    try:
        findings += _fields(await read_names(), kinds, rules)
    except BridgeError as error:
        findings.append(Finding(Level.ERROR, "stages and fields", str(error)))
    return findings


def _latest() -> dict[str, object]:
    return {"select": ["ID", "DATE_MODIFY"], "filter": {}, "order": {"DATE_MODIFY": "DESC"}, "start": -1}


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
    if skew > _SKEW_MAX:
        text = f"the portal's clock and ours differ by {round(skew.total_seconds())} s: set ours by NTP"
        yield Finding(Level.WARNING, "clock", text)
    else:
        yield Finding(Level.OK, "clock", "agrees with the portal's")


async def _entity(portal: Portal, kind: DealKind, done: Done) -> list[Finding]:
    """Is the entity readable, and does a date filter find its latest record again?"""
    try:
        rows = done.rows(wire.ROWS)
        if not rows:
            return [Finding(Level.OK, f"{kind}s", "readable; there are none (or none this user may read)")]
        at = moment(rows[0].get("DATE_MODIFY"))
        if at is None or await _is_found(portal, kind, str(rows[0].get("ID")), at):
            return [Finding(Level.OK, f"{kind}s", "readable, date filters work")]
    except BridgeError as error:
        return [Finding(Level.ERROR, f"{kind}s", str(error))]
    text = "a date filter does not find the latest record: use credentials of a user without a time zone of their own"
    return [Finding(Level.ERROR, f"{kind}s", text)]


async def _is_found(portal: Portal, kind: DealKind, identifier: str, at: datetime) -> bool:
    """Whether the record is inside a window of two minutes around its own time (or was modified since)."""
    span = timedelta(minutes=1)
    around = {"ID": identifier, ">=DATE_MODIFY": (at - span).isoformat(), "<DATE_MODIFY": (at + span).isoformat()}
    select = {"select": ["ID", "DATE_MODIFY"], "start": -1}
    filters = {"in": around, "now": {"ID": identifier}}
    commands = {name: Command(f"crm.{kind}.list", {**select, "filter": only}) for name, only in filters.items()}
    got = await portal.batch(commands)
    now = got["now"].rows(wire.ROWS)
    is_unchanged = bool(now) and moment(now[0].get("DATE_MODIFY")) == at
    return bool(got["in"].rows(wire.ROWS)) or not is_unchanged


def _fields(names: Directory, kinds: Sequence[DealKind], rules: Rules) -> Iterator[Finding]:
    """Each configured field exists in at least one entity; else the nearest real names."""
    wanted = [(f"fields.{id_kind}", name) for id_kind, configured in rules.fields.items() for name in configured]
    if rules.loss_reason_field:
        wanted.append(("loss_reason_field", rules.loss_reason_field))
    for setting, name in wanted:
        missing = [kind for kind in kinds if names.code(kind, name) is None]
        if not missing:
            yield Finding(Level.OK, setting, f'"{name}" exists')
        elif len(missing) < len(kinds):
            yield Finding(Level.WARNING, setting, f'"{name}" does not exist for {missing[0]}s')
        else:
            near = dict.fromkeys(text for kind in kinds for text in names.nearest(kind, name))
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            yield Finding(Level.ERROR, setting, f'no field has the code or label "{name}"{hint}')

"""The simulated account's content: leads, contacts and events, made from what happens in the imaginary business.

Built to serve a page of 250 leads out of many thousands in a few milliseconds: custom fields are encoded once, rows are
formatted straight to bytes, and both time lines are sorted only when something has moved.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Protocol
from urllib.parse import parse_qsl, urlsplit

import msgspec

from bridge.sim.events import LOSS_REASONS, STAGE_TITLES, Carrier, Click, Happening, StageName
from bridge.sim.events import Lead as WorldLead

ACCOUNT = 31234567
FIRST_LEAD = 10_500_000  # the world's lead 1 is 10500001
FIRST_CONTACT = 20_000_000
FIRST_OWN_CONTACT = 30_000_000  # second cards of a person, by lead
PIPELINE = 5204001
SERVICE = 5204002
UNSORTED = 47001000
STAGES = {
    StageName.NEW: 47001001,
    StageName.CONTACTED: 47001002,
    StageName.QUALIFIED: 47001003,
    StageName.MEETING: 47001004,
    StageName.WON: 142,
    StageName.LOST: 143,
}
CLOSED = (142, 143)
REASONS = {name: 8801 + number for number, name in enumerate(LOSS_REASONS)}
USER = 7902001

_TRACKING = (
    *(f"UTM_{name}" for name in ("CONTENT", "MEDIUM", "CAMPAIGN", "SOURCE", "TERM", "REFERRER")),
    *("ROISTAT", "REFERRER"),
    *(f"OPENSTAT_{name}" for name in ("SERVICE", "CAMPAIGN", "AD", "SOURCE")),
    *("FROM", "GCLIENTID", "_YM_UID", "_YM_COUNTER", "GCLID", "YCLID", "FBCLID"),
)
# (id, name, code, type); the hand-made "yclid" shares its name with the predefined one (contract amocrm 15.20)
LEAD_FIELDS: tuple[tuple[int, str, str | None, str], ...] = (
    *((610_901 + number, code.lower(), code, "tracking_data") for number, code in enumerate(_TRACKING)),
    (774_301, "Номер заказа", None, "numeric"),
    (774_302, "yclid", None, "text"),
    (774_303, "gclid", None, "text"),
    (774_304, "ClientID", None, "text"),
    (774_305, "Страница заявки", None, "url"),
    (774_306, "Оплата", None, "select"),
    *((780_000 + number, f"Поле {number}", None, "text") for number in range(1, 31)),
)
CONTACT_FIELDS: tuple[tuple[int, str, str | None, str], ...] = (
    (620_921, "Телефон", "PHONE", "multitext"),
    (620_923, "Email", "EMAIL", "multitext"),
    (620_925, "Должность", "POSITION", "text"),
)
_encode = msgspec.json.encode


def _prefix(item: tuple[int, str, str | None, str]) -> bytes:
    own_id, name, code, kind = item
    parts = (own_id, _encode(name), _encode(code), _encode(kind))
    return b'{"field_id":%d,"field_name":%b,"field_code":%b,"field_type":%b,"values":' % parts


_BY_CODE = {item[2]: _prefix(item) for item in (*LEAD_FIELDS, *CONTACT_FIELDS) if item[2]}
_BY_NAME = {item[1]: _prefix(item) for item in LEAD_FIELDS if not item[2]}
_CARD = b'{"enum_id":497401,"enum_code":null,"value":"\xd0\x9a\xd0\xb0\xd1\x80\xd1\x82\xd0\xb0"}'


def _filled(prefix: bytes, text: str) -> bytes:
    return b'%b[{"value":%b}]}' % (prefix, _encode(text))


@dataclass(slots=True, eq=False)
class SimLead:
    """One lead as the account keeps it. ``key`` orders by (updated_at, id); texts are JSON already."""

    id: int
    created_at: int
    name: bytes
    contact: int
    origin: tuple[int, bytes]
    tags: bytes
    custom: bytes
    status: int = STAGES[StageName.NEW]
    pipeline: int = PIPELINE
    price: int = 0
    cents: int = 0  # beyond the whole units, which only Kommo keeps
    updated_at: int = 0
    closed_at: int | None = None
    loss_reason: str | None = None
    is_deleted: bool = False
    key: int = 0

    def touch(self, at: int) -> None:
        self.updated_at = at
        self.key = at << 40 | self.id


@dataclass(slots=True, eq=False)
class SimContact:
    id: int
    name: str
    created_at: int
    updated_at: int
    phones: list[str] = field(default_factory=list)
    emails: list[str] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class SimEvent:
    """``before`` and ``after`` are JSON already."""

    id: str
    type: str
    lead: int
    at: int
    before: bytes
    after: bytes


@dataclass(slots=True, eq=False)
class SimForm:
    """A form by which a lead came in and nobody has accepted yet, unless ``is_decided``."""

    lead: int
    created_at: int
    page: str
    referer: str
    is_decided: bool = False


class Tell(Protocol):
    """Who wants to know what happens to leads: the webhooks."""

    def __call__(self, action: str, lead: SimLead, old_status: int | None = None) -> None: ...


class Store:
    """Everything in the account. ``happen`` writes, the rest reads."""

    def __init__(self, *, keeps_closed_at: bool = False) -> None:
        self.leads: dict[int, SimLead] = {}
        self.contacts: dict[int, SimContact] = {}
        self.events: dict[str, list[SimEvent]] = {}  # by type, in order of writing
        self.events_of: dict[int, list[SimEvent]] = {}
        self.origins: dict[str, tuple[int, bytes]] = {}
        self.has_deleted = False
        self.unlisted: set[int] = set()  # leads that lists by time pass over: a fault no contract tells of
        self.forms: list[SimForm] = []
        self.tell: Tell = lambda action, lead, old_status=None: None
        self._keeps_closed_at = keeps_closed_at
        self._line: list[SimLead] = []
        self._is_sorted = True
        self._unsorted_events: set[str] = set()
        self._written = 0

    # --- writing ---

    def happen(self, event: Happening) -> None:
        """Let a lead appear or take a step; the second of the happening is the second of the write."""
        at = int(event.at.timestamp())
        lead = self._add(event.lead, at) if event.is_new else self.leads[FIRST_LEAD + event.lead.id]
        step = event.step
        if step.value is not None:
            self._set_price(lead, int(step.value), at)
        is_moved = STAGES[step.stage] != lead.status
        if is_moved:
            self.move(lead, STAGES[step.stage], at, step.loss_reason)
        lead.touch(at)
        self._is_sorted = False
        if event.is_new or not is_moved:
            self.tell("add" if event.is_new else "update", lead)

    def move(
        self, lead: SimLead, status: int, at: int, loss_reason: str | None = None, *, pipeline: int | None = None
    ) -> None:
        """Change the stage, or the pipeline as well, with its event (contract amocrm 6)."""
        pipeline = pipeline or lead.pipeline
        before = b'[{"lead_status":{"id":%d,"pipeline_id":%d}}]' % (lead.status, lead.pipeline)
        after = b'[{"lead_status":{"id":%d,"pipeline_id":%d}}]' % (status, pipeline)
        self._write("lead_status_changed", lead.id, at, before, after)
        old, lead.status, lead.pipeline = lead.status, status, pipeline
        lead.loss_reason = loss_reason if status == 143 else None
        if status in CLOSED:
            lead.closed_at = at
        elif not self._keeps_closed_at:
            lead.closed_at = None
        lead.touch(at)
        self._is_sorted = False
        self.tell("status", lead, old)
        self.tell("update", lead)

    def delete(self, lead_id: int, at: int) -> None:
        """Move a lead to the bin: only a stub is left of it (contract amocrm 2.5)."""
        lead = self.leads[lead_id]
        lead.is_deleted = self.has_deleted = True
        lead.touch(at)
        self._is_sorted = False
        self._write("lead_deleted", lead_id, at, b"[]", b"[]")
        self.tell("delete", lead)

    def come_in(self, lead_id: int, at: int, page: str, referer: str = "") -> None:
        """Let a lead wait among the incoming ones (contract amocrm 7)."""
        lead = self.leads[lead_id]
        lead.status = UNSORTED
        lead.touch(at)
        self._is_sorted = False
        self.forms.append(SimForm(lead_id, at, page, referer))

    def decide(self, lead_id: int, at: int, *, accepts: bool) -> None:
        """Accept an incoming lead into the first stage, or decline it, which throws it away."""
        for form in self.forms:
            form.is_decided |= form.lead == lead_id
        if accepts:
            self.move(self.leads[lead_id], STAGES[StageName.NEW], at)
        else:
            self.delete(lead_id, at)

    def restore(self, lead_id: int, at: int, *, touches: bool = True) -> None:
        """Take a lead out of the bin. Whether that counts as a modification is not verified (contract amocrm 17)."""
        lead = self.leads[lead_id]
        lead.is_deleted = False
        if touches:
            lead.touch(at)
            self._is_sorted = False
        self._write("lead_restored", lead_id, at, b"[]", b"[]")
        self.tell("restore", lead)

    def merge(self, survivor: int, loser: int, at: int, *, leaves_stub: bool = True) -> None:
        """Join two leads: the survivor takes what it lacks, and no event names the loser (contract amocrm 6, 13)."""
        kept, lost = self.leads[survivor], self.leads[loser]
        kept.price = kept.price or lost.price
        kept.custom = lost.custom if kept.custom == b"null" else kept.custom
        kept.touch(at)
        self._write("entity_merged", survivor, at, b"[]", b"[]")
        self.tell("update", kept)
        if leaves_stub:
            lost.is_deleted = self.has_deleted = True
            lost.touch(at)
        else:
            del self.leads[loser]
            self._line.remove(lost)
        self._is_sorted = False

    def edited(self, lead: SimLead, at: int) -> None:
        """Something else of a lead was changed, by a person or through the API: that is told like any change."""
        lead.touch(at)
        self._is_sorted = False
        self.tell("update", lead)

    def _set_price(self, lead: SimLead, price: int, at: int) -> None:
        before = b'[{"sale_field_value":{"sale":%d}}]' % lead.price
        self._write("sale_field_changed", lead.id, at, before, b'[{"sale_field_value":{"sale":%d}}]' % price)
        lead.price = price

    def _add(self, source: WorldLead, at: int) -> SimLead:
        origin = self.origins.setdefault(source.origin, (9001 + len(self.origins), _encode(source.origin)))
        tags = [{"id": 100_601 + len(tag), "name": tag, "color": None} for tag in source.tags]
        lead = SimLead(
            id=FIRST_LEAD + source.id,
            created_at=at,
            name=_encode(f"Заявка #{source.id}: {source.name}"),
            contact=self._contact(source, at),
            origin=origin,
            tags=_encode(tags),
            custom=custom_fields(source),
        )
        if lead.id not in self.leads:
            self._line.append(lead)
        self.leads[lead.id] = lead
        self._write("lead_added", lead.id, at, b"[]", b'[{"note":{"id":%d}}]' % (42_000_000 + source.id))
        return lead

    def _contact(self, source: WorldLead, at: int) -> int:
        """One card per person; every second lead that is known only by its contact gets a card of its own."""
        has_own_card = source.carrier is Carrier.CONTACT and source.id % 2 == 0
        own_id = FIRST_OWN_CONTACT + source.id if has_own_card else FIRST_CONTACT + source.person
        card = self.contacts.setdefault(own_id, SimContact(own_id, source.name, at, at))
        card.phones.extend(phone for phone in source.phones if phone not in card.phones)
        card.emails.extend(email for email in source.emails if email not in card.emails)
        card.updated_at = at
        return own_id

    def _write(self, kind: str, lead: int, at: int, before: bytes, after: bytes) -> None:
        self._written += 1
        event = SimEvent(f"{_ulid_time(at)}{self._written:016x}", kind, lead, at, before, after)
        self.events.setdefault(kind, []).append(event)
        self.events_of.setdefault(lead, []).append(event)
        self._unsorted_events.add(kind)

    # --- reading ---

    def line(self) -> list[SimLead]:
        """All leads in order of (updated_at, id), the deleted ones too."""
        if not self._is_sorted:
            self._line.sort(key=attrgetter("key"))
            self._is_sorted = True
        return self._line

    def updated(self, first: int, last: int) -> list[SimLead]:
        """Leads with ``first <= updated_at <= last``, in order of (updated_at, id)."""
        line = self.line()
        start = bisect_left(line, first << 40, key=attrgetter("key"))
        found = line[start : bisect_left(line, (last + 1) << 40, lo=start, key=attrgetter("key"))]
        return [lead for lead in found if lead.id not in self.unlisted] if self.unlisted else found

    def events_between(self, kinds: Sequence[str], first: int, last: int) -> list[SimEvent]:
        """Events of these types (all types when none is named) with ``first <= created_at <= last``, oldest first."""
        found: list[SimEvent] = []
        for kind in kinds or list(self.events):
            events = self._sorted_events(kind)
            start = bisect_left(events, first, key=attrgetter("at"))
            found += events[start : bisect_left(events, last + 1, lo=start, key=attrgetter("at"))]
        if len(kinds) != 1:
            found.sort(key=attrgetter("id"))
        return found

    def _sorted_events(self, kind: str) -> list[SimEvent]:
        events = self.events.get(kind, [])
        if kind in self._unsorted_events:
            events.sort(key=attrgetter("at"))
            self._unsorted_events.discard(kind)
        return events


_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [first + second for first in _CROCKFORD for second in _CROCKFORD]


def _ulid_time(at: int) -> str:
    """The ten characters a ULID spends on its time (milliseconds, 5 bits a letter)."""
    ms = at * 1000
    return "".join([_PAIRS[ms >> shift & 1023] for shift in (40, 30, 20, 10, 0)])


def custom_fields(lead: WorldLead) -> bytes:
    """What the lead's custom fields hold, by how this lead carries its identifiers; ``null`` when nothing."""
    found = _carried(lead)
    if lead.id % 3 == 0:
        found.append(_filled(_BY_NAME["Номер заказа"], str(14_000 + lead.id)))
    if lead.id % 5 == 0:
        found.append(b"%b[%b]}" % (_BY_NAME["Оплата"], _CARD))
    return b"[%b]" % b",".join(found) if found else b"null"


def _carried(lead: WorldLead) -> list[bytes]:
    if lead.carrier is Carrier.GARBAGE:
        return [_filled(_BY_CODE["YCLID"], lead.garbage), _filled(_BY_CODE["_YM_UID"], lead.garbage)]
    if lead.click is None:
        return []
    if lead.carrier is Carrier.URL:
        place = _BY_CODE["REFERRER"] if lead.id % 2 == 0 else _BY_NAME["Страница заявки"]
        return [*_utm(lead.click), _filled(place, lead.click.landing)]
    if lead.carrier is Carrier.UTM:
        return [*_utm(lead.click, skip="utm_content"), _filled(_BY_CODE["UTM_CONTENT"], _mark(lead))]
    if lead.carrier in (Carrier.FIELD, Carrier.CONVERTED):
        return [*_utm(lead.click), *_identifiers(lead.click, is_by_hand=lead.id % 4 == 0)]
    return []


def _mark(lead: WorldLead) -> str:
    click = lead.click
    assert click is not None
    kind, value = ("yclid", click.yclid) if click.yclid else ("gclid", click.gclid)
    return f"{kind}={value}" if lead.id % 2 == 0 else f"{kind}:{value}"


def _identifiers(click: Click, *, is_by_hand: bool) -> list[bytes]:
    """Predefined fields, or the hand-made ones some accounts fill instead."""
    if is_by_hand:
        pairs = (("yclid", click.yclid), ("gclid", click.gclid), ("ClientID", click.client_id))
        return [_filled(_BY_NAME[name], value) for name, value in pairs if value]
    codes = (("YCLID", click.yclid), ("GCLID", click.gclid), ("_YM_UID", click.client_id))
    return [_filled(_BY_CODE[code], value) for code, value in codes if value]


def _utm(click: Click, skip: str = "") -> list[bytes]:
    pairs = parse_qsl(urlsplit(click.landing).query)
    known = ((name.upper(), value) for name, value in pairs if name.startswith("utm_") and name != skip)
    return [_filled(_BY_CODE[code], value) for code, value in known if code in _BY_CODE]


_LEAD = (
    b'{"id":%d,"name":%b,"price":%d,"responsible_user_id":7902001,"group_id":0,"status_id":%d,"pipeline_id":%d,'
    b'"loss_reason_id":%b,"created_by":0,"updated_by":7902001,"created_at":%d,"updated_at":%d,"closed_at":%b,'
    b'"closest_task_at":null,"is_deleted":false,"custom_fields_values":%b,"score":null,"account_id":31234567,'
    b'"labor_cost":null,"_links":{"self":{"href":"https://sim.amocrm.ru/api/v4/leads/%d?limit=250&page=1"}},'
    b'"_embedded":{"tags":%b,"companies":[]%b}}'
)
_STUB = (
    b'{"id":%d,"name":null,"price":null,"responsible_user_id":null,"group_id":null,"status_id":null,'
    b'"pipeline_id":null,"loss_reason_id":null,"created_by":null,"updated_by":7902001,"created_at":null,'
    b'"updated_at":%d,"closed_at":null,"closest_task_at":null,"is_deleted":true,"custom_fields_values":null,'
    b'"score":null,"account_id":31234567,"_links":{"self":{"href":"https://sim.amocrm.ru/api/v4/leads/%d"}},'
    b'"_embedded":{"tags":[],"companies":[]}}'
)
_EVENT = (
    b'{"id":"%b","type":"%b","entity_id":%d,"entity_type":"lead","created_by":7902001,"created_at":%d,'
    b'"value_after":%b,"value_before":%b,"account_id":31234567,'
    b'"_links":{"self":{"href":"https://sim.amocrm.ru/api/v4/events/%b"}},'
    b'"_embedded":{"entity":{"id":%d,"_links":{"self":{"href":"https://sim.amocrm.ru/api/v4/leads/%d"}}}}}'
)


def lead_json(lead: SimLead, extras: frozenset[str]) -> bytes:
    """A lead as listed; ``extras`` is what ``with`` asked for (contract amocrm 2.2)."""
    if "minor units" in extras:
        whole = lead_json(lead, extras - {"minor units"})
        return b'%b,"price_with_minor_units":%d.%02d}' % (whole[:-1], lead.price, lead.cents)
    if lead.is_deleted:
        return _STUB % (lead.id, lead.updated_at, lead.id)
    reason = b"null" if lead.loss_reason is None else b"%d" % REASONS[lead.loss_reason]
    closed = b"null" if lead.closed_at is None else b"%d" % lead.closed_at
    state = (lead.id, lead.name, lead.price, lead.status, lead.pipeline, reason, lead.created_at, lead.updated_at)
    return _LEAD % (*state, closed, lead.custom, lead.id, lead.tags, _extras(lead, extras))


def _extras(lead: SimLead, extras: frozenset[str]) -> bytes:
    parts = [b""]
    if "contacts" in extras:
        parts.append(b'"contacts":[{"id":%d,"is_main":true,"_links":{}}]' % lead.contact)
    if "loss_reason" in extras:
        parts.append(b'"loss_reason":[%b]' % (b"" if lead.loss_reason is None else reason_json(lead.loss_reason)))
    if "source" in extras:
        parts.append(b'"source":{"id":%d,"name":%b}' % lead.origin)
    return b",".join(parts)


def reason_json(name: str) -> bytes:
    """A loss reason."""
    own_id = REASONS[name]
    parts = (own_id, _encode(name), own_id - 8800)
    return b'{"id":%d,"name":%b,"sort":%d,"created_at":1585299171,"updated_at":1585299171,"_links":{}}' % parts


def contact_json(contact: SimContact) -> bytes:
    """A contact with its phones and e-mails as typed (contract amocrm 4)."""
    fields = []
    for code, texts in (("PHONE", contact.phones), ("EMAIL", contact.emails)):
        if texts:
            values = [{"value": text, "enum_id": 374_001, "enum_code": "WORK"} for text in texts]
            fields.append(_BY_CODE[code] + _encode(values) + b"}")
    parts = (contact.id, _encode(contact.name), contact.created_at, contact.updated_at)
    custom = b"[%b]" % b",".join(fields) if fields else b"null"
    return (
        b'{"id":%d,"name":%b,"first_name":"","last_name":"","responsible_user_id":7902001,"group_id":0,"created_by":0,'
        b'"updated_by":7902001,"created_at":%d,"updated_at":%d,"closest_task_at":null,"is_deleted":false,'
        b'"is_unsorted":false,"custom_fields_values":%b,"account_id":31234567,"_links":{"self":{"href":""}},'
        b'"_embedded":{"tags":[],"companies":[]}}' % (*parts, custom)
    )


def form_json(form: SimForm) -> bytes:
    """An incoming lead that came by a form; types of its metadata vary (contract amocrm 15.22)."""
    metadata = {
        "form_id": "callback" if form.lead % 2 else 77,
        "form_page": form.page,
        "form_sent_at": str(form.created_at - 10),
        "referer": form.referer or None,
        "visitor_uid": None,
    }
    leads = [{"id": form.lead, "_links": {}}]
    body = {"uid": f"{form.lead:060x}", "category": "forms", "pipeline_id": PIPELINE, "created_at": form.created_at}
    return _encode({**body, "metadata": metadata, "_embedded": {"contacts": [], "leads": leads, "companies": []}})


def event_json(event: SimEvent) -> bytes:
    """An event (contract amocrm 6)."""
    own_id = event.id.encode()
    parts = (own_id, event.type.encode(), event.lead, event.at, event.after, event.before, own_id)
    return _EVENT % (*parts, event.lead, event.lead)


def pipeline_of(own_id: int, name: str, renamed: Mapping[int, str]) -> dict[str, object]:
    """A pipeline with its stages; 142 and 143 close every pipeline (contract amocrm 5).

    ``renamed`` are stages under other names than ours; one renamed to "" is not there any more.
    """
    base = (own_id - PIPELINE) * 100
    stages = [(UNSORTED + base, "Неразобранное", 10, 1)]
    for number, stage in enumerate(STAGES, start=2):
        closed = STAGES[stage] in CLOSED
        stages.append(
            (STAGES[stage] + (0 if closed else base), STAGE_TITLES[stage], number * (2000 if closed else 10), 0)
        )
    statuses = [
        {"id": i, "name": n, "sort": s, "is_editable": t == 0, "pipeline_id": own_id, "color": "#99ccff", "type": t}
        for i, own, s, t in stages
        if (n := renamed.get(i, own))
    ]
    head = {"id": own_id, "name": name, "sort": own_id - PIPELINE + 1, "is_main": own_id == PIPELINE}
    flags = {"is_unsorted_on": True, "is_archive": own_id != PIPELINE, "account_id": ACCOUNT, "_links": {}}
    return {**head, **flags, "_embedded": {"statuses": statuses}}

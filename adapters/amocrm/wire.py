"""amoCRM's JSON as typed structs, decoded straight from bytes. Only what is read stands here.

The bulky parts of a listed lead stay JSON until the lead turns out to be new: most of a poll is known already.

Numbers keep their digits: a fractional ``price`` becomes a Decimal, a fraction in a custom field the text it came as.
Names and links of leads are left out on purpose: we need neither, and a name may hold a person's.
"""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct, field
from msgspec.structs import replace

from bridge.errors import Drift, RecordInvalid

T = TypeVar("T")
UNREADABLE = "unreadable"  # code of a record that is not what the contract says

Seconds = Annotated[int, Meta(ge=0, le=253_402_300_799)]  # Unix time, up to the end of the calendar
Id = Annotated[int, Meta(ge=0, le=2**62)]
Amount = int | Decimal | None  # a whole number stays one: a Decimal is ten times as dear to make


class FieldValue(Struct, frozen=True, gc=False):
    """One value of a custom field: text, a number as text, a bool, Unix seconds, or a composite (contract 3.1)."""

    value: Any = None


class CustomField(Struct, frozen=True, gc=False):
    field_id: int
    field_name: str | None = None
    field_code: str | None = None
    field_type: str | None = None
    values: list[FieldValue] | None = None


class Tag(Struct, frozen=True, gc=False):
    name: str | None = None


class ContactLink(Struct, frozen=True, gc=False):
    id: int
    is_main: bool | None = None


class LossReason(Struct, frozen=True, gc=False):
    id: int
    name: str | None = None


class Origin(Struct, frozen=True, gc=False):
    id: int | None = None
    name: str | None = None


Reasons = list[LossReason] | LossReason | None  # an array in practice, an object in some digests (contract 3)
_NULL = Raw(b"null")


class LeadEmbedded(Struct, frozen=True, gc=False):
    """``contacts``, ``loss_reason`` and ``source`` are JSON still: see :class:`Details`."""

    tags: list[Tag] | None = None
    contacts: Raw = _NULL
    loss_reason: Raw = _NULL
    source: Raw = _NULL


class Lead(Struct, frozen=True, gc=False):
    """A lead as listed (contract amocrm 3). ``price`` is in whole units; ``price_with_minor_units`` is Kommo's."""

    id: Id
    created_at: Seconds
    updated_at: Seconds
    pipeline_id: int
    status_id: int
    price: Amount = None
    price_with_minor_units: Amount = None
    loss_reason_id: int | None = None
    closed_at: Seconds | None = None
    is_deleted: bool | None = None
    custom_fields_values: Raw = _NULL
    embedded: LeadEmbedded = field(name="_embedded", default_factory=LeadEmbedded)


class Details(Struct, frozen=True, gc=False):
    """The parts of a lead that a listing leaves undecoded."""

    custom_fields: list[CustomField] | None
    contacts: list[ContactLink] | None
    loss_reason: Reasons
    source: Origin | None


class Contact(Struct, frozen=True, gc=False):
    id: int
    custom_fields_values: list[CustomField] | None = None


class LeadStatus(Struct, frozen=True, gc=False):
    id: int
    pipeline_id: int


class Sale(Struct, frozen=True, gc=False):
    sale: int | None = None


class StatusValue(Struct, frozen=True, gc=False):
    """A stage, or a budget in whole units."""

    lead_status: LeadStatus | None = None
    sale_field_value: Sale | None = None


class StatusEvent(Struct, frozen=True, gc=False):
    """``lead_status_changed`` or ``sale_field_changed`` (contract amocrm 6); ``id`` is a ULID-like text."""

    id: str
    entity_id: Id
    created_at: Seconds
    value_after: list[StatusValue] | None = None
    value_before: list[StatusValue] | None = None
    type: str = ""


class FateEvent(Struct, frozen=True, gc=False):
    """``lead_deleted``, ``lead_restored`` or ``entity_merged``, which hold no values (contract amocrm 6)."""

    id: str
    type: str
    entity_id: Id
    created_at: Seconds


class Stub(Struct, frozen=True, gc=False):
    """What is left of a deleted lead: everything else is null (contract amocrm 2.5)."""

    id: Id
    updated_at: Seconds
    is_deleted: bool = False


class Form(Struct, frozen=True, gc=False):
    """Metadata of an incoming lead; types vary (contract amocrm 7, 15.22)."""

    form_page: Any = None
    referer: Any = None


class _LeadLink(Struct, frozen=True, gc=False):
    id: Id


class _UnsortedEmbedded(Struct, frozen=True, gc=False):
    leads: list[_LeadLink] | None = None


class Unsorted(Struct, frozen=True, gc=False):
    """An incoming lead that came by a form."""

    created_at: Seconds = 0
    metadata: Form = field(default_factory=Form)
    embedded: _UnsortedEmbedded = field(name="_embedded", default_factory=_UnsortedEmbedded)


class Status(Struct, frozen=True, gc=False):
    id: int
    name: str
    sort: int = 0


class Statuses(Struct, frozen=True, gc=False):
    statuses: list[Status]


class Pipeline(Struct, frozen=True, gc=False):
    id: int
    name: str
    is_archive: bool = False
    embedded: Statuses = field(name="_embedded", default_factory=lambda: Statuses([]))


# Types of custom fields (contract amocrm 3.1); values of others are read as far as they are text or numbers.
FIELD_TYPES = frozenset(
    (
        *("text", "textarea", "url", "streetaddress", "tracking_data", "numeric", "price", "monetary", "checkbox"),
        *("select", "radiobutton", "multiselect", "category", "multitext", "date", "date_time", "birthday"),
        *("smart_address", "legal_entity", "file", "linked_entity", "chained_list", "items", "payer", "supplier"),
        "org_legal_name",
    )
)


class FieldInfo(Struct, frozen=True, gc=False):
    """A custom field's definition (contract amocrm 3.3)."""

    id: int
    name: str
    code: str | None = None
    type: str = ""


class Account(Struct, frozen=True, gc=False):
    id: int
    name: str = ""
    subdomain: str = ""
    currency: str | None = None
    is_unsorted_on: bool | None = None
    is_api_filter_enabled: bool | None = None


class Webhook(Struct, frozen=True, gc=False):
    """A webhook as the account keeps it (contract amocrm 8.1). ``settings`` are the names of its events."""

    destination: str = ""
    settings: list[str] | dict[str, str] | None = None
    disabled: bool | int | None = None

    @property
    def events(self) -> list[str]:
        return list(self.settings.values()) if isinstance(self.settings, dict) else self.settings or []


class Issued(Struct, frozen=True, gc=False):
    """Answer of the token endpoint (contract amocrm 1.2); ``expires_in`` in seconds."""

    access_token: str
    refresh_token: str
    expires_in: int


class OAuthProblem(Struct, frozen=True, gc=False):
    hint: str | None = None


class FieldError(Struct, frozen=True, gc=False):
    code: str = ""
    path: str = ""


class ItemErrors(Struct, frozen=True, gc=False):
    errors: list[FieldError] = field(default_factory=list)


class Problem(Struct, frozen=True, gc=False):
    """An error body of the API (contract amocrm 12)."""

    items: list[ItemErrors] = field(name="validation-errors", default_factory=list)


class Home(Struct, frozen=True, gc=False):
    """Where an account is now: ``domain`` is its host (contract amocrm 1.5)."""

    domain: str


class _Link(Struct, frozen=True, gc=False):
    href: str


class _Links(Struct, frozen=True, gc=False):
    next: _Link | None = None


class Page(Struct, Generic[T], frozen=True, gc=False):
    """A page of any list: ``embedded`` maps the entity's plural name to its items."""

    embedded: dict[str, T] = field(name="_embedded")
    links: _Links = field(name="_links", default_factory=_Links)

    @property
    def has_next(self) -> bool:
        return self.links.next is not None


class _Trace(Struct, frozen=True, gc=False):
    id: int | str | None = None
    updated_at: Seconds | None = None


class Unreadable(Struct, frozen=True, gc=False):
    """An item that is valid JSON but not what the contract says. ``reason`` names the place, never the content."""

    id: str
    updated_at: int
    digest: str
    reason: str


class Rows(Struct, Generic[T], frozen=True, gc=False):
    """A decoded page: its items in the vendor's order, the ones nobody can read, and whether another page follows."""

    items: list[T]
    bad: list[Unreadable]
    has_next: bool


class Shape(Generic[T]):
    """How to read one kind of list: the plural name under ``_embedded`` and the type of an item."""

    def __init__(self, name: str, item: type[T]) -> None:
        self.name = name
        page = Page[list[item]]  # type: ignore[valid-type]  # a type made at run time, which mypy cannot follow
        self._fast: msgspec.json.Decoder[Page[list[T]]] = msgspec.json.Decoder(page, float_hook=str)
        self._item: msgspec.json.Decoder[T] = msgspec.json.Decoder(item, float_hook=str)

    def read(self, body: bytes) -> Rows[T]:
        """A page from bytes; one strange item does not spoil the others.

        Raises:
            Drift: the body is no JSON, or no page of this list.
        """
        try:
            page = self._fast.decode(body)
        except msgspec.ValidationError:
            return self._read_slowly(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Drift(f"amoCRM sent a page of {self.name} that is no JSON; it is read again later") from None
        if self.name not in page.embedded:
            raise Drift(f"amoCRM sent a page without {self.name}; the API may have changed")
        return Rows(page.embedded[self.name], [], page.has_next)

    def _read_slowly(self, body: bytes) -> Rows[T]:
        try:
            page = _RAW_PAGE.decode(body)
            raws = _RAW_LIST.decode(page.embedded[self.name])
        except (msgspec.DecodeError, KeyError):
            raise Drift(f"amoCRM sent something else than a page of {self.name}; the API may have changed") from None
        items: list[T] = []
        bad: list[Unreadable] = []
        for raw in raws:
            try:
                items.append(self._item.decode(raw))
            except msgspec.ValidationError as error:
                bad.append(_unreadable(raw, error))
        return Rows(items, bad, page.has_next)


_RAW_PAGE = msgspec.json.Decoder(Page[Raw])
_RAW_LIST = msgspec.json.Decoder(list[Raw])
_ENCODER = msgspec.json.Encoder()

LEADS = Shape("leads", Lead)
CONTACTS = Shape("contacts", Contact)
STUBS = Shape("leads", Stub)
UNSORTED = Shape("unsorted", Unsorted)
EVENTS = Shape("events", StatusEvent)
FATES = Shape("events", FateEvent)
PIPELINES = Shape("pipelines", Pipeline)
LOSS_REASONS = Shape("loss_reasons", LossReason)
CUSTOM_FIELDS = Shape("custom_fields", FieldInfo)
WEBHOOKS = Shape("webhooks", Webhook)


def _unreadable(raw: Raw, error: msgspec.ValidationError) -> Unreadable:
    content = msgspec.json.decode(raw)
    if isinstance(content, dict):
        content.pop("_links", None)
    digest = blake2b(_ENCODER.encode(content), digest_size=6).hexdigest()
    try:
        trace = msgspec.json.decode(raw, type=_Trace)
    except msgspec.ValidationError:
        trace = _Trace()
    own_id = f"?{digest}" if trace.id is None else str(trace.id)
    return Unreadable(own_id, trace.updated_at or 0, digest, str(error))


class OwnMark(Struct, frozen=True, gc=False):
    """What of a lead is our own mark, by configuration: a field under its id, code or name (casefolded), a tag."""

    field: str = ""
    tag: str = ""

    def owns(self, field: CustomField) -> bool:
        names = (str(field.field_id), field.field_code or "", field.field_name or "")
        return bool(self.field) and self.field in [name.casefold() for name in names]

    def fields(self, fields: list[CustomField] | None) -> list[CustomField] | None:
        """The others; None when there are none, as if ours had never been filled."""
        return [item for item in fields or () if not self.owns(item)] or None

    def tags(self, tags: list[Tag] | None) -> list[Tag] | None:
        """The others. Names of tags are as typed (contract amocrm 13)."""
        return [item for item in tags or () if (item.name or "") != self.tag] or None


NO_MARK = OwnMark()


def unmarked(lead: Lead, own: OwnMark) -> Lead:
    """The lead as if we had never marked it: everything that is read of a lead is read of this one."""
    if own == NO_MARK:
        return lead
    tags = own.tags(lead.embedded.tags) if own.tag else lead.embedded.tags
    fields = lead.custom_fields_values
    if own.field:
        with suppress(msgspec.DecodeError, UnicodeDecodeError):  # ``details_of`` will say so
            fields = Raw(_ENCODER.encode(own.fields(_FIELDS.decode(fields))))
    return replace(lead, custom_fields_values=fields, embedded=replace(lead.embedded, tags=tags))


_DIGEST = blake2b(digest_size=6)  # a copy takes less time than a new one


def version_of(lead: Lead) -> str:
    """Equal for equal content and different for any change we would read.

    Neither the order of tags counts (contract amocrm 13) nor a list's query inside a link.
    """
    embedded = lead.embedded
    contacts, reason, source = embedded.contacts, embedded.loss_reason, embedded.source
    tags = sorted([tag.name or "" for tag in embedded.tags]) if embedded.tags else ()
    price, exact, reason_id, closed_at = lead.price, lead.price_with_minor_units, lead.loss_reason_id, lead.closed_at
    place = lead.pipeline_id, lead.status_id
    scalars = (lead.created_at, *place, price, exact, reason_id, closed_at, lead.is_deleted, tags)
    start, fields = _ENCODER.encode(scalars), lead.custom_fields_values
    content = b"".join((start, fields, contacts, reason, source))
    if b"?" in content:
        content = b"".join((start, fields, _plain_links(contacts), reason, source))
    digest = _DIGEST.copy()
    digest.update(content)
    return f"{lead.updated_at}-{digest.hexdigest()}"


def _plain_links(contacts: Raw) -> bytes | Raw:
    """Links to contacts without their addresses, where these hold a query."""
    if b"?" not in bytes(contacts):
        return contacts
    try:
        return _ENCODER.encode(_LINKS.decode(contacts))
    except msgspec.ValidationError:  # ``details_of`` will say so
        return contacts


_FIELDS: msgspec.json.Decoder[list[CustomField] | None]
_FIELDS = msgspec.json.Decoder(list[CustomField] | None, float_hook=str)
_LINKS: msgspec.json.Decoder[list[ContactLink] | None] = msgspec.json.Decoder(list[ContactLink] | None)
_REASONS = msgspec.json.Decoder(Reasons)
_SOURCE = msgspec.json.Decoder(Origin | None)


def details_of(lead: Lead) -> Details:
    """The rest of a listed lead.

    Raises:
        RecordInvalid: it is not what the contract says; the message names the place, never the content.
    """
    embedded = lead.embedded
    return Details(
        fields_of(lead),
        links_of(lead),
        _common_part(_REASONS, bytes(embedded.loss_reason), "loss_reason"),
        _common_part(_SOURCE, bytes(embedded.source), "source"),
    )


def fields_of(lead: Lead) -> list[CustomField] | None:
    """Its custom fields; raises what ``details_of`` does."""
    return _part(_FIELDS, lead.custom_fields_values, "custom_fields_values")


def links_of(lead: Lead) -> list[ContactLink] | None:
    """Its contacts; raises what ``details_of`` does."""
    return _part(_LINKS, lead.embedded.contacts, "contacts")


def _part(decoder: msgspec.json.Decoder[T], raw: Raw | bytes, name: str) -> T:
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RecordInvalid(f"{name}: {error}", code=UNREADABLE) from None


_common_part = lru_cache(maxsize=1024)(_part)  # for what an account has a few dozen of

Answer = TypeVar("Answer", bound=Struct)


def read_one(body: bytes, shape: type[Answer], what: str) -> Answer:
    """One JSON object.

    Raises:
        Drift: the body is no JSON, or not the object the contract promises.
    """
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Drift(f"amoCRM sent an unreadable {what}; the API may have changed") from None

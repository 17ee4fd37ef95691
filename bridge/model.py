"""The domain: what a CRM told us, what we judged, what we promised. Standard library only.

Everything here is an immutable value. Times are aware UTC datetimes, money is integer minor units with
an ISO 4217 currency, identifiers are text (a yclid can exceed 64 bits). Raw phones and e-mails exist only
inside :class:`Contact`, whose ``repr`` hides them; they never pass the border (``identity.seal_contacts``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum

from bridge.frozen import frozen as frozen  # noqa: PLC0414 - handed on: whoever imports the domain needs it
from bridge.frozen import replace
from bridge.products import Product

# Currencies whose minor unit is not 1/100 (ISO 4217); everything else has two decimals.
_EXPONENTS = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF"), 0),
    **dict.fromkeys(("XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}


def currency_exponent(currency: str) -> int:
    """Number of decimals of a currency's minor unit (2 unless ISO 4217 says otherwise)."""
    return _EXPONENTS.get(currency, 2)


@frozen
class Money:
    """An amount in integer minor units (kopecks, cents) of an ISO 4217 currency."""

    minor: int
    currency: str

    @classmethod
    def of(cls, amount: Decimal | int | str, currency: str) -> Money:
        """Money from an amount in whole units, rounded half up to the minor unit.

        Raises:
            decimal.InvalidOperation: the text is no finite number.
        """
        exact = Decimal(amount).scaleb(currency_exponent(currency))
        return cls(int(exact.to_integral_value(ROUND_HALF_UP)), currency)

    @property
    def amount(self) -> Decimal:
        """The amount in whole units, with exactly the currency's decimals (``Decimal('1500.00')``)."""
        exponent = currency_exponent(self.currency)
        return Decimal(self.minor).scaleb(-exponent).quantize(Decimal(1).scaleb(-exponent))

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"


class IdKind(StrEnum):
    """Click and visitor identifiers under their own names."""

    YCLID = "yclid"
    YMCLID = "ymclid"
    GCLID = "gclid"
    GBRAID = "gbraid"
    WBRAID = "wbraid"
    CLIENT_ID = "client_id"  # Metrica ClientID (cookie _ym_uid)
    USER_ID = "user_id"  # Metrica UserID
    PURCHASE_ID = "purchase_id"  # Metrica PurchaseId
    GA_CLIENT_ID = "ga_client_id"
    GA_SESSION_ID = "ga_session_id"  # tells which visit of a GA client_id; no click by itself
    FBCLID = "fbclid"
    FB_LEAD_ID = "fb_lead_id"  # of a lead from Meta's lead forms ("lead_id" there)
    RB_CLICKID = "rb_clickid"
    ROISTAT = "roistat"
    LEAD_KEY = "lead_key"  # our own: names a form that our collector knows; tells of no click by itself


TOLD = tuple([kind for kind in IdKind if kind is not IdKind.LEAD_KEY])  # those that mean something to others
COMPANIONS = frozenset((IdKind.GA_SESSION_ID,))  # without another identifier they tell of no click


class DealKind(StrEnum):
    """Which entity a deal is. A lead may turn into a deal; an item belongs to a process of the CRM's own; calls, forms
    (what came in writing) and visits are touches of trackers: they serve other sources' deals and are never judged.
    """

    LEAD = "lead"
    DEAL = "deal"
    ITEM = "item"
    CALL = "call"
    FORM = "form"
    VISIT = "visit"


class Outcome(StrEnum):
    OPEN = "open"
    WON = "won"
    LOST = "lost"


@frozen
class Identifier:
    """A recognised, well-formed identifier. ``found_in`` names the place ("field YCLID"), never its content."""

    kind: IdKind
    value: str
    found_in: str = ""


ONCE = "incoming form: "  # begins ``Clue.where`` of a text that its source shows for a while only


@frozen
class Clue:
    """A text of a CRM record where identifiers may be found.

    With ``kind`` set the text is that identifier (a mapped or predefined field); without it the text is a URL,
    a referrer or a utm value to be searched. ``where`` names the place for ``explain`` ("field YCLID").
    """

    where: str
    text: str = field(repr=False)
    kind: IdKind | None = None


@frozen
class Contact:
    """A person of the CRM, raw. Lives in memory between the adapter and the border, never in store or logs.

    ``addresses``: the IP addresses a form was sent from, where its source knows them.
    """

    id: str
    phones: tuple[str, ...] = field(default=(), repr=False)
    emails: tuple[str, ...] = field(default=(), repr=False)
    is_main: bool = False
    addresses: tuple[str, ...] = field(default=(), repr=False)


@frozen
class Person:
    """What is left of a contact behind the border: digests only.

    ``joins`` are for our own matching: ``phone:``, ``email:`` or ``contact:`` and a per-tenant HMAC. The others are the
    vendors' unsalted digests (Google: SHA-256 of the E.164 phone / normalised e-mail; Metrica CRM: MD5; Meta, the last
    two: SHA-256 of the phone's digits / the e-mail in lower case).
    """

    joins: tuple[str, ...] = ()
    phone_sha256: tuple[str, ...] = ()
    email_sha256: tuple[str, ...] = ()
    phone_md5: tuple[str, ...] = ()
    email_md5: tuple[str, ...] = ()
    phone_digits_sha256: tuple[str, ...] = ()
    email_lower_sha256: tuple[str, ...] = ()


@frozen
class StageChange:
    """A deal entered a stage. ``source`` says where the time comes from ("events", "stage history", "record")."""

    at: datetime
    pipeline: str
    stage: str
    outcome: Outcome
    source: str


@frozen
class ValueChange:
    """What a deal was worth from ``at`` on."""

    at: datetime
    value: Money


class PaymentState(StrEnum):
    UNPAID = "unpaid"
    PAID = "paid"
    REFUNDED = "refunded"  # it was paid and is not any more


@frozen
class Payment:
    """One payment of a deal. ``id`` is unique within its source and begins with what it is: ``payment:887``.

    ``paid_at`` is the CRM's own time of the payment; None while it is not paid, or where the CRM tells none.
    """

    id: str
    state: PaymentState
    value: Money
    paid_at: datetime | None = None

    @property
    def kind(self) -> str:
        """What stands for money received: "payment", "invoice". A deal is counted by one kind only."""
        return self.id.partition(":")[0]


@frozen
class Signal:
    """Something that speaks for spam. ``evidence`` holds nothing personal; ``is_enough``: alone it makes spam."""

    name: str
    evidence: str
    is_enough: bool = False


@frozen
class Learnt:
    """What another record tells of a deal. ``known_from`` names it (``lead:5``, ``collector/form:bl...``)."""

    values: tuple[str, ...]
    known_from: str


@frozen
class Background:
    """What judging knows of a deal beside its own facts, worked out anew each time; ``channel``: by which it came,
    ``learnt``: facts that goals ask for, and consent, as its lead or form tells them, by name.
    """

    channel: str = ""
    signals: tuple[Signal, ...] = ()
    is_spam: bool = False
    learnt: Mapping[str, Learnt] = field(default_factory=dict)


class _Named:
    """Holds a deal's name, which judging asks for some thirty times; no field, so it is neither stored nor compared."""

    key: str  # unique within a source: ``lead:5123``, ``deal:7310``, ``item:1032-15``, ``call:700100200``


@frozen
class Deal(_Named):
    """One CRM entity the business works, as read at one moment.

    ``version`` changes whenever anything we read changes. ``pipeline`` and ``stage`` are the CRM's ids ("" where it has
    none); ``loss_reason`` is (id, name). ``history`` is every known stage entry in time order, the current stage last.
    ``fields`` are custom fields as people see them, under each of their names, codes and ids; ``options``, under the
    same, by what a list field's choices are stored where that is another text. ``value_changes`` are its known values
    in time order where it had several, else empty. ``contacts`` is raw and empty behind the border; ``persons`` is its
    digest and empty before it. ``payments`` and ``products`` are all it has, None where they were not read. Of a deal
    that ``is_deleted`` a source may tell no more than that, ``updated_at`` and (``merged_into``) the key of the record
    that has taken it in; what is stored of it stays. ``signs`` are names of what looked odd where it came in;
    ``crowds`` digests of landing page and IP address, by which crowds are recognised. ``noted`` is what goals look at
    of texts and contacts that are not kept (``noting``).
    """

    kind: DealKind
    id: str
    version: str
    created_at: datetime
    updated_at: datetime
    pipeline: str
    stage: str
    outcome: Outcome
    value: Money | None = None
    closed_at: datetime | None = None
    loss_reason: tuple[str, str] | None = None
    origin: tuple[str, str] | None = None  # the CRM's own "source" of the lead: (id, name)
    tags: tuple[str, ...] = ()
    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    clues: tuple[Clue, ...] = ()
    history: tuple[StageChange, ...] = ()
    value_changes: tuple[ValueChange, ...] = ()
    parent: str | None = None  # key of the lead this deal was converted from
    came_at: datetime | None = None  # when that lead came in, where that is known and leads become deals
    contacts: tuple[Contact, ...] = ()
    persons: tuple[Person, ...] = ()
    is_deleted: bool = False
    payments: tuple[Payment, ...] | None = None
    products: tuple[Product, ...] | None = None
    merged_into: str | None = None
    noted: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    signs: tuple[str, ...] = ()
    crowds: tuple[str, ...] = ()
    background: Background | None = None
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.__dict__["key"] = f"{self.kind}:{self.id}"

    def __copy__(self) -> Deal:
        """msgspec's own copies leave ``key`` behind."""
        return replace(self)

    @property
    def came(self) -> datetime:
        """When it came in; a click of later did not bring it."""
        return self.came_at or self.created_at

    @property
    def is_spam(self) -> bool:
        """Whether the tenant's spam rules say so."""
        return self.background is not None and self.background.is_spam

    def value_at(self, moment: datetime) -> Money | None:
        """What the deal was worth then, as far as that is known; before its first known value that one, else now's."""
        if not self.value_changes:
            return self.value
        past = [change.value for change in self.value_changes if change.at <= moment]
        return past[-1] if past else self.value_changes[0].value

    @property
    def is_touch(self) -> bool:
        """Whether it is a call tracker's record: it has a click to tell of, and reaches no goal."""
        return self.kind in _TOUCHES

    @property
    def joins(self) -> tuple[str, ...]:
        """By which digests its persons are recognised, each once."""
        if len(self.persons) == 1:
            return self.persons[0].joins
        return tuple(dict.fromkeys([digest for person in self.persons for digest in person.joins]))


_TOUCHES = frozenset((DealKind.CALL, DealKind.FORM, DealKind.VISIT))


@frozen
class Touch:
    """What a deal (key) tells of its person: a click or visit, and the keys it is joined by. No click: no identifiers.

    ``at``: the deal's creation, an upper bound. ``deal`` of another source is named with it:
    ``tracker/call:700100200``. ``keys``: see ``rules.graph``.
    """

    deal: str
    at: datetime
    identifiers: tuple[Identifier, ...]
    keys: tuple[str, ...] = ()

    @property
    def is_tracked(self) -> bool:
        """Whether a call tracker told us."""
        return self.deal.rpartition("/")[2].startswith(("call:", "form:", "visit:"))


class Method(StrEnum):
    """How a deal was matched, best first."""

    FIELD = "field"  # an identifier field of the deal itself
    URL = "url"  # a landing page or referrer of the deal
    UTM = "utm"  # a utm or free-text field of the deal
    CLICK = "click"  # another record of the very click the deal carries
    VISIT = "visit"  # the visit whose Roistat number, or the form whose lead key, the deal carries
    LEAD = "lead"  # the lead this deal was converted from
    VISITOR = "visitor"  # another record of the same browser or site account
    CALL = "call"  # a call or form that a call tracker knows, of the same person
    CONTACT = "contact"  # another deal of the same person inside the look-back window
    CHAIN = "chain"  # a record that shares a key with a record of the same person
    PAGE = "page"  # the only visit that sent a form of the deal's landing page at that time


class Confidence(StrEnum):
    """How sure a match is, surest first."""

    EXACT = "exact"  # the deal itself, its visit or its lead says so
    JOINED = "joined"  # the same person, and nothing speaks against it
    PROBABLE = "probable"  # it may be another person's; sent only where the configuration says so


@frozen
class Match:
    """A deal's click was found. ``evidence`` says where, in words that hold nothing personal."""

    method: Method
    evidence: str
    identifiers: tuple[Identifier, ...]
    touched_at: datetime
    confidence: Confidence = Confidence.EXACT


@frozen
class Unmatched:
    """No click was found. ``reason`` is a code, ``evidence`` lists what was looked at and why it was refused."""

    reason: str
    evidence: str


class Verdict(StrEnum):
    QUALIFIED = "qualified"
    WAITING = "waiting"
    EXCLUDED = "excluded"


ONCE_PER_DEAL = "once"  # the occurrence of a goal that a deal reaches once; others are ids of payments


@frozen
class Judgement:
    """What a goal says of a deal. ``occurred_at`` and ``value`` only when qualified; ``recheck_at`` when waiting.

    ``occurrence`` tells several conversions of one deal and goal apart. With ``is_retracted`` (never qualified) the
    occurrence is none any more: a promise made for it becomes worth ``value``, which is zero. ``is_undone``: so says
    another goal, not the CRM. ``again_at``: when a deal that had left the goal came back to it last.
    """

    goal: str
    verdict: Verdict
    rule: str
    reason: str = ""
    occurred_at: datetime | None = None
    value: Money | None = None
    recheck_at: datetime | None = None
    occurrence: str = ONCE_PER_DEAL
    is_retracted: bool = False
    again_at: datetime | None = None
    is_undone: bool = False


class ConversionKind(StrEnum):
    ORIGINAL = "original"
    RESTATEMENT = "restatement"


@frozen
class Conversion:
    """One deal reached one goal once: as a whole, or by one payment (``occurrence``).

    ``order_key`` is shared by an original and its restatements.
    """

    id: str
    order_key: str
    deal: str
    goal: str
    kind: ConversionKind
    revision: int
    occurred_at: datetime
    value: Money | None
    rule: str
    occurrence: str = ONCE_PER_DEAL


@frozen
class Consent:
    """What a deal's own person agreed to; None: not known."""

    ad_user_data: bool | None = None
    ad_personalization: bool | None = None


@frozen
class Outgoing:
    """One delivery as a destination sees it; frozen when planned.

    ``order_key`` identifies the conversion at the vendor across retries and restatements (hex, 32 characters).
    ``touched_at`` is an upper bound of the click's time, ``deal_created_at`` when the lead came in. ``deal`` tells
    where to find it: ``crm/lead:5123``. ``consent`` is the deal's own; None leaves it to the destination's settings.
    ``retracted_at``: the conversion is none any more, by what the CRM said then.

    Where a destination keeps one order per deal (``ports.DealOrders``), ``order_key`` is that order's, ``rank`` tells
    rows of one moment apart, ``again_at`` is when the deal came back to what it had reached before, and ``follows`` is
    true when the order is there already. Elsewhere ``rank`` is None.
    """

    delivery: str
    order_key: str
    target: str
    goal: str
    occurred_at: datetime
    deal_created_at: datetime
    value: Money | None
    identifiers: tuple[Identifier, ...]
    persons: tuple[Person, ...] = ()
    touched_at: datetime | None = None
    kind: ConversionKind = ConversionKind.ORIGINAL
    attempt: int = 0
    deal: str = ""
    consent: Consent | None = None
    retracted_at: datetime | None = None
    rank: int | None = None
    again_at: datetime | None = None
    follows: bool = False

    @property
    def place(self) -> tuple[datetime, int]:
        """Where this row stands among those of its deal's order."""
        return self.again_at or self.occurred_at, self.rank or 0

    @property
    def clicked_by(self) -> datetime:
        """The latest time at which the click can have been: by the touch, else by the lead that came of it."""
        return self.touched_at or self.deal_created_at

    def first(self, *kinds: IdKind) -> Identifier | None:
        """The first identifier of the first kind (in the order asked) that this row has."""
        return next((one for kind in kinds for one in self.identifiers if one.kind == kind), None)


def utc(seconds: float) -> datetime:
    """An aware UTC time from Unix seconds."""
    return datetime.fromtimestamp(seconds, UTC)

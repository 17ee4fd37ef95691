"""amoCRM's lead and its contacts made into a :class:`Deal`. Pure: no clock, no I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from operator import itemgetter

from adapters.amocrm import wire
from adapters.amocrm.history import outcome_of, place_of
from adapters.amocrm.prices import Price, value_changes
from bridge.catalogue import Catalogue, Pipeline, Stage
from bridge.errors import RecordInvalid
from bridge.frozen import replace
from bridge.model import Clue, Contact, Deal, DealKind, IdKind, Money, Outcome, StageChange, frozen, utc
from bridge.ports import Head

# Predefined tracking fields: the code is the same in every account, the id is not (contract amocrm 3.2).
CODES = {
    "YCLID": IdKind.YCLID,
    "GCLID": IdKind.GCLID,
    "_YM_UID": IdKind.CLIENT_ID,
    "GCLIENTID": IdKind.GA_CLIENT_ID,
    "FBCLID": IdKind.FBCLID,
    "ROISTAT": IdKind.ROISTAT,
}
# Names of hand-made fields that can mean only one thing (contract amocrm 14.5). "ClientID" is not among them: it may
# be Metrica's or Google's, so it has to be configured.
NAMES = {
    **{kind.value: kind for kind in IdKind if kind.value.endswith(("clid", "braid"))},
    "rb_clickid": IdKind.RB_CLICKID,
    "roistat": IdKind.ROISTAT,
    **dict.fromkeys(("_ym_uid", "ym_uid", "ym_client_id", "metrika_client_id"), IdKind.CLIENT_ID),
}
_ADDRESSES = ("REFERRER", "UTM_REFERRER")
_UTM = ("UTM_CONTENT", "UTM_TERM", "UTM_CAMPAIGN", "UTM_MEDIUM", "UTM_SOURCE")
_RANK = itemgetter(0)
_MARKS = re.compile("clid|braid|://|ym_uid|roistat_visit")  # a text holding one of these may hold an identifier
_MOST = Decimal(10) ** 15  # whole units; more is no budget but damage, and would not fit the database

FieldMap = Mapping[IdKind, Sequence[str]]

# Order of preference (contract amocrm 14): configured fields come first, in the order of the setting.
_PREDEFINED, _TELLING, _ON_CONTACT, _SEARCHED = 1000, 2000, 3000, 9000


@frozen
class Role:
    """What a custom field means in this account. ``kinds`` and ``search`` carry a rank, best first.

    ``keys`` are its name, code and id. ``field`` says where a clue was, and ``place`` where a searched text was.
    ``search`` is None for a text that is searched only when it looks like it.
    """

    keys: tuple[str, ...]
    field: str
    kinds: tuple[tuple[int, IdKind], ...] = ()
    search: int | None = None
    place: str = ""


# A custom field that holds something, and its texts.
Filled = tuple[Role, tuple[str, ...]]


class Lexicon:
    """Knows the role of every custom field; worked out once per field, not once per lead."""

    def __init__(self, fields: FieldMap) -> None:
        pairs = [(kind, name.lower()) for kind, names in fields.items() for name in names]
        self._configured = [(rank, kind, name) for rank, (kind, name) in enumerate(pairs)]
        self._roles: dict[int, tuple[str | None, str | None, Role]] = {}

    def filled(self, fields: Sequence[wire.CustomField] | None) -> list[Filled]:
        """The fields that hold a text, a number or a choice, in the vendor's order."""
        found = []
        for item in fields or ():
            texts = texts_of(item)
            if texts:
                found.append((self.role(item), texts))
        return found

    def role(self, item: wire.CustomField) -> Role:
        """What the field means here."""
        name, code = item.field_name, item.field_code
        known = self._roles.get(item.field_id)
        if known is None or known[0] != name or known[1] != code:
            known = self._roles[item.field_id] = (name, code, self._make(item))
        return known[2]

    def _make(self, item: wire.CustomField) -> Role:
        own_id, name, code = str(item.field_id), item.field_name or "", item.field_code or ""
        called = {own_id, name.lower(), code.lower()} - {""}
        ranked = [(rank, kind) for rank, kind, wanted in self._configured if wanted in called]
        if code in CODES:
            ranked.append((_PREDEFINED, CODES[code]))
        elif not code and name.lower() in NAMES:
            ranked.append((_TELLING, NAMES[name.lower()]))
        best = {kind: rank for rank, kind in reversed(ranked)}
        keys = tuple(dict.fromkeys(text for text in (name, code, own_id) if text))
        field = f"field {code or name or own_id}"
        place = code.lower() if code in _UTM else field
        return Role(keys, field, tuple((rank, kind) for kind, rank in best.items()), _search_rank(code, item), place)


def _search_rank(code: str, item: wire.CustomField) -> int | None:
    if code in _ADDRESSES:
        return _SEARCHED + _ADDRESSES.index(code)
    if code in _UTM:
        return _SEARCHED + 20 + _UTM.index(code)
    return _SEARCHED + 10 if item.field_type == "url" else None


@frozen
class Terms:
    """What is the same for all leads of an account."""

    currency: str
    lexicon: Lexicon


def text_of(value: object) -> str:
    """A field's value as text with all its digits; composites and empty values give ""."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else ""


def texts_of(item: wire.CustomField) -> tuple[str, ...]:
    """A field's distinct texts, in the vendor's order."""
    values = item.values or ()
    if len(values) == 1:
        value = values[0].value
        text = value.strip() if type(value) is str else text_of(value)
        return (text,) if text else ()
    return tuple(dict.fromkeys([text for value in values if (text := text_of(value.value))]))


class ByAnyName(Mapping[str, tuple[str, ...]]):
    """Texts of each field under its name, its code and its id; fields of the same name share the entry.

    Read from the record again when somebody looks: most leads are judged without their custom fields, and what is kept
    of each until then pushes that of others out of the processor's cache.
    """

    __slots__ = ("_lead", "_lexicon", "_table")

    def __init__(self, lead: wire.Lead, lexicon: Lexicon) -> None:
        self._lead = lead
        self._lexicon = lexicon
        self._table: dict[str, tuple[str, ...]] | None = None

    def __getitem__(self, name: str) -> tuple[str, ...]:
        return self._texts()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts())

    def __len__(self) -> int:
        return len(self._texts())

    def _texts(self) -> dict[str, tuple[str, ...]]:
        if self._table is None:
            self._table = {}
            for role, texts in self._lexicon.filled(wire.fields_of(self._lead)):
                for key in role.keys:
                    shared = self._table.get(key)
                    self._table[key] = texts if shared is None else tuple(dict.fromkeys((*shared, *texts)))
        return self._table


Fields = Sequence[wire.CustomField]
Ranked = tuple[int, Clue]


def clues_of(lead: Fields, contact: Sequence[Ranked], lexicon: Lexicon) -> tuple[Clue, ...]:
    """Where identifiers may be found, best first (contract amocrm 14).

    Configured fields, predefined codes, telling names, the same on the main contact, then texts to be searched.
    """
    ranked: list[Ranked] = []
    for item in lead:
        role, texts = lexicon.role(item), texts_of(item)
        for rank, kind in role.kinds:
            for text in texts:
                ranked.append((rank, Clue(role.field, text, kind)))
        for text in texts:
            if role.search is not None:
                ranked.append((role.search, Clue(role.place, text)))
            elif _MARKS.search(text):
                ranked.append((_SEARCHED + 10, Clue(role.place, text)))
    ranked += contact
    if len(ranked) > 1:
        ranked.sort(key=_RANK)
    return tuple([clue for _, clue in ranked])


def main_first(links: Sequence[wire.ContactLink] | None) -> Sequence[wire.ContactLink]:
    """A lead's contacts, the main one first (or the first one, when none is marked)."""
    if not links:
        return ()
    return links if len(links) < 2 else sorted(links, key=lambda link: not link.is_main)


@frozen
class Card:
    """What is read of a contact: itself, as if it were the main one, and clues of leads whose main one it is."""

    contact: Contact
    clues: tuple[Ranked, ...]


def card_of(contact: wire.Contact, lexicon: Lexicon) -> Card:
    """Phones and e-mails as typed, and identifiers."""
    phones: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    clues: list[Ranked] = []
    for item in contact.custom_fields_values or ():
        if item.field_code == "PHONE":
            phones += texts_of(item)
        elif item.field_code == "EMAIL":
            emails += texts_of(item)
        role = lexicon.role(item)
        for rank, kind in role.kinds:
            clues += [(_ON_CONTACT + rank, Clue(f"contact {role.field}", text, kind)) for text in texts_of(item)]
    return Card(Contact(str(contact.id), phones, emails, is_main=True), tuple(clues))


@frozen
class Whole:
    """All that was read of one lead. ``head.row`` is the lead as listed."""

    head: Head
    details: wire.Details
    history: tuple[StageChange, ...]
    prices: Sequence[Price] = ()
    is_known: bool = False


def deal_of(whole: Whole, contacts: Mapping[int, Card], terms: Terms) -> Deal:
    """The lead as the core sees it.

    Raises:
        RecordInvalid: its budget is no amount.
    """
    head, details = whole.head, whole.details
    lead: wire.Lead = head.row
    fields = details.custom_fields or ()
    people = [contacts.get(link.id) for link in main_first(details.contacts)]
    main = people[0].clues if people and people[0] is not None else ()
    value = value_of(lead, terms.currency)
    tags, (pipeline, stage, outcome) = lead.embedded.tags, place_of(lead.pipeline_id, lead.status_id)
    return Deal(  # by place: by name it takes twice as long
        DealKind.LEAD,
        str(lead.id),
        head.version,
        utc(lead.created_at),
        head.updated_at,
        pipeline,
        stage,
        outcome,
        value,
        utc(lead.closed_at) if lead.closed_at and outcome is not Outcome.OPEN else None,
        _loss_reason(lead, details),
        _origin(details),
        tuple(sorted([tag.name for tag in tags if tag.name])) if tags else (),
        ByAnyName(lead, terms.lexicon),
        clues_of(fields, main, terms.lexicon),
        whole.history,
        value_changes(lead, whole.prices, is_known=whole.is_known, now=value) if whole.prices else (),
        contacts=tuple([_placed(card.contact, place) for place, card in enumerate(people) if card is not None]),
        is_deleted=bool(lead.is_deleted),
    )


def _placed(contact: Contact, place: int) -> Contact:
    return contact if place == 0 else replace(contact, is_main=False)


def value_of(lead: wire.Lead, currency: str) -> Money | None:
    """The budget. ``price`` is in whole units; Kommo's exact field wins (contract amocrm 13).

    Raises:
        RecordInvalid: not a finite amount, or beyond any budget.
    """
    price = lead.price if lead.price_with_minor_units is None else lead.price_with_minor_units
    if price is None:
        return None
    money = _money(price, currency)
    if money is None:
        raise RecordInvalid(f"the budget of lead {lead.id} is no amount", code="price")
    return money


@lru_cache(maxsize=4096)
def _money(price: int | Decimal, currency: str) -> Money | None:
    exact = Decimal(price)
    return Money.of(exact, currency) if exact.is_finite() and abs(exact) < _MOST else None


def _loss_reason(lead: wire.Lead, details: wire.Details) -> tuple[str, str] | None:
    given = details.loss_reason
    reason = (given[0] if given else None) if isinstance(given, list) else given
    if reason is not None:
        return str(reason.id), reason.name or ""
    return None if lead.loss_reason_id is None else (str(lead.loss_reason_id), "")


def _origin(details: wire.Details) -> tuple[str, str] | None:
    source = details.source
    if source is None or (source.id is None and not source.name):
        return None
    return "" if source.id is None else str(source.id), source.name or ""


def catalogue_of(
    pipelines: Sequence[wire.Pipeline], reasons: Sequence[wire.LossReason], fields: Sequence[wire.FieldInfo]
) -> Catalogue:
    """Names a goal may use. Fields are listed by name and by code."""
    names = dict.fromkeys(text for item in fields for text in (item.name, item.code) if text)
    return Catalogue(
        tuple(_pipeline(item) for item in pipelines),
        tuple((str(reason.id), reason.name or "") for reason in reasons),
        tuple(names),
    )


def _pipeline(item: wire.Pipeline) -> Pipeline:
    ordered = sorted(item.embedded.statuses, key=lambda status: status.sort)
    stages = tuple(Stage(str(status.id), status.name, outcome_of(status.id)) for status in ordered)
    return Pipeline(str(item.id), item.name, DealKind.LEAD, stages, item.is_archive)

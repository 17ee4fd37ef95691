"""The identity graph around one deal: which records are of its person, how surely, and which keys are many people's.

Its nodes are keys: a person's phone, e-mail or CRM contact (digests), a browser or site account, a click, a tracker's
visit. Records (deals, calls, forms) hang on them. Pure: the same records give the same answer in any order.

Nothing is merged for ever. A deal looks at the records inside its own window that share a key with it, and where that
finds nothing one step beyond. So what it costs does not depend on how much is stored, and a wrong contact that is
corrected leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import IntEnum
from hashlib import blake2b

from bridge.frozen import replace
from bridge.model import Deal, Identifier, IdKind, Touch, frozen

RECORDS_MOST = 200  # records of one key inside one window; more are no person's
_BRIDGES_MOST = 20  # records from which one step more is gone
_BEYOND_MOST = 60  # keys to which it leads
_VALUE_MOST = 40  # characters of an identifier that is its own key; longer ones are digested

# Identifiers that name a visit which somebody else knows; they are no click by themselves.
REFERENCES = {IdKind.ROISTAT: "Roistat visit", IdKind.LEAD_KEY: "lead key"}
_NO_CLICKS = frozenset(REFERENCES)
_LEAD_KEY = IdKind.LEAD_KEY  # Python is slow to look up a member of an enum
_BROWSERS = frozenset((IdKind.CLIENT_ID, IdKind.GA_CLIENT_ID, IdKind.USER_ID))
_CLICKS = frozenset(
    (IdKind.YCLID, IdKind.YMCLID, IdKind.GCLID, IdKind.FBCLID, IdKind.RB_CLICKID)
)  # gbraid and wbraid are no one click's
_NODES = _BROWSERS | _CLICKS | REFERENCES.keys()
BROWSER_KINDS, _CLICK_KINDS = frozenset(map(str, _BROWSERS)), frozenset(map(str, _CLICKS))
_IMPERSONAL = frozenset(map(str, _NODES))
# How the keys begin
_REFERENCE = tuple([f"{kind}:" for kind in REFERENCES])
_LASTING = (*_REFERENCE, *[f"{kind}:" for kind in _CLICKS])
CONTACT = "contact"
PAGE = "page"  # of no person: see ``rules.pages``
_PAGE = f"{PAGE}:"
_TOLD_APART = ("phone", "email")  # two people rarely have the same one, and one person rarely has two
_CHANGES_MOST = 2  # phones, or e-mails, of one contact that no record has both of: an old one and a new one
_COUNTED = (*_TOLD_APART, CONTACT)
_FEWER = "fewer"  # before a key of many, for deals that would look at it again if it were not

# Records by the key that leads to them. Of a key with very many, the latest LOOKED_AT are enough: one of them may be
# the deal's own, once it is stored, and one more than may be there is seen all the same.
Others = Mapping[str, Sequence[Touch]]
LOOKED_AT = RECORDS_MOST + 2


@frozen
class Reach:
    """How far matching looks; see ``config.MatchSettings``. ``widest``: the longest look-back of any destination.

    ``within``: see ``rules.pages``; zero: nobody is joined by a page.
    """

    look_back: timedelta
    call_after: timedelta = timedelta(minutes=30)
    shared_above: int = 10
    widest: timedelta = timedelta(0)
    within: timedelta = timedelta(0)

    @property
    def back(self) -> timedelta:
        return max(self.look_back, self.widest)


class Strength(IntEnum):
    """How firmly a record is tied to a deal."""

    WEAK = 0  # one key says the same person, another says somebody else
    PLAIN = 1  # one key says so, nothing speaks against it
    STRONG = 2  # the CRM's own contact of one person, the same browser, or two kinds of keys at once


@frozen
class Tie:
    """A record inside the window, and the keys by which it is tied to the deal."""

    touch: Touch
    keys: tuple[str, ...]
    strength: Strength

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(map(kind_of, self.keys)))


@frozen
class Around:
    """Records of a deal's person. ``same_click`` and ``same_visit`` are surer than a person.

    ``shared`` are keys that join nobody, with how many people came under each; 0: too many records to look at.
    """

    ties: tuple[Tie, ...]
    same_click: tuple[Touch, ...]
    same_visit: tuple[Touch, ...]
    shared: Mapping[str, int]


_ALONE = Around((), (), (), {})
Order = tuple[datetime, str, tuple[tuple[str, str, str], ...], tuple[str, ...]]


def order(touch: Touch) -> Order:
    """Latest last; equal times by deal key, then content, so that order of arrival never decides."""
    shown = tuple([(item.kind, item.value, item.found_in) for item in touch.identifiers])
    return touch.at, touch.deal, shown, touch.keys


def kind_of(key: str) -> str:
    return key.partition(":")[0]


def suffices(identifiers: Iterable[Identifier]) -> bool:
    """Whether a click is among them, not merely what names a visit."""
    return not _NO_CLICKS.issuperset([item.kind for item in identifiers])


def told(identifiers: tuple[Identifier, ...]) -> tuple[Identifier, ...]:
    """Those that mean something to others: a lead key is ours alone."""
    return tuple([item for item in identifiers if item.kind is not _LEAD_KEY])


def is_lasting(key: str) -> bool:
    """Whether the key is one click's or visit's: what is said of it is true whenever it is said."""
    return key.startswith(_LASTING)


def is_reference(key: str) -> bool:
    """Whether the key names a visit."""
    return key.startswith(_REFERENCE)


def joins_of(deal: Deal, identifiers: Iterable[Identifier]) -> tuple[str, ...]:
    """The keys a record hangs on, each once: its persons', browsers', click's and visit's.

    ``identifiers``: its own, one of a kind, as they were read.
    """
    own = [item.kind + ":" + _short(item.value) for item in identifiers if item.kind in _NODES]
    return (*deal.joins, *own) if own else deal.joins


def _short(value: str) -> str:
    return value if len(value) <= _VALUE_MOST else blake2b(value.encode(), digest_size=16).hexdigest()


def around(deal: Deal, keys: Sequence[str], others: Others, reach: Reach) -> Around:
    """What hangs on the deal's own keys."""
    if not others:
        return _ALONE
    shared: dict[str, int] = {}
    tied: dict[Touch, list[str]] = {}
    clicks: dict[Touch, None] = {}
    visits: dict[Touch, None] = {}
    for key in keys:
        touches = _inside(deal, key, others, reach)
        if not touches:
            continue
        people = _people_of_many(key, touches, reach)
        if is_reference(key):
            visits |= dict.fromkeys(touches)
        elif people is not None:
            shared[key] = people
        elif kind_of(key) in _CLICK_KINDS:
            clicks |= dict.fromkeys(touches)
        else:
            for touch in touches:
                tied.setdefault(touch, []).append(key)
    ties = [Tie(touch, tuple(common), _strength(keys, touch, common)) for touch, common in tied.items()]
    ties = _without_placeholders(keys, ties)
    ties.sort(key=lambda tie: order(tie.touch))
    return Around(tuple(ties), tuple(clicks), tuple(visits), shared)


def _inside(deal: Deal, key: str, others: Others, reach: Reach) -> list[Touch]:
    """Other records of a key that could be of any use to the deal."""
    listed, own = others.get(key), deal.key
    if not listed:
        return []
    touches = [touch for touch in listed if touch.deal != own]
    return touches if is_lasting(key) or not touches else _in_window(touches, deal.came, reach)


def _in_window(touches: Sequence[Touch], came: datetime, reach: Reach) -> list[Touch]:
    """Whose clicks may be a deal's: up to so long before it came, a tracker's also shortly after it."""
    first, last = came - reach.back, came + reach.call_after
    return [one for one in touches if first <= one.at and (one.at <= came or (one.at <= last and one.is_tracked))]


def ends(deal: Deal, keys: Iterable[str], reach: Reach) -> dict[str, datetime]:
    """Up to when the records of each of these keys can matter to the deal."""
    came = deal.came
    until = dict.fromkeys(keys, came + reach.call_after)
    for key in until:
        if is_lasting(key):
            until[key] = came + max(reach.back, reach.call_after)
        elif key.startswith(_PAGE):
            until[key] = came + 2 * reach.within
    return until


# --- many people's keys ------------------------------------------------------------------------------------------


def _people_of_many(key: str, touches: Sequence[Touch], reach: Reach) -> int | None:
    """How many people came under a key, if it cannot be one person's nor a family's; else None.

    One more record never makes such a key one person's again: see ``awaited``.
    """
    if len(touches) > RECORDS_MOST:
        return 0
    if len(touches) <= reach.shared_above:
        return None
    kinds = [kind for kind in _COUNTED if kind != kind_of(key)]
    visitors = {_visitor(touch) for touch in touches if touch.identifiers}
    people = [len(visitors) if kind_of(key) not in BROWSER_KINDS else 0]
    people += [len({own for touch in touches for own in touch.keys if kind_of(own) == kind}) for kind in kinds]
    return max(people) if max(people) > reach.shared_above else None


def _visitor(touch: Touch) -> tuple[str, str]:
    """Whose click it is, as far as it tells: the browser, else the click itself."""
    shown = next((item for item in touch.identifiers if item.kind in _BROWSERS), touch.identifiers[0])
    return shown.kind, shown.value


def awaited(keys: Iterable[str], near: Around) -> tuple[str, ...]:
    """By what a record that becomes known or changes later is waited for, to look at these keys again.

    Of a key of many only what may make it one person's: else each of its records would stir all of its deals.
    """
    return tuple([f"{_FEWER}:{key}" if key in near.shared else key for key in keys])


def stirred(before: Touch | None, now: Touch | None) -> set[str]:
    """Of what deals may wait by (``awaited``): what is told to them by a record that was so and is so now."""
    keys = set() if now is None else set(now.keys)
    if before is None:
        return keys
    if before == now:
        return set()
    keys.update(before.keys)
    if _is_less(before, now):
        keys.update([f"{_FEWER}:{key}" for key in before.keys])
    return keys


def _is_less(before: Touch, now: Touch | None) -> bool:
    """Whether fewer people may be counted under the record's keys than before."""
    if now is None or now.at != before.at or not set(before.keys) <= set(now.keys):
        return True
    return before.identifiers not in ((), now.identifiers)


# --- how firmly --------------------------------------------------------------------------------------------------


def _strength(keys: Iterable[str], touch: Touch, common: Iterable[str]) -> Strength:
    kinds, differing = set(map(kind_of, common)), _differing(keys, touch.keys)
    if len(kinds - _IMPERSONAL) > 1 or (CONTACT in kinds and kinds & BROWSER_KINDS):
        return Strength.STRONG
    if differing > (1 if CONTACT in kinds else 0):  # one person's phone is changed or mistyped; not the e-mail besides
        return Strength.WEAK
    return Strength.STRONG if CONTACT in kinds or kinds & BROWSER_KINDS else Strength.PLAIN


def _without_placeholders(keys: Sequence[str], ties: list[Tie]) -> list[Tie]:
    """The ties, weak those by a contact alone that is no person's: it has phones or e-mails of several.

    The CRM's "no name", on which many leads hang that have nothing to do with each other.
    """
    if not any(_is_by_contact(tie) for tie in ties):
        return ties
    placeholders = frozenset(key for key, listed in _listed(keys, ties).items() if _is_placeholder(key, listed))
    return [
        replace(tie, strength=Strength.WEAK) if _is_by_contact(tie) and placeholders.issuperset(tie.keys) else tie
        for tie in ties
    ]


def _is_by_contact(tie: Tie) -> bool:
    return tie.strength is Strength.STRONG and tie.kinds == (CONTACT,)


def _is_placeholder(key: str, records: Sequence[Sequence[str]]) -> bool:
    return kind_of(key) == CONTACT and any(_parted(kind, records) > _CHANGES_MOST for kind in _TOLD_APART)


def disagree(one: Iterable[str], other: Iterable[str]) -> bool:
    """Whether two records have both phones and none in common, or both e-mails."""
    return _differing(one, other) > 0


def _differing(one: Iterable[str], other: Iterable[str]) -> int:
    """How many kinds of contacts both records have, and none of them in common."""
    return sum(_parted(kind, (one, other)) > 1 for kind in _TOLD_APART)


def contested(keys: Sequence[str], ties: Iterable[Tie]) -> frozenset[str]:
    """Keys of the deal under which different people came: two e-mails under one phone that no record has both of."""
    records = _listed(keys, ties)
    return frozenset(key for key, listed in records.items() if _is_several_peoples(key, listed))


def _listed(keys: Sequence[str], ties: Iterable[Tie]) -> dict[str, list[Sequence[str]]]:
    """What hangs on each key of the deal: the keys of the deal itself, and of each record."""
    records: dict[str, list[Sequence[str]]] = {}
    for tie in ties:
        for key in tie.keys:
            records.setdefault(key, [keys]).append(tie.touch.keys)
    return records


def _is_several_peoples(key: str, records: Sequence[Sequence[str]]) -> bool:
    return any(kind != kind_of(key) and _parted(kind, records) > 1 for kind in _TOLD_APART)


def _parted(kind: str, records: Iterable[Iterable[str]]) -> int:
    """Into how many groups records fall that have no key of this kind in common; those without one are in none."""
    above: dict[str, str] = {}  # each key, and another of its group; one key of each group stands for all

    def top(key: str) -> str:
        while (next_one := above.setdefault(key, key)) != key:
            key = next_one
        return key

    begin = f"{kind}:"
    for own in records:
        marks = [key for key in own if key.startswith(begin)]
        for mark in marks:
            above[top(mark)] = top(marks[0])
    return sum(key == up for key, up in above.items())


def visitors(touches: Iterable[Touch]) -> list[set[Touch]]:
    """The records with clicks, one set for each visitor; two of one browser or of one click are one visitor's."""
    groups: list[tuple[set[str], set[Touch]]] = []
    for touch in touches:
        marks = _marks(touch)
        if not marks:
            continue
        members, apart = {touch}, []
        for known, group in groups:
            if known & marks:
                marks, members = known | marks, group | members
            else:
                apart.append((known, group))
        groups = [*apart, (marks, members)]
    return [group for _, group in groups]


def _marks(touch: Touch) -> set[str]:
    """By which its visitor is known: browser and click; only without these what several visitors may share."""
    own = [item for item in touch.identifiers if item.kind in _NODES] or touch.identifiers
    return {f"{item.kind}:{item.value}" for item in own}


# --- one step beyond ---------------------------------------------------------------------------------------------


@frozen
class Chain:
    """A record tied to the deal only over another one: ``first`` is of the deal's person, ``key`` leads on to it."""

    touch: Touch
    first: Tie
    key: str


def beyond(deal: Deal, keys: Sequence[str], ties: Iterable[Tie]) -> dict[str, Tie]:
    """Keys of the person's other records that the deal itself has not, each with the nearest record that has it."""
    found: dict[str, Tie] = {}
    bridges = [tie for tie in ties if tie.strength is not Strength.WEAK]
    bridges.sort(key=lambda tie: (abs(tie.touch.at - deal.came), tie.touch.at, tie.touch.deal))
    for tie in bridges[:_BRIDGES_MOST]:
        for key in sorted(tie.touch.keys):
            if key not in keys and not is_lasting(key) and kind_of(key) != PAGE:
                found.setdefault(key, tie)
    return dict(list(found.items())[:_BEYOND_MOST])


def chains(deal: Deal, keys: Sequence[str], near: Around, others: Others, reach: Reach) -> list[Chain]:
    """Records with a click one step beyond; not over a key of many people, nor over a contradiction."""
    if not near.ties:
        return []
    known = {tie.touch for tie in near.ties}
    found: dict[Touch, Chain] = {}
    for key, first in beyond(deal, keys, near.ties).items():
        touches = _inside(deal, key, others, reach)
        if _people_of_many(key, touches, reach) is not None:
            continue
        for touch in touches:
            if suffices(touch.identifiers) and touch not in known and not disagree(first.touch.keys, touch.keys):
                found.setdefault(touch, Chain(touch, first, key))
    return list(found.values())

"""Does a request look like spam? Signals of its own, and of the crowd it came in. Pure.

A request is a lead, or a deal that was made of none. A deal made from a stored lead is judged by the lead's request:
what managers do later makes nothing spam. Forms that our collector or a call tracker tells of belong to the request of
the same person or visitor about that time, and lend it their signals.

A crowd is counted backwards: this request and those that came before it. What comes later changes nothing, so whatever
the order in which requests become known, the same facts give the same signals: where an earlier one is read late, those
it concerns are judged again (``spans_after``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from bridge.clues import Reading
from bridge.model import Background, Deal, Signal, frozen
from bridge.rules.case import Case
from bridge.rules.conditions import Check
from bridge.rules.graph import joins_of, kind_of
from bridge.rules.names import any_of
from bridge.signs import ADDRESS, FROM_SOURCE, PAGE
from bridge.spam import Burst, Repeat, Rule, SpamSettings

EXCLUDE_SPAM = "exclude_spam"  # the rule of a judgement that a goal wants no spam
FORM_BEFORE = timedelta(hours=1)  # a form belongs to a request that comes of it within this time
# Keys of the identity graph that tell whose a request is: a person, a browser, the form it came of.
_PERSONS = frozenset(("phone", "email", "contact"))
_BROWSERS = frozenset(("client_id", "ga_client_id"))
_SOMEONE = _PERSONS | _BROWSERS | {"lead_key"}
_ADDRESS_LONGEST = 20  # characters of a digest

_SIGNS = {
    "phone_invalid": "a phone was given, and no valid one",
    "email_invalid": "an e-mail was given, and no well-formed one",
    "email_disposable": "its e-mail is of a service for throw-away addresses",
    "honeypot": "a field of the form that people do not see was filled in",
    "too_fast": "the form was sent faster than people fill it in",
}
_BURSTS = {
    "burst_client": (_BROWSERS, "one ClientID"),
    "burst_page": (frozenset((PAGE.rstrip(":"),)), "one landing page"),
    "burst_ip": (frozenset((ADDRESS.rstrip(":"),)), "one IP address"),
}
_ORIGINS = frozenset(("burst_page", "burst_ip"))
_OF_FORMS = frozenset(("honeypot", "too_fast", "burst_page", "burst_ip"))


@frozen
class Request:
    """What came in: a request of a source, or a touch. ``keys`` are what it has in common with others."""

    source: str
    deal: str
    at: datetime
    keys: tuple[str, ...] = ()
    signs: tuple[str, ...] = ()
    is_touch: bool = False

    @property
    def order(self) -> tuple[datetime, str, str]:
        """Which came first."""
        return self.at, self.source, self.deal

    @property
    def place(self) -> tuple[str, str]:
        return self.source, self.deal


@frozen
class Member:
    """One row of a crowd: a request or touch that has ``key``."""

    key: str
    at: datetime
    source: str
    deal: str

    @property
    def order(self) -> tuple[datetime, str, str]:
        return self.at, self.source, self.deal

    @property
    def place(self) -> tuple[str, str]:
        return self.source, self.deal

    @property
    def is_touch(self) -> bool:
        return is_touch(self.deal)


def is_touch(key: str) -> bool:
    """Whether the record of this key is a call tracker's or collector's."""
    return key.startswith(("call:", "form:", "visit:"))


@frozen
class Span:
    """Members of a key that came in this time, both ends included."""

    key: str
    since: datetime
    until: datetime


@frozen
class Reach:
    """How far the rules of a tenant look. ``form_after``: a form may be so much later than the request made of it."""

    rules: Mapping[str, Rule]
    form_after: timedelta

    @property
    def uses_forms(self) -> bool:
        return not _OF_FORMS.isdisjoint(self.rules)

    @property
    def uses_crowds(self) -> bool:
        """Whether any rule looks at other requests."""
        return self.uses_forms or any(isinstance(rule, Repeat) for rule in self.rules.values())

    @property
    def uses_origins(self) -> bool:
        """Whether any rule looks at landing pages or IP addresses, which nothing else is kept by."""
        return not _ORIGINS.isdisjoint(self.rules)

    def back(self, key: str) -> timedelta | None:
        """How far before a request others with this key count; None: not at all."""
        kind = kind_of(key)
        if kind in _PERSONS:
            rule = self.rules.get("duplicate")
        else:
            name = next((name for name, (kinds, _) in _BURSTS.items() if kind in kinds), "")
            rule = self.rules.get(name)
        return rule.within if isinstance(rule, Repeat) else None


# --- what came in ------------------------------------------------------------------------------------------------


def request_of(deal: Deal, reading: Reading, source: str) -> Request:
    """A deal as a request or touch. One that was made from a lead has no keys: the lead stands for both."""
    is_made = deal.parent is not None and not deal.is_touch
    keys = () if is_made else keys_of(deal, reading)
    signs = (*deal.signs, *_told_by_form(deal)) if deal.is_touch else deal.signs
    return Request(source, deal.key, deal.created_at, keys, signs, deal.is_touch)


def _told_by_form(deal: Deal) -> Iterator[str]:
    """Signs among the facts that our collector keeps of a form."""
    return (name for name in sorted(FROM_SOURCE) if deal.fields.get(name) == ("yes",))


def keys_of(deal: Deal, reading: Reading) -> tuple[str, ...]:
    """By what others are found: its persons, its browser and its form, its landing page and its IP address.

    The first three are keys of the identity graph, and stored there. Of a form that our collector tells of, ``address``
    is a digest already.
    """
    someone = [key for key in joins_of(deal, reading.identifiers) if _is_someone(key)]
    addresses = [ADDRESS + text[:_ADDRESS_LONGEST] for text in deal.fields.get("address", ())] if deal.is_touch else []
    return tuple(dict.fromkeys((*someone, *deal.crowds, *addresses)))


def rows_of(request: Request) -> tuple[tuple[str, datetime], ...]:
    """Key and time of each row that a request has in the store beside those of the identity graph."""
    return tuple([(key, request.at) for key in request.keys if not _is_someone(key)])


def is_origin(key: str) -> bool:
    """Whether a key is a landing page's or an IP address', rather than one of the identity graph."""
    return not _is_someone(key)


def _is_someone(key: str) -> bool:
    """Whether a key tells who it was: a form with it belongs to a request with it."""
    return kind_of(key) in _SOMEONE


# --- where to look -----------------------------------------------------------------------------------------------


def spans_before(request: Request, reach: Reach) -> Iterator[Span]:
    """What signals of a request depend on: those before it, and forms about its time."""
    for key in request.keys:
        back = reach.back(key)
        if back is not None:
            yield Span(key, request.at - back, request.at)
        if not request.is_touch and reach.uses_forms and _is_someone(key):
            yield Span(key, request.at - FORM_BEFORE, request.at + reach.form_after)


def spans_after(request: Request, reach: Reach) -> Iterator[Span]:
    """What depends on a request: those behind it, and requests about the time of a form."""
    for key in request.keys:
        back = reach.back(key)
        if back is not None:
            yield Span(key, request.at, request.at + back)
    yield from spans_about(request, reach)


def spans_about(request: Request, reach: Reach) -> Iterator[Span]:
    """Where the requests are to which a form belongs."""
    for key in request.keys if request.is_touch and reach.uses_forms else ():
        if _is_someone(key):
            yield Span(key, request.at - reach.form_after, request.at + FORM_BEFORE)


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same times without overlaps: nothing is looked up twice."""
    found: list[Span] = []
    for span in sorted(spans, key=lambda one: (one.key, one.since, one.until)):
        last = found[-1] if found else None
        if last is not None and last.key == span.key and span.since <= last.until:
            found[-1] = Span(span.key, last.since, max(last.until, span.until))
        else:
            found.append(span)
    return found


def forms_of(request: Request, members: Mapping[str, Sequence[Member]], reach: Reach) -> list[tuple[str, str]]:
    """Touches (source, key) that belong to a request."""
    if not reach.uses_forms:
        return []
    first, last = request.at - FORM_BEFORE, request.at + reach.form_after
    found = [
        member.place
        for key in request.keys
        if _is_someone(key)
        for member in members.get(key, ())
        if member.is_touch and first <= member.at <= last
    ]
    return sorted(set(found))


# --- conditions of goals ---------------------------------------------------------------------------------------------


def spam_check(is_wanted: bool) -> Check:
    """The tenant's spam rules say that the deal is spam, or that it is none."""

    def holds(case: Case) -> str:
        if case.deal.is_spam == is_wanted:
            return ""
        return named(case.deal) if case.deal.is_spam else f"not spam by the rules ({_listed(case.deal) or 'no signal'})"

    return Check("spam" if is_wanted else "no spam", holds)


def signal_check(names: Sequence[str]) -> Check:
    """Any of these signals was noticed."""
    wanted, failed = frozenset(names), f"no signal {any_of(names)}"

    def holds(case: Case) -> str:
        known = case.deal.background
        found = known.signals if known is not None else ()
        return "" if any(one.name in wanted for one in found) else failed

    return Check(f"signal {any_of(names)}", holds)


def named(deal: Deal) -> str:
    """Why a deal is spam."""
    return f"spam: {_listed(deal)}"


def _listed(deal: Deal) -> str:
    return ", ".join(one.name for one in deal.background.signals) if deal.background is not None else ""


# --- judging -----------------------------------------------------------------------------------------------------


def background(
    settings: SpamSettings, request: Request, forms: Sequence[Request], members: Mapping[str, Sequence[Member]]
) -> Background:
    """The signals of a request and what they amount to. ``members``: by key, of the times of ``spans_before``."""
    signals = tuple(_signals(settings.rules, request, forms, members))
    is_spam = any(one.is_enough for one in signals) or len(signals) >= settings.needs
    return Background(signals=signals, is_spam=is_spam)


def _signals(
    rules: Mapping[str, Rule], request: Request, forms: Sequence[Request], members: Mapping[str, Sequence[Member]]
) -> Iterator[Signal]:
    for name, rule in rules.items():
        if isinstance(rule, Burst):
            evidence = _burst(name, rule, (request, *forms), members)
        elif isinstance(rule, Repeat):
            evidence = _repeat(rule, request, members)
        else:
            evidence = _sign(name, (request, *forms))
        if evidence:
            yield Signal(name, evidence, rule.alone)


def _sign(name: str, origins: Sequence[Request]) -> str:
    for one in origins:
        if name in one.signs:
            return f"{_SIGNS[name]} ({_named(one.place)})" if one.is_touch else _SIGNS[name]
    return ""


def _repeat(rule: Repeat, request: Request, members: Mapping[str, Sequence[Member]]) -> str:
    earlier = [one for key in request.keys if kind_of(key) in _PERSONS for one in _before(request, rule, key, members)]
    if not earlier:
        return ""
    nearest = max(earlier, key=lambda one: one.order)
    return f"{nearest.deal} of the same person came {told(request.at - nearest.at)} before"


def _burst(name: str, rule: Burst, origins: Sequence[Request], members: Mapping[str, Sequence[Member]]) -> str:
    kinds, words = _BURSTS[name]
    counts = [
        1 + len({member.place for member in _before(one, rule, key, members)})
        for one in origins
        for key in one.keys
        if kind_of(key) in kinds
    ]
    most = max(counts, default=0)
    return f"{most} requests of {words} within {told(rule.within)}" if most >= rule.count else ""


def _before(one: Request, rule: Repeat, key: str, members: Mapping[str, Sequence[Member]]) -> Iterator[Member]:
    """Others of the same source and sort that came before, within the time of the rule."""
    for member in members.get(key, ()):
        is_alike = member.source == one.source and member.is_touch == one.is_touch
        if is_alike and one.at - member.at <= rule.within and member.order < one.order:
            yield member


def _named(place: tuple[str, str]) -> str:
    return f"{place[0]}/{place[1]}"


_UNITS = ((timedelta(days=1), "d"), (timedelta(hours=1), "h"), (timedelta(minutes=1), "min"))


def told(span: timedelta) -> str:
    """A span in its two largest units: ``1 d 2 h``, ``5 min``, ``12 s``."""
    parts: list[str] = []
    for size, unit in _UNITS:
        count, span = divmod(span, size)
        if count:
            parts.append(f"{count} {unit}")
    if span >= timedelta(seconds=1) or not parts:
        parts.append(f"{span // timedelta(seconds=1)} s")
    return " ".join(parts[:2])

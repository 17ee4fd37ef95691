"""Which click a deal came from, for itself and for each destination. Pure: the same records give the same answer in any
order.

A deal's own identifiers win. Then another record of the very same click or Roistat visit, then the lead it was
converted from, then the records of the same person (``rules.graph``), among which the model chooses
(``rules.choice``). Identifiers are never mixed from two records. What may be another person's is only probable. Last
of all comes the visit that sent a form of the deal's landing page at that time (``rules.pages``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from bridge.clues import Garbage, Reading
from bridge.matching import TouchModel
from bridge.model import Confidence, Deal, Identifier, IdKind, Match, Method, Touch, Unmatched, frozen
from bridge.rules import graph, pages
from bridge.rules.choice import ONLY_PROBABLE, TOO_OLD, Candidate, Tier, Want, choose, told
from bridge.rules.graph import Around, Chain, Others, Reach, Strength, Tie, joins_of, suffices

__all__ = [
    "ONLY_PROBABLE",
    "Others",
    "Reach",
    "find",
    "find_all",
    "is_settled",
    "joins_of",
    "suffices",
    "touch_of",
    "waits",
]

NO_IDENTIFIER = "no_identifier"
ONLY_GARBAGE = "only_garbage"
TOUCH_OUTSIDE_WINDOW = TOO_OLD
SHARED_CONTACT = "shared_contact"
SEVERAL_VISITS = "several_visits"
_PLACES_MAX = 12
_FIRST, _LEAD_KEY = TouchModel.FIRST, IdKind.LEAD_KEY  # Python is slow to look up a member of an enum
_SAME_DAY = timedelta(days=1)  # a deal is made of a call within hours; another visitor's of that day may be meant too


@frozen
class Found:
    """``match`` is the deal's own; ``told`` has the destinations for which it is another, or none."""

    match: Match | Unmatched
    told: Mapping[str, Match | Unmatched] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Search:
    """A deal and all there is to judge by.

    ``parent`` is the touch of the lead it was converted from, whatever its age; ``others`` are records by each of the
    deal's keys and of those one step beyond, in any order; those of the deal itself are ignored. ``identifiers`` are
    the deal's own; ``keys`` its own, and what names the visit or form of its lead, where that shows no click itself.

    What hangs on its keys is worked out when it is first asked for: afterwards ``others`` may become more by what is
    one step beyond, and by nothing else.
    """

    deal: Deal
    reading: Reading
    parent: Touch | None
    others: Others
    reach: Reach
    model: TouchModel = TouchModel.LAST_PAID_CLICK
    identifiers: tuple[Identifier, ...] = field(init=False)
    keys: tuple[str, ...] = field(init=False)
    _near: Around | None = field(init=False, default=None)
    _surer: Sequence[Candidate] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        told, parent = self.reading.identifiers, self.parent
        self.identifiers = graph.told(told)
        self.keys = joins_of(self.deal, told)
        if parent is not None and not suffices(parent.identifiers):
            self.keys = tuple(dict.fromkeys((*self.keys, *filter(graph.is_reference, parent.keys))))

    @property
    def near(self) -> Around:
        """What hangs on its keys."""
        if self._near is None:
            self._near = graph.around(self.deal, self.keys, self.others, self.reach)
        return self._near

    @property
    def surer(self) -> Sequence[Candidate]:
        """Everything that is known without a step beyond."""
        if self._surer is None:
            self._surer = _without_a_step(self)
        return self._surer

    @property
    def pages(self) -> tuple[str, ...]:
        """The keys of its landing page about its time."""
        return pages.looked_at(self.deal, self.reach.within)

    @property
    def main(self) -> Want:
        """The deal's own wish: whatever identifiers there are."""
        return Want("", frozenset(), self.model, self.reach.look_back)


def touch_of(deal: Deal, reading: Reading, within: timedelta = timedelta(0)) -> Touch | None:
    """What a deal tells others of its person and of its own click; None when it tells nothing."""
    identifiers = reading.identifiers
    keys = joins_of(deal, identifiers)
    if within:
        keys += pages.hung_on(deal, within)
    return Touch(deal.key, deal.came, graph.told(identifiers), keys) if keys or identifiers else None


def is_settled(
    identifiers: Sequence[Identifier], wants: Iterable[Want], model: TouchModel = TouchModel.LAST_PAID_CLICK
) -> bool:
    """Whether identifiers of the deal's own, or of its lead, leave nothing to look for, now or later."""
    if not identifiers or model is _FIRST or not suffices(identifiers):
        return False
    return not [want for want in wants if want.model is _FIRST or not want.takes(identifiers)]


def find(deal: Deal, reading: Reading, parent: Touch | None, others: Others, reach: Reach) -> Match | Unmatched:
    """The deal's click by the default model, or why there is none."""
    return find_all(Search(deal, reading, parent, others, reach), ()).match


def by_itself(deal: Deal, reading: Reading) -> Found:
    """The click of a deal that is settled by its own identifiers, for itself and for each destination."""
    return Found(_own_click(deal, reading))


def find_all(search: Search, wants: Sequence[Want]) -> Found:
    """The deal's click, and that of each destination for which it is another one."""
    if is_settled(search.identifiers, wants, search.model):
        return by_itself(search.deal, search.reading)
    candidates = _candidates(search)
    if not candidates:
        return Found(_unmatched(search))
    main = choose(search.deal, candidates, search.main) or _unmatched(search)
    answers = {want.destination: told(search.deal, candidates, want, main) for want in wants}
    return Found(main, {name: answer for name, answer in answers.items() if answer is not None})


def steps_beyond(search: Search, wants: Sequence[Want]) -> tuple[str, ...]:
    """Keys one step beyond the deal's own, if those leave something to look for; ``others`` needs nothing of them."""
    if not search.near.ties:
        return ()
    if all(choose(search.deal, search.surer, want) is not None for want in (search.main, *wants)):
        return ()
    return tuple(graph.beyond(search.deal, search.keys, search.near.ties))


def waits(search: Search, wants: Sequence[Want]) -> tuple[str, ...]:
    """The keys by which a record that becomes known or changes later may change this answer (``graph.stirred``)."""
    identifiers = search.identifiers
    if search.deal.is_touch or is_settled(identifiers, wants, search.model):
        return ()
    if not identifiers and search.parent is not None and is_settled(search.parent.identifiers, wants, search.model):
        return ()
    if identifiers and not wants:  # the number of a visit: it is matched, better only by what is known of that one
        return graph.awaited(filter(graph.is_lasting, search.keys), search.near)
    return (*graph.awaited(search.keys, search.near), *steps_beyond(search, wants), *search.pages)


# --- candidates --------------------------------------------------------------------------------------------------


def _candidates(search: Search) -> list[Candidate]:
    chains = graph.chains(search.deal, search.keys, search.near, search.others, search.reach)
    return [*search.surer, *[_chained(search, chain) for chain in chains], *_by_page(search)]


def _without_a_step(search: Search) -> list[Candidate]:
    near, parent = search.near, search.parent
    found = [_own(search)] if search.identifiers else []
    found += [_same(search, touch, Method.CLICK) for touch in near.same_click]
    found += [_same(search, touch, Method.VISIT) for touch in near.same_visit if suffices(touch.identifiers)]
    if parent is not None and parent.identifiers:
        evidence = f"converted from {parent.deal}: {_places(parent.identifiers)}"
        match = Match(Method.LEAD, evidence, parent.identifiers, parent.at)
        found.append(Candidate(match, Tier.LEAD, graph.order(parent)))
    return found + _of_person(search, near.ties) if near.ties else found


def _own(search: Search) -> Candidate:
    deal = search.deal
    tier = Tier.OWN if suffices(search.identifiers) else Tier.MARK
    return Candidate(_own_click(deal, search.reading), tier, (deal.came, deal.key, (), ()))


def _own_click(deal: Deal, reading: Reading) -> Match:
    shown = [(method, item) for method, item in reading.found if item.kind is not _LEAD_KEY]
    identifiers = tuple([item for _, item in shown])
    return Match(shown[0][0], _places(identifiers), identifiers, deal.came)


def _same(search: Search, touch: Touch, method: Method) -> Candidate:
    """What another record tells of the very click, or of the very visit or form, that this deal carries."""
    weight = len(touch.identifiers)
    if method is Method.VISIT:
        kind, _, number = next(k for k in touch.keys if k in search.keys and graph.is_reference(k)).partition(":")
        what, tier = f"{graph.REFERENCES[IdKind(kind)]} {number}, known from", Tier.VISIT
        weight = 0 if kind == IdKind.LEAD_KEY else weight  # of a lead key the nearest counts: the form itself
    else:
        what, tier = "the same click as", Tier.CLICK
    evidence = f"{what} {touch.deal}: {_places(touch.identifiers)}"
    match = Match(method, evidence, touch.identifiers, min(touch.at, search.deal.came))
    return Candidate(match, tier, graph.order(touch), weight)


def _of_person(search: Search, ties: Sequence[Tie]) -> list[Candidate]:
    """Each click of the person, with what makes it sure or doubtful."""
    shown = [tie for tie in ties if suffices(tie.touch.identifiers)]
    crowd = _NOBODY
    if any(tie.strength is Strength.PLAIN for tie in shown):
        crowd = _Crowd(ties, graph.visitors([tie.touch for tie in ties]), graph.contested(search.keys, ties))
    return [_tied(search, tie, _doubt(search, tie, crowd)) for tie in shown]


@frozen
class _Crowd:
    """All that came under the deal's keys: records, the visitors they are of, and keys of different people."""

    ties: Sequence[Tie]
    visitors: Sequence[set[Touch]]
    contested: frozenset[str]


_NOBODY = _Crowd((), (), frozenset())


def _doubt(search: Search, tie: Tie, crowd: _Crowd) -> str:
    """Why a click of the person may be another's; "" where nothing speaks for that. ``crowd``: of a plain tie only."""
    by = ", ".join(tie.kinds)
    if tie.strength is Strength.STRONG:
        return ""
    if tie.strength is Strength.WEAK:
        if tie.kinds == (graph.CONTACT,):
            return "only the contact is the same, and it has phones or e-mails of several people"
        return f"only the {by} is the same, another contact differs"
    mine = next(visitor for visitor in crowd.visitors if tie.touch in visitor)
    is_contested = crowd.contested.issuperset(tie.keys)
    others = [touch for visitor in crowd.visitors if visitor is not mine for touch in visitor]
    if _is_of_that_day(search, mine, others) and (tie.touch.is_tracked or not is_contested):
        return ""
    if is_contested:
        return f"under the same {by} somebody with another contact came, too"
    firm = {one.touch for one in crowd.ties if one.strength is Strength.STRONG}
    sure = [visitor for visitor in crowd.visitors if visitor & firm]
    if mine in sure:
        return ""
    if others:
        return f"{len(crowd.visitors)} visitors came under the same {by}"
    return f"nothing but the {by} is the same, and it is not of that day" if tie.kinds == ("phone",) else ""


def _is_of_that_day(search: Search, mine: Iterable[Touch], of_others: Iterable[Touch]) -> bool:
    """Whether the deal was made of what this visitor did: on that day, and no other visitor came on that day."""
    at = search.deal.came
    is_made = any(abs(touch.at - at) <= _SAME_DAY for touch in mine)
    return is_made and all(abs(touch.at - at) >= _SAME_DAY for touch in of_others)


def _tied(search: Search, tie: Tie, doubt: str) -> Candidate:
    touch, deal = tie.touch, search.deal
    is_person = any(kind not in graph.BROWSER_KINDS for kind in tie.kinds)
    method = Method.VISITOR if not is_person else Method.CALL if touch.is_tracked else Method.CONTACT
    who = f"same {'person' if is_person else 'visitor'} ({', '.join(tie.kinds)}) as {touch.deal}"
    evidence = f"{who}{_when(touch, deal)}: {_places(touch.identifiers)}{f'; {doubt}' if doubt else ''}"
    confidence = Confidence.PROBABLE if doubt else Confidence.JOINED
    match = Match(method, evidence, touch.identifiers, touch.at, confidence)
    return Candidate(match, Tier.PROBABLE if doubt else Tier.JOINED, graph.order(touch))


def _chained(search: Search, chain: Chain) -> Candidate:
    touch, first = chain.touch, chain.first
    way = f"same person ({', '.join(first.kinds)}) as {first.touch.deal}, whose {graph.kind_of(chain.key)} has"
    evidence = f"{way} {touch.deal}{_when(touch, search.deal)}: {_places(touch.identifiers)}; two steps are a guess"
    match = Match(Method.CHAIN, evidence, touch.identifiers, touch.at, Confidence.PROBABLE)
    return Candidate(match, Tier.PROBABLE, graph.order(touch), -1)  # one step, however doubtful, before two


_NO_VISIT = pages.Fit()


def _fit(search: Search) -> pages.Fit:
    if not search.reach.within:
        return _NO_VISIT
    keys = [key for key in search.keys if key not in search.near.shared]
    return pages.fit(search.deal, keys, search.identifiers, search.others, search.reach.within)


def _by_page(search: Search) -> Iterator[Candidate]:
    touch = _fit(search).visit
    if touch is not None and suffices(touch.identifiers):
        what = f"the only visit that sent a form of the same landing page at that time, {touch.deal}"
        evidence = f"{what}{_when(touch, search.deal)}: {_places(touch.identifiers)}; page and time are a guess"
        at = min(touch.at, search.deal.came)
        match = Match(Method.PAGE, evidence, touch.identifiers, at, Confidence.PROBABLE)
        yield Candidate(match, Tier.PAGE, graph.order(touch))


# --- words -------------------------------------------------------------------------------------------------------


def _when(touch: Touch, deal: Deal) -> str:
    if not touch.is_tracked:
        return f" of {touch.at:%Y-%m-%d}"
    return f", {_span(touch.at - deal.came)} the deal"


def _span(difference: timedelta) -> str:
    """How long before or after, in the largest unit that says something."""
    seconds = int(abs(difference).total_seconds())
    units = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
    size, name = next(((size, name) for size, name in units if seconds >= 2 * size), (1, "s"))
    return f"{seconds // size} {name} {'after' if difference > timedelta(0) else 'before'}"


def _places(identifiers: Iterable[Identifier]) -> str:
    return ", ".join([" in ".join((item.kind, item.found_in or "an unnamed place")) for item in identifiers])


def _unmatched(search: Search) -> Unmatched:
    deal, reading, near = search.deal, search.reading, search.near
    evidence = [_looked_at(reading.places)]
    if reading.garbage:
        evidence.append(f"refused: {_refused(reading.garbage)}")
    outside = _clicks_outside(search)
    if outside:
        start = deal.came - search.reach.look_back
        window = f"{start:%Y-%m-%d %H:%M} and {deal.came:%Y-%m-%d %H:%M} UTC"
        evidence.append(f"other clicks of the same person: {outside}, none between {window}")
    for key, people in sorted(near.shared.items()):
        many = f"{people} people came under it" if people else f"more than {graph.RECORDS_MOST} records have it"
        evidence.append(f"a {graph.kind_of(key)} of the deal is many people's ({many}), and joins nobody")
    doubt = _fit(search).doubt
    if doubt:
        evidence.append(doubt)
    code = TOUCH_OUTSIDE_WINDOW if outside else SEVERAL_VISITS if doubt else NO_IDENTIFIER
    code = SHARED_CONTACT if near.shared else code
    return Unmatched(ONLY_GARBAGE if reading.garbage else code, "; ".join(evidence))


def _clicks_outside(search: Search) -> int:
    """Clicks of the deal's keys that are known and too far away in time."""
    others, own = search.others, search.deal.key
    listed = [others[key] for key in search.keys if key in others and key not in search.near.shared]
    return len({touch for touches in listed for touch in touches if touch.identifiers and touch.deal != own})


def _looked_at(places: Sequence[str]) -> str:
    if not places:
        return "looked at: nothing, no identifier field, URL or utm field is filled"
    more = f" and {len(places) - _PLACES_MAX} more" if len(places) > _PLACES_MAX else ""
    return f"looked at: {', '.join(places[:_PLACES_MAX])}{more}"


def _refused(garbage: Iterable[Garbage]) -> str:
    return ", ".join([f"{item.where} ({item.reason})" for item in garbage])

"""What an account holds, as far as whoever configures it has to know; and which of its fields look like identifiers.

An adapter samples the values of its fields with a :class:`Sampler`, which keeps counts of their shapes and forgets the
values: nothing personal leaves it. :func:`guess` judges the counts. Both are pure. Shapes: contract yandex 12 (ClientID
has 17 to 19 digits and begins with a time, a yclid 18 to 20), google 8 (gclid), tables D (what spreadsheets do).

The protocols at the end are optional: a source or destination that implements none of them works, and is asked less.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import field
from enum import StrEnum
from functools import lru_cache
from typing import Protocol, runtime_checkable
from unicodedata import normalize

from bridge.clues import Garbage, kind_of_name, read_clue
from bridge.model import Clue, Identifier, IdKind, frozen

SAMPLE = 250  # records that a survey looks at


class Shape(StrEnum):
    """What a value looks like, in words for a report."""

    TIMED = "17-19 digits that begin with a time"
    DIGITS = "17-20 digits"
    TOKEN = "a long token of mixed case"  # noqa: S105 - the name of a shape
    PAIR = "two numbers with a dot between"
    BROKEN = "digits that a spreadsheet has destroyed"
    OTHER = "something else"


_TIMED = re.compile(r"1[2-9][0-9]{15,17}")  # ten digits of Unix time: 2008 to 2033
_DIGITS = re.compile(r"[0-9]{17,20}")
_PAIR = re.compile(r"(?:GA[0-9]\.[0-9]\.)?[0-9]{4,12}\.[0-9]{9,12}")
_TOKEN = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9])[A-Za-z0-9_\-]{40,512}")
_BROKEN = ("scientific_notation", "precision_lost")


def shape_of(text: str) -> Shape:
    """The shape of one value."""
    value = text.strip()
    if _DIGITS.fullmatch(value):
        return Shape.TIMED if _TIMED.fullmatch(value) else Shape.DIGITS
    if _PAIR.fullmatch(value):
        return Shape.PAIR
    if _TOKEN.fullmatch(value):
        return Shape.TOKEN
    found = read_clue(Clue("", value, IdKind.YCLID))
    is_broken = any(isinstance(item, Garbage) and item.reason in _BROKEN for item in found)
    return Shape.BROKEN if is_broken else Shape.OTHER


@frozen
class FieldSample:
    """A field and counts of what was seen in it; no value.

    ``setting`` is what ``fields`` in the configuration would call it, ``names`` what people call it, ``place`` whose
    field it is ("lead"). ``known``: the source reads it as that by itself. Of ``sampled`` records ``filled`` had
    something in it, ``fitting`` something of the kind its name promises (or ``known``), ``holding`` a known identifier
    inside a longer text.
    """

    setting: str
    names: tuple[str, ...]
    place: str = ""
    known: IdKind | None = None
    sampled: int = 0
    filled: int = 0
    fitting: int = 0
    shapes: Mapping[Shape, int] = field(default_factory=dict)
    holding: Mapping[IdKind, int] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """What people call it, where that differs from what a setting calls it."""
        return next((name for name in self.names if name != self.setting), "")


class Sampler:
    """Counts what the records of a sample hold in one field. Values are looked at and forgotten."""

    def __init__(self, setting: str, names: Iterable[str], place: str = "", known: IdKind | None = None) -> None:
        self._about = (setting, tuple(dict.fromkeys(name for name in names if name)), place, known)
        self._wanted = known or name_kind(self._about[1])
        self._filled = self._fitting = 0
        self._shapes: Counter[Shape] = Counter()
        self._holding: Counter[IdKind] = Counter()

    def add(self, texts: Iterable[str]) -> None:
        """One record's values of this field; nothing, when it is empty there."""
        given = [text for text in texts if text.strip()]
        if not given:
            return
        self._filled += 1
        self._fitting += any(_fits(self._wanted, text) for text in given)
        self._shapes.update({shape_of(text) for text in given})
        self._holding.update({item.kind for text in given for item in _inside(text)})

    def sample(self, sampled: int) -> FieldSample:
        """What was counted in so many records."""
        shapes, holding = dict(self._shapes), dict(self._holding)
        return FieldSample(*self._about, sampled, self._filled, self._fitting, shapes, holding)


def merged(samples: Iterable[FieldSample]) -> list[FieldSample]:
    """One sample for each setting: a field of leads and the field of deals with the same code are configured as one."""
    found: dict[str, FieldSample] = {}
    for one in samples:
        before = found.get(one.setting)
        found[one.setting] = one if before is None else _sum(before, one)
    return list(found.values())


def _sum(one: FieldSample, other: FieldSample) -> FieldSample:
    return FieldSample(
        one.setting,
        tuple(dict.fromkeys((*one.names, *other.names))),
        ", ".join(dict.fromkeys((*one.place.split(", "), *other.place.split(", ")))),
        one.known or other.known,
        one.sampled + other.sampled,
        one.filled + other.filled,
        one.fitting + other.fitting,
        dict(Counter(one.shapes) + Counter(other.shapes)),
        dict(Counter(one.holding) + Counter(other.holding)),
    )


_CLIENT_ID_MIN = 16  # digits; shorter ones are phones and order numbers (contract tables E)


def _fits(kind: IdKind | None, text: str) -> bool:
    found = [] if kind is None else read_clue(Clue("", text, kind))
    good = [item.value for item in found if isinstance(item, Identifier) and item.kind is kind]
    return bool(good) and (kind is not IdKind.CLIENT_ID or len(good[0]) >= _CLIENT_ID_MIN)


def _inside(text: str) -> list[Identifier]:
    return [item for item in read_clue(Clue("", text)) if isinstance(item, Identifier)]


# --- names -------------------------------------------------------------------------------------------------------

_WORDS = re.compile(r"[\W_]+")
_CLIENT = re.compile(r"clientid|идентификаторклиента")
_METRICA = re.compile(r"метри|metri[kc]|yandex|яндекс|^ym|^ya")
_ANALYTICS = re.compile(r"google|гугл|analytics|аналитикс|^ga|^ua")
_MORE = {"roistat": IdKind.ROISTAT, "визитroistat": IdKind.ROISTAT, "номервизита": IdKind.ROISTAT}


def name_kind(names: Iterable[str]) -> IdKind | None:
    """The identifier that one of these names promises ("UF_CRM_YCLID", "ClientID Метрики"); None if none does."""
    return next((kind for name in names if (kind := _kind_of(name)) is not None), None)


@lru_cache(maxsize=2048)
def _kind_of(name: str) -> IdKind | None:
    folded = normalize("NFKC", name).casefold().removeprefix("uf_crm_")
    words = [word for word in _WORDS.split(folded) if word]
    joined = "".join(words)
    exact = kind_of_name(folded.strip()) or kind_of_name("_".join(words)) or _MORE.get(joined)
    if exact is not None:
        return exact
    if _CLIENT.search(joined):
        return _client(joined)
    return next((kind for word in words if len(word) > 4 and (kind := kind_of_name(word)) is not None), None)


def _client(joined: str) -> IdKind | None:
    if _ANALYTICS.search(joined):
        return IdKind.GA_CLIENT_ID
    return IdKind.CLIENT_ID if _METRICA.search(joined) or joined == "clientid" else None


# --- judgement ---------------------------------------------------------------------------------------------------

_BY_SHAPE = {
    Shape.TIMED: IdKind.CLIENT_ID,
    Shape.DIGITS: IdKind.YCLID,
    Shape.TOKEN: IdKind.GCLID,
    Shape.PAIR: IdKind.GA_CLIENT_ID,
}
_ENOUGH = 3  # filled records that make a shape worth a guess
_MOST = 0.6  # of them must have it
_OWN = (IdKind.USER_ID, IdKind.PURCHASE_ID)  # any text has their form


@frozen
class Guess:
    """A field that looks like an identifier. Unless ``is_sure`` a human decides; ``evidence`` says why, in words."""

    kind: IdKind
    is_sure: bool
    evidence: str


def guess(sample: FieldSample) -> Guess | None:
    """What a field is, by its names and the shapes of its values; None if nothing speaks for an identifier."""
    if sample.known is not None:
        return Guess(sample.known, True, f"found by itself; {_fitting(sample, sample.known)}")
    named = name_kind(sample.names)
    shape = _leading(sample)
    if named is None:
        return None if shape is None else Guess(_BY_SHAPE[shape], False, _shaped(sample, shape))
    if named is IdKind.CLIENT_ID and shape is Shape.PAIR:
        return Guess(IdKind.GA_CLIENT_ID, False, f"named like Metrica's, but {_shaped(sample, Shape.PAIR)}")
    fits = sample.fitting >= sample.filled * _MOST
    return Guess(named, fits and named not in _OWN, f"the name; {_fitting(sample, named)}")


def _leading(sample: FieldSample) -> Shape | None:
    """The shape of most values. Digits with and without a time in front are one family: both may be a yclid."""
    enough = max(_ENOUGH, sample.filled * _MOST)
    counts = sample.shapes
    digits = counts.get(Shape.TIMED, 0) + counts.get(Shape.DIGITS, 0)
    if digits >= enough:
        return Shape.DIGITS if counts.get(Shape.DIGITS, 0) else Shape.TIMED
    return next((shape for shape in (Shape.TOKEN, Shape.PAIR) if counts.get(shape, 0) >= enough), None)


def _shaped(sample: FieldSample, shape: Shape) -> str:
    count = sample.shapes.get(shape, 0)
    if shape is Shape.DIGITS:
        count += sample.shapes.get(Shape.TIMED, 0)
    return f"{shape} in {count} of {sample.filled} filled"


def _fitting(sample: FieldSample, kind: IdKind) -> str:
    if not sample.filled:
        return f"empty in all {sample.sampled} sampled" if sample.sampled else "no record to sample"
    broken = sample.shapes.get(Shape.BROKEN, 0)
    lost = f", {broken} destroyed by a spreadsheet" if broken else ""
    return f"a good {kind} in {sample.fitting} of {sample.filled} filled{lost}"


# --- what may be asked of an adapter -----------------------------------------------------------------------------


@frozen
class SourceSurvey:
    """Fields of a source. ``currency``: the account's own, "" where it does not tell."""

    fields: tuple[FieldSample, ...]
    currency: str = ""


@frozen
class Target:
    """A goal of a destination. ``id`` is what ``send`` names; ``kind`` the vendor's type, in its words.

    ``means``: what the vendor's type says it is for ("qualified", "sale", "spam", or ""). ``note`` says why it cannot
    be sent to when it is not ``is_usable``.
    """

    id: str
    name: str
    kind: str
    means: str = ""
    is_usable: bool = True
    note: str = ""


@frozen
class DestinationSurvey:
    """Goals of a destination. ``note``: why they cannot be listed. ``timezone``: the account's, an IANA name or ""."""

    targets: tuple[Target, ...] = ()
    note: str = ""
    timezone: str = ""


@runtime_checkable
class SurveysFields(Protocol):
    """A source that can tell what its fields hold."""

    async def survey(self) -> SourceSurvey:
        """Field definitions, and counts over at most ``SAMPLE`` recent records. Reads only; no value leaves it.

        Raises:
            AuthError, Throttled, Unavailable, Refused, Drift: the vendor's answer.
        """
        ...


@runtime_checkable
class ListsTargets(Protocol):
    """A destination that can list its goals."""

    async def targets(self) -> DestinationSurvey:
        """Every goal that conversions could be sent to, and those they could not, with the reason. Reads only.

        Raises:
            AuthError, Throttled, Unavailable, Refused, Drift: the vendor's answer.
        """
        ...


@runtime_checkable
class CreatesTargets(Protocol):
    """A destination that can create a goal. Only ever asked when the operator said so."""

    async def create_target(self, id: str, name: str) -> Target:
        """A new goal of this identifier.

        Raises:
            AuthError, Throttled, Unavailable, Ambiguous, Refused, Drift: it does not exist, or nobody knows.
        """
        ...

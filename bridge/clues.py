"""Recognition of click and visitor identifiers in CRM fields, URLs, cookies and free text; naming of garbage.

Formats: contract yandex 12 (ClientID, yclid), google 8 (gclid and its cookies), amocrm 14 (how fields get polluted),
roistat (a visit number is digits), tables D. Identifiers are text from end to end: no value passes through a number.
Yandex's ``ysclid`` (organic search) and ``yadclid`` (constant per advertiser) are never taken for a yclid.

Garbage reasons: ``null``, ``undefined``, ``placeholder``, ``test_value``, ``scientific_notation``,
``precision_lost``, ``has_spaces``, ``several_values``, ``wrong_length``, ``not_digits``, ``only_digits``,
``lower_cased``, ``bad_characters``, ``ga_client_id``, ``personal_data``, ``nobody``.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache
from unicodedata import normalize
from urllib.parse import unquote

from bridge.channels import UNKNOWN, channel_of
from bridge.model import COMPANIONS, Clue, Deal, Identifier, IdKind, Method, frozen


@frozen
class Garbage:
    """A text that should have been an identifier and is none: its place and the reason's code, never the text."""

    where: str
    reason: str


@frozen
class Reading:
    """What a deal's clues say: the first identifier of each kind, best method first, and what was refused.

    ``places`` were looked at in vain; empty when something was found. ``channel`` is one of ``channels``, "" where
    nothing was read.
    """

    found: tuple[tuple[Method, Identifier], ...] = ()
    garbage: tuple[Garbage, ...] = ()
    places: tuple[str, ...] = ()
    channel: str = ""

    @property
    def identifiers(self) -> tuple[Identifier, ...]:
        return tuple([identifier for _, identifier in self.found])


# --- shapes of identifiers ---------------------------------------------------------------------------------------


class _Family(Enum):
    """What kinds of identifiers have in common."""

    DIGITS = "digits"
    CASED = "cased"  # long base64url: never all lower-case, never all digits by chance
    PLAIN = "plain"
    OWN = "own"  # the site's own, of any shape


@frozen
class _Rule:
    name: str
    family: _Family
    shape: re.Pattern[str]
    prefix: re.Pattern[str] | None = None
    tail: re.Pattern[str] | None = None


# Cookies carry the value behind a version and a time (contract google 8: all text after the second dot).
_GCL = re.compile(r"GCL\.[0-9]+\.")
_FBC = re.compile(r"fb\.[0-9]+\.[0-9]+\.")
# GA1.2.x.y in the cookie; 2.hash.session.x.y in a cross-domain link
_GA = re.compile(r"GA[0-9]+\.[0-9]+(?:-[0-9]+)?\.|[0-9]\.[0-9]+\.[0-9]+\.(?=[0-9]+\.[0-9])", re.I)
# GS1.1.<session>.<count>... or GS2.1.s<session>$o<count>$... in the cookie of a GA4 stream
_GS = re.compile(r"GS[0-9]+\.[0-9]+\.s?")
_GS_TAIL = re.compile(r"(?<=[0-9])[.$].*", re.S)
_LEAD_FORM = re.compile(r"l:(?=[0-9])")  # how Meta's own exports of lead forms write it


def _rule(
    kind: IdKind,
    family: _Family,
    shape: str,
    prefix: re.Pattern[str] | None = None,
    tail: re.Pattern[str] | None = None,
) -> tuple[IdKind, _Rule]:
    return kind, _Rule(kind.value, family, re.compile(shape), prefix, tail)


_RULES = dict(
    (
        _rule(IdKind.YCLID, _Family.DIGITS, "[0-9]{10,20}"),
        _rule(IdKind.YMCLID, _Family.DIGITS, "[0-9]{10,30}"),
        _rule(IdKind.CLIENT_ID, _Family.DIGITS, "[0-9]{10,20}"),
        _rule(IdKind.ROISTAT, _Family.DIGITS, "[0-9]{1,20}"),
        _rule(IdKind.GCLID, _Family.CASED, r"[A-Za-z0-9_\-]{20,512}", _GCL),
        _rule(IdKind.FBCLID, _Family.CASED, r"[A-Za-z0-9_\-]{20,512}", _FBC),
        _rule(IdKind.GBRAID, _Family.PLAIN, r"[A-Za-z0-9_\-]{10,512}", _GCL),
        _rule(IdKind.WBRAID, _Family.PLAIN, r"[A-Za-z0-9_\-]{10,512}", _GCL),
        _rule(IdKind.RB_CLICKID, _Family.PLAIN, r"[A-Za-z0-9_.\-]{6,255}"),
        _rule(IdKind.GA_CLIENT_ID, _Family.PLAIN, r"[0-9]{1,12}\.[0-9]{9,12}", _GA),
        _rule(IdKind.GA_SESSION_ID, _Family.DIGITS, "[0-9]{9,12}", _GS, _GS_TAIL),
        _rule(IdKind.FB_LEAD_ID, _Family.DIGITS, "[0-9]{15,17}", _LEAD_FORM),
        _rule(IdKind.USER_ID, _Family.OWN, r"[^\s\0-\x1f\x7f,;\"<>{}]{1,255}"),
        _rule(IdKind.LEAD_KEY, _Family.PLAIN, "bl[a-z0-9]{18,40}"),
        _rule(IdKind.PURCHASE_ID, _Family.OWN, r"[^\s\0-\x1f\x7f{}](?:[^\0-\x1f\x7f{}]{0,126}[^\s\0-\x1f\x7f{}])?"),
    )
)

_EDGE = " \t\r\n\f\v\u00a0\u1680\u2007\u202f\u200b\u200c\u200d\u2060\ufeff\"'`´‘’‚“”„«»‹›"
_NULLS = frozenset(("null", "nil", "none", "nan", "нет", "n/a", "(not set)", "не указано", "(none)", "false"))
_BLANK = frozenset(("", "-", "–", "—", "_", "."))
_UNDEFINED = frozenset(("undefined", "[object object]", "object object"))
_TESTS = frozenset(("test", "тест", "1234567890", "0123456789"))
# What sites write for whoever has not signed in, and trackers for no visit: it would join all of them.
_COUNTED = frozenset((IdKind.USER_ID.value, IdKind.ROISTAT.value))
_NOBODY = re.compile(
    r"[-+]?0+(?:\.0+)?|-[0-9]+|0{8}-(?:0{4}-){3}0{12}"
    r"|(?:guest|anon(?:ym(?:ous)?)?|unknown|un(?:authori[sz]|authenticat)ed|nobody|no[_-]?user|not[_-]?logged[_-]?in)"
    r"(?:[_-]?(?:user|visitor|id))?|гость|аноним|неизвестно|неизвестный"
)
_PLACEHOLDER = re.compile(r".*(?:[{}]|\$\(|<%).*|\[[^\]]*\]|%[A-Za-z_]+%|#[A-Za-z_]+#|<[^>]*>", re.S)
_SCIENTIFIC = re.compile(r"[+\-]?[0-9]+(?:[.,][0-9]+)?[eEеЕ][+\-]?[0-9]+")
_FLOAT = re.compile(r"([0-9]+)[.,]0+")
_FLOAT_DIGITS = 15  # so many digits always survive a 64-bit float (contract tables D)
_GA_SHAPE = re.compile(r"(?:GA[0-9]+\.[0-9]+(?:-[0-9]+)?\.)?[0-9]{4,12}\.[0-9]{9,12}", re.I)
_PLAIN = re.compile(r"[A-Za-z0-9_.\-]+")
_CONTROL = re.compile(r"[\0-\x08\x0e-\x1b\x7f]")  # no text of PostgreSQL's holds the first of them
# Between the values of a list. A space is not: it breaks a value in two, and neither piece is an identifier.
_BETWEEN = re.compile(r"[,;|\r\n\t]+")
_MASK = 8  # so many equal characters are a mask, not an identifier
_MARKED = re.compile(r"[=:?&]")


def _flaw(rule: _Rule, value: str) -> str:
    """Why a well-shaped value is still none; "" when it is good."""
    if len(value) >= _MASK and value == value[0] * len(value):
        return "test_value"
    if rule.name in _COUNTED and _NOBODY.fullmatch(value.lower()):
        return "nobody"
    if rule.family is _Family.DIGITS:
        return "test_value" if value in _TESTS else ""
    lowered = value.lower()
    named = _named(rule, lowered)
    if named:
        return named
    if rule.family is _Family.CASED:
        return "only_digits" if value.isdigit() else "lower_cased" if lowered == value else ""
    if rule.family is _Family.OWN:
        return "personal_data" if "@" in value else "placeholder" if _PLACEHOLDER.fullmatch(value) else ""
    return ""


def _named(rule: _Rule, lowered: str) -> str:
    """The reason of a well-known word; "" for any other text."""
    if lowered in _NULLS or lowered.strip("<>()[]") in _NULLS:
        return "null"
    if lowered in _UNDEFINED:
        return "undefined"
    if lowered in _TESTS:
        return "test_value"
    return "placeholder" if lowered == rule.name else ""


def _misshape(rule: _Rule, value: str) -> str:
    """Why a value has not the shape of its kind."""
    named = _named(rule, value.lower())
    if named:
        return named
    if _PLACEHOLDER.fullmatch(value):
        return "placeholder"
    if _SCIENTIFIC.fullmatch(value):
        return "scientific_notation"
    if _FLOAT.fullmatch(value):
        return "precision_lost"
    if any(character.isspace() for part in _BETWEEN.split(value) for character in part.strip(_EDGE)):
        return "has_spaces"
    return _wrong_characters(rule, value) or "wrong_length"


def _wrong_characters(rule: _Rule, value: str) -> str:
    if rule.family is _Family.DIGITS:
        if _GA_SHAPE.fullmatch(value):
            return "ga_client_id"
        return "" if value.isascii() and value.isdigit() else "not_digits"
    if rule.family is _Family.OWN:
        return "bad_characters" if _CONTROL.search(value) else ""
    return "" if _PLAIN.fullmatch(value) else "bad_characters"


# --- one value ---------------------------------------------------------------------------------------------------


def _judge(rule: _Rule, text: str) -> tuple[str, str]:
    """(value, "") of a well-formed identifier, ("", reason) of garbage, ("", "") of nothing at all."""
    if rule.shape.fullmatch(text) and rule.family is not _Family.OWN:
        return _unless_flawed(rule, text)
    value = normalize("NFKC", _decoded(text.strip(_EDGE))).strip(_EDGE)
    if value in _BLANK:
        return "", ""
    if rule.prefix is not None:
        value, wraps = rule.prefix.subn("", value, count=1)
        value = rule.tail.sub("", value) if wraps and rule.tail else value
    whole = _FLOAT.fullmatch(value) if rule.family is _Family.DIGITS else None
    if whole is not None and len(whole[1]) <= _FLOAT_DIGITS:
        value = whole[1]
    if rule.shape.fullmatch(value):
        return _unless_flawed(rule, value)
    return _one_of_several(rule, value)


def _unless_flawed(rule: _Rule, value: str) -> tuple[str, str]:
    flaw = _flaw(rule, value)
    return ("", flaw) if flaw else (value, "")


def _one_of_several(rule: _Rule, text: str) -> tuple[str, str]:
    """The only good value of a list such as "123, 123" or "undefined,123"."""
    reason = _misshape(rule, text)
    if reason in ("scientific_notation", "precision_lost"):
        return "", reason
    good = {value for value in (_good_part(rule, part) for part in _BETWEEN.split(text)) if value}
    if len(good) == 1:
        return good.pop(), ""
    return "", "several_values" if good else reason


def _good_part(rule: _Rule, part: str) -> str:
    value = part.strip(_EDGE)
    return _unless_flawed(rule, value)[0] if rule.shape.fullmatch(value) else ""


# --- searching text ----------------------------------------------------------------------------------------------

# Parameter, cookie and JSON names. "client_id" alone is also an OAuth parameter, hence the longer digits it must have.
_NAMES: dict[str, IdKind] = {
    "yclid": IdKind.YCLID,
    "ymclid": IdKind.YMCLID,
    "gclid": IdKind.GCLID,
    "_gcl_aw": IdKind.GCLID,
    "fpgclaw": IdKind.GCLID,
    "gbraid": IdKind.GBRAID,
    "_gcl_ag": IdKind.GBRAID,
    "wbraid": IdKind.WBRAID,
    "_gcl_gb": IdKind.WBRAID,
    "_ym_uid": IdKind.CLIENT_ID,
    "ym_uid": IdKind.CLIENT_ID,
    "ym_client_id": IdKind.CLIENT_ID,
    "ymclientid": IdKind.CLIENT_ID,
    "yaclientid": IdKind.CLIENT_ID,
    "ya_client_id": IdKind.CLIENT_ID,
    "metrika_client_id": IdKind.CLIENT_ID,
    "metrica_client_id": IdKind.CLIENT_ID,
    "yaid": IdKind.CLIENT_ID,
    "client_id": IdKind.CLIENT_ID,
    "clientid": IdKind.CLIENT_ID,
    "_ga": IdKind.GA_CLIENT_ID,
    "ga_client_id": IdKind.GA_CLIENT_ID,
    "gaclientid": IdKind.GA_CLIENT_ID,
    "gclientid": IdKind.GA_CLIENT_ID,
    "gaid": IdKind.GA_CLIENT_ID,
    "ga_session_id": IdKind.GA_SESSION_ID,
    "fbclid": IdKind.FBCLID,
    "_fbc": IdKind.FBCLID,
    "rb_clickid": IdKind.RB_CLICKID,
    "roistat_visit": IdKind.ROISTAT,
    "bridge_lead": IdKind.LEAD_KEY,
    "ym_user_id": IdKind.USER_ID,
    "purchase_id": IdKind.PURCHASE_ID,
}
# Names that mean other things too: taken when the value fits, passed over silently when it does not.
_LOOSE = frozenset(("ym_uid", "yaid", "client_id", "clientid", "gaid", "purchase_id", "_ga"))
_LONG_CLIENT_ID = 16  # contract tables E: shorter ones under such names are other things
_LOOSE_CLIENT_ID = frozenset(("ym_uid", "yaid", "client_id", "clientid"))
_SESSION = re.compile(r"_ga_[a-z0-9]+")  # cookie of a GA4 stream: "_ga_" and the measurement id without "G-"
_HINTS = (
    "clid",
    "braid",
    "ym_",
    "client",
    "_ga",
    "ga_session",
    "gcl",
    "roistat_v",
    "clickid",
    "yaid",
    "gaid",
    "_fbc",
    "purchase_",
    "bridge_lead",
)
# No identifier is longer than 700 characters, whatever is wrapped around it; without an end each name in a long text
# would be judged with all of the rest.
_PAIR = re.compile(
    r"("
    + "|".join((*sorted(_NAMES, key=len, reverse=True), _SESSION.pattern))
    + r")\\*[\"']?\s*(?:=>|[=:|])\s*\\*[\"']?([^&\s;,\"'\\<>#?|/]{1,700})",
    re.I,
)
_is_paired = re.compile("[=:|%]").search  # what stands between a name and its value, as it is or encoded
_WORD = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")
_NAME_MAX = max(map(len, _NAMES))
_DECODINGS = 4  # a URL inside a URL inside a redirect, and one more


def _search(where: str, text: str) -> list[Identifier | Garbage]:
    lowered = text.lower()
    for hint in _HINTS:
        if hint in lowered:
            return _pairs(where, _decoded(text) if "%" in text else text)
    return []


def _pairs(where: str, text: str) -> list[Identifier | Garbage]:
    results: list[Identifier | Garbage] = []
    for start in _starts(text):
        match = _PAIR.match(text, start)
        if match is None:
            continue
        name = match[1].lower()
        kind = _NAMES.get(name, IdKind.GA_SESSION_ID)
        value, reason = _judge(_RULES[kind], match[2])
        if value and not (name in _LOOSE_CLIENT_ID and len(value) < _LONG_CLIENT_ID):
            results.append(Identifier(kind, value, where))
        elif reason and name in _NAMES and name not in _LOOSE:
            results.append(Garbage(where, reason))
    return results


def _starts(text: str) -> list[int]:
    """Where words with a hint begin. Much faster than to try every name at every character."""
    lowered = text.lower()
    if len(lowered) != len(text):  # a few letters grow when made small: places would shift
        lowered = "".join([letter.lower() if letter.isascii() else letter for letter in text])
    starts = set()
    for hint in _HINTS:
        at = lowered.find(hint)
        while at >= 0:
            start = at
            while start > 0 and lowered[start - 1] in _WORD and at - start < _NAME_MAX:
                start -= 1
            starts.add(start)
            at = lowered.find(hint, at + 1)
    return sorted(starts)


def _decoded(text: str) -> str:
    for _ in range(_DECODINGS):
        if "%" not in text:
            break
        plainer = unquote(text)
        if plainer == text:
            break
        text = plainer
    return text


# --- public ------------------------------------------------------------------------------------------------------


def kind_of_name(name: str) -> IdKind | None:
    """The identifier that a parameter or cookie of this (lower-case) name holds."""
    return _NAMES.get(name)


def read_clue(clue: Clue) -> list[Identifier | Garbage]:
    """Every identifier and every piece of garbage in one text, in its order. Never raises.

    With ``kind`` the text is that identifier: one result, or none for an empty text; a URL or ``yclid=...`` pasted
    into the field gives what it holds. Without it the text is searched for known parameter, cookie and JSON names.
    """
    kind = clue.kind
    if kind is None:
        return _search(clue.where, clue.text)
    value, reason = _judge(_RULES[kind], clue.text)
    if value:
        return [Identifier(kind, value, clue.where)]
    if not reason:
        return []
    if _MARKED.search(clue.text):
        inside = _search(clue.where, clue.text)
        if inside:
            return inside
    return [Garbage(clue.where, reason)]


_URL_TEXT = re.compile(r"\s*(?:[a-z][a-z0-9+.\-]*://|www\.|//|/?\?|[a-zа-яё0-9\-]+(?:\.[a-zа-яё0-9\-]+)+/)", re.I)
_URL_PLACES = re.compile(r"refer{1,2}er|ur[li]|page|landing|link|site|сайт|страниц|посадочн|ссылк|адрес")


@lru_cache(maxsize=1024)
def _is_url_place(where: str) -> bool:
    return _URL_PLACES.search(where.casefold()) is not None


@lru_cache(maxsize=1024)
def _is_utm_place(where: str) -> bool:
    return "utm_" in where.casefold()


def _method(clue: Clue) -> Method:
    """Of a text that is searched."""
    if _is_url_place(clue.where):
        return Method.URL
    return Method.UTM if _is_utm_place(clue.where) or not _URL_TEXT.match(clue.text) else Method.URL


def _order(pair: tuple[Method, Identifier]) -> bool:
    return pair[0] is Method.UTM


def read(deal: Deal) -> Reading:
    """All clues of a deal. Of each kind the first identifier counts: fields before URLs before utm and free text."""
    if not deal.clues:
        return _NOTHING
    fields: list[tuple[Method, Identifier]] = []
    others: list[tuple[Method, Identifier]] = []
    garbage: list[Garbage] = []
    for clue in deal.clues:
        if clue.kind is None and not _is_paired(clue.text):  # most texts are one word, in which nothing is found
            continue
        for result in read_clue(clue):
            if not isinstance(result, Identifier):
                garbage.append(result)
            elif clue.kind is None:
                others.append((_method(clue), result))
            else:
                fields.append((Method.FIELD, result))
    if len(others) > 1:
        others.sort(key=_order)
    chosen = _first_of_kind(fields + others)
    places = () if chosen else tuple(dict.fromkeys([clue.where for clue in deal.clues]))
    channel = channel_of(deal.clues, chosen)
    return Reading(tuple(chosen.values()), tuple(dict.fromkeys(garbage)) if garbage else (), places, channel)


_NOTHING = Reading(channel=UNKNOWN)


def _first_of_kind(found: list[tuple[Method, Identifier]]) -> dict[IdKind, tuple[Method, Identifier]]:
    chosen: dict[IdKind, tuple[Method, Identifier]] = {}
    for pair in found:
        chosen.setdefault(pair[1].kind, pair)
    return {} if COMPANIONS.issuperset(chosen) else chosen

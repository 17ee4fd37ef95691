"""A post of the snippet, read at the border: identifiers recognised, contacts hashed, addresses cut to host and path.

Strict: what the snippet would not send is refused with a code. Inside a good post a value that is none is left out and
named by its reason, for counting. Nothing personal passes: of pages only host and path are kept, without what looks
like a phone or an e-mail; a utm mark with a phone or an e-mail in it is left out. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from datetime import datetime, timedelta
from typing import Annotated
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
from msgspec import Meta

from bridge.clues import Garbage, read_clue
from bridge.collector.settings import CollectorSettings, Fill
from bridge.errors import Refused
from bridge.model import Clue, Contact, Identifier, IdKind, frozen

BODY_MAX = 16 * 1024  # bytes; the snippet's posts have at most half of it
_AGE_MAX = timedelta(days=400)
_KEY = re.compile(r"bl[a-z0-9]{18,40}")
_PERSONAL = re.compile(r"\d(?:[\s().+-]*\d){6,}|[^/]*@[^/]*")
# A mark holds numbers of campaigns and ads as well: so only what is written like a phone, or as Russians write one.
_GAP = r"[\s().\-–]{0,3}"
_PHONE = re.compile(
    rf"\+{_GAP}[1-9](?:{_GAP}\d){{8,14}}"  # with its plus
    rf"|(?<!\d)[78]{_GAP}[3489](?:{_GAP}\d){{9}}(?!\d)"
    r"|(?<!\d)\(?[2-9]\d\d\)?[\s.–-]{1,2}\d{3}[\s.–-]?\d\d[\s.–-]?\d\d(?!\d)"  # grouped, without a prefix
)
_BARE_PHONE = re.compile(r"(?<!\d)9\d{9}(?!\d)")  # or a campaign: of those there are as long ones
_ID = re.compile(r"[\w.\-\[\]:#]{1,80}")
_UTM = ("utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term")
_OF_CAMPAIGNS = ("utm_source", "utm_medium", "utm_campaign")
_KINDS = frozenset(kind for kind in IdKind if kind in {*Fill} and kind is not IdKind.LEAD_KEY)
_LONGEST = 150  # characters of a utm mark or a path

_Text = Annotated[str, Meta(max_length=2_048)]
_Short = Annotated[str, Meta(max_length=300)]


class _Landing(msgspec.Struct, forbid_unknown_fields=True, rename={"address": "l", "referrer": "r", "age": "a"}):
    address: _Text = ""
    referrer: _Text = ""
    age: float = 0.0  # seconds; less than none where somebody has set the clock


class _People(msgspec.Struct, forbid_unknown_fields=True, rename={"phones": "p", "emails": "e"}):
    phones: Annotated[list[_Short], Meta(max_length=3)] = []
    emails: Annotated[list[_Short], Meta(max_length=3)] = []


_SHORT = {
    **{"version": "v", "key": "k", "identifiers": "c", "last": "l", "first": "f", "visits": "n", "pages": "p"},
    **{"seconds": "s", "trap": "h", "form": "i", "people": "x"},
}


class _Body(msgspec.Struct, forbid_unknown_fields=True, rename=_SHORT):
    """The snippet's words (``web/collector.js``), short because every visitor loads them.

    ``identifiers`` are those that cookies hold. ``last`` is the last landing that shows a click, ``pages`` the newest
    first, ``seconds`` from the page's loading to the form's sending, ``trap`` whether the honeypot was filled in.
    """

    version: int
    key: _Short
    identifiers: dict[_Short, _Text] = {}
    last: _Landing | None = None
    first: _Landing | None = None
    visits: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0
    pages: Annotated[list[_Text], Meta(max_length=20)] = []
    seconds: float = 0.0
    trap: int = 0
    form: _Short = ""
    people: _People | None = None


_decode = msgspec.json.Decoder(_Body).decode


@frozen
class Landing:
    """A page at which the visitor came in. ``page`` and ``referrer`` are addresses cut to what is not personal."""

    at: datetime
    page: str
    referrer: str
    utm: tuple[tuple[str, str], ...] = ()
    identifiers: tuple[Identifier, ...] = ()


@frozen
class Form:
    """A form that was sent on the tenant's site. ``joins``: digests of its phone and e-mail.

    ``facts`` are neutral, for rules: see ``docs/howto/collect-clicks.md``.
    """

    key: str
    at: datetime
    last: Landing | None = None
    first: Landing | None = None
    cookies: tuple[Identifier, ...] = ()
    joins: tuple[str, ...] = ()
    facts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@frozen
class Border:
    """What reading a post needs: ``seal`` makes digests of a contact, ``address`` is that of the visitor, or ""."""

    settings: CollectorSettings
    now: datetime
    seal: Callable[[Contact], tuple[str, ...]]
    address: str = ""


def read(body: bytes, border: Border) -> tuple[Form, list[str]]:
    """The form, and reasons of what was left out of it. Never raises anything but:

    Raises:
        Refused: it is no post of the snippet; ``code`` says why.
    """
    told = _told(body)
    settings, garbage = border.settings, list[str]()
    last, first = (_landing(one, border.now, garbage) for one in (told.last, told.first))
    cookies = tuple(dict.fromkeys(_cookies(told.identifiers, garbage)))
    joins = _joins(told.people, border, garbage) if told.people is not None else ()
    facts: dict[str, tuple[str, ...]] = {
        "form_seconds": (str(int(max(0.0, min(told.seconds, 1e9)))),),
        "too_fast": (_word(told.seconds < settings.too_fast.total_seconds()),),
        "visits": (str(told.visits),),
    }
    if settings.honeypot:
        facts["honeypot"] = (_word(told.trap != 0),)
    pages = tuple(filter(None, map(_path, told.pages)))
    for name, values in (("pages_seen", pages), ("form", (_name(told.form),)), ("address", (border.address,))):
        if any(values):
            facts[name] = values
    return Form(told.key, border.now, last, first, cookies, joins, facts), garbage


def _told(body: bytes) -> _Body:
    if len(body) > BODY_MAX:
        raise Refused("longer than any post of the snippet", code="too_large")
    try:
        told = _decode(body)
    except msgspec.ValidationError:
        raise Refused("not what the snippet sends", code="not_as_documented") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused("not JSON", code="not_json") from None
    if told.version != 1:
        raise Refused("another version of the snippet; reload the page", code="other_version")
    if not _KEY.fullmatch(told.key):
        raise Refused("no lead key", code="no_lead_key")
    return told


def _word(is_so: bool) -> str:
    return "yes" if is_so else "no"


def _landing(told: _Landing | None, now: datetime, garbage: list[str]) -> Landing | None:
    if told is None or not told.address:
        return None
    found = [*read_clue(Clue("landing page", told.address)), *read_clue(Clue("referrer", told.referrer))]
    identifiers = tuple(_sound(found, garbage))
    at = now - timedelta(seconds=max(0.0, min(told.age, _AGE_MAX.total_seconds())))
    utm = tuple(_utm(told.address, garbage))
    return Landing(
        at, _address(told.address, with_path=True), _address(told.referrer, with_path=False), utm, identifiers
    )


def _sound(found: Sequence[Identifier | Garbage], garbage: list[str]) -> Iterator[Identifier]:
    """The first identifier of each kind that a browser can know."""
    seen = set[IdKind]()
    for item in found:
        if isinstance(item, Garbage):
            garbage.append(item.reason)
        elif item.kind in _KINDS and item.kind not in seen:
            seen.add(item.kind)
            yield item


def _cookies(told: Mapping[str, str], garbage: list[str]) -> Iterator[Identifier]:
    found: list[Identifier | Garbage] = []
    for name, value in told.items():
        if name not in _KINDS:
            found.append(Garbage("cookie", "unknown_identifier"))
        else:
            found += read_clue(Clue(f"browser: {name}", value, IdKind(name)))
    return _sound(found, garbage)


def _joins(told: _People, border: Border, garbage: list[str]) -> tuple[str, ...]:
    """Digests of what the tenant wants to be hashed; the rest is not even looked at."""
    settings = border.settings
    phones = tuple(told.phones) if settings.phone_input else ()
    emails = tuple(told.emails) if settings.email_input else ()
    if len(phones) + len(emails) < len(told.phones) + len(told.emails):
        garbage.append("contact_not_wanted")
    return border.seal(Contact("", phones, emails)) if phones or emails else ()


# --- texts that hold nothing personal ----------------------------------------------------------------------------


def _utm(address: str, garbage: list[str]) -> Iterator[tuple[str, str]]:
    seen = set[str]()
    try:
        pairs = parse_qsl(urlsplit(address).query, max_num_fields=100)
    except ValueError:
        garbage.append("bad_address")
        return
    for name, value in pairs:
        mark = name.lower()
        if mark not in _UTM or mark in seen:
            continue
        seen.add(mark)
        if _is_personal(mark, value) or not value.isprintable() or len(value) > _LONGEST:
            garbage.append("bad_utm")
        elif value.strip():
            yield mark, value.strip()


def _is_personal(mark: str, value: str) -> bool:
    """Whether a utm mark holds a phone or an e-mail: links in mailings do. Its plus, not encoded, became a space."""
    plain = _plain(value)
    plain = f"+{plain[1:]}" if plain.startswith(" ") else plain
    is_bare = mark not in _OF_CAMPAIGNS and _BARE_PHONE.search(plain)
    return "@" in plain or bool(is_bare or _PHONE.search(plain))


def _address(text: str, *, with_path: bool) -> str:
    """``https://host/path`` of a page, ``https://host/`` of a referrer; "" of what is no address."""
    try:
        parts = urlsplit(text)
        host = (parts.hostname or "").encode("idna").decode()
    except (ValueError, UnicodeError):
        return ""
    if parts.scheme not in ("http", "https") or not re.fullmatch(r"[a-z0-9.\-]{1,253}", host):
        return ""
    return f"{parts.scheme}://{host}{_path(parts.path) if with_path else '/'}"


def _path(text: str) -> str:
    """A page's path in plain letters, its personal parts masked; "" of what is no path."""
    plain = _plain(text.partition("?")[0].partition("#")[0])
    if not plain.startswith("/") or not plain.isprintable():
        return "/" if not text else ""
    return _PERSONAL.sub("*", plain)[:_LONGEST]


def _plain(text: str) -> str:
    """In plain letters, however often it was encoded."""
    for _ in range(4):
        text = unquote(text)
    return text


def _name(text: str) -> str:
    return text if _ID.fullmatch(text) and not _PERSONAL.search(text) else ""

"""Which channel a lead came by, as its clues tell: utm tags first, then click ids, then the referrer. Pure.

Channels are a closed set of names, and ``utm:<slug>`` for a utm source of the advertiser's own. A slug is a word of a
campaign, never a text of a person: what could be a phone number, an e-mail or a sentence is ``other``. A lead is told
to belong to a channel once and for all when it is first read (``Reading.channel``): its texts are forgotten.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from functools import lru_cache
from urllib.parse import unquote

from bridge.model import Clue, IdKind

UNKNOWN, OTHER, ORGANIC, REFERRAL, SOCIAL = "unknown", "other", "organic", "referral", "social"
EMAIL, MESSENGER, MAPS, TELEGRAM = "email", "messenger", "maps", "telegram"
YANDEX, GOOGLE, VK, META = "yandex_direct", "google_ads", "vk", "meta"
MARKET = "yandex_market"
OWN = "utm:"  # begins the channel of a utm source that has no name of its own here
NAMED = (YANDEX, GOOGLE, VK, META, TELEGRAM, MARKET, MAPS, EMAIL, MESSENGER, ORGANIC, SOCIAL, REFERRAL, OTHER, UNKNOWN)

# Words of a utm source, and of a utm medium that says more than the source does.
_SOURCES = {
    **dict.fromkeys(("yandex", "ya", "yd", "direct", "yandexdirect", "rsya", "яндекс", "директ"), YANDEX),
    **dict.fromkeys(("google", "googleads", "adwords", "gads", "youtube", "kms"), GOOGLE),
    **dict.fromkeys(("vk", "vkontakte", "vkads", "mytarget", "odnoklassniki"), VK),
    **dict.fromkeys(("facebook", "fb", "instagram", "insta", "ig", "meta"), META),
    **dict.fromkeys(("telegram", "tg", "tgads"), TELEGRAM),
    **dict.fromkeys(("market", "yamarket"), MARKET),
    **dict.fromkeys(("maps", "map", "2gis", "gis", "geo", "gmb", "business", "karty"), MAPS),
    **dict.fromkeys(("whatsapp", "viber", "sms"), MESSENGER),
    **dict.fromkeys(("email", "newsletter", "unisender", "sendpulse"), EMAIL),
}
_MEDIA = {
    **dict.fromkeys(("email", "e-mail", "mail", "newsletter"), EMAIL),
    **dict.fromkeys(("sms", "messenger", "whatsapp", "viber"), MESSENGER),
    "organic": ORGANIC,
}
_WEAK_MEDIA = {"referral": REFERRAL, **dict.fromkeys(("social", "smm", "social-media"), SOCIAL)}
_STRONG = (MAPS, MARKET)  # "yandex_maps" and "yandex_market" are not Direct
_CLICKS = {
    IdKind.YCLID: YANDEX,
    IdKind.YMCLID: MARKET,
    **dict.fromkeys((IdKind.GCLID, IdKind.GBRAID, IdKind.WBRAID), GOOGLE),
    IdKind.RB_CLICKID: VK,
    IdKind.FBCLID: META,
}
# By the last labels of a referrer's host.
_HOSTS = {
    **dict.fromkeys(("yandex", "google", "bing", "duckduckgo", "rambler", "yahoo"), ORGANIC),
    **dict.fromkeys(("vk", "vkontakte", "ok"), VK),
    **dict.fromkeys(("facebook", "instagram"), META),
    **dict.fromkeys(("t", "telegram"), TELEGRAM),
    **dict.fromkeys(("youtube", "dzen", "pikabu", "tiktok", "linkedin"), SOCIAL),
    "2gis": MAPS,
}
_LONGEST = 64
_UNFILLED = tuple("{[<%(")  # a template that was never filled in, or "(none)"
_WORDS = re.compile(r"[^\W_]+")
_SLUG = re.compile(r"[a-z0-9а-яё][a-z0-9а-яё_.\-]{1,31}")
_NUMBER = re.compile(r"\d(?:[_.\-]*\d){5}")  # six digits, however they are grouped, may be a person's
_TAG = re.compile(r"(?<![a-z])utm_(source|medium)=([^&#;?\s\"'<>\\]{1,64})", re.I)
_HOST = re.compile(r"\s*[a-z][a-z0-9+.\-]*://(?:[^/?#\s@]*@)?([^/?#\s:]+)", re.I)


_SOURCE, _MEDIUM, _REFERRER, _ELSEWHERE = "source", "medium", "referrer", ""


@lru_cache(maxsize=1024)
def _place(where: str) -> str:
    """What kind of text a clue is, by the name of its place."""
    name = where.casefold()
    if name.endswith("utm_source"):
        return _SOURCE
    if name.endswith("utm_medium"):
        return _MEDIUM
    return _REFERRER if "referer" in name or "referrer" in name else _ELSEWHERE


def channel_of(clues: Sequence[Clue], kinds: Collection[IdKind]) -> str:
    """The channel that these texts and kinds of identifiers tell of; ``unknown`` when they tell of none.

    A tag in a field of its own wins over one in an address; of each, the first.
    """
    source = medium = ""
    addresses = []
    for clue in clues:
        if clue.kind is None:
            place, text = _place(clue.where), clue.text
            if place is _SOURCE:
                source = source or text
            elif place is _MEDIUM:
                medium = medium or text
            elif "utm_" in text:
                addresses.append(text)
    if addresses and not (source and medium):
        inside = next(filter(None, map(_tags_in, addresses)), {})
        source, medium = source or inside.get(_SOURCE, ""), medium or inside.get(_MEDIUM, "")
    named = _by_tags(source[:_LONGEST], medium[:_LONGEST]) if source or medium else ""
    return named or _by_click(kinds) or _by_referrer(clues) or UNKNOWN


def _tags_in(text: str) -> dict[str, str]:
    """Tags of an address, or of an address inside it."""
    for _ in range(3):
        found = {name.lower(): value for name, value in reversed(_TAG.findall(text))}
        if found or "%" not in text:
            return {name: unquote(value) for name, value in found.items()}
        text = unquote(text)
    return {}


@lru_cache(maxsize=4096)
def _by_tags(source: str, medium: str) -> str:
    source, medium = source.strip().lower(), medium.strip().lower()
    if medium in _MEDIA:
        return _MEDIA[medium]
    if source[:1] in _UNFILLED:
        source = ""
    named = [_SOURCES[word] for word in _WORDS.findall(source) if word in _SOURCES]
    for name in (*(name for name in named if name in _STRONG), *named):
        return name
    if medium in _WEAK_MEDIA:
        return _WEAK_MEDIA[medium]
    if not source:
        return ""
    is_safe = _SLUG.fullmatch(source) is not None and _NUMBER.search(source) is None
    return f"{OWN}{source}" if is_safe else OTHER


def _by_click(kinds: Collection[IdKind]) -> str:
    return next((name for kind, name in _CLICKS.items() if kind in kinds), "") if kinds else ""


def _by_referrer(clues: Sequence[Clue]) -> str:
    """The class of the first referrer that is not the site itself."""
    hosts = [(_place(clue.where), found[1].lower()) for clue in clues if (found := _HOST.match(clue.text))]
    own = {host for place, host in hosts if place is not _REFERRER}
    for place, host in hosts:
        if place is _REFERRER and host not in own:
            return _by_host(host)
    return ""


def _by_host(host: str) -> str:
    labels = host.removeprefix("www.").split(".")
    name = labels[-3] if len(labels) > 2 and labels[-2] in ("com", "co") else labels[-2] if len(labels) > 1 else ""
    return _HOSTS.get(name, REFERRAL)

"""Callibri's JSON as typed structs; only what is read stands here (contract callibri 2, 3).

Every list may be missing, null or empty. Identifiers become text without passing a float.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Raw, Struct

from bridge.errors import Drift
from bridge.model import frozen
from bridge.ports import BadRecord
from bridge.sources import digest, unreadable

Loose = str | int | None  # what is text for us, however it comes
LISTS = ("calls", "feedbacks", "chats", "emails")


class Verdict(Struct, frozen=True):
    """What an answer says of itself, whatever its HTTP status (contract callibri 2.2)."""

    code: int | None = None


class Appeal(Struct, frozen=True, gc=False):
    """A call, form, chat or e-mail. ``ym_uid`` of the answer is no ClientID and is not read (contract callibri 3)."""

    date: str
    appeal_id: int | None = None
    id: int | None = None
    phone: Loose = None
    email: Loose = None
    landing_page: str | None = None
    lid_landing: str | None = None
    site_referrer: str | None = None
    utm_source: Loose = None
    utm_medium: Loose = None
    utm_campaign: Loose = None
    utm_content: Loose = None
    utm_term: Loose = None
    metrica_client_id: Loose = msgspec.field(name="metrika_client_id", default=None)
    ua_client_id: Loose = None
    clbvid: Loose = None
    accurately: bool | None = None


@frozen
class Listed:
    """An appeal and the list it stood in: what it is."""

    place: str
    appeal: Appeal


class Channel(Struct, frozen=True):
    calls: list[Raw] | None = None
    feedbacks: list[Raw] | None = None
    chats: list[Raw] | None = None
    emails: list[Raw] | None = None


class Statistics(Struct, frozen=True):
    channels_statistics: list[Channel] | None = None


class Site(Struct, frozen=True):
    site_id: int
    sitename: str | None = None


class Sites(Struct, frozen=True):
    sites: list[Site] | None = None


class _Numbered(Struct, frozen=True):
    appeal_id: Any = None
    id: Any = None


_statistics = msgspec.json.Decoder(Statistics)
_sites = msgspec.json.Decoder(Sites, strict=False)
_appeal = msgspec.json.Decoder(Appeal, strict=False)
_numbered = msgspec.json.Decoder(_Numbered)


# What an answer is made of (contract callibri 2.2), without the appeals themselves: a new list of them would be missed.
PARTS = {
    "": frozenset({"code", "channels_statistics"}),
    "channels_statistics": frozenset({"channel_id", "name_channel", *LISTS}),
}


def statistics(body: bytes) -> Iterator[Listed | BadRecord]:
    """Every row of every list of every channel; the same appeal may stand in several.

    Raises:
        Drift: the answer is no statistics.
    """
    try:
        found = _statistics.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Drift("Callibri sent no statistics of a project; the cursor stays where it was") from None
    for channel in found.channels_statistics or ():
        for place in LISTS:
            for row in getattr(channel, place) or ():
                yield _listed(place, row)


def _listed(place: str, row: Raw) -> Listed | BadRecord:
    try:
        return Listed(place, _appeal.decode(row))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return unreadable(_key_of(place, row), bytes(row), error)


def _key_of(place: str, row: Raw) -> str:
    try:
        found = _numbered.decode(row)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return key(place, digest(bytes(row)))
    if isinstance(found.appeal_id, int | str):
        return key(place, str(found.appeal_id))
    return key(place, f"{place}-{found.id}" if isinstance(found.id, int | str) else digest(bytes(row)))


def key(place: str, own: str) -> str:
    """A touch's key: calls are calls, all else came in writing."""
    return f"call:{own}" if place == "calls" else f"form:{own}"


def sites(body: bytes) -> list[Site]:
    """The projects of an account.

    Raises:
        Drift: the answer is no list of projects.
    """
    try:
        return _sites.decode(body).sites or []
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Drift("Callibri sent no list of projects") from None


def version_of(appeal: Appeal) -> str:
    """Equal for equal content of what is read."""
    return digest(msgspec.json.encode(appeal))

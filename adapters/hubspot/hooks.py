"""What HubSpot's webhooks say: which records to read again (contract hubspot 7). Only their ids are used."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from adapters.hubspot.entities import CONTACT, DEAL, ENTITIES, Entity
from adapters.hubspot.settings import HubSpotSettings, OAuth
from bridge.errors import Refused
from bridge.hints import Hook, HookParser
from bridge.model import frozen, utc

_AGE_MAX = timedelta(minutes=5)
_DIGITS_MAX = 15  # of a time in milliseconds
_ESCAPED = re.compile("%(?:3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)", re.I)  # decoded before signing (contract 7)
_TYPES = {"contact": CONTACT, "deal": DEAL, "0-1": CONTACT, "0-3": DEAL}


@frozen
class Reader:
    """``secret``: the app's client secret, by which it signs. ``portal``: whose events are taken; "": all."""

    secret: bytes = field(repr=False)
    portal: str
    read: Sequence[Entity]


class Event(Struct, frozen=True, rename="camel"):
    """One event. A merge names the survivor and those that became part of it, an association both its ends."""

    subscription_type: str = ""
    portal_id: int | str | None = None
    object_id: int | str | None = None
    object_type_id: str = ""
    primary_object_id: int | str | None = None
    new_object_id: int | str | None = None
    merged_object_ids: list[int | str] | None = None
    from_object_id: int | str | None = None
    to_object_id: int | str | None = None
    association_type: str = ""


_events = msgspec.json.Decoder(list[Event])


def reader(settings: HubSpotSettings, folder: Path) -> HookParser:
    """See ``ports.SourceSpec.hook``.

    Raises:
        ConfigError: the client secret cannot be read.
    """
    assert settings.hook is not None, "a door is made for a source with a hook"
    own = settings.hook.client_secret
    if own is None:
        assert isinstance(settings.auth, OAuth), "the settings ask for it with a private app"
        own = settings.auth.client_secret
    secret = own.read(folder).get_secret_value().encode()
    portal = "" if settings.hook.portal_id is None else str(settings.hook.portal_id)
    read = [entity for entity in ENTITIES if entity.name in settings.entities]
    return partial(records_of, reader=Reader(secret, portal, read))


def records_of(hook: Hook, *, reader: Reader) -> tuple[str, ...]:
    """Keys of the records that the events name, each once, in their order.

    Raises:
        Refused: it is not signed by the app, is older than five minutes, or is no list of events.
    """
    _insist_on_signature(hook, reader.secret)
    try:
        events = _events.decode(hook.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Refused("a webhook that is no list of events", code="not_events") from None
    ours = [event for event in events if reader.portal in ("", str(event.portal_id))]
    found = [
        entity.key(number)
        for event in ours
        for entity, value in _named(event)
        if entity in reader.read and (number := _number(value))
    ]
    return tuple(dict.fromkeys(found))


def _insist_on_signature(hook: Hook, secret: bytes) -> None:
    """Version 3 (contract 7): HMAC-SHA256 over method, public address, body and time, by the app's client secret."""
    if not hook.url:
        raise Refused("webhooks are signed with their address: set web.public_url", code="no_public_url")
    told = hook.headers.get("x-hubspot-request-timestamp", "")
    if not _is_fresh(told, hook.received_at):
        raise Refused("a webhook without a time, or of another time", code="wrong_time")
    signed = b"".join((b"POST", _plain(hook.url).encode(), hook.body, told.encode()))
    wanted = hmac.new(secret, signed, hashlib.sha256).digest()
    try:
        given = base64.b64decode(hook.headers.get("x-hubspot-signature-v3", ""), validate=True)
    except (binascii.Error, ValueError):
        given = b""
    if not hmac.compare_digest(given, wanted):
        raise Refused("a webhook that the app did not sign", code="wrong_signature")


def _is_fresh(told: str, now: datetime) -> bool:
    is_number = told.isascii() and told.isdigit() and len(told) <= _DIGITS_MAX
    return is_number and abs(now - utc(int(told) / 1000)) <= _AGE_MAX


def _plain(url: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[0][1:], 16)), url)


def _named(event: Event) -> Iterator[tuple[Entity, Any]]:
    """Every record an event speaks of."""
    name, _, action = event.subscription_type.partition(".")
    if action == "associationChange":
        yield from _ends(event)
        return
    entity = _TYPES.get(event.object_type_id if name == "object" else name)
    if entity is not None:
        merged: Iterable[Any] = event.merged_object_ids or ()
        for number in (event.object_id, event.primary_object_id, event.new_object_id, *merged):
            yield entity, number


def _ends(event: Event) -> Iterator[tuple[Entity, Any]]:
    """Both ends of an association of a deal and a contact, whichever way it is told (``DEAL_TO_CONTACT``)."""
    names = event.association_type.lower().split("_to_")
    for name, number in zip(names, (event.from_object_id, event.to_object_id), strict=False):
        if name in ("contact", "deal"):
            yield _TYPES[name], number


def _number(value: Any) -> str:
    """An id as text, "" for anything else."""
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return text if text.isascii() and text.isdigit() and len(text) < 19 and int(text) else ""

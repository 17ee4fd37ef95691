"""What a portal's outgoing webhook says: which record to read again (contract bitrix24 8.1). Only its id is used."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from adapters.bitrix24 import entities
from adapters.bitrix24.entities import DEAL, LEAD, Entity
from adapters.bitrix24.settings import Bitrix24Settings
from bridge.errors import Refused
from bridge.hints import Hook, HookParser

_FIELDS_MOST = 1000  # of one form; an event has about a dozen
_CLASSIC = {
    **{f"ONCRMLEAD{action}": LEAD for action in ("ADD", "UPDATE", "DELETE")},
    **{f"ONCRMDEAL{action}": DEAL for action in ("ADD", "UPDATE", "DELETE", "MOVETOCATEGORY")},
}
_ITEMS = tuple(f"ONCRMDYNAMICITEM{action}" for action in ("ADD", "UPDATE", "DELETE"))


def reader(settings: Bitrix24Settings, folder: Path) -> HookParser:
    """See ``ports.SourceSpec.hook``.

    Raises:
        ConfigError: the application token cannot be read.
    """
    assert settings.hook is not None, "a door is made for a source with a hook"
    token = settings.hook.application_token.read(folder).get_secret_value()
    return partial(records_of, token=token.encode(), read=[entities.named(name) for name in settings.entities])


def events_of(read: Iterable[Entity]) -> list[str]:
    """Names of all events that tell of changes to these entities, including those a webhook cannot have."""
    read = list(read)
    classic = [name for name, entity in _CLASSIC.items() if entity in read]
    return [*classic, *(_ITEMS if any(entity.is_item for entity in read) else ())]


def records_of(hook: Hook, *, token: bytes, read: Iterable[Entity]) -> tuple[str, ...]:
    """Key of the record that an event names; none when we do not read such records.

    Raises:
        Refused: it is no form, or its ``auth[application_token]`` is not ours.
    """
    try:
        form = dict(parse_qsl(hook.body.decode(), keep_blank_values=True, max_num_fields=_FIELDS_MOST))
    except ValueError:
        raise Refused("a webhook that is no form", code="not_a_form") from None
    if not hmac.compare_digest(form.get("auth[application_token]", "").encode(errors="replace"), token):
        raise Refused("a webhook with another application token", code="wrong_token")
    fields = {"ID": form.get("data[FIELDS][ID]"), "ENTITY_TYPE_ID": form.get("data[FIELDS][ENTITY_TYPE_ID]")}
    key = key_of(form.get("event", ""), fields, read)
    return (key,) if key else ()


def key_of(event: str, fields: Mapping[str, Any], read: Iterable[Entity]) -> str:
    """Key of the record of an event, "" if it is none that we read. Numbers come as numbers or texts."""
    name = event.upper()
    number, type_id = _number(fields.get("ID")), _number(fields.get("ENTITY_TYPE_ID"))
    if not number:
        return ""
    for entity in read:
        if _CLASSIC.get(name) is entity or (name in _ITEMS and entity.is_item and entity.type_id == type_id):
            return entity.key(number)
    return ""


def _number(value: Any) -> int:
    """A positive number below 2**62, 0 for anything else."""
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    is_number = text.isascii() and text.isdigit() and len(text) < 19
    return int(text) if is_number else 0

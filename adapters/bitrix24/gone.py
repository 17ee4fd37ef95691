"""Records that a list does not bring any more: whether they are deleted, or merely hidden (contract bitrix24 14)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from adapters.bitrix24 import entities
from adapters.bitrix24.entities import DEAL, LEAD, Entity
from adapters.bitrix24.portal import Command, Done, Portal
from bridge.model import Deal, Outcome
from bridge.ports import Head

VERSION = "deleted"  # nothing tells when it happened, so every look at it is like the one before
_GET = {LEAD: "crm.lead.get", DEAL: "crm.deal.get"}


async def heads(portal: Portal, missing: Sequence[tuple[Entity, str]], now: datetime) -> list[Head]:
    """Heads of those that are deleted: asked for one by one, the portal says "not found".

    A record that its user may not read, or that came back meanwhile, gets another answer and is left out.

    Raises:
        AuthError, Throttled, Unavailable, Refused, Drift: the portal's answer.
    """
    answers = await portal.all([_asking(entity, key) for entity, key in missing])
    at = now.replace(microsecond=0)
    return [
        Head(key, VERSION, at, None)
        for (_, key), done in zip(missing, answers, strict=True)
        if done.error is not None and _is_not_found(done)
    ]


def _asking(entity: Entity, key: str) -> Command:
    number = entities.id_of(key)
    return Command(_GET.get(entity, "crm.item.get"), {**entity.params, "id": number})


def _is_not_found(done: Done) -> bool:
    """Classic methods have no codes for their errors, only an English text (contract 2)."""
    assert done.error is not None
    has_no_code = done.error.code in ("", "0")
    return done.error.code == "NOT_FOUND" or (has_no_code and "not found" in str(done.error.error_description).lower())


def deal(entity: Entity, head: Head) -> Deal:
    """A record that is not there any more; what was known of it stays with the store."""
    place = ("", "", Outcome.OPEN)
    return Deal(
        entity.kind, head.key.partition(":")[2], VERSION, head.updated_at, head.updated_at, *place, is_deleted=True
    )

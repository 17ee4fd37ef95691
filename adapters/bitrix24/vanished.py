"""Records that no list shows any more: deleted, or out of the user's sight?

A list leaves out both without a word, and there is no list of deletions (contract bitrix24 1.1, 14). Only asking for
the record itself tells: "Not found" of a deleted one, "Access denied" of one that this user may not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from adapters.bitrix24.entities import Entity
from adapters.bitrix24.portal import Command, Portal
from adapters.bitrix24.wire import CommandError
from bridge.model import Deal, Outcome, frozen
from bridge.ports import Head

_CODE = "NOT_FOUND"  # of universal methods; classic ones tell by an English text alone (contract 2, 3.1)
_TEXT = "not found"


@frozen
class Gone:
    """A record that is not there any more, found missing at this moment: when it was deleted nobody tells."""

    entity: Entity
    id: str
    at: datetime


async def deleted(portal: Portal, asked: Sequence[tuple[Entity, str]], now: datetime) -> list[Head]:
    """Those of these records (entity, id) that were deleted; fifty to a request.

    Raises:
        AuthError, Throttled, Unavailable, Drift: the portal's answer.
    """
    answers = await portal.all([_get(entity, number) for entity, number in asked])
    return [
        Head(entity.key(number), "deleted", now, Gone(entity, number, now))
        for (entity, number), done in zip(asked, answers, strict=True)
        if done.error is not None and _is_not_found(done.error)
    ]


def gone_deal(gone: Gone, version: str) -> Deal:
    """All that is known of a deleted record now."""
    entity, place = gone.entity, ("", "", Outcome.OPEN)
    own_id = f"{entity.type_id}-{gone.id}" if entity.is_item else gone.id
    return Deal(entity.kind, own_id, version, gone.at, gone.at, *place, is_deleted=True)


def _get(entity: Entity, number: str) -> Command:
    method = f"{entity.list_method.removesuffix('.list')}.get"
    return Command(method, {**({"entityTypeId": entity.type_id} if entity.is_item else {}), "id": number})


def _is_not_found(error: CommandError) -> bool:
    return error.code == _CODE or (error.code == "" and _TEXT in str(error.error_description).lower())

"""A page's deals and touches as rows of their tables."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Delete, delete

from bridge.model import Match, Outcome
from bridge.store import bulk, codec, crowds, schema, touches
from bridge.store.codec import Facts, micros

if TYPE_CHECKING:
    from bridge.store.records import Assessed, Page

_DEAL = (
    *("deal", "version", "facts", "raw", "method", "confidence", "unmatched", "channel", "identifiers", "parent"),
    *("outcome", "created_at", "updated_at", "is_open", "recheck_at", "deleted_at", "merged_into", "has_payments"),
)
_TOUCH = ("deal", "at", "identifiers", "joins")
_ORPHAN_KEY = ("digest", "deal")


def rows_of(page: Page, dialect: str) -> bulk.Rows:
    """Deals, their touches, and the persons these serve or wait for; what stood in their place goes."""
    rows = bulk.Rows()
    if page.assessed:
        touches.forget(rows, dialect, page)
        keys = [item.deal.key for item in page.assessed]
        rows.change(_readable(dialect), codec.records(dialect, page.tenant, page.source, keys))
        _add_deals(rows, page)
        _add_touches(rows, dialect, page)
    return rows


@lru_cache
def _readable(dialect: str) -> Delete:
    """Records that leave the quarantine."""
    return delete(schema.quarantine).where(*codec.of_records(dialect, schema.quarantine.c.record))


def _add_deals(rows: bulk.Rows, page: Page) -> None:
    about = {"tenant": page.tenant, "source": page.source, "stored_at": micros(page.now), "is_dirty": False}
    facts = codec.encoded([Facts(item.deal, item.reading) for item in page.assessed])
    rows.put(schema.deal, _DEAL, list(map(_deal_row, page.assessed, facts)), **about)


def _deal_row(item: Assessed, facts: bytes) -> tuple[Any, ...]:
    """A row of ``_DEAL``."""
    deal, found = item.deal, item.match
    method = confidence = reason = kinds = None
    if isinstance(found, Match):
        method, confidence = str(found.method), str(found.confidence)
        kinds = ",".join([one.kind for one in found.identifiers])
    else:
        reason = found.reason
    updated, is_deleted = micros(deal.updated_at), deal.is_deleted
    return (
        deal.key,
        deal.version,
        facts,
        item.raw,
        method,
        confidence,
        reason,
        item.reading.channel or None,
        kinds,
        deal.parent,
        str(deal.outcome),
        micros(deal.created_at),
        updated,
        deal.outcome is Outcome.OPEN and not is_deleted and not deal.is_touch,
        None if item.recheck_at is None else micros(item.recheck_at),
        updated if is_deleted else None,
        deal.merged_into if is_deleted else None,
        bool(deal.payments),
    )


def _add_touches(rows: bulk.Rows, dialect: str, page: Page) -> None:
    told = [
        (item.deal.key, micros(touch.at), codec.encode(touch.identifiers), codec.encode(touch.keys))
        for item in page.assessed
        if (touch := item.touch) is not None
    ]
    orphans = [(digest, item.deal.key) for item in page.assessed for digest in item.waits]
    joined = [crowds.row(item.deal.key, pair) for item in page.assessed for pair in item.crowd.joined]
    here = {"tenant": page.tenant, "source": page.source}
    rows.put(schema.touch, _TOUCH, told, **here)
    touches.hang(rows, dialect, page)
    rows.add_new(schema.orphan_key, _ORPHAN_KEY, orphans, **here)
    rows.add_new(schema.crowd, crowds.COLUMNS, joined, **here)

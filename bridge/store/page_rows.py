"""A page's deals and touches as rows of their tables."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Delete, delete

from bridge.model import Match, Outcome, Unmatched
from bridge.store import bulk, codec, crowds, schema, touches
from bridge.store.codec import Facts, micros

if TYPE_CHECKING:
    from bridge.store.records import Page

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
    deals = [
        (
            item.deal.key,
            item.deal.version,
            codec.encode(Facts(item.deal, item.reading)),
            item.raw,
            item.match.method.value if isinstance(item.match, Match) else None,
            item.match.confidence.value if isinstance(item.match, Match) else None,
            item.match.reason if isinstance(item.match, Unmatched) else None,
            item.reading.channel or None,
            ",".join([one.kind for one in item.match.identifiers]) if isinstance(item.match, Match) else None,
            item.deal.parent,
            item.deal.outcome.value,
            micros(item.deal.created_at),
            micros(item.deal.updated_at),
            item.deal.outcome is Outcome.OPEN and not item.deal.is_deleted and not item.deal.is_touch,
            None if item.recheck_at is None else micros(item.recheck_at),
            micros(item.deal.updated_at) if item.deal.is_deleted else None,
            item.deal.merged_into if item.deal.is_deleted else None,
            bool(item.deal.payments),
        )
        for item in page.assessed
    ]
    about = {"tenant": page.tenant, "source": page.source, "stored_at": micros(page.now), "is_dirty": False}
    rows.put(schema.deal, _DEAL, deals, **about)


def _add_touches(rows: bulk.Rows, dialect: str, page: Page) -> None:
    told: list[tuple[Any, ...]] = []
    orphans: list[tuple[str, str]] = []
    joined: list[tuple[Any, ...]] = []
    for item in page.assessed:
        key, touch = item.deal.key, item.touch
        if touch is not None:
            told.append((key, micros(touch.at), codec.encode(touch.identifiers), codec.encode(touch.keys)))
        orphans += [(digest, key) for digest in item.waits]
        joined += [crowds.row(key, pair) for pair in item.crowd.joined]
    here = {"tenant": page.tenant, "source": page.source}
    rows.put(schema.touch, _TOUCH, told, **here)
    touches.hang(rows, dialect, page)
    rows.add_new(schema.orphan_key, _ORPHAN_KEY, orphans, **here)
    rows.add_new(schema.crowd, crowds.COLUMNS, joined, **here)

"""Tables. Times are integer Unix microseconds UTC; identifiers and digests are text; JSON is bytes.

Constraints do the thinking: unique keys make a repeat harmless, CHECKs make an impossible state impossible, partial
indexes keep "what is due" small whatever the history.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)

from bridge.states import BatchState, DeliveryState

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)
_Serial = BigInteger().with_variant(Integer, "sqlite")


def _one_of(column: str, values: type[DeliveryState] | type[BatchState]) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


tenant = Table(
    "tenant",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("join_key", LargeBinary, nullable=False),  # HMAC key of this tenant's persons
)

source_state = Table(
    "source_state",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("watermark", BigInteger),  # the newest vendor time whose window is wholly stored
    Column("marks", Text),  # what the source itself wants to remember of what it has listed; opaque
    Column("floor", BigInteger),  # goals reached before this are not sent
    Column("opened", LargeBinary),  # but those of these periods, which backfills opened; JSON
    Column("goals", LargeBinary),  # the definitions its deals were judged by, and since when; JSON
    Column("polled_at", BigInteger),
    Column("due", BigInteger, nullable=False, server_default="0"),
    Column("failing_since", BigInteger),
    Column("last_error", Text),
    Column("catalogue", LargeBinary),
    Column("catalogue_at", BigInteger),
)

# The deep sweep of a source: the one that runs (from begun_at on), and what the last whole one found.
sweep = Table(
    "sweep",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("due", BigInteger, nullable=False),
    Column("begun_at", BigInteger),
    Column("position", Text),  # key of the last deal asked for
    Column("asked", Integer, nullable=False, server_default="0"),
    Column("missed", Integer, nullable=False, server_default="0"),
    Column("gone", Integer, nullable=False, server_default="0"),
    Column("aside", Integer, nullable=False, server_default="0"),
    Column("swept_at", BigInteger),
    Column("last_missed", Integer, nullable=False, server_default="0"),
    Column("last_gone", Integer, nullable=False, server_default="0"),
    Column("last_aside", Integer, nullable=False, server_default="0"),
    Column("last_error", Text),
)

destination_state = Table(
    "destination_state",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("destination", Text, primary_key=True),
    Column("due", BigInteger, nullable=False, server_default="0"),
    Column("closing", LargeBinary),  # what was last found of windows that close soon; JSON
    Column("audit_due", BigInteger, nullable=False, server_default="0"),
    Column("audited_at", BigInteger),  # the last whole comparison with what the vendor counts
    Column("audit_error", Text),
)

# What the vendor counts beside what it was sent, by its own goal and its own days.
audit = Table(
    "audit",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("destination", Text, primary_key=True),
    Column("target", Text, primary_key=True),
    Column("day", Text, primary_key=True),  # as the vendor's reports name it
    Column("ours", Integer, nullable=False),
    Column("theirs", Integer, nullable=False),
    Column("missing", Integer, nullable=False),
    Column("open", Integer, nullable=False),
    Column("is_ours_only", Boolean, nullable=False),
    Column("counted_at", BigInteger, nullable=False),
)

destination_trouble = Table(
    "destination_trouble",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("destination", Text, primary_key=True),
    Column("loop", Text, primary_key=True),
    Column("failing_since", BigInteger, nullable=False),
    Column("last_error", Text, nullable=False),
)

deal = Table(
    "deal",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("deal", Text, primary_key=True),
    Column("version", Text, nullable=False),
    Column("facts", LargeBinary, nullable=False),
    Column("raw", LargeBinary),
    Column("method", Text),  # how it was matched; null: unmatched
    Column("confidence", Text),  # how surely
    Column("unmatched", Text),  # why not
    Column("channel", Text),  # by which it came
    Column("identifiers", Text),  # kinds of those it was matched by, with commas
    Column("parent", Text),  # the lead this deal was converted from
    Column("outcome", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("stored_at", BigInteger, nullable=False),
    Column("is_dirty", Boolean, nullable=False, server_default=text("false")),  # to be judged again
    Column("is_open", Boolean, nullable=False, server_default=text("false")),  # neither closed nor deleted
    Column("recheck_at", BigInteger),  # when a goal will be reached though nothing happens to the deal
    Column("deleted_at", BigInteger),  # null: it is there
    Column("merged_into", Text),  # the record that has taken in this one, which is deleted
    Column("has_payments", Boolean, nullable=False, server_default=text("false")),
    CheckConstraint("(method IS NULL) <> (unmatched IS NULL)", name="match"),
)
# SQLite takes a partial index only for the very words of the query: SQLAlchemy asks it for "is_dirty = 1".
Index(
    "ix_deal_dirty",
    deal.c.tenant,
    deal.c.source,
    deal.c.deal,
    postgresql_where=text("is_dirty"),
    sqlite_where=text("is_dirty = 1"),
)
Index(
    "ix_deal_open",
    deal.c.tenant,
    deal.c.source,
    deal.c.deal,
    postgresql_where=text("is_open"),
    sqlite_where=text("is_open = 1"),
)
# Lost ones that were paid: among the open ones the sweep looks after refunds.
Index(
    "ix_deal_lost_paid",
    deal.c.tenant,
    deal.c.source,
    deal.c.deal,
    postgresql_where=text("outcome = 'lost' AND has_payments"),
    sqlite_where=text("outcome = 'lost' AND has_payments = 1"),
)


def _of_some(name: str, where: ColumnElement[bool], *columns: Column[Any]) -> Index:
    """A partial index."""
    return Index(name, *columns, postgresql_where=where, sqlite_where=where)


_of_some("ix_deal_recheck", deal.c.recheck_at.is_not(None), deal.c.tenant, deal.c.source, deal.c.recheck_at)
_of_some("ix_deal_deleted", deal.c.deleted_at.is_not(None), deal.c.tenant, deal.c.source, deal.c.deleted_at)
_of_some("ix_deal_merged", deal.c.merged_into.is_not(None), deal.c.tenant, deal.c.source, deal.c.merged_into)
_of_some("ix_deal_won", deal.c.outcome == text("'won'"), deal.c.tenant, deal.c.source, deal.c.updated_at)
_of_some("ix_deal_parent", deal.c.parent.is_not(None), deal.c.tenant, deal.c.source, deal.c.parent)
_of_some("ix_deal_raw", deal.c.raw.is_not(None), deal.c.tenant, deal.c.stored_at)

Index("ix_deal_created", deal.c.tenant, deal.c.source, deal.c.created_at)  # what came in lately

# What was last counted of a source's new leads, and which falls stand.
coverage = Table(
    "coverage",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("counted_at", BigInteger, nullable=False),
    Column("report", LargeBinary, nullable=False),
)

# What deals that reach a goal are worth on average: versions that are never changed. ``rule``: the goal's definition.
estimate = Table(
    "estimate",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("goal", Text, primary_key=True),
    Column("rule", Text, primary_key=True),
    Column("at", BigInteger, primary_key=True),
    Column("report", LargeBinary, nullable=False),
)

# What each deal tells of its person, and of a click if it has one.
touch = Table(
    "touch",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("deal", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("identifiers", LargeBinary, nullable=False),
    Column("joins", LargeBinary, nullable=False),  # the keys it hangs on, JSON
)

# The identity graph: key -> deals that have it, in the order of their times; and -> deals that a later one may serve.
touch_key = Table(
    "touch_key",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("at", BigInteger, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("deal", Text, primary_key=True),
    sqlite_with_rowid=False,
)
orphan_key = Table(
    "orphan_key",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("deal", Text, primary_key=True),
    Index("ix_orphan_key_deal", "tenant", "source", "deal"),
    sqlite_with_rowid=False,
)

# Requests and touches of one landing page or IP address; only of tenants whose spam rules look at these.
crowd = Table(
    "crowd",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("at", BigInteger, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("deal", Text, primary_key=True),
    sqlite_with_rowid=False,
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("record", Text, primary_key=True),
    Column("code", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("first_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("times", Integer, nullable=False),
)

conversion = Table(
    "conversion",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("deal", Text, nullable=False),
    Column("goal", Text, nullable=False),
    Column("occurrence", Text, nullable=False),  # "once", or the payment
    Column("order_key", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("occurred_at", BigInteger, nullable=False),
    Column("value_minor", BigInteger),
    Column("currency", Text),
    Column("rule", Text, nullable=False),
    Column("planned_at", BigInteger, nullable=False),
    Index(None, "tenant", "source", "deal"),
)
Index("ix_conversion_at", conversion.c.tenant, conversion.c.occurred_at)
_of_payment = conversion.c.occurrence != text("'once'")
Index(
    "ix_conversion_payment",
    conversion.c.tenant,
    conversion.c.source,
    conversion.c.occurrence,
    postgresql_where=_of_payment,
    sqlite_where=_of_payment,
)

delivery = Table(
    "delivery",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("destination", Text, nullable=False),
    Column("conversion", Text, ForeignKey(conversion.c.id), nullable=False, index=True),
    Column("state", Text, nullable=False),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("due", BigInteger, nullable=False),
    Column("max_rows", Integer),  # set when a batch had to be split
    Column("content", LargeBinary, nullable=False),
    Column("deal_order", Text),  # the order it is a row of, where its destination keeps one per deal
    Column("batch", Text),
    Column("code", Text),
    Column("is_recalled", Boolean, nullable=False, server_default=text("false")),  # not to become pending again
    Column("planned_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    _one_of("state", DeliveryState),
    CheckConstraint("state <> 'sealed' OR batch IS NOT NULL", name="sealed_in_batch"),
    Index("ix_delivery_state", "tenant", "destination", "state"),
)
is_pending = delivery.c.state == text("'pending'")
_sooner = (delivery.c.due, delivery.c.planned_at)
_of_some("ix_delivery_due", is_pending, delivery.c.tenant, delivery.c.destination, *_sooner)

_in_order = delivery.c.deal_order.is_not(None)
Index(
    "ix_delivery_deal_order",
    delivery.c.tenant,
    delivery.c.destination,
    delivery.c.deal_order,
    postgresql_where=_in_order,
    sqlite_where=_in_order,
)

batch = Table(
    "batch",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("destination", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("rows", LargeBinary, nullable=False),  # delivery ids in the order rendered, JSON
    Column("body", LargeBinary, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("sealed_at", BigInteger, nullable=False),
    Column("sent_at", BigInteger),
    Column("answered_at", BigInteger),
    Column("due", BigInteger),  # next reconcile or verify; null: settled
    Column("receipt", LargeBinary),
    Column("error", Text),
    _one_of("state", BatchState),
)
_open = batch.c.due.is_not(None)
Index("ix_batch_due", batch.c.tenant, batch.c.destination, batch.c.due, postgresql_where=_open, sqlite_where=_open)

delivery_event = Table(
    "delivery_event",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("delivery", Text, nullable=False, index=True),
    Column("at", BigInteger, nullable=False),
    Column("before", Text),
    Column("after", Text, nullable=False),
    Column("batch", Text),
    Column("code", Text),
)

request = Table(
    "request",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("tenant", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("arguments", LargeBinary, nullable=False),
    Column("state", Text, nullable=False),
    Column("progress", LargeBinary),
    Column("error", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    CheckConstraint("state IN ('waiting', 'running', 'done', 'failed')", name="state"),
    Index("ix_request_state", "tenant", "state"),
)

token = Table(
    "token",
    metadata,
    Column("account", Text, primary_key=True),
    Column("seed", Text, nullable=False),
    Column("tokens", LargeBinary, nullable=False),
    Column("saved_at", BigInteger, nullable=False),
)

# Records to be read again because a vendor said so. ``mark`` is new with every hint: one that came while its record was
# being read is not taken away with the one before it.
hint = Table(
    "hint",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("record", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),  # of the first hint that waits
    Column("mark", BigInteger, nullable=False),
)

# Words of a vendor that its contract does not have, as often as they came.
drift = Table(
    "drift",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("account", Text, primary_key=True),
    Column("what", Text, primary_key=True),
    Column("value", Text, primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
)

# What is known of a source's webhooks.
hook = Table(
    "hook",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("received_at", BigInteger),  # the last hint
    Column("checked_at", BigInteger),  # our registration at the vendor, when it was last seen to be good
    Column("restored_at", BigInteger),  # when it was last put right
    Column("trouble", Text),
)

# Posts to our own collector, behind the border, and how many there were of each kind ("taken", or why not).
collected = Table(
    "collected",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("record", Text, primary_key=True),  # the form's lead key
    Column("at", BigInteger, nullable=False),  # when it last came
    Column("body", LargeBinary, nullable=False),
    Index("ix_collected_at", "tenant", "at", "record"),
)
collected_count = Table(
    "collected_count",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("code", Text, primary_key=True),
    Column("times", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
)

# What the CRM is told of a deal. ``due``: when it is to be told anew (null: it has been), ``since`` when it became so;
# ``asked`` counts up with every reason. ``text`` and ``is_sent`` are what was written last.
mark = Table(
    "mark",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("deal", Text, primary_key=True),
    Column("due", BigInteger),
    Column("since", BigInteger),
    Column("asked", Integer, nullable=False, server_default="0"),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("text", Text),
    Column("is_sent", Boolean, nullable=False, server_default=text("false")),
    Column("marked_at", BigInteger),
    Column("error", Text),
)
_wanted = mark.c.due.is_not(None)
Index("ix_mark_due", mark.c.tenant, mark.c.source, mark.c.due, postgresql_where=_wanted, sqlite_where=_wanted)

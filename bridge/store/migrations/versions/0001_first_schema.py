"""first schema"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "batch",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("rows", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("sealed_at", sa.BigInteger(), nullable=False),
        sa.Column("sent_at", sa.BigInteger(), nullable=True),
        sa.Column("answered_at", sa.BigInteger(), nullable=True),
        sa.Column("due", sa.BigInteger(), nullable=True),
        sa.Column("receipt", sa.LargeBinary(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint("state IN ('sealed', 'sending', 'done', 'held')", name=op.f("ck_batch_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batch")),
    )
    with op.batch_alter_table("batch", schema=None) as batch_op:
        batch_op.create_index(
            "ix_batch_due",
            ["tenant", "destination", "due"],
            unique=False,
            postgresql_where=sa.text("due IS NOT NULL"),
            sqlite_where=sa.text("due IS NOT NULL"),
        )

    op.create_table(
        "conversion",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("deal", sa.Text(), nullable=False),
        sa.Column("goal", sa.Text(), nullable=False),
        sa.Column("occurrence", sa.Text(), nullable=False),
        sa.Column("order_key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("occurred_at", sa.BigInteger(), nullable=False),
        sa.Column("value_minor", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("planned_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conversion")),
    )
    with op.batch_alter_table("conversion", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_conversion_tenant_source_deal"), ["tenant", "source", "deal"], unique=False
        )
        batch_op.create_index("ix_conversion_at", ["tenant", "occurred_at"], unique=False)
        batch_op.create_index(
            "ix_conversion_payment",
            ["tenant", "source", "occurrence"],
            unique=False,
            postgresql_where=sa.text("occurrence <> 'once'"),
            sqlite_where=sa.text("occurrence <> 'once'"),
        )

    op.create_table(
        "coverage",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("counted_at", sa.BigInteger(), nullable=False),
        sa.Column("report", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "source", name=op.f("pk_coverage")),
    )
    op.create_table(
        "deal",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("deal", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("facts", sa.LargeBinary(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=True),
        sa.Column("method", sa.Text(), nullable=True),
        sa.Column("confidence", sa.Text(), nullable=True),
        sa.Column("unmatched", sa.Text(), nullable=True),
        sa.Column("channel", sa.Text(), nullable=True),
        sa.Column("identifiers", sa.Text(), nullable=True),
        sa.Column("parent", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("stored_at", sa.BigInteger(), nullable=False),
        sa.Column("is_dirty", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("is_open", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("recheck_at", sa.BigInteger(), nullable=True),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.Column("merged_into", sa.Text(), nullable=True),
        sa.Column("has_payments", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.CheckConstraint("(method IS NULL) <> (unmatched IS NULL)", name=op.f("ck_deal_match")),
        sa.PrimaryKeyConstraint("tenant", "source", "deal", name=op.f("pk_deal")),
    )
    with op.batch_alter_table("deal", schema=None) as batch_op:
        batch_op.create_index("ix_deal_created", ["tenant", "source", "created_at"], unique=False)
        batch_op.create_index(
            "ix_deal_dirty",
            ["tenant", "source", "deal"],
            unique=False,
            postgresql_where=sa.text("is_dirty"),
            sqlite_where=sa.text("is_dirty = 1"),
        )
        batch_op.create_index(
            "ix_deal_open",
            ["tenant", "source", "deal"],
            unique=False,
            postgresql_where=sa.text("is_open"),
            sqlite_where=sa.text("is_open = 1"),
        )
        batch_op.create_index(
            "ix_deal_lost_paid",
            ["tenant", "source", "deal"],
            unique=False,
            postgresql_where=sa.text("outcome = 'lost' AND has_payments"),
            sqlite_where=sa.text("outcome = 'lost' AND has_payments = 1"),
        )
        batch_op.create_index(
            "ix_deal_recheck",
            ["tenant", "source", "recheck_at"],
            unique=False,
            postgresql_where=sa.text("recheck_at IS NOT NULL"),
            sqlite_where=sa.text("recheck_at IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_deal_deleted",
            ["tenant", "source", "deleted_at"],
            unique=False,
            postgresql_where=sa.text("deleted_at IS NOT NULL"),
            sqlite_where=sa.text("deleted_at IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_deal_merged",
            ["tenant", "source", "merged_into"],
            unique=False,
            postgresql_where=sa.text("merged_into IS NOT NULL"),
            sqlite_where=sa.text("merged_into IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_deal_won",
            ["tenant", "source", "updated_at"],
            unique=False,
            postgresql_where=sa.text("outcome = 'won'"),
            sqlite_where=sa.text("outcome = 'won'"),
        )
        batch_op.create_index(
            "ix_deal_parent",
            ["tenant", "source", "parent"],
            unique=False,
            postgresql_where=sa.text("parent IS NOT NULL"),
            sqlite_where=sa.text("parent IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_deal_raw",
            ["tenant", "stored_at"],
            unique=False,
            postgresql_where=sa.text("raw IS NOT NULL"),
            sqlite_where=sa.text("raw IS NOT NULL"),
        )

    op.create_table(
        "delivery_event",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("delivery", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("before", sa.Text(), nullable=True),
        sa.Column("after", sa.Text(), nullable=False),
        sa.Column("batch", sa.Text(), nullable=True),
        sa.Column("code", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery_event")),
    )
    with op.batch_alter_table("delivery_event", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_delivery_event_delivery"), ["delivery"], unique=False)

    op.create_table(
        "destination_state",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("due", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("closing", sa.LargeBinary(), nullable=True),
        sa.Column("audit_due", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("audited_at", sa.BigInteger(), nullable=True),
        sa.Column("audit_error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "destination", name=op.f("pk_destination_state")),
    )
    op.create_table(
        "destination_trouble",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("loop", sa.Text(), nullable=False),
        sa.Column("failing_since", sa.BigInteger(), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "destination", "loop", name=op.f("pk_destination_trouble")),
    )
    op.create_table(
        "hint",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("mark", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "source", "record", name=op.f("pk_hint")),
    )
    op.create_table(
        "hook",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=True),
        sa.Column("checked_at", sa.BigInteger(), nullable=True),
        sa.Column("restored_at", sa.BigInteger(), nullable=True),
        sa.Column("trouble", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "source", name=op.f("pk_hook")),
    )
    op.create_table(
        "orphan_key",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("deal", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "digest", "source", "deal", name=op.f("pk_orphan_key")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("orphan_key", schema=None) as batch_op:
        batch_op.create_index("ix_orphan_key_deal", ["tenant", "source", "deal"], unique=False)

    op.create_table(
        "quarantine",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("first_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "source", "record", name=op.f("pk_quarantine")),
    )
    op.create_table(
        "request",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("arguments", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("progress", sa.LargeBinary(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("state IN ('waiting', 'running', 'done', 'failed')", name=op.f("ck_request_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_request")),
    )
    with op.batch_alter_table("request", schema=None) as batch_op:
        batch_op.create_index("ix_request_state", ["tenant", "state"], unique=False)

    op.create_table(
        "source_state",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("watermark", sa.BigInteger(), nullable=True),
        sa.Column("marks", sa.Text(), nullable=True),
        sa.Column("floor", sa.BigInteger(), nullable=True),
        sa.Column("opened", sa.LargeBinary(), nullable=True),
        sa.Column("goals", sa.LargeBinary(), nullable=True),
        sa.Column("polled_at", sa.BigInteger(), nullable=True),
        sa.Column("due", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("failing_since", sa.BigInteger(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("catalogue", sa.LargeBinary(), nullable=True),
        sa.Column("catalogue_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "source", name=op.f("pk_source_state")),
    )
    op.create_table(
        "sweep",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=False),
        sa.Column("begun_at", sa.BigInteger(), nullable=True),
        sa.Column("position", sa.Text(), nullable=True),
        sa.Column("asked", sa.Integer(), server_default="0", nullable=False),
        sa.Column("missed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("gone", sa.Integer(), server_default="0", nullable=False),
        sa.Column("aside", sa.Integer(), server_default="0", nullable=False),
        sa.Column("swept_at", sa.BigInteger(), nullable=True),
        sa.Column("last_missed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_gone", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_aside", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "source", name=op.f("pk_sweep")),
    )
    op.create_table(
        "mark",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("deal", sa.Text(), nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=True),
        sa.Column("since", sa.BigInteger(), nullable=True),
        sa.Column("asked", sa.Integer(), server_default="0", nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("is_sent", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("marked_at", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "source", "deal", name=op.f("pk_mark")),
    )
    with op.batch_alter_table("mark", schema=None) as batch_op:
        batch_op.create_index(
            "ix_mark_due",
            ["tenant", "source", "due"],
            unique=False,
            postgresql_where=sa.text("due IS NOT NULL"),
            sqlite_where=sa.text("due IS NOT NULL"),
        )

    op.create_table(
        "tenant",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("join_key", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", name=op.f("pk_tenant")),
    )
    op.create_table(
        "token",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("seed", sa.Text(), nullable=False),
        sa.Column("tokens", sa.LargeBinary(), nullable=False),
        sa.Column("saved_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_token")),
    )
    op.create_table(
        "touch",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("deal", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("identifiers", sa.LargeBinary(), nullable=False),
        sa.Column("joins", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "source", "deal", name=op.f("pk_touch")),
    )
    op.create_table(
        "touch_key",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("deal", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "digest", "at", "source", "deal", name=op.f("pk_touch_key")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "delivery",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("conversion", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=False),
        sa.Column("max_rows", sa.Integer(), nullable=True),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("deal_order", sa.Text(), nullable=True),
        sa.Column("batch", sa.Text(), nullable=True),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("is_recalled", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("planned_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("state <> 'sealed' OR batch IS NOT NULL", name=op.f("ck_delivery_sealed_in_batch")),
        sa.CheckConstraint(
            "state IN ('pending', 'sealed', 'accepted', 'verified', 'unlinked', 'rejected', 'expired', 'held', 'cancelled')",  # noqa: E501 - one constraint
            name=op.f("ck_delivery_state"),
        ),
        sa.ForeignKeyConstraint(["conversion"], ["conversion.id"], name=op.f("fk_delivery_conversion")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery")),
    )
    with op.batch_alter_table("delivery", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_delivery_conversion"), ["conversion"], unique=False)
        batch_op.create_index(
            "ix_delivery_deal_order",
            ["tenant", "destination", "deal_order"],
            unique=False,
            postgresql_where=sa.text("deal_order IS NOT NULL"),
            sqlite_where=sa.text("deal_order IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_delivery_due",
            ["tenant", "destination", "due", "planned_at"],
            unique=False,
            postgresql_where=sa.text("state = 'pending'"),
            sqlite_where=sa.text("state = 'pending'"),
        )
        batch_op.create_index("ix_delivery_state", ["tenant", "destination", "state"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("delivery", schema=None) as batch_op:
        batch_op.drop_index("ix_delivery_state")
        batch_op.drop_index(
            "ix_delivery_deal_order",
            postgresql_where=sa.text("deal_order IS NOT NULL"),
            sqlite_where=sa.text("deal_order IS NOT NULL"),
        )
        batch_op.drop_index(
            "ix_delivery_due", postgresql_where=sa.text("state = 'pending'"), sqlite_where=sa.text("state = 'pending'")
        )
        batch_op.drop_index(batch_op.f("ix_delivery_conversion"))

    op.drop_table("delivery")
    op.drop_table("touch_key")
    op.drop_table("touch")
    op.drop_table("token")
    op.drop_table("tenant")
    op.drop_table("sweep")
    op.drop_table("source_state")
    with op.batch_alter_table("request", schema=None) as batch_op:
        batch_op.drop_index("ix_request_state")

    op.drop_table("request")
    op.drop_table("quarantine")
    op.drop_table("orphan_key")
    with op.batch_alter_table("mark", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_mark_due", postgresql_where=sa.text("due IS NOT NULL"), sqlite_where=sa.text("due IS NOT NULL")
        )

    op.drop_table("mark")
    op.drop_table("hook")
    op.drop_table("hint")
    op.drop_table("destination_trouble")
    op.drop_table("destination_state")
    with op.batch_alter_table("delivery_event", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_delivery_event_delivery"))

    op.drop_table("delivery_event")
    with op.batch_alter_table("deal", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_deal_raw", postgresql_where=sa.text("raw IS NOT NULL"), sqlite_where=sa.text("raw IS NOT NULL")
        )
        batch_op.drop_index(
            "ix_deal_won", postgresql_where=sa.text("outcome = 'won'"), sqlite_where=sa.text("outcome = 'won'")
        )
        batch_op.drop_index(
            "ix_deal_recheck",
            postgresql_where=sa.text("recheck_at IS NOT NULL"),
            sqlite_where=sa.text("recheck_at IS NOT NULL"),
        )
        batch_op.drop_index("ix_deal_open", postgresql_where=sa.text("is_open"), sqlite_where=sa.text("is_open = 1"))
        batch_op.drop_index("ix_deal_dirty", postgresql_where=sa.text("is_dirty"), sqlite_where=sa.text("is_dirty = 1"))
        batch_op.drop_index("ix_deal_created")

    op.drop_table("deal")
    op.drop_table("coverage")
    with op.batch_alter_table("conversion", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_conversion_tenant_source_deal"))

    op.drop_table("conversion")
    with op.batch_alter_table("batch", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_batch_due", postgresql_where=sa.text("due IS NOT NULL"), sqlite_where=sa.text("due IS NOT NULL")
        )

    op.drop_table("batch")

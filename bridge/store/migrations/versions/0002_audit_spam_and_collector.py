"""the daily audit, signs of spam and expected values, what our own collector takes, drift of vendors"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("day", sa.Text(), nullable=False),
        sa.Column("ours", sa.Integer(), nullable=False),
        sa.Column("theirs", sa.Integer(), nullable=False),
        sa.Column("missing", sa.Integer(), nullable=False),
        sa.Column("open", sa.Integer(), nullable=False),
        sa.Column("is_ours_only", sa.Boolean(), nullable=False),
        sa.Column("counted_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "destination", "target", "day", name=op.f("pk_audit")),
    )
    op.create_table(
        "collected",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "record", name=op.f("pk_collected")),
    )
    with op.batch_alter_table("collected", schema=None) as batch_op:
        batch_op.create_index("ix_collected_at", ["tenant", "at", "record"], unique=False)

    op.create_table(
        "collected_count",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("times", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "code", name=op.f("pk_collected_count")),
    )
    op.create_table(
        "drift",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "account", "what", "value", name=op.f("pk_drift")),
    )
    op.create_table(
        "crowd",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("deal", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "digest", "at", "source", "deal", name=op.f("pk_crowd")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "estimate",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("goal", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("report", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "source", "goal", "rule", "at", name=op.f("pk_estimate")),
    )


def downgrade() -> None:
    op.drop_table("estimate")
    op.drop_table("crowd")
    op.drop_table("drift")
    op.drop_table("audit")
    op.drop_table("collected_count")
    with op.batch_alter_table("collected", schema=None) as batch_op:
        batch_op.drop_index("ix_collected_at")

    op.drop_table("collected")

"""Runs: what was submitted, and how far it is."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_BIG_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _when(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("number", _BIG_ID, primary_key=True),
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("owner", sa.String(63), nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        _when("created_at"),
        _when("updated_at"),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("status", sa.JSON, nullable=False),
        sa.Column("cancelling", sa.Boolean, nullable=False),
        _when("not_before", nullable=True),
        sa.Column("token_id", sa.String(63)),
        sa.Column("idempotency_key", sa.String(255)),
        sa.Column("schedule", sa.String(127)),
        _when("due", nullable=True),
        sa.Column("group", sa.String(63)),
        sa.Column("member", sa.String(63)),
        sa.UniqueConstraint("id", name="uq_runs_id"),
        sa.UniqueConstraint("owner", "idempotency_key", name="uq_runs_owner_idempotency_key"),
        sa.UniqueConstraint("schedule", "due", name="uq_runs_schedule_due"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_runs_state_number", "runs", ["state", "number"])
    op.create_index("ix_runs_owner_number", "runs", ["owner", "number"])
    op.create_index("ix_runs_group_number", "runs", ["group", "number"])

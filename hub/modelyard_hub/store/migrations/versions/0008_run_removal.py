"""Runs that are to be removed, and what the questions about open, old and scheduled runs go by."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("removing", sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_index("ix_runs_state_updated_at", "runs", ["state", "updated_at"])
    op.create_index("ix_runs_removing_number", "runs", ["removing", "number"])
    op.create_index("ix_runs_schedule_number", "runs", ["schedule", "number"])
    op.create_index("ix_runs_token_id", "runs", ["token_id"])

"""Runs of which MLflow is still to be told how an attempt ended: since when, and until when somebody does."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("tell_at", sa.DateTime(timezone=True)))
    op.add_column("runs", sa.Column("telling_until", sa.DateTime(timezone=True)))
    op.create_index("ix_runs_tell_at", "runs", ["tell_at"])

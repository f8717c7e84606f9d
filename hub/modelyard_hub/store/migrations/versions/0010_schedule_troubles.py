"""What keeps triggers of schedules from starting runs."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("schedules", sa.Column("troubles", sa.JSON, nullable=False, server_default="[]"))

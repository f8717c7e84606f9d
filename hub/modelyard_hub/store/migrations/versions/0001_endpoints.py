"""Endpoints with status, shares and keys; audit, events, documents.

Written out rather than made from the tables: a migration says what was, the tables what is.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


_BIG_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _when(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _endpoint(*, primary_key: bool = False) -> sa.Column[object]:
    target = sa.ForeignKey("endpoints.id", ondelete="CASCADE")
    return sa.Column("endpoint_id", sa.Integer, target, primary_key=primary_key, nullable=False)


def upgrade() -> None:
    _endpoints()
    _keys()
    _history()


def _endpoints() -> None:
    op.create_table(
        "endpoints",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("owner", sa.String(63), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        _when("created_at"),
        _when("updated_at"),
        sa.Column("deleting", sa.Boolean, nullable=False),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("packages", sa.JSON, nullable=False),
        sa.Column("stable_history", sa.JSON, nullable=False),
        sa.UniqueConstraint("owner", "name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "endpoint_status",
        _endpoint(primary_key=True),
        sa.Column("status", sa.JSON, nullable=False),
        _when("updated_at"),
    )
    op.create_table(
        "endpoint_shares",
        _endpoint(primary_key=True),
        sa.Column("group", sa.String(63), primary_key=True),
    )
    op.create_index("ix_endpoint_shares_group", "endpoint_shares", ["group"])


def _keys() -> None:
    op.create_table(
        "keys",
        sa.Column("id", sa.String(32), primary_key=True),
        _endpoint(),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        _when("created_at"),
        _when("expires_at", nullable=True),
        sa.UniqueConstraint("endpoint_id", "name"),
    )


def _history() -> None:
    op.create_table(
        "audit",
        sa.Column("id", _BIG_ID, primary_key=True),
        _when("at"),
        sa.Column("who", sa.String(255), nullable=False),
        sa.Column("action", sa.String(63), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("owner", sa.String(63)),
        sa.Column("source", sa.String(255), nullable=False),
        sa.Column("detail", sa.JSON, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_owner_id", "audit", ["owner", "id"])
    op.create_index("ix_audit_subject_id", "audit", ["subject", "id"])
    op.create_table(
        "events",
        sa.Column("id", _BIG_ID, primary_key=True),
        _when("at"),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("resource", sa.String(32), nullable=False),
        sa.Column("owner", sa.String(63), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("audience", sa.JSON, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "documents",
        sa.Column("name", sa.String(63), primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
        _when("updated_at"),
    )

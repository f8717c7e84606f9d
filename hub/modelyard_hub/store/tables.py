"""The tables, as the newest migration leaves them."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime; SQLite keeps no zone, so UTC is what is written and what is read."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# SQLite counts ids up only in a column whose type is spelled INTEGER.
_BigId = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

endpoints = Table(
    "endpoints",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("owner", String(63), nullable=False),
    Column("name", String(63), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("created_by", String(255), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("deleting", Boolean, nullable=False),
    Column("spec", JSON, nullable=False),
    Column("packages", JSON, nullable=False),
    Column("stable_history", JSON, nullable=False),
    UniqueConstraint("owner", "name"),
    sqlite_autoincrement=True,
)

endpoint_status = Table(
    "endpoint_status",
    metadata,
    Column("endpoint_id", ForeignKey("endpoints.id", ondelete="CASCADE"), primary_key=True),
    Column("status", JSON, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

endpoint_shares = Table(
    "endpoint_shares",
    metadata,
    Column("endpoint_id", ForeignKey("endpoints.id", ondelete="CASCADE"), primary_key=True),
    Column("group", String(63), primary_key=True, index=True),
)

keys = Table(
    "keys",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("endpoint_id", ForeignKey("endpoints.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(63), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("created_by", String(255), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    UniqueConstraint("endpoint_id", "name"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", _BigId, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("who", String(255), nullable=False),
    Column("action", String(63), nullable=False),
    Column("subject", String(255), nullable=False),
    Column("owner", String(63)),
    Column("source", String(255), nullable=False),
    Column("detail", JSON, nullable=False),
    Index(None, "owner", "id"),
    Index(None, "subject", "id"),
    sqlite_autoincrement=True,
)

events = Table(
    "events",
    metadata,
    Column("id", _BigId, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("resource", String(32), nullable=False),
    Column("owner", String(63), nullable=False),
    Column("name", String(63), nullable=False),
    Column("audience", JSON, nullable=False),
    sqlite_autoincrement=True,
)

secrets = Table(
    "secrets",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("owner", String(63), nullable=False),
    Column("name", String(63), nullable=False),
    Column("description", String(500), nullable=False),
    Column("version", Integer, nullable=False),
    Column("sealed", Text, nullable=False),
    Column("created_by", String(255), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_by", String(255), nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    UniqueConstraint("owner", "name"),
)

schedules = Table(
    "schedules",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("owner", String(63), nullable=False),
    Column("name", String(63), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("created_by", String(255), nullable=False),
    Column("runs_as", String(255), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("spec", JSON, nullable=False),
    Column("cursor", UtcDateTime, nullable=False),
    Column("skipped", JSON, nullable=False),
    Column("troubles", JSON, nullable=False, server_default="[]"),
    UniqueConstraint("owner", "name"),
)

schedule_files = Table(
    "schedule_files",
    metadata,
    Column("schedule_id", ForeignKey("schedules.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("location", Text, nullable=False),
    Column("run", String(32)),
    Column("at", UtcDateTime, nullable=False),
)
"""Files that schedules have taken; those without a run were there before. Besides them what else triggers a run once,
such as a model's version: there `location` is what kind of trigger it was ("version", "drift")."""

groups = Table(
    "groups",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("owner", String(63), nullable=False),
    Column("name", String(200), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("parallel", Integer, nullable=False),
    Column("created_by", String(255), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("idempotency_key", String(255)),
    Column("digest", String(64)),
    UniqueConstraint("owner", "idempotency_key"),
    Index(None, "created_at"),
)

documents = Table(
    "documents",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("text", Text, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("number", _BigId, primary_key=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("owner", String(63), nullable=False),
    Column("created_by", String(255), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("spec", JSON, nullable=False),
    Column("state", String(16), nullable=False),
    Column("status", JSON, nullable=False),
    Column("cancelling", Boolean, nullable=False),
    Column("not_before", UtcDateTime),
    Column("token_id", String(63)),
    Column("idempotency_key", String(255)),
    Column("schedule", String(127)),
    Column("due", UtcDateTime),
    Column("group", String(63)),
    Column("member", String(63)),
    Column("removing", Boolean, nullable=False, server_default=false()),
    Column("tell_at", UtcDateTime),
    Column("telling_until", UtcDateTime),
    UniqueConstraint("owner", "idempotency_key"),
    UniqueConstraint("schedule", "due"),
    Index(None, "state", "number"),
    Index(None, "owner", "number"),
    Index(None, "group", "number"),
    Index(None, "state", "updated_at"),
    Index(None, "removing", "number"),
    Index(None, "schedule", "number"),
    Index(None, "token_id"),
    Index(None, "tell_at"),
    sqlite_autoincrement=True,
)

"""Named keys of endpoints as rows. The text of a key is answered once and never stored; its SHA-256 is."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select
from sqlalchemy.exc import IntegrityError

from modelyard_api.access import KEY_PREFIX, KeyHash
from modelyard_api.endpoints import Key, KeyCreate
from modelyard_api.errors import Conflict, NotFound
from modelyard_hub.store.records import Actor, StoredEndpoint
from modelyard_hub.store.tables import endpoints, keys

TRY = "try-it-"
"""What names of keys begin with that are made for a day, to try an endpoint."""
MOST = 200
"""Keys of an endpoint: its model servers read all of them again after each change."""


def add(connection: Connection, record: StoredEndpoint, request: KeyCreate, actor: Actor, now: datetime) -> Key:
    """A new key with its secret; Conflict when the name is taken, or there are too many. Those that were made to try
    the endpoint, and have expired, are forgotten."""
    here = keys.c.endpoint_id == record.id
    connection.execute(delete(keys).where(here, keys.c.name.startswith(TRY), keys.c.expires_at < now))
    if (connection.execute(select(func.count()).where(here)).scalar() or 0) >= MOST:
        raise Conflict(f"the endpoint has {MOST} keys", remedy="Take back those that nobody uses any more.")
    mine = (keys.c.endpoint_id == record.id) & (keys.c.name == request.name)
    if connection.execute(select(keys.c.id).where(mine)).first() is not None:
        raise _taken(request.name)
    key = Key(
        id=secrets.token_hex(6),
        name=request.name,
        created_by=actor.who,
        created_at=now,
        expires_at=None if request.expires_in is None else now + timedelta(seconds=request.expires_in),
    )
    secret = f"{KEY_PREFIX}{key.id}_{secrets.token_urlsafe(32)}"
    digest = hashlib.sha256(secret.encode()).hexdigest()
    values = key.model_dump(exclude={"secret"})
    try:
        connection.execute(insert(keys).values(**values, endpoint_id=record.id, sha256=digest))
    except IntegrityError as error:  # another process was faster
        raise _taken(request.name) from error
    return key.model_copy(update={"secret": secret})


def list_(connection: Connection, record: StoredEndpoint) -> tuple[Key, ...]:
    """Keys, oldest first."""
    query = select(keys).where(keys.c.endpoint_id == record.id).order_by(keys.c.created_at, keys.c.id)
    return tuple(_key(row) for row in connection.execute(query))


def remove(connection: Connection, record: StoredEndpoint, key_id: str) -> Key:
    """The key that was there; NotFound."""
    mine = (keys.c.endpoint_id == record.id) & (keys.c.id == key_id)
    row = connection.execute(select(keys).where(mine)).one_or_none()
    if row is None:
        raise NotFound(f"{'/'.join(record.key)} has no key {key_id!r}")
    connection.execute(delete(keys).where(mine))
    return _key(row)


def hashes(connection: Connection, owner: str, name: str) -> tuple[KeyHash, ...]:
    """What a model server needs to know of an endpoint's keys."""
    query = (
        select(keys.c.id, keys.c.name, keys.c.sha256, keys.c.expires_at)
        .join_from(keys, endpoints)
        .where((endpoints.c.owner == owner) & (endpoints.c.name == name))
        .order_by(keys.c.id)
    )
    return tuple(_hash(row, row.name) for row in connection.execute(query))


def all_hashes(connection: Connection) -> dict[tuple[str, str], tuple[KeyHash, ...]]:
    """The same of all endpoints that have keys."""
    label = keys.c.name.label("label")
    query = select(endpoints.c.owner, endpoints.c.name, keys.c.id, label, keys.c.sha256, keys.c.expires_at)
    found: dict[tuple[str, str], tuple[KeyHash, ...]] = {}
    for row in connection.execute(query.join_from(keys, endpoints).order_by(keys.c.id)):
        known = found.get((row.owner, row.name), ())
        found[row.owner, row.name] = (*known, _hash(row, row.label))
    return found


def _hash(row: Any, name: str) -> KeyHash:
    return KeyHash(id=row.id, name=name, sha256=row.sha256, expires_at=row.expires_at)


def _key(row: Row[Any]) -> Key:
    return Key(
        id=row.id, name=row.name, created_by=row.created_by, created_at=row.created_at, expires_at=row.expires_at
    )


def _taken(name: str) -> Conflict:
    return Conflict(f"there is already a key {name!r}", remedy="Use another name, or remove the old key first.")

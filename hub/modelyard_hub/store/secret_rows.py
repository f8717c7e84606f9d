"""Secrets as rows: sealed before they come here. The store has no key."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from modelyard_api.errors import Conflict, NotFound
from modelyard_api.secrets import Secret
from modelyard_hub.store.records import Actor
from modelyard_hub.store.tables import secrets


def subject(owner: str, name: str) -> str:
    """What the audit calls a secret."""
    return f"secret/{owner}/{name}"


def put(
    connection: Connection, key: tuple[str, str], sealed: str, description: str, actor: Actor, now: datetime
) -> Secret:
    """A new secret, or a new value of one."""
    row = _find(connection, *key)
    changed = {"sealed": sealed, "description": description, "updated_by": actor.who, "updated_at": now}
    if row is not None:
        connection.execute(
            update(secrets).where(secrets.c.id == row.id).values(**changed, version=secrets.c.version + 1)
        )
    else:
        made = {"owner": key[0], "name": key[1], "version": 1, "created_by": actor.who, "created_at": now}
        try:
            connection.execute(insert(secrets).values(**made, **changed))
        except IntegrityError as error:  # another process was faster
            raise Conflict(f"the secret {'/'.join(key)} was set just now", remedy="Set it once more.") from error
    return get(connection, *key)


def get(connection: Connection, owner: str, name: str) -> Secret:
    """Without the value; NotFound."""
    return _secret(_row(connection, owner, name))


def sealed(connection: Connection, owner: str, name: str) -> str:
    """The value, sealed; NotFound."""
    found: str = _row(connection, owner, name).sealed
    return found


def list_(connection: Connection, owners: Collection[str] | None) -> tuple[Secret, ...]:
    """By owner and name; `owners` None: of all."""
    query = select(secrets).order_by(secrets.c.owner, secrets.c.name)
    if owners is not None:
        query = query.where(secrets.c.owner.in_(list(owners)))
    return tuple(_secret(row) for row in connection.execute(query))


def remove(connection: Connection, owner: str, name: str) -> None:
    """NotFound."""
    connection.execute(delete(secrets).where(secrets.c.id == _row(connection, owner, name).id))


def all_sealed(connection: Connection) -> tuple[tuple[str, str, str], ...]:
    """(owner, name, sealed) of all."""
    query = select(secrets.c.owner, secrets.c.name, secrets.c.sealed)
    return tuple((row.owner, row.name, row.sealed) for row in connection.execute(query))


def reseal(connection: Connection, key: tuple[str, str], before: str, after: str) -> bool:
    """The same value, sealed anew; False where it has another one by now."""
    mine = (secrets.c.owner == key[0]) & (secrets.c.name == key[1]) & (secrets.c.sealed == before)
    return connection.execute(update(secrets).where(mine).values(sealed=after)).rowcount == 1


def _find(connection: Connection, owner: str, name: str) -> Row[Any] | None:
    mine = (secrets.c.owner == owner) & (secrets.c.name == name)
    return connection.execute(select(secrets).where(mine)).one_or_none()


def _row(connection: Connection, owner: str, name: str) -> Row[Any]:
    row = _find(connection, owner, name)
    if row is None:
        raise NotFound(f"there is no secret {owner}/{name}", remedy="Set it: yard.set_secret, or PUT /secrets.")
    return row


def _secret(row: Row[Any]) -> Secret:
    return Secret(
        owner=row.owner,
        name=row.name,
        description=row.description,
        version=row.version,
        created_by=row.created_by,
        created_at=row.created_at,
        updated_by=row.updated_by,
        updated_at=row.updated_at,
    )

"""Endpoints as rows: each function is one step inside a transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from modelyard_api.endpoints import Endpoint, EndpointSpec, EndpointStatus
from modelyard_api.errors import Conflict, NotFound, StaleWrite
from modelyard_api.models import Flavor
from modelyard_hub.runtimes.base import Package
from modelyard_hub.store import rules
from modelyard_hub.store.records import StoredEndpoint
from modelyard_hub.store.tables import endpoint_shares, endpoint_status, endpoints

_WITH_STATUS = select(endpoints, endpoint_status.c.status).join_from(endpoints, endpoint_status, isouter=True)


@dataclass(frozen=True)
class Desired:
    """What a write of the desired state puts in place."""

    spec: EndpointSpec
    packages: Mapping[int, Package]
    stable_history: tuple[int, ...]

    def values(self) -> dict[str, Any]:
        """Column values; packages of removed revisions are left out."""
        return {
            "spec": self.spec.model_dump(mode="json"),
            "packages": {
                str(n): {"location": p.location, "model": p.model, "version": p.version, "flavor": p.flavor}
                for n, p in sorted(self.packages.items())
                if self.spec.revision(n) is not None
            },
            "stable_history": list(self.stable_history),
        }


def find(connection: Connection, owner: str, name: str) -> StoredEndpoint | None:
    """The endpoint, or None."""
    where = (endpoints.c.owner == owner) & (endpoints.c.name == name)
    row = connection.execute(_WITH_STATUS.where(where)).one_or_none()
    return None if row is None else _record(row)


def get(connection: Connection, owner: str, name: str) -> StoredEndpoint:
    """The endpoint; NotFound."""
    found = find(connection, owner, name)
    if found is None:
        raise NotFound(f"there is no endpoint {owner}/{name}")
    return found


def get_for_write(connection: Connection, owner: str, name: str, expected_generation: int | None) -> StoredEndpoint:
    """The endpoint as it is before a change; NotFound, StaleWrite."""
    found = get(connection, owner, name)
    if expected_generation is not None and found.endpoint.generation != expected_generation:
        raise _stale(found.endpoint, expected_generation)
    return found


def list_(
    connection: Connection, owners: Collection[str] | None, groups: Collection[str]
) -> tuple[StoredEndpoint, ...]:
    """Endpoints by owner and name, filtered as `Store.list` says."""
    query = _WITH_STATUS.order_by(endpoints.c.owner, endpoints.c.name)
    if owners is not None:
        shared = select(endpoint_shares.c.endpoint_id).where(endpoint_shares.c.group.in_(list(groups)))
        query = query.where(or_(endpoints.c.owner.in_(list(owners)), endpoints.c.id.in_(shared)))
    return tuple(_record(row) for row in connection.execute(query))


def create(connection: Connection, endpoint: Endpoint, desired: Desired) -> StoredEndpoint:
    """A new row; Conflict when the name is taken."""
    taken = find(connection, endpoint.owner, endpoint.name)
    if taken is not None:
        raise _taken(taken.endpoint)
    header = endpoint.model_dump(include={"owner", "name", "generation", "created_by", "deleting"})
    times = {"created_at": endpoint.created_at, "updated_at": endpoint.updated_at}
    try:
        key = connection.execute(insert(endpoints).values(**header, **times, **desired.values())).inserted_primary_key
    except IntegrityError as error:  # another process was faster
        raise _taken(endpoint) from error
    assert key is not None
    _write_shares(connection, key[0], desired.spec)
    return get(connection, endpoint.owner, endpoint.name)


def write(connection: Connection, before: StoredEndpoint, desired: Desired, now: datetime) -> StoredEndpoint:
    """Put `desired` in place of `before`, if `before` is still what is stored; StaleWrite."""
    _update(connection, before, {**desired.values(), "updated_at": now})
    connection.execute(delete(endpoint_shares).where(endpoint_shares.c.endpoint_id == before.id))
    _write_shares(connection, before.id, desired.spec)
    return get(connection, *before.key)


def mark_deleting(connection: Connection, before: StoredEndpoint, now: datetime) -> StoredEndpoint:
    """Desired: gone; StaleWrite."""
    _update(connection, before, {"deleting": True, "updated_at": now})
    return get(connection, *before.key)


def remove(connection: Connection, record: StoredEndpoint) -> None:
    """Forget the row, and with it status, shares and keys."""
    connection.execute(delete(endpoints).where(endpoints.c.id == record.id))


def write_status(connection: Connection, record: StoredEndpoint, status: EndpointStatus, now: datetime) -> bool:
    """Record what is observed; False when that is what is already recorded."""
    value = status.model_dump(mode="json")
    mine = endpoint_status.c.endpoint_id == record.id
    old = connection.execute(select(endpoint_status.c.status).where(mine)).scalar_one_or_none()
    if old == value:
        return False
    if old is None:
        connection.execute(insert(endpoint_status).values(endpoint_id=record.id, status=value, updated_at=now))
    else:
        connection.execute(update(endpoint_status).where(mine).values(status=value, updated_at=now))
    return True


def _update(connection: Connection, before: StoredEndpoint, values: dict[str, Any]) -> None:
    generation = before.endpoint.generation
    where = (endpoints.c.id == before.id) & (endpoints.c.generation == generation)
    changed = connection.execute(update(endpoints).where(where).values(**values, generation=generation + 1))
    if changed.rowcount != 1:
        raise _stale(before.endpoint, generation)


def _write_shares(connection: Connection, endpoint_id: int, spec: EndpointSpec) -> None:
    rows = [{"endpoint_id": endpoint_id, "group": group} for group in sorted(set(spec.shared_with or ()))]
    if rows:
        connection.execute(insert(endpoint_shares), rows)


def _record(row: Row[Any]) -> StoredEndpoint:
    status = EndpointStatus() if row.status is None else EndpointStatus.model_validate(row.status)
    spec, history = EndpointSpec.model_validate(row.spec), tuple(row.stable_history)
    endpoint = Endpoint(
        owner=row.owner,
        name=row.name,
        generation=row.generation,
        created_by=row.created_by,
        created_at=row.created_at,
        updated_at=row.updated_at,
        deleting=row.deleting,
        spec=spec,
        status=status,
        rollback_to=rules.rollback_target(history, spec),
        etag=f'"{row.generation}"',
    )
    packages = {int(n): _package(p) for n, p in row.packages.items()}
    return StoredEndpoint(endpoint, row.id, packages, history)


def _package(kept: Mapping[str, Any]) -> Package:
    flavor = kept["flavor"]
    return Package(kept["location"], kept["model"], kept["version"], None if flavor is None else Flavor(flavor))


def _stale(endpoint: Endpoint, expected: int) -> StaleWrite:
    return StaleWrite(
        f"{endpoint.owner}/{endpoint.name} was changed meanwhile: you changed generation {expected}", expected=expected
    )


def _taken(endpoint: Endpoint) -> Conflict:
    what = f"the endpoint {endpoint.owner}/{endpoint.name}"
    if endpoint.deleting:
        return Conflict(f"{what} is being deleted", remedy="Wait until it is gone, or use another name.")
    return Conflict(f"{what} exists already", remedy="Use another name, or change the one that exists.")

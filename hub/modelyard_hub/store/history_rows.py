"""Audit, events and documents as rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from modelyard_api.endpoints import AuditEntry, EventKind
from modelyard_api.runs import Run
from modelyard_hub.store.records import Actor, StoredEndpoint, StoredEvent
from modelyard_hub.store.tables import audit, documents, events

KEPT_EVENTS = 10_000
_ROUTING, _ROUTE = "routing", "route/"


def endpoint_subject(owner: str, name: str) -> str:
    """What the audit calls an endpoint."""
    return f"endpoint/{owner}/{name}"


def write_audit(
    connection: Connection, actor: Actor, action: str, subject: str, detail: Mapping[str, Any], now: datetime
) -> None:
    """One row of who did what, when, from where."""
    parts = subject.split("/")
    owner = parts[1] if len(parts) == 3 else None
    row = {"at": now, "who": actor.who, "action": action, "subject": subject, "owner": owner}
    connection.execute(insert(audit).values(**row, source=actor.source, detail=dict(detail)))


def list_audit(
    connection: Connection, owners: Collection[str] | None, subject: str | None, limit: int
) -> tuple[AuditEntry, ...]:
    """Newest first."""
    query = select(audit).order_by(audit.c.id.desc()).limit(limit)
    if owners is not None:
        query = query.where(audit.c.owner.in_(list(owners)))
    if subject is not None:
        query = query.where(audit.c.subject == subject)
    return tuple(
        AuditEntry(at=r.at, who=r.who, action=r.action, subject=r.subject, source=r.source, detail=r.detail)
        for r in connection.execute(query)
    )


def write_event(
    connection: Connection, kind: EventKind, records: Iterable[StoredEndpoint], now: datetime
) -> StoredEvent:
    """One event about an endpoint; `records` are its states before and after: who could read either may learn of it."""
    states = tuple(records)
    owner, name = states[-1].key
    audience = {owner}.union(*(record.endpoint.spec.shared_with or () for record in states))
    row = {"kind": kind.value, "resource": "endpoint", "owner": owner, "name": name}
    key = connection.execute(insert(events).values(at=now, **row, audience=sorted(audience))).inserted_primary_key
    assert key is not None
    return StoredEvent(id=key[0], kind=kind, resource="endpoint", owner=owner, name=name, audience=frozenset(audience))


def write_run_event(connection: Connection, kind: EventKind, run: Run, now: datetime) -> StoredEvent:
    """One event about a run."""
    row = {"kind": kind.value, "resource": "run", "owner": run.owner, "name": run.id}
    key = connection.execute(insert(events).values(at=now, **row, audience=[run.owner])).inserted_primary_key
    assert key is not None
    audience = frozenset({run.owner})
    return StoredEvent(id=key[0], kind=kind, resource="run", owner=run.owner, name=run.id, audience=audience)


def events_after(connection: Connection, after_id: int) -> tuple[StoredEvent, ...]:
    """Persisted events with a higher id, oldest first."""
    query = select(events).where(events.c.id > after_id).order_by(events.c.id)
    return tuple(
        StoredEvent(id=r.id, kind=r.kind, resource=r.resource, owner=r.owner, name=r.name, audience=r.audience)
        for r in connection.execute(query)
    )


def prune_events(connection: Connection) -> None:
    """Keep the newest."""
    newest = connection.execute(select(func.max(events.c.id))).scalar()
    if newest is not None:
        connection.execute(delete(events).where(events.c.id <= newest - KEPT_EVENTS))


def save_document(connection: Connection, name: str, text: str, now: datetime) -> None:
    """Put a document in the place of the one before."""
    changed = connection.execute(update(documents).where(documents.c.name == name).values(text=text, updated_at=now))
    if changed.rowcount == 0:
        connection.execute(insert(documents).values(name=name, text=text, updated_at=now))


def load_document(connection: Connection, name: str) -> str | None:
    """The document, or None."""
    return connection.execute(select(documents.c.text).where(documents.c.name == name)).scalar_one_or_none()


def save_route(connection: Connection, owner: str, name: str, text: str | None, now: datetime) -> None:
    """A document of its own, so that one change does not write all routes."""
    document = _route_document(owner, name)
    if text is None:
        connection.execute(delete(documents).where(documents.c.name == document))
    else:
        save_document(connection, document, text, now)


def load_routes(connection: Connection, now: datetime) -> tuple[str, ...]:
    """The routes of all endpoints; what an earlier version kept as one document is taken apart."""
    whole = load_document(connection, _ROUTING)
    if whole is not None:
        connection.execute(delete(documents).where(documents.c.name == _ROUTING))
        for route in _routes(whole):
            if load_document(connection, document := _route_document(route["owner"], route["name"])) is None:
                save_document(connection, document, json.dumps(route, sort_keys=True), now)
    query = select(documents.c.text).where(documents.c.name.startswith(_ROUTE, autoescape=True))
    return tuple(connection.execute(query.order_by(documents.c.name)).scalars())


def _route_document(owner: str, name: str) -> str:
    """A name is 63 characters at most, and those of an owner and an endpoint may be longer."""
    return _ROUTE + hashlib.sha256(f"{owner}/{name}".encode()).hexdigest()[:32]


def _routes(whole: str) -> list[dict[str, Any]]:
    try:
        return [route for route in json.loads(whole)["routes"] if route["owner"] and route["name"]]
    except (ValueError, KeyError, TypeError):
        return []

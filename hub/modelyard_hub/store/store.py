"""The store's face: what the API and the reconciler may ask and change."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from modelyard_api.access import KeyHash
from modelyard_api.endpoints import (
    AuditEntry,
    Endpoint,
    EndpointSpec,
    EndpointStatus,
    EventKind,
    Key,
    KeyCreate,
)
from modelyard_api.errors import Conflict
from modelyard_hub.runtimes.base import Package
from modelyard_hub.store import endpoint_rows, history_rows, key_rows, rules
from modelyard_hub.store.database import Database, T
from modelyard_hub.store.endpoint_rows import Desired
from modelyard_hub.store.feed import Feed
from modelyard_hub.store.group_store import GroupStore
from modelyard_hub.store.records import Actor, StoredEndpoint, StoredEvent
from modelyard_hub.store.removal_store import RemovalStore
from modelyard_hub.store.run_methods import RunMethods
from modelyard_hub.store.schedule_store import ScheduleStore
from modelyard_hub.store.secret_store import SecretStore
from modelyard_hub.store.telling_store import TellingStore

_HUB_ROUTES = "hub-routes"


def _now() -> datetime:
    return datetime.now(UTC)


class Store(RunMethods):
    """Desired state, observed state, keys, audit and events, each change one transaction. Runs: `RunMethods`.

    All methods raise Unavailable when the database is away and StorageFull when its disk is full.
    """

    def __init__(self, url: str, *, now: Callable[[], datetime] = _now) -> None:
        """`url` is a SQLAlchemy URL: sqlite:///path or postgresql+psycopg://… (Settings.store_url)."""
        self._database = Database(url)
        self._feed = Feed()
        self._now = now
        self.groups = GroupStore(self._database, self._feed, now)
        """Sweeps and pipelines."""
        self.schedules = ScheduleStore(self._database, self._feed, now)
        """Schedules, and the runs that they start."""
        self.secrets = SecretStore(self._database, now)
        """Names of secrets, and their values as the vault sealed them."""
        self.removal = RemovalStore(self._database, self._feed, now)
        """Runs that are to go."""
        self.telling = TellingStore(self._database, self._feed, now)
        """Runs of which MLflow is to be told."""

    async def open(self) -> None:
        """Connect and migrate to the newest schema."""
        await self._database.open()
        await self._database.write(history_rows.prune_events)

    async def close(self) -> None:
        """End all event readers and let go of the database."""
        self._feed.close()
        await self._database.close()

    async def get(self, owner: str, name: str) -> StoredEndpoint:
        """The endpoint with its last written status, deleting ones included; NotFound."""
        return await self._database.read(lambda c: endpoint_rows.get(c, owner, name))

    async def list(
        self, owners: Collection[str] | None = None, groups: Collection[str] = ()
    ) -> tuple[StoredEndpoint, ...]:
        """Endpoints by owner and name: all (`owners` None), else those owned by `owners` or shared with `groups`."""
        return await self._database.read(lambda c: endpoint_rows.list_(c, owners, groups))

    async def create(
        self, owner: str, name: str, spec: EndpointSpec, packages: Mapping[int, Package], actor: Actor
    ) -> StoredEndpoint:
        """A new endpoint, generation 1; Conflict when the name is taken (also while the old one is being deleted)."""

        def change(connection: Connection, emit: _Emit) -> StoredEndpoint:
            now = self._now()
            history = rules.advance((), spec)
            settled = rules.activate(spec, history)
            new = Endpoint(owner=owner, name=name, created_by=actor.who, created_at=now, updated_at=now, spec=settled)
            after = endpoint_rows.create(connection, new, Desired(settled, packages, history))
            emit.changed(actor, "create", (after,), rules.describe_change(None, settled))
            return after

        return await self._write(change)

    async def write_spec(
        self,
        owner: str,
        name: str,
        spec: EndpointSpec,
        expected_generation: int,
        actor: Actor,
        packages: Mapping[int, Package] | None = None,
    ) -> StoredEndpoint:
        """Replace the desired state; the generation grows by one, or stays where nothing changes.

        `packages` are those of the new revisions. NotFound; StaleWrite; Conflict (being deleted); InvalidInput and
        InvalidTraffic for what `rules.check_change` refuses.
        """

        def change(connection: Connection, emit: _Emit) -> StoredEndpoint:
            before = endpoint_rows.get_for_write(connection, owner, name, expected_generation)
            _refuse_deleting(before)
            rules.check_change(before.endpoint.spec, spec)
            history = rules.advance(before.stable_history, spec)
            desired = Desired(rules.activate(spec, history), {**before.packages, **(packages or {})}, history)
            return self._replace(connection, emit, before, desired, actor, "update")

        return await self._write(change)

    async def rollback(
        self, owner: str, name: str, actor: Actor, expected_generation: int | None = None
    ) -> StoredEndpoint:
        """All traffic back to the last stable revision before the present allocation, which runs again.

        NotFound; StaleWrite; Conflict with the reason when there is none, or the endpoint is being deleted.
        """

        def change(connection: Connection, emit: _Emit) -> StoredEndpoint:
            before = endpoint_rows.get_for_write(connection, owner, name, expected_generation)
            _refuse_deleting(before)
            spec, history = rules.roll_back(before.stable_history, before.endpoint.spec)
            desired = Desired(rules.activate(spec, history), before.packages, history)
            return self._replace(connection, emit, before, desired, actor, "rollback")

        return await self._write(change)

    async def mark_deleting(self, owner: str, name: str, expected_generation: int, actor: Actor) -> StoredEndpoint:
        """Desired: gone. The generation grows by one. NotFound, StaleWrite; once more on a deleting one is fine."""

        def change(connection: Connection, emit: _Emit) -> StoredEndpoint:
            before = endpoint_rows.get(connection, owner, name)
            if before.endpoint.deleting:
                return before
            before = endpoint_rows.get_for_write(connection, owner, name, expected_generation)
            after = endpoint_rows.mark_deleting(connection, before, self._now())
            emit.changed(actor, "delete", (after,), {})
            return after

        return await self._write(change)

    async def remove(self, owner: str, name: str) -> bool:
        """Forget an endpoint that is marked deleting and of which nothing runs; False: there was no such."""

        def change(connection: Connection, emit: _Emit) -> bool:
            record = endpoint_rows.find(connection, owner, name)
            if record is None or not record.endpoint.deleting:
                return False
            endpoint_rows.remove(connection, record)
            emit.event(EventKind.deleted, (record,))
            return True

        return await self._write(change)

    async def write_status(self, owner: str, name: str, status: EndpointStatus) -> bool:
        """Record what is observed. No new generation; an event, and True, only when it differs.

        False also when the endpoint is gone.
        """

        def change(connection: Connection, emit: _Emit) -> bool:
            record = endpoint_rows.find(connection, owner, name)
            if record is None or not endpoint_rows.write_status(connection, record, status, self._now()):
                return False
            emit.event(EventKind.changed, (record,))
            return True

        return await self._write(change)

    async def add_key(self, owner: str, name: str, request: KeyCreate, actor: Actor) -> Key:
        """A new key; this answer alone holds `secret`. NotFound; Conflict: name taken, or endpoint being deleted."""

        def change(connection: Connection, emit: _Emit) -> Key:
            record = endpoint_rows.get(connection, owner, name)
            _refuse_deleting(record)
            key = key_rows.add(connection, record, request, actor, self._now())
            emit.changed(actor, "add-key", (record,), {"id": key.id, "name": key.name})
            return key

        return await self._write(change)

    async def list_keys(self, owner: str, name: str) -> tuple[Key, ...]:
        """Keys without secrets, oldest first; NotFound for an unknown endpoint."""
        return await self._database.read(lambda c: key_rows.list_(c, endpoint_rows.get(c, owner, name)))

    async def remove_key(self, owner: str, name: str, key_id: str, actor: Actor) -> None:
        """The key works no more once the model servers have read their new access file. NotFound."""

        def change(connection: Connection, emit: _Emit) -> None:
            record = endpoint_rows.get(connection, owner, name)
            key = key_rows.remove(connection, record, key_id)
            emit.changed(actor, "remove-key", (record,), {"id": key.id, "name": key.name})

        await self._write(change)

    async def key_hashes(self, owner: str, name: str) -> tuple[KeyHash, ...]:
        """What access.json needs; empty for an unknown endpoint."""
        return await self._database.read(lambda c: key_rows.hashes(c, owner, name))

    async def all_key_hashes(self) -> Mapping[tuple[str, str], tuple[KeyHash, ...]]:
        """The same of all endpoints that have keys, by owner and name."""
        return await self._database.read(key_rows.all_hashes)

    async def audit(self, actor: Actor, action: str, subject: str, detail: Mapping[str, Any] | None = None) -> None:
        """An audit row of its own, for what is no write of the store. `subject` is such as endpoint/ada/churn."""
        await self._database.write(
            lambda c: history_rows.write_audit(c, actor, action, subject, detail or {}, self._now())
        )

    async def list_audit(
        self, owners: Collection[str] | None = None, *, subject: str | None = None, limit: int = 200
    ) -> tuple[AuditEntry, ...]:
        """Newest first; `owners` None: all."""
        return await self._database.read(lambda c: history_rows.list_audit(c, owners, subject, limit))

    def events(self, after_id: int | None = None) -> AsyncIterator[StoredEvent]:
        """Changes from this call on, or those after that id (persisted, the newest 10,000) and then from now on.

        Ends when the reader fell behind (its queue is bounded) or the store closes: look at everything, read again.
        """
        if after_id is None:
            return self._feed.subscribe(None)

        async def backlog() -> tuple[StoredEvent, ...]:
            return await self._database.read(lambda c: history_rows.events_after(c, after_id))

        return self._feed.subscribe(backlog)

    async def save_route(self, owner: str, name: str, route: str | None) -> None:
        """Keep the last good route of an endpoint, as text; None: it has none any more."""
        await self._database.write(lambda c: history_rows.save_route(c, owner, name, route, self._now()))

    async def load_routes(self) -> tuple[str, ...]:
        """The last good routes of all endpoints."""
        return await self._database.write(lambda c: history_rows.load_routes(c, self._now()))

    async def save_hub_routes(self, document: str) -> None:
        """Keep what JupyterHub routes."""
        await self._database.write(lambda c: history_rows.save_document(c, _HUB_ROUTES, document, self._now()))

    async def load_hub_routes(self) -> str | None:
        """What JupyterHub told last, or None."""
        return await self._database.read(lambda c: history_rows.load_document(c, _HUB_ROUTES))

    def _replace(
        self,
        connection: Connection,
        emit: _Emit,
        before: StoredEndpoint,
        desired: Desired,
        actor: Actor,
        action: str,
    ) -> StoredEndpoint:
        same = (before.endpoint.spec, before.stable_history) == (desired.spec, desired.stable_history)
        if same:
            return before
        after = endpoint_rows.write(connection, before, desired, self._now())
        detail = rules.describe_change(before.endpoint.spec, desired.spec)
        emit.changed(actor, action, (before, after), {"generation": after.endpoint.generation, **detail})
        return after

    async def _write(self, change: Callable[[Connection, _Emit], T]) -> T:
        """Run `change` in one transaction, then tell the readers of events what it emitted."""
        emitted: builtins.list[StoredEvent] = []

        def work(connection: Connection) -> T:
            return change(connection, _Emit(connection, self._now(), emitted))

        return await self._database.write(work, lambda _: self._feed.publish(emitted))


class _Emit:
    """Audit rows and events of one transaction."""

    def __init__(self, connection: Connection, now: datetime, events: builtins.list[StoredEvent]) -> None:
        self._connection = connection
        self._now = now
        self._events = events

    def event(self, kind: EventKind, states: tuple[StoredEndpoint, ...]) -> None:
        """An event about an endpoint, given its states before and after."""
        self._events.append(history_rows.write_event(self._connection, kind, states, self._now))

    def changed(self, actor: Actor, action: str, states: tuple[StoredEndpoint, ...], detail: Mapping[str, Any]) -> None:
        """An audit row and a `changed` event."""
        subject = history_rows.endpoint_subject(*states[-1].key)
        history_rows.write_audit(self._connection, actor, action, subject, detail, self._now)
        self.event(EventKind.changed, states)


def _refuse_deleting(record: StoredEndpoint) -> None:
    if record.endpoint.deleting:
        raise Conflict(
            f"the endpoint {'/'.join(record.key)} is being deleted",
            remedy="Wait until it is gone, then create it again.",
        )

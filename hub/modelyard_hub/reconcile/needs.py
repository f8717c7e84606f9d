"""What the reconciler needs of the other parts, and no more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from typing import Protocol

from modelyard_api.access import Access, KeyHash
from modelyard_api.endpoints import EndpointStatus, Event
from modelyard_hub.routing.document import EndpointRoute
from modelyard_hub.store.records import StoredEndpoint

Key = tuple[str, str]
"""(owner, name) of an endpoint."""


class DesiredState(Protocol):
    """The store, as far as the reconciler goes; see `Store` for errors."""

    async def get(self, owner: str, name: str) -> StoredEndpoint: ...

    async def list(self) -> tuple[StoredEndpoint, ...]: ...

    async def remove(self, owner: str, name: str) -> bool: ...

    async def write_status(self, owner: str, name: str, status: EndpointStatus) -> bool: ...

    async def key_hashes(self, owner: str, name: str) -> tuple[KeyHash, ...]: ...

    async def all_key_hashes(self) -> Mapping[Key, tuple[KeyHash, ...]]: ...

    def events(self) -> AsyncIterator[Event]: ...

    async def save_route(self, owner: str, name: str, route: str | None) -> None: ...

    async def load_routes(self) -> tuple[str, ...]: ...


class Router(Protocol):
    """The router, as far as the reconciler goes; see `TraefikRouter`."""

    def restore(self, kept: Iterable[str], running: Collection[str]) -> None: ...

    def dump(self, key: Key) -> str | None: ...

    def published(self) -> tuple[Key, ...]: ...

    def route(self, key: Key) -> EndpointRoute | None: ...

    def publish(self, key: Key, route: EndpointRoute | None) -> bool: ...

    async def applied(self, key: Key) -> bool: ...

    def confirmed(self) -> AsyncIterator[Key]: ...


class AccessSource(Protocol):
    """Who may call an endpoint, as its model servers are told."""

    async def access(self, endpoint: StoredEndpoint) -> Access: ...

    async def all(self, endpoints: Iterable[StoredEndpoint]) -> Mapping[Key, Access]: ...

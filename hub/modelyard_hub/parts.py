"""What the routes need, given to them by the composition root, and how they ask who calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

import httpx
from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from modelyard_api.endpoints import Identity
from modelyard_hub.artifacts import Artifacts
from modelyard_hub.auth import READ, WRITE, Identities, bearer, require_scope
from modelyard_hub.hub_env import HubEnv
from modelyard_hub.kernels import Kernels, UnknownKernels
from modelyard_hub.reconcile.run_loop import Queue
from modelyard_hub.registry import Registry
from modelyard_hub.routing.traefik import TraefikRouter
from modelyard_hub.runtimes.base import Runtime
from modelyard_hub.settings import Settings
from modelyard_hub.signing import Signer
from modelyard_hub.store.records import Actor
from modelyard_hub.store.store import Store
from modelyard_hub.vault import Vault
from modelyard_hub.volumes.shelf import Shelf
from modelyard_hub.watched import Places


@dataclass(frozen=True)
class Parts:
    """The parts of one hub service. The document of `router` is for who presents `routing_token`."""

    settings: Settings
    hub: HubEnv
    store: Store
    runtime: Runtime
    identities: Identities
    registry: Registry
    signer: Signer
    http: httpx.AsyncClient
    router: TraefikRouter
    shelf: Shelf
    artifacts: Artifacts
    vault: Callable[[], Vault]
    queue: Queue
    places: Places
    routing_token: str = field(repr=False)
    kernels: Kernels = field(default_factory=UnknownKernels)


def parts_of(request: Request) -> Parts:
    """The parts of the service that got this request."""
    found: Parts = request.app.state.parts
    return found


# Only documents the scheme: `bearer` also takes JupyterHub's own spelling, `token …`.
scheme = HTTPBearer(auto_error=False, description="An API token of JupyterHub.", scheme_name="JupyterHub token")
PartsDep = Annotated[Parts, Depends(parts_of)]


async def caller(request: Request, parts: PartsDep) -> Identity:
    """Who calls, whatever the scopes."""
    return await parts.identities.identify(bearer(request.headers.get("authorization")))


async def reader(identity: Annotated[Identity, Depends(caller)]) -> Identity:
    """Who calls, with the scope to read."""
    require_scope(identity, READ)
    return identity


async def writer(identity: Annotated[Identity, Depends(caller)]) -> Identity:
    """Who calls, with the scope to change."""
    require_scope(identity, WRITE)
    return identity


def client_address(request: Request) -> str:
    """Where a request came from: the router's last entry in X-Forwarded-For, which the client cannot forge."""
    hops = request.headers.get("x-forwarded-for", "").split(",")
    peer = request.client.host if request.client else ""
    return (hops[-1].strip() or peer)[:255]


Caller = Annotated[Identity, Depends(caller)]
Reader = Annotated[Identity, Depends(reader)]
Writer = Annotated[Identity, Depends(writer)]


async def actor(identity: Writer, request: Request) -> Actor:
    """Who changes something, for the audit."""
    return Actor(identity.username, client_address(request))


ActorDep = Annotated[Actor, Depends(actor)]

"""A whole API over a real store, with doubles around it that implement the real interfaces."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI

from harness.fake_hub import FakeHub
from harness.specs import spec
from harness.web import serving
from modelyard_api.errors import NotFound, UnknownVersion
from modelyard_api.problem import PROBLEM_MEDIA_TYPE
from modelyard_hub.artifacts import FolderArtifacts
from modelyard_hub.auth import Identities
from modelyard_hub.disk import is_full
from modelyard_hub.hub_env import HubEnv
from modelyard_hub.hub_tokens import HubTokens
from modelyard_hub.parts import Parts
from modelyard_hub.reconcile.run_loop import Queue
from modelyard_hub.routing.document import RouterOptions
from modelyard_hub.routing.traefik import TraefikRouter
from modelyard_hub.run_secrets import StoredSecrets
from modelyard_hub.runtimes.base import ObservedServer, Package, ReplicaLog, Server
from modelyard_hub.service import build
from modelyard_hub.settings import Settings
from modelyard_hub.signing import Signer
from modelyard_hub.store.store import Store
from modelyard_hub.vault import open_vault
from modelyard_hub.volumes.base import Disks
from modelyard_hub.volumes.local import LocalDisks
from modelyard_hub.volumes.shelf import Bounds, Shelf
from modelyard_hub.watched import Places, folder_rule

BASE = "http://yard.test"
API = "/services/modelyard/api/v1"
MAX_BODY = 64 * 1024


class FolderRegistry:
    """A registry whose packages are real folders `<root>/<model>/<version>`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def add(self, model: str, *versions: str) -> None:
        for version in versions:
            folder = self._root / model / version / "modelyard"
            folder.mkdir(parents=True)
            (folder / "package.json").write_text("{}")

    async def newest(self, model: str) -> int:
        return max((int(p.name) for p in (self._root / model).glob("*")), default=0)

    async def resolve(self, model: str, version: str) -> Package:
        path = self._root / model / version
        if not path.is_dir():
            known = sorted(p.name for p in (self._root / model).glob("*"))
            raise UnknownVersion(f"{model} has no version {version}; it has {', '.join(known)}")
        return Package(str(path), model, version)


@dataclass
class StillRuntime:
    """A runtime in which nothing moves: what was put in is what is observed."""

    servers: dict[str, ObservedServer] = field(default_factory=dict)
    lines: dict[str, tuple[ReplicaLog, ...]] = field(default_factory=dict)

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def apply(self, server: Server) -> None: ...

    async def delete(self, name: str) -> None: ...

    async def observe(self) -> Mapping[str, ObservedServer]:
        return self.servers

    async def logs(self, name: str, *, lines: int) -> tuple[ReplicaLog, ...]:
        if name not in self.lines:
            raise NotFound(f"there is no workload {name}")
        return tuple(ReplicaLog(log.replica, log.lines[-lines:]) for log in self.lines[name])

    async def changes(self) -> AsyncIterator[str]:
        return
        yield


@dataclass
class Yard:
    """The API under test, and what surrounds it."""

    app: FastAPI
    parts: Parts
    hub: FakeHub
    registry: FolderRegistry
    runtime: StillRuntime
    router: TraefikRouter

    def client(self, token: str | None = None, **headers: str) -> httpx.AsyncClient:
        """A client that presents `token`."""
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        transport = httpx.ASGITransport(self.app, client=("192.0.2.1", 1234))
        return httpx.AsyncClient(transport=transport, base_url=BASE, headers=headers)


@asynccontextmanager
async def yard(home: Path, *, store_url: str = "", disks: Disks | None = None, **settings: Any) -> AsyncIterator[Yard]:
    """An API with the users ada and bob (group team), eve (no group), root (administrator) — the tokens are the names —
    and `ada.churn` with the versions 1 to 4."""
    hub, registry, runtime = FakeHub(), FolderRegistry(home / "artifacts"), StillRuntime()
    hub.add("ada", "ada", ["team"])
    hub.add("bob", "bob", ["team"])
    hub.add("eve", "eve")
    hub.add("ada-reads", "ada", ["team"], ["custom:modelyard:read"])
    hub.add("root", "root", scopes=["custom:modelyard:admin"])
    registry.add("ada.churn", "1", "2", "3", "4")
    options = {"identity_cache": 30, "max_body": MAX_BODY, **settings}
    config = Settings(home=home, **options)
    store = Store(store_url or config.store_url)
    router = TraefikRouter(RouterOptions(), "http://127.0.0.1:9")  # nobody listens there
    disks = disks or LocalDisks(home)
    await disks.open()
    await store.open()
    async with httpx.AsyncClient(trust_env=False) as http:
        with serving_hub(hub) as hub_url:
            env = HubEnv(api_token=hub.secret, api_url=f"{hub_url}/hub/api")
            tokens = HubTokens(http, env.api_url, env.api_token)
            secrets = StoredSecrets(store.secrets, lambda: open_vault(config.vault_keys, home), tokens.stands_for)
            parts = Parts(
                settings=config,
                hub=env,
                store=store,
                runtime=runtime,
                identities=Identities(http, env.api_url, config.identity_cache, full=lambda: is_full(home)),
                registry=registry,
                signer=Signer(Ed25519PrivateKey.generate()),
                http=http,
                router=router,
                shelf=Shelf(disks, Bounds.from_settings(config)),
                artifacts=FolderArtifacts(home / "kept"),
                vault=lambda: open_vault(config.vault_keys, home),
                queue=Queue(),
                places=Places(secrets, folder_rule(config)),
                routing_token="traefik",
            )
            app = build(env.root, config.max_body, largest_snapshot=config.run_snapshot_max)
            app.state.parts = parts
            yield Yard(app, parts, hub, registry, runtime, router)
    await router.close()
    await store.close()
    await disks.close()


@contextmanager
def serving_hub(hub: FakeHub) -> Iterator[str]:
    """The fake hub as a real server."""
    with serving(hub.app()) as url:
        yield url


def body(traffic: dict[int, int] | None = None, *numbers: int, **members: Any) -> dict[str, Any]:
    """A `PUT` body; see `harness.specs.spec`."""
    return {"spec": json.loads(spec(traffic, *numbers, **members).model_dump_json(exclude_unset=True))}


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem document of an answer, after checking what all of them hold."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM_MEDIA_TYPE
    document: dict[str, Any] = answer.json()
    assert (document["status"], document["code"]) == (status, code)
    assert document["title"]
    assert document["detail"]
    return document

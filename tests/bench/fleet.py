"""Many endpoints of one hub service, and what is seen of them: by the API, by the cluster, by the router."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx

from harness.hub_service import MODEL, HubService
from harness.wait import eventually_async
from modelyard_api.errors import ModelyardError
from modelyard_api.resources import MiB
from modelyard_hub.reconcile.names import workload_name
from modelyard_hub.runtimes.kubernetes.client import Client
from modelyard_hub.runtimes.kubernetes.kinds import DEPLOYMENT
from modelyard_hub.runtimes.kubernetes.labels import SELECTOR

OWNER = "ada"
_AT_ONCE = 8
_SMALL = {"cpu": 0.1, "memory": 128 * MiB, "gpu": 1}
"""One accelerator, which only the fake nodes have: so no real node is asked for room."""


@dataclass
class Deployments:
    """What the cluster's Deployments are told, by a watch that the hub service has no part in; `seen` is when (by
    `time.perf_counter`) one was last told its number of replicas."""

    client: Client
    replicas: dict[str, int] = field(default_factory=dict)
    seen: dict[str, float] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def follow(self) -> None:
        """Until cancelled, also while the cluster is away."""
        while True:
            try:
                await self._follow()
            except ModelyardError:
                await asyncio.sleep(0.1)

    async def _follow(self) -> None:
        found, version = await self.client.list(DEPLOYMENT, SELECTOR)
        for one in found:
            self._take(one)
        while True:  # a list of a thousand takes seconds, in which no change would be seen
            async with self.client.watch(DEPLOYMENT, SELECTOR, version) as events:
                async for event in events:
                    if event["type"] == "ERROR":
                        return
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] in ("ADDED", "MODIFIED"):
                        self._take(event["object"])

    async def told(self, name: str, replicas: int, timeout: float) -> float:
        """When the Deployment `name` was told that many replicas."""
        async with asyncio.timeout(timeout):
            while self.replicas.get(name) != replicas:
                self._news.clear()
                await self._news.wait()
        return self.seen[name]

    def _take(self, found: dict[str, Any]) -> None:
        name, replicas = found["metadata"]["name"], int(found["spec"].get("replicas", 1))
        if self.replicas.get(name) != replicas:
            self.replicas[name], self.seen[name] = replicas, time.perf_counter()
            self._news.set()


class Fleet:
    """Endpoints e-0, e-1, … of ada."""

    def __init__(self, service: HubService, client: httpx.AsyncClient, deployments: Deployments) -> None:
        self.service, self.size = service, 0
        self._client, self._deployments = client, deployments

    async def grow(self, size: int, say: Callable[[str], None]) -> None:
        """To that many endpoints; returns when all are ready."""
        new = range(self.size, size)
        self.size = size
        await _at_once(self._create(number) for number in new)
        say(f"{size} endpoints are written")
        await self.ready(say)

    async def ready(self, say: Callable[[str], None], timeout: float = 1800) -> None:
        """Until all are ready. The list is asked for only once the router has all of them, for it costs."""

        async def routed() -> bool:
            async with httpx.AsyncClient(trust_env=False) as http:
                found = (await http.get(f"{self.service.traefik_api}/api/overview")).json()["http"]["routers"]["total"]
            say(f"{max(0, found // 2)} of {self.size} are routed")
            return int(found) >= 2 * self.size

        async def ready() -> bool:
            waiting = [e["name"] for e in await self.list() if not holds(e, "Ready")]
            say(f"{self.size - len(waiting)} of {self.size} are ready")
            return not waiting

        await eventually_async(routed, timeout=timeout, interval=0.5, what="all endpoints are routed")
        await eventually_async(ready, timeout=timeout, interval=2, what="all endpoints are ready")

    async def list(self) -> list[dict[str, Any]]:
        """All endpoints, as the API tells them."""
        items: list[dict[str, Any]] = (await self._client.get("/endpoints")).raise_for_status().json()["items"]
        return items

    async def scale(self, number: int, replicas: int, timeout: float = 300) -> float:
        """Seconds from a change of `scaling` to the changed Deployment."""
        start = time.perf_counter()
        await self.patch(number, {"scaling": {"min": replicas, "max": replicas}})
        told = await self._deployments.told(workload_name(OWNER, f"e-{number}", 1), replicas, timeout)
        return max(0.0, told - start)

    async def shift(self, number: int, percent: int, timeout: float = 300) -> float:
        """Seconds from a change of the traffic of two revisions to the router's new weights."""
        start = time.perf_counter()
        shares = [{"revision": 1, "percent": 100 - percent}, {"revision": 2, "percent": percent}]
        await self.patch(number, {"traffic": shares})
        wanted = {f"serve.{OWNER}.e-{number}.r{share['revision']}": share["percent"] for share in shares}
        url = f"{self.service.traefik_api}/api/http/services/serve.{OWNER}.e-{number}@http"
        async with httpx.AsyncClient(trust_env=False) as http:

            async def applied() -> bool:
                found = (await http.get(url)).json()["weighted"]["services"]
                return {s["name"].removesuffix("@http"): s.get("weight", 1) for s in found} == wanted

            await eventually_async(applied, timeout=timeout, interval=0.01, what="the router has the weights")
        return time.perf_counter() - start

    async def second_revision(self, numbers: Iterable[int]) -> None:
        """Give these endpoints a second revision, at first with a tenth of the calls; returns when it is routed."""
        revisions = [_revision(1), _revision(2)]
        shares = [{"revision": 1, "percent": 90}, {"revision": 2, "percent": 10}]
        await _at_once(self.patch(n, {"revisions": revisions, "traffic": shares}) for n in numbers)

        async def applied() -> bool:
            found = {e["name"]: e for e in await self.list()}
            chosen = [found[f"e-{n}"] for n in numbers]
            seen = all(e["status"]["observed_generation"] == e["generation"] for e in chosen)
            return seen and all(holds(e, "TrafficApplied") for e in chosen)

        await eventually_async(applied, timeout=600, interval=1, what="second revisions have their traffic")

    async def patch(self, number: int, spec: dict[str, Any]) -> None:
        """Change an endpoint, whatever it is now."""
        path = f"/endpoints/{OWNER}/e-{number}"
        etag = (await self._client.get(path)).raise_for_status().headers["etag"]
        answer = await self._client.patch(path, json={"spec": spec}, headers={"If-Match": etag})
        assert answer.is_success, answer.text

    async def delete(self) -> None:
        """All of them."""
        await _at_once(self._delete(number) for number in range(self.size))

    async def _create(self, number: int) -> None:
        spec = {"revisions": [_revision(1)], "traffic": [{"revision": 1, "percent": 100}]}
        path = f"/endpoints/{OWNER}/e-{number}"
        answer = await self._client.put(path, json={"spec": spec}, headers={"If-None-Match": "*"})
        assert answer.is_success, answer.text

    async def _delete(self, number: int) -> None:
        path = f"/endpoints/{OWNER}/e-{number}"
        etag = (await self._client.get(path)).raise_for_status().headers["etag"]
        (await self._client.delete(path, headers={"If-Match": etag})).raise_for_status()


def holds(endpoint: dict[str, Any], condition: str) -> bool:
    """Whether an endpoint's condition is true."""
    return any(c["type"] == condition and c["status"] == "True" for c in endpoint["status"]["conditions"])


def _revision(number: int) -> dict[str, Any]:
    return {"number": number, "model": MODEL, "version": str(number), "resources": _SMALL}


async def _at_once(work: Iterable[Awaitable[object]]) -> None:
    """All of it, some at a time."""
    free = asyncio.Semaphore(_AT_ONCE)

    async def one(awaitable: Awaitable[object]) -> None:
        async with free:
            await awaitable

    await asyncio.gather(*(one(awaitable) for awaitable in work))

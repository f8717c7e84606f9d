"""The controller with the real store, the local runtime, a real Traefik and real server processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.local import LocalYard
from harness.specs import spec
from harness.traefik import RealTraefik
from harness.wait import eventually_async
from modelyard_api.conditions import find
from modelyard_api.endpoints import Endpoint, EndpointSpec, KeyCreate
from modelyard_hub.reconcile.access import StoreAccess
from modelyard_hub.reconcile.endpoints import EndpointReconciler
from modelyard_hub.reconcile.loop import Controller, ControllerOptions
from modelyard_hub.reconcile.names import workload_labels, workload_name
from modelyard_hub.routing.document import EndpointRoute, RouterOptions
from modelyard_hub.routing.traefik import TraefikRouter
from modelyard_hub.runtimes.base import Package
from modelyard_hub.runtimes.local import stop_everything
from modelyard_hub.store.records import Actor
from modelyard_hub.store.store import Store

ADA = Actor("ada", "test")


class Service:
    """What the hub service holds of this, startable and stoppable."""

    def __init__(self, folder: Path) -> None:
        self.yard = LocalYard(folder)
        self.store = Store(f"sqlite:///{folder / 'store.sqlite'}")
        self.router: TraefikRouter | None = None
        self.traefik = RealTraefik(folder, lambda: self.router.document() if self.router else None)
        self.caller = httpx.AsyncClient(base_url=self.traefik.url, trust_env=False, timeout=10)
        self.packages = {n: Package(str(folder / f"package-{n}"), "ada.churn", str(n)) for n in range(1, 6)}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.store.open()
        await self.yard.runtime.open()
        await self.start_controller()

    async def start_controller(self) -> None:
        self.router = TraefikRouter(RouterOptions(), self.traefik.api_url)
        options = ControllerOptions(base_url=self.traefik.url, resync=1.0)
        access = StoreAccess(self.store, ("a public key",))
        controller = Controller(self.store, self.yard.runtime, self.router, access, options)
        self._task = asyncio.create_task(controller.run(), name="controller")

    async def pause(self) -> None:
        """Nobody looks at anything any more; the router stays."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def stop_controller(self) -> None:
        assert self._task is not None
        assert self.router is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        router, self.router = self.router, None
        await router.close()

    async def stop(self) -> None:
        await self.stop_controller()
        await self.caller.aclose()
        await self.yard.runtime.close()
        await self.store.close()
        await asyncio.to_thread(self.traefik.close)
        await asyncio.to_thread(stop_everything, self.yard.home, 0.5)

    async def create(self, written: EndpointSpec) -> None:
        await self.store.create("ada", "churn", written, self.packages, ADA)

    async def write(self, written: EndpointSpec) -> None:
        generation = (await self.store.get("ada", "churn")).endpoint.generation
        await self.store.write_spec("ada", "churn", written, generation, ADA, self.packages)

    async def until(self, holds: Callable[[Endpoint], object]) -> Endpoint:
        async def look() -> Endpoint:
            endpoint = (await self.store.get("ada", "churn")).endpoint
            assert holds(endpoint), endpoint.status
            return endpoint

        return await eventually_async(look, timeout=20.0, interval=0.02)

    async def ask(self, path: str = "/echo", **headers: str) -> dict[str, Any]:
        answer = await self.caller.get(f"/serve/ada/churn{path}", headers=headers)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return {**told, "revision": int(answer.headers["X-Modelyard-Revision"])}


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    made = Service(tmp_path)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


def settled(generation: int) -> Callable[[Endpoint], bool]:
    def holds(endpoint: Endpoint) -> bool:
        applied = find(endpoint.status.conditions, "TrafficApplied")
        return (
            endpoint.status.observed_generation == generation
            and endpoint.status.ready
            and applied is not None
            and applied.status == "True"
        )

    return holds


async def test_from_creation_over_canary_and_promotion_to_deletion(service: Service) -> None:
    await service.create(spec())
    endpoint = await service.until(settled(1))
    assert endpoint.status.url == f"{service.traefik.url}/serve/ada/churn"
    # Ready was said only now, so the very first call is answered.
    first = await service.ask()
    assert first["revision"] == 1
    assert json.loads(first["access"]) == {"owner": "ada", "groups": [], "public_keys": ["a public key"], "keys": []}

    await service.write(spec({1: 90, 2: 10}))
    await service.until(settled(2))
    answers = [(await service.ask())["revision"] for _ in range(20)]
    assert sorted(set(answers)) == [1, 2]
    assert (await service.ask(**{"X-Modelyard-Revision": "2"}))["revision"] == 2

    await service.write(spec({2: 100}, 1, 2))
    await service.until(settled(3))
    assert {(await service.ask())["revision"] for _ in range(10)} == {2}

    key = await service.store.add_key("ada", "churn", KeyCreate(name="web"), ADA)

    async def key_reached() -> bool:
        return key.id in (await service.ask())["access"]

    await eventually_async(key_reached, timeout=10)

    generation = (await service.store.get("ada", "churn")).endpoint.generation
    await service.store.mark_deleting("ada", "churn", generation, ADA)

    async def is_gone() -> bool:
        return await service.store.list() == () and await service.yard.runtime.observe() == {}

    await eventually_async(is_gone, timeout=20)
    assert (await service.caller.get("/serve/ada/churn/echo")).status_code == 404


async def test_calls_go_on_through_a_promotion(service: Service) -> None:
    await service.create(spec())
    await service.until(settled(1))
    stop = asyncio.Event()
    answers: list[int] = []

    async def call() -> None:
        while not stop.is_set():
            answer = await service.caller.post("/serve/ada/churn/echo", json={})
            answers.append(answer.status_code)

    calls = asyncio.create_task(call())
    for generation, revision in ((2, 2), (3, 3), (4, 4)):
        await service.write(spec({revision: 100}, *range(1, revision + 1)))
        await service.until(settled(generation))

    async def only_needed_run() -> bool:
        return workload_name("ada", "churn", 1) not in await service.yard.runtime.observe()

    await eventually_async(only_needed_run, timeout=20)
    stop.set()
    await calls
    assert set(answers) == {200}


async def test_a_crash_loop_is_a_condition_with_the_last_lines(service: Service) -> None:
    service.yard.switch("crash-at-start")
    await service.create(spec())

    def looping(endpoint: Endpoint) -> bool:
        condition, routed = (find(endpoint.status.conditions, kind) for kind in ("Ready", "Routed"))
        assert condition is not None
        assert routed is not None
        return condition.reason == "CrashLoop" and routed.status == "True"

    endpoint = await service.until(looping)
    assert any("on purpose" in line for line in endpoint.status.revisions[0].log_tail)
    assert (await service.caller.get("/serve/ada/churn/echo")).status_code == 503
    service.yard.switch("crash-at-start", None)
    await service.until(settled(1))


async def test_the_death_of_one_of_two_replicas_costs_only_the_calls_it_held(service: Service) -> None:
    await service.create(spec(scaling={"min": 2, "max": 2}))
    await service.until(lambda e: settled(1)(e) and e.status.revisions[0].ready_replicas == 2)
    os.kill((await service.ask())["pid"], signal.SIGKILL)
    # One caller holds one call at a time: what was sent into a dying connection is not sent again, all else is.
    answers = [(await service.caller.post("/serve/ada/churn/echo", json={})).status_code for _ in range(30)]
    assert answers.count(200) >= 29, answers
    await service.until(lambda e: e.status.revisions[0].restarts == 1 and e.status.revisions[0].ready_replicas == 2)


async def test_calls_go_on_while_the_service_is_away_and_after_it_is_back(service: Service) -> None:
    await service.create(spec())
    await service.until(settled(1))
    pid = (await service.ask())["pid"]
    await service.stop_controller()
    await service.yard.runtime.close()
    assert (await service.ask())["pid"] == pid
    await service.yard.reopen()
    await service.start_controller()
    await service.write(spec(description="written after the restart"))
    await service.until(settled(2))
    assert (await service.ask())["pid"] == pid


async def test_a_pass_finds_only_what_is_not_at_rest(service: Service) -> None:
    await service.create(spec())
    await service.until(settled(1))
    await service.pause()
    assert service.router is not None
    access = StoreAccess(service.store, ("a public key",))
    passes = EndpointReconciler(service.store, service.yard.runtime, service.router, access, service.traefik.url)

    async def rests() -> bool:
        return await passes.restless() == ()

    await eventually_async(rests, timeout=10, interval=0.1, what="nothing is to be done")
    churn = ("ada", "churn")
    await service.store.add_key(*churn, KeyCreate(name="web"), ADA)
    assert await passes.restless() == (churn,), "the server does not know the key yet"
    await passes.step(churn)
    await eventually_async(rests, timeout=10, interval=0.1, what="nothing is to be done")
    service.router.publish(("ada", "gone"), EndpointRoute("ada", "gone"))
    orphan = service.yard.server(name="orphan", labels=workload_labels("ada", "forgotten", 1))
    await service.yard.runtime.apply(orphan)
    assert await passes.restless() == (("ada", "forgotten"), ("ada", "gone"))
    await service.write(spec(description="new"))
    assert churn in await passes.restless(), "its status does not say the generation yet"


async def test_orphans_are_deleted(service: Service) -> None:
    orphan = service.yard.server(name="orphan", labels=workload_labels("ada", "forgotten", 1))
    await service.yard.runtime.apply(orphan)

    async def is_gone() -> bool:
        return await service.yard.runtime.observe() == {}

    await eventually_async(is_gone, timeout=20)

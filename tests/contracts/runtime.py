"""What every `Runtime` promises. An implementation's test module subclasses `RuntimeContract` and gives the fixture
`yard`: a runtime whose replicas run `harness/misbehaving_server.py`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import httpx
import pytest

from harness.wait import eventually_async
from modelyard_api.errors import NotFound
from modelyard_hub.runtimes.base import ObservedServer, Phase, Replica, Runtime, Server


class RuntimeYard(Protocol):
    """A runtime under test and the switches of its replicas."""

    runtime: Runtime
    patience: float
    """Seconds in which what a runtime does by itself has happened, its slowest restart included."""

    async def reopen(self) -> Runtime:
        """Close the runtime and open another one on the same state."""

    def server(self, **changes: Any) -> Server:
        """A small server; the same one each time but for `changes`."""

    def switch(self, misbehaviour: str, argument: str | None = "") -> None:
        """Switch a misbehaviour on, or off with None."""


async def until(yard: RuntimeYard, name: str, holds: Callable[[ObservedServer], object]) -> ObservedServer:
    """Wait until what is observed of a workload fulfils the condition."""

    async def look() -> ObservedServer:
        observed = (await yard.runtime.observe()).get(name)
        assert observed is not None, f"{name} is not observed"
        assert holds(observed), observed
        return observed

    return await eventually_async(look, timeout=yard.patience, interval=0.02)


def ready(count: int) -> Callable[[ObservedServer], bool]:
    """Exactly `count` replicas, all ready."""
    return lambda o: len(o.replicas) == count and all(r.phase is Phase.ready for r in o.replicas)


async def gone(yard: RuntimeYard, name: str) -> None:
    """Wait until a workload is no longer observed."""

    async def look() -> bool:
        return name not in await yard.runtime.observe()

    await eventually_async(look, timeout=yard.patience, interval=0.02, what=f"{name} is gone")


async def logged(yard: RuntimeYard, name: str, line: str) -> None:
    """Wait until a replica has written that line."""

    async def look() -> bool:
        return any(line in entry.lines for entry in await yard.runtime.logs(name, lines=100))

    await eventually_async(look, timeout=10.0, interval=0.02, what=line)


async def ask(replica: Replica, path: str = "/echo") -> dict[str, Any]:
    """What the replica says of itself."""
    assert replica.address is not None
    async with httpx.AsyncClient(trust_env=False) as client:
        answer: dict[str, Any] = (await client.get(replica.address + path, timeout=10)).json()
        return answer


async def ask_forever(replica: Replica) -> None:
    """Ask until it does not answer any more."""
    while True:
        await ask(replica)


class RuntimeContract:
    async def test_a_server_becomes_ready_and_answers_with_what_it_was_told(self, yard: RuntimeYard) -> None:
        server = yard.server(replicas=2, environment={"COLOUR": "green", "MODELYARD_SERVER_OPEN": "1"})
        await yard.runtime.apply(server)
        observed = await until(yard, server.name, ready(2))
        assert observed.digest == server.digest()
        assert observed.labels == server.labels
        assert len({r.address for r in observed.replicas}) == 2
        told = (await ask(observed.replicas[0]))["environment"]
        assert told["COLOUR"] == "green"
        assert told["MODELYARD_SERVER_ENDPOINT"] == server.endpoint
        assert told["MODELYARD_SERVER_MODEL"] == server.package.model
        assert told["MODELYARD_SERVER_VERSION"] == server.package.version
        assert told["MODELYARD_SERVER_REVISION"] == "1"
        assert told["MODELYARD_SERVER_THREADS"] == told["OMP_NUM_THREADS"] == "1"
        assert "MODELYARD_SERVER_OPEN" not in told, "the owner does not choose who may call this way"
        assert "MODELYARD_SECRET" not in told

    async def test_applying_the_same_again_changes_nothing(self, yard: RuntimeYard) -> None:
        await yard.runtime.apply(yard.server())
        before = await until(yard, yard.server().name, ready(1))
        pid = (await ask(before.replicas[0]))["process"]
        await yard.runtime.apply(yard.server())
        after = await until(yard, yard.server().name, ready(1))
        assert after == before
        assert (await ask(after.replicas[0]))["process"] == pid

    async def test_scaling_keeps_the_replicas_that_stay(self, yard: RuntimeYard) -> None:
        server = yard.server()
        await yard.runtime.apply(server)
        first = (await until(yard, server.name, ready(1))).replicas[0]
        await yard.runtime.apply(replace(server, replicas=3))
        three = await until(yard, server.name, ready(3))
        assert first in three.replicas
        await yard.runtime.apply(replace(server, replicas=1))
        one = await until(yard, server.name, ready(1))
        assert one.replicas == (first,)

    async def test_a_changed_access_file_reaches_the_server_without_a_restart(self, yard: RuntimeYard) -> None:
        server = yard.server(files={"access.json": '{"owner": "ada"}'})
        await yard.runtime.apply(server)
        replica = (await until(yard, server.name, ready(1))).replicas[0]
        before = await ask(replica)
        changed = replace(server, files={"access.json": '{"owner": "grace"}'})
        await yard.runtime.apply(changed)
        assert json.loads(before["access"]) == {"owner": "ada"}

        async def look() -> dict[str, Any]:
            told = await ask((await until(yard, server.name, ready(1))).replicas[0])
            assert json.loads(told["access"]) == {"owner": "grace"}
            return told

        after = await eventually_async(look, timeout=5.0)
        assert after["process"] == before["process"]

    async def test_a_new_template_replaces_the_old_one_only_when_ready(self, yard: RuntimeYard) -> None:
        server = yard.server()
        await yard.runtime.apply(server)
        old = (await until(yard, server.name, ready(1))).replicas[0]
        await yard.runtime.apply(replace(server, environment={"MISBEHAVE": "never-ready"}))
        both = await until(yard, server.name, lambda o: len(o.replicas) == 2 and o.replicas[1].address)
        assert both.replicas[0] == old
        await yard.runtime.apply(replace(server, environment={"COLOUR": "blue"}))
        done = await until(yard, server.name, lambda o: ready(1)(o) and o.replicas[0].index != old.index)
        assert (await ask(done.replicas[0]))["environment"]["COLOUR"] == "blue"

    async def test_a_crashed_replica_is_back_by_itself(self, yard: RuntimeYard) -> None:
        server = yard.server()
        await yard.runtime.apply(server)
        replica = (await until(yard, server.name, ready(1))).replicas[0]
        yard.switch("crash-after", "1")
        first = await ask(replica)
        back = (await until(yard, server.name, lambda o: ready(1)(o) and o.replicas[0].restarts == 1)).replicas[0]
        yard.switch("crash-after", None)
        assert (await ask(back))["process"] != first["process"]

    async def test_a_crash_loop_is_named_with_its_last_lines_and_still_tried(self, yard: RuntimeYard) -> None:
        yard.switch("crash-at-start")
        server = yard.server()
        await yard.runtime.apply(server)
        looping = (
            await until(yard, server.name, lambda o: o.replicas and o.replicas[0].phase is Phase.crash_loop)
        ).replicas[0]
        assert looping.reason == "Exited"
        assert "3" in looping.message
        assert "cannot load the package: on purpose" in looping.log_tail
        assert looping.restarts >= 3
        yard.switch("crash-at-start", None)
        cured = (await until(yard, server.name, ready(1))).replicas[0]
        assert cured.log_tail == ()

    async def test_a_replica_over_its_memory_is_restarted_and_says_why(self, yard: RuntimeYard) -> None:
        yard.switch("eat-memory")
        server = yard.server()
        await yard.runtime.apply(server)
        replica = (await until(yard, server.name, ready(1))).replicas[0]
        with pytest.raises(httpx.HTTPError):
            await ask_forever(replica)
        observed = await until(
            yard, server.name, lambda o: o.replicas[0].restarts > 0 and o.replicas[0].reason == "OutOfMemory"
        )
        assert "limit" in observed.replicas[0].message or "memory" in observed.replicas[0].message

    async def test_a_replica_that_stops_answering_is_restarted(self, yard: RuntimeYard) -> None:
        server = yard.server()
        await yard.runtime.apply(server)
        await until(yard, server.name, ready(1))
        yard.switch("hang")
        await until(yard, server.name, lambda o: o.replicas[0].reason == "Unresponsive")
        yard.switch("hang", None)
        await until(yard, server.name, ready(1))

    async def test_deleting_lets_requests_finish_first(self, yard: RuntimeYard) -> None:
        server = yard.server()
        await yard.runtime.apply(server)
        replica = (await until(yard, server.name, ready(1))).replicas[0]
        slow = asyncio.create_task(ask(replica, "/slow"))
        await logged(yard, server.name, "slow begins")
        await yard.runtime.delete(server.name)
        assert (await slow)["path"] == "/slow"
        await gone(yard, server.name)
        with pytest.raises(httpx.TransportError):
            await ask(replica)

    async def test_a_replica_that_will_not_end_is_ended(self, yard: RuntimeYard) -> None:
        yard.switch("ignore-term")
        server = yard.server()
        await yard.runtime.apply(server)
        await until(yard, server.name, ready(1))
        await yard.runtime.delete(server.name)
        stopping = (await yard.runtime.observe()).get(server.name)
        assert stopping is not None
        assert {r.phase for r in stopping.replicas} == {Phase.stopping}
        await gone(yard, server.name)

    async def test_deleting_what_is_not_there_is_fine(self, yard: RuntimeYard) -> None:
        await yard.runtime.delete("nobody")

    async def test_running_replicas_are_taken_up_by_the_next_runtime(self, yard: RuntimeYard) -> None:
        server = yard.server(replicas=2, files={"access.json": "{}"})
        await yard.runtime.apply(server)
        before = await until(yard, server.name, ready(2))
        pids = {(await ask(r))["process"] for r in before.replicas}
        await yard.reopen()
        at_once = (await yard.runtime.observe())[server.name]
        assert ready(2)(at_once), "taking replicas up must not interrupt their traffic"
        assert at_once.digest == server.digest()
        assert {(await ask(r))["process"] for r in at_once.replicas} == pids
        await yard.runtime.delete(server.name)
        await gone(yard, server.name)

    async def test_logs_are_the_last_lines_of_each_replica(self, yard: RuntimeYard) -> None:
        server = yard.server(replicas=2)
        await yard.runtime.apply(server)
        await until(yard, server.name, ready(2))
        found = await yard.runtime.logs(server.name, lines=50)
        assert [entry.replica for entry in found] == [0, 1]
        assert all(any(line.startswith("starting") for line in entry.lines) for entry in found)
        assert [len(entry.lines) for entry in await yard.runtime.logs(server.name, lines=1)] == [1, 1]
        with pytest.raises(NotFound):
            await yard.runtime.logs("nobody", lines=1)

    async def test_changes_name_the_workload(self, yard: RuntimeYard) -> None:
        changes = yard.runtime.changes()
        await yard.runtime.apply(yard.server())
        assert await asyncio.wait_for(anext(changes), 10) == yard.server().name
        await until(yard, yard.server().name, ready(1))
        assert await asyncio.wait_for(anext(changes), 10) == yard.server().name

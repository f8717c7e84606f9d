"""Server-sent events over a real connection."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
import pytest
import uvicorn

from harness.api import API, Yard, body, problem
from modelyard_hub.api import events
from modelyard_hub.store import feed

CHURN = f"{API}/endpoints/ada/churn"


@contextmanager
def _no_signals() -> Iterator[None]:
    """Leaves pytest's signal handlers alone."""
    yield


@pytest.fixture
async def url(yard: Yard) -> AsyncIterator[str]:
    """The API as a real server in this loop: an in-process transport would hold a stream's answer back to its end."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(yard.app, log_level="warning", ws="none", lifespan="off", timeout_graceful_shutdown=0)
    server = uvicorn.Server(config)
    server.capture_signals = _no_signals  # type: ignore[method-assign,assignment]
    task = asyncio.create_task(server.serve([listener]))
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    await asyncio.wait_for(task, 10)
    listener.close()


async def _read(lines: AsyncIterator[str], count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(10):
        async for line in lines:
            if line.startswith("data: "):
                found.append(json.loads(line[6:]))
            if len(found) == count:
                break
    return found


@asynccontextmanager
async def _stream(url: str, token: str, **headers: str) -> AsyncIterator[httpx.Response]:
    headers["Authorization"] = f"Bearer {token}"
    async with (
        httpx.AsyncClient(trust_env=False, headers=headers, timeout=10) as client,
        client.stream("GET", f"{url}{API}/events") as answer,
    ):
        yield answer


async def _create(yard: Yard, owner: str, name: str, **members: Any) -> None:
    async with yard.client(owner) as client:
        path = f"{API}/endpoints/{owner}/{name}"
        answer = await client.put(path, json=body(**members), headers={"If-None-Match": "*"})
        assert answer.status_code == 201


async def test_only_what_the_caller_may_see(yard: Yard, url: str) -> None:
    async with _stream(url, "bob") as bob, _stream(url, "root") as root:
        assert bob.headers["content-type"].startswith("text/event-stream")
        await _create(yard, "eve", "secret")
        await _create(yard, "ada", "churn")
        (seen,) = await _read(bob.aiter_lines(), 1)
        assert (seen["owner"], seen["name"], seen["kind"]) == ("ada", "churn", "changed")
        assert "audience" not in seen
        assert [e["name"] for e in await _read(root.aiter_lines(), 2)] == ["secret", "churn"]


async def test_resume(yard: Yard, url: str) -> None:
    await _create(yard, "ada", "one")
    await _create(yard, "ada", "two")
    async with _stream(url, "ada", **{"Last-Event-ID": "0"}) as ada:
        first, second = await _read(ada.aiter_lines(), 2)
    assert first["id"] < second["id"]
    async with _stream(url, "ada", **{"Last-Event-ID": str(first["id"])}) as ada:
        lines = ada.aiter_lines()
        assert await _read(lines, 1) == [second]
    async with yard.client("ada", **{"Last-Event-ID": "x"}) as ada:
        problem(await ada.get(f"{API}/events"), 400, "MalformedRequest")


async def test_heartbeats_and_the_end_of_a_revoked_token(yard: Yard, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT", 0.05)
    monkeypatch.setattr(yard.parts.identities, "_cache", 0.0)
    async with asyncio.timeout(10), _stream(url, "ada") as ada:
        async for line in ada.aiter_lines():
            if line == ": still here":
                yard.hub.users.pop("ada", None)


async def test_a_reader_that_falls_behind_is_cut_off(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "QUEUE_SIZE", 2)
    slow = yard.parts.store.events()
    for name in ("one", "two", "three"):
        await _create(yard, "ada", name)
    async with asyncio.timeout(10):
        assert [event.name async for event in slow] in ([], ["one"], ["one", "two"])
    await _create(yard, "ada", "four")
    resumed = yard.parts.store.events(after_id=0)
    assert [(await anext(resumed)).name for _ in range(4)] == ["one", "two", "three", "four"]

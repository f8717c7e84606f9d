"""More than a slow model can take: refused at once, the queue bounded, all else answered, and over when it is over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from harness.model_server import serving
from harness.packages import write_slow


@pytest.fixture
def server(tmp_path: Path) -> Iterator[httpx.Client]:
    write_slow(tmp_path / "package")
    with serving(tmp_path / "package", open=True, max_batch=1, max_queue=4, max_connections=40) as (client, _):
        yield client


ROW = {"instances": [[0.05]]}


async def test_refuses_what_it_cannot_take_at_once(server: httpx.Client) -> None:
    async with httpx.AsyncClient(base_url=server.base_url, timeout=30) as client:

        async def ask() -> tuple[int, float, str]:
            start = time.perf_counter()
            answer = await client.post("/invocations", json=ROW)
            return answer.status_code, time.perf_counter() - start, answer.headers.get("retry-after", "")

        await ask()
        answers = await asyncio.gather(*(ask() for _ in range(30)))
        good = [took for status, took, _ in answers if status == 200]
        refused = [(took, again) for status, took, again in answers if status == 503]
        assert len(good) + len(refused) == 30
        assert 4 <= len(good) <= 10
        assert {again for _, again in refused} == {"1"}
        # Five at most are before it, at 0.05 s each; a refused one waits for none of them.
        assert max(took for took, _ in refused) < max(good)
        assert (await ask())[0] == 200
        metrics = (await client.get("/metrics")).text
        assert "modelyard_queued 0.0" in metrics
        assert "modelyard_in_flight 0.0" in metrics


async def test_answers_health_while_the_model_is_busy(server: httpx.Client) -> None:
    async with httpx.AsyncClient(base_url=server.base_url, timeout=30) as client:
        long = asyncio.create_task(client.post("/invocations", json={"instances": [[1.0]]}))
        answered = 0
        while not long.done():
            assert (await client.get("/v2/health/ready")).status_code == 200
            answered += 1
        assert long.result().status_code == 200
        assert answered > 3


async def test_bounds_connections(server: httpx.Client) -> None:
    host, port = server.base_url.host, server.base_url.port
    held = [await asyncio.open_connection(host, port) for _ in range(60)]
    try:
        firsts = await asyncio.gather(
            *(asyncio.wait_for(reader.read(12), 1) for reader, _ in held), return_exceptions=True
        )
        # The fixture's client has one of the forty.
        assert firsts.count(b"HTTP/1.1 503") == 21
    finally:
        for _, writer in held:
            writer.close()


def test_a_failure_has_an_id_that_is_in_the_log(tmp_path: Path) -> None:
    write_slow(tmp_path / "package")
    with serving(tmp_path / "package", open=True) as (client, process):
        answer = client.post("/invocations", json={"instances": [[-1.0]]})
        assert answer.status_code == 500
        problem = answer.json()
        assert "Traceback" not in answer.text
        assert str(tmp_path) not in answer.text
        process.terminate()
        log = process.communicate(timeout=30)[1].decode()
        assert problem["id"] in log
        assert "ValueError" in log.split(problem["id"])[1]

"""More than a slow model can take: refused at once, the queue bounded, all else answered, and over when it is over."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from harness.model_server import serving
from harness.packages import write_slow
from harness.wait import eventually


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    directory = tmp_path_factory.mktemp("package") / "slow"
    write_slow(directory)
    with serving(directory, open=True, max_batch=1, max_queue=4, max_connections=40) as (client, _):
        yield client


ROW = {"instances": [[0.2]]}


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
        assert len(good) >= 4
        assert len(refused) >= 10
        assert all(1 <= int(again) <= 10 for _, again in refused), "four of a fifth of a second wait"
        # Five at most are before it, at 0.2 s each, not 29; a refused one waits for none of them.
        assert max(good) < 4
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
        # Clients of this test and of the one before may have some of the forty.
        assert 20 <= firsts.count(b"HTTP/1.1 503") <= 25
    finally:
        for _, writer in held:
            writer.close()


def raw(client: httpx.Client, sent: bytes) -> socket.socket:
    """A connection that has sent that."""
    found = socket.create_connection((str(client.base_url.host), client.base_url.port or 0), timeout=20)
    found.sendall(sent)
    return found


def ask(seconds: float) -> bytes:
    body = b'{"instances": [[%g]]}' % seconds
    return b"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def test_forgets_callers_who_went_away(server: httpx.Client) -> None:
    def said(line: str) -> bool:
        return line in server.get("/metrics").text

    gone = [raw(server, ask(0.3)) for _ in range(3)]
    eventually(lambda: said("modelyard_in_flight 3.0"), what="all are under way")
    for connection in gone:
        connection.close()
    eventually(lambda: said("modelyard_in_flight 0.0"), what="none is")
    assert server.post("/invocations", json=ROW).status_code == 200


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def half(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("leave", [socket.socket.close, half, reset])
def test_predicts_nothing_for_callers_who_left(server: httpx.Client, leave: Callable[[socket.socket], None]) -> None:
    def said(name: str) -> float:
        found = re.search(rf"^{name} (\S+)$", server.get("/metrics").text, re.MULTILINE)
        assert found
        return float(found.group(1))

    eventually(lambda: said("modelyard_in_flight") == 0, what="the model is free")
    ran, left = said("modelyard_predict_seconds_count"), said("modelyard_left_total")
    with raw(server, ask(1.0)) as first:
        eventually(lambda: said("modelyard_in_flight") == 1 and said("modelyard_queued") == 0, what="the model is busy")
        gone = [raw(server, ask(5.0)) for _ in range(4)]
        eventually(lambda: said("modelyard_queued") == 4, what="the queue is full")
        for connection in gone:
            leave(connection)
        # They have left the queue while the model is still busy, so that others may have their places.
        eventually(lambda: said("modelyard_queued") == 0, timeout=0.8, what="nobody waits")
        assert said("modelyard_in_flight") == 1
        assert said("modelyard_left_total") == left + 4
        for connection in gone:
            if connection.fileno() != -1:
                assert connection.recv(100) == b""
                connection.close()
        assert first.recv(100).startswith(b"HTTP/1.1 200 ")
    assert server.post("/invocations", json=ROW).status_code == 200
    assert said("modelyard_predict_seconds_count") == ran + 2


def test_a_full_queue_waits_for_no_long_body(server: httpx.Client) -> None:
    def said(line: str) -> bool:
        return line in server.get("/metrics").text

    head = b"POST /invocations HTTP/1.1\r\nhost: x\r\n%b\r\n"
    waiting = [raw(server, ask(0.5)) for _ in range(5)]
    try:
        eventually(lambda: said("modelyard_queued 4.0"), what="the queue is full")
        long = [head % b"content-length: 20000\r\n", head % b"transfer-encoding: chunked\r\n"]
        for sent, kept in [*((one, False) for one in long), (ask(0.1), True)]:
            with raw(server, sent) as connection:
                answer = connection.recv(2000)
                assert answer.startswith(b"HTTP/1.1 503 ")
                assert re.search(rb"retry-after: [1-9]\d?\r\n", answer)
                assert (b"connection: close\r\n" not in answer) == kept
        assert said("modelyard_queued 4.0")
    finally:
        for connection in waiting:
            connection.close()
    eventually(lambda: said("modelyard_in_flight 0.0"), what="nothing is under way")


def test_who_asks_again_before_he_has_his_answer_has_both(server: httpx.Client) -> None:
    with raw(server, ask(0.3)) as connection:
        eventually(lambda: "modelyard_in_flight 1.0" in server.get("/metrics").text, what="it is under way")
        connection.sendall(ask(0.0) + ask(0.1))
        got = b""
        while got.count(b"HTTP/1.1 200 ") < 3 or not got.endswith(b"}"):
            part = connection.recv(4096)
            assert part
            got += part
        assert [b"0.3" in got, got.index(b"0.3") < got.index(b"0.1")] == [True, True]
    eventually(lambda: "modelyard_in_flight 0.0" in server.get("/metrics").text, what="nothing is under way")


def test_nobody_overtakes_an_earlier_request(server: httpx.Client) -> None:
    for after in (ask(0.0) * 100, b"no HTTP\r\n\r\n"):
        with raw(server, ask(0.3) + after) as connection, suppress(ConnectionResetError):
            assert connection.recv(100) == b""
    eventually(lambda: "modelyard_in_flight 0.0" in server.get("/metrics").text, what="nothing is under way")


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

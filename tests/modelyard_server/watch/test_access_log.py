"""The access log of a real server: a line for each request, ids, nothing secret, and no delay by a log nobody reads."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton

from harness.model_server import Process, serving, with_grpc
from harness.packages import write_onnx, write_slow
from harness.wait import eventually
from modelyard_api.access import Access, KeyHash
from modelyard_server.watch.access_log import AccessLog
from modelyard_server.watch.ids import request_id
from modelyard_server.watch.record import Record

KEY = "my_abc_secret"
BEARER = {"authorization": f"Bearer {KEY}"}


class Logged:
    """A server whose standard output is a file."""

    def __init__(self, http: httpx.Client, output: Path, process: Process) -> None:
        self.http, self._output, self.grpc_port = http, output, process.grpc_port

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._output.read_bytes().splitlines()]

    def line(self, name: str) -> dict[str, Any]:
        """The line of the request with that id."""

        def found() -> dict[str, Any] | None:
            return next((line for line in self.lines() if line.get("id") == name), None)

        line = eventually(found, what=f"a line of {name}")
        assert line is not None
        return line


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logged]:
    with logging_server(tmp_path_factory.mktemp("logged"), write_slow) as found:
        yield found


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logged]:
    """A server with tight limits."""
    folder = tmp_path_factory.mktemp("strict")
    with logging_server(folder, write_onnx, max_body=1024, patience=0.5, max_connections=8) as found:
        yield found


@contextlib.contextmanager
def logging_server(folder: Path, write: Callable[[Path], object], **limits: object) -> Iterator[Logged]:
    write(folder / "package")
    key = KeyHash(id="abc", name="billing", sha256=hashlib.sha256(KEY.encode()).hexdigest())
    (folder / "access.json").write_text(Access(owner="ada", keys=(key,)).model_dump_json())
    settings = {"access": folder / "access.json", "access_log": True} | limits
    output = folder / "log"
    with serving(folder / "package", with_grpc, output=output, **settings) as (http, process):
        yield Logged(http, output, process)
        process.terminate()
        assert process.wait(30) == 0


def ask(logged: Logged, seconds: float = 0.01, **headers: str) -> httpx.Response:
    return logged.http.post("/invocations?secret=1", json={"instances": [[seconds]] * 2}, headers=BEARER | headers)


def test_a_line_tells_all_of_a_request(logged: Logged) -> None:
    answer = ask(logged, **{"x-request-id": "order-17/a"})
    assert answer.headers["x-request-id"] == "order-17/a"
    line = logged.line("order-17/a")
    assert set(line) == {
        "time", "id", "method", "path", "status", "bytes", "ms", "queue_ms", "predict_ms", "version", "rows", "address",
        "caller",
    }  # fmt: skip
    assert (line["version"], line["address"]) == ("1", "127.0.0.1")
    assert (line["method"], line["path"], line["status"]) == ("POST", "/invocations", 200)
    assert (line["bytes"], line["rows"], line["caller"]) == (len(answer.content), 2, "key billing")
    assert 20 <= line["predict_ms"] <= line["ms"]
    assert line["time"].endswith("Z")


@pytest.mark.parametrize("asked", ["", "x" * 129, 'a"b', "a b", "ä", "<script>"])
def test_ids_that_could_not_stand_in_a_log_are_replaced(logged: Logged, asked: str) -> None:
    name = logged.http.get("/v2", headers=[*BEARER.items(), ("x-request-id", asked.encode())]).headers["x-request-id"]
    assert len(name) == 32
    assert logged.line(name)["path"] == "/v2"


def test_refusals_and_failures_have_lines(logged: Logged) -> None:
    refused = logged.http.post("/invocations", json={"instances": [[1.0]]})
    line = logged.line(refused.headers["x-request-id"])
    assert (line["status"], "caller" in line, "rows" in line) == (401, False, False)
    assert line["reason"] == "Unauthenticated"
    failed = ask(logged, -1.0)
    name = failed.headers["x-request-id"]
    assert (failed.status_code, failed.json()["id"]) == (500, name)
    assert (logged.line(name)["status"], logged.line(name)["reason"]) == (500, "ModelFailed")
    malformed = logged.http.post("/invocations", content=b"x", headers=BEARER)
    assert logged.line(malformed.headers["x-request-id"])["status"] == 400
    unfit = logged.http.post("/invocations", json={"instances": [["word 4711"]]}, headers=BEARER)
    line = logged.line(unfit.headers["x-request-id"])
    assert (line["status"], line["reason"]) == (422, "InvalidInput: type")
    assert "4711" in unfit.text
    assert "4711" not in json.dumps(line), "no value of a row is in the log"


def test_nothing_secret_and_no_probe_is_in_it(logged: Logged) -> None:
    logged.http.get("/v2/health/live")
    logged.http.get("/metrics")
    logged.line(ask(logged).headers["x-request-id"])
    text = json.dumps([line for line in logged.lines() if line["status"] == 200])  # it was not ready at first
    assert "secret" not in text
    assert "health" not in text
    assert "/metrics" not in text


def test_who_leaves_before_the_answer_has_a_line(logged: Logged) -> None:
    body = b'{"instances": [[1.0]]}'
    head = f"POST /invocations HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\nx-request-id: left\r\n"
    with socket.create_connection((logged.http.base_url.host, logged.http.base_url.port)) as caller:
        caller.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        at_work = lambda: "modelyard_in_flight 1.0" in logged.http.get("/metrics").text  # noqa: E731
        eventually(at_work, what="it is at work")
    assert logged.line("left")["status"] == 499


def test_who_leaves_over_grpc_has_a_line(logged: Logged) -> None:
    sent = triton.InferInput("input", [1, 1], "FP64")
    sent.set_data_from_numpy(np.array([[1.0]]))
    with (
        triton.InferenceServerClient(f"127.0.0.1:{logged.grpc_port}") as client,
        pytest.raises(Exception, match="DEADLINE_EXCEEDED"),
    ):
        client.infer("penguins", [sent], headers=BEARER | {"x-request-id": "gone"}, client_timeout=0.5)
    assert logged.line("gone")["status"] == 499


def test_a_call_of_grpc_has_a_line(logged: Logged) -> None:
    sent = triton.InferInput("input", [1, 1], "FP64")
    sent.set_data_from_numpy(np.array([[0.01]]))
    with triton.InferenceServerClient(f"127.0.0.1:{logged.grpc_port}") as client:
        client.infer("penguins", [sent], headers=BEARER | {"x-request-id": "rpc-1"})
        line = logged.line("rpc-1")
        assert (line["method"], line["status"], line["rows"], line["caller"]) == ("gRPC", 200, 1, "key billing")
        assert line["address"] == "127.0.0.1"
        with pytest.raises(Exception, match="UNAUTHENTICATED") as refused:
            client.infer("penguins", [sent], headers={"x-request-id": "rpc-2"})
        assert grpc.StatusCode.UNAUTHENTICATED.name in str(refused.value)
    assert (logged.line("rpc-2")["status"], logged.line("rpc-2")["reason"]) == (401, "Unauthenticated")


HEAD = f"POST /invocations?x=1 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\nx-request-id: mine\r\n".encode()
CHUNKED = HEAD + b"x-forwarded-for: 203.0.113.9, 10.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n"
POSTED = {"method": "POST", "path": "/invocations"}
CALLED = POSTED | {"id": "mine", "caller": "key billing", "version": "1"}


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        pytest.param(
            CHUNKED + b"800\r\n" + b"x" * 2048 + b"\r\n",
            CALLED | {"status": 413, "address": "203.0.113.9", "reason": "the body is larger than 1024 bytes"},
            id="too large, as it comes",
        ),
        pytest.param(
            HEAD + b"content-length: 2048\r\n\r\n",
            CALLED | {"status": 413, "address": "127.0.0.1", "reason": "TooLarge"},
            id="too large, as announced",
        ),
        pytest.param(
            HEAD + b"content-length: 1000\r\n\r\nx",
            CALLED | {"status": 408, "address": "127.0.0.1", "reason": "the request came too slowly"},
            id="too slow a body",
        ),
        pytest.param(
            HEAD + b"x: 1\r\n", POSTED | {"status": 408, "id": "mine", "address": "127.0.0.1"}, id="too slow a head"
        ),
        pytest.param(
            CHUNKED + b"no chunk\r\n",
            CALLED | {"status": 400, "address": "203.0.113.9"},
            id="no chunk",
        ),
        pytest.param(
            b"<nonsense>\r\n\r\n", {"method": "", "path": "", "status": 400, "address": "127.0.0.1"}, id="no HTTP"
        ),
        pytest.param(
            HEAD + b"x: " + b"x" * 40_000,
            POSTED | {"status": 431, "address": "127.0.0.1", "reason": "the head is larger than 32768 bytes"},
            id="too large a head",
        ),
        pytest.param(
            HEAD.replace(b"POST", b"GET") + b"content-length: 4\r\n\r\nbody",
            {"method": "GET", "id": "mine", "status": 400, "reason": "GET takes no body here"},
            id="a body where there is none",
        ),
    ],
)
def test_what_the_connection_refuses_has_a_line_too(strict: Logged, sent: bytes, expected: dict[str, Any]) -> None:
    mine = uuid.uuid4().hex
    line = strict.line(refused(strict, sent.replace(b"mine", mine.encode())))
    wanted = expected | ({"id": mine} if "id" in expected else {})
    assert line | wanted == line
    assert line["reason"]
    assert KEY not in json.dumps(line)


def test_one_connection_too_many_has_a_line(strict: Logged) -> None:
    where = strict.http.base_url.host, strict.http.base_url.port
    with contextlib.ExitStack() as opened:
        for _ in range(8):
            opened.enter_context(socket.create_connection(where))
        line = strict.line(refused(strict, b""))
    assert (line["status"], line["address"]) == (503, "127.0.0.1")
    assert line["reason"] == "8 connections are open already"


def refused(strict: Logged, sent: bytes) -> str:
    """Send it on a connection of its own; the request's id that the answer has."""
    with socket.create_connection((strict.http.base_url.host, strict.http.base_url.port), timeout=30) as caller:
        caller.sendall(sent)
        answer = b"".join(iter(lambda: caller.recv(65536), b""))
    head = answer.partition(b"\r\n\r\n")[0].decode()
    names = [line.partition(": ")[2] for line in head.splitlines() if line.startswith("x-request-id: ")]
    assert len(names) == 1, head
    return names[0]


def test_off_there_is_no_line_and_a_failure_has_the_callers_id(tmp_path: Path) -> None:
    write_slow(tmp_path / "slow")
    with serving(tmp_path / "slow", open=True) as (http, process):
        assert "x-request-id" not in http.get("/v2").headers
        failed = http.post("/invocations", json={"instances": [[-1.0]]}, headers={"x-request-id": "order-9"})
        assert (failed.headers["x-request-id"], failed.json()["id"]) == ("order-9", "order-9")
        process.terminate()
        assert process.stderr is not None
        assert b"order-9: 'POST' /invocations failed" in process.stderr.read()


def test_a_log_that_nobody_reads_delays_nothing_and_says_what_was_lost() -> None:
    reading, writing = os.pipe()

    async def tell() -> float:
        log = AccessLog(writing)
        record = Record("x", time.time_ns(), time.perf_counter(), "POST", "/invocations")
        start = time.perf_counter()
        for _ in range(30):
            for _ in range(1000):
                log.tell(record, 200, 10, time.perf_counter())
            await asyncio.sleep(0.01)
        took = time.perf_counter() - start
        await log.close()
        return took

    assert asyncio.run(asyncio.wait_for(tell(), 10)) < 5
    os.set_blocking(reading, False)
    assert os.read(reading, 1).startswith(b"{")  # unblocks its thread
    os.close(reading)
    os.close(writing)


def test_ids_differ() -> None:
    assert len({request_id(None) for _ in range(1000)}) == 1000
    assert request_id(b"ok") == "ok"


def test_onnx_is_logged_too(tmp_path: Path) -> None:
    """A quick model runs where its request is read."""
    write_onnx(tmp_path / "onnx")
    with serving(tmp_path / "onnx", output=tmp_path / "log", open=True, access_log=True) as (http, process):
        http.post("/invocations", json={"instances": [[1, 2, 3]] * 5}).raise_for_status()
        process.terminate()
        assert process.wait(30) == 0
    (line,) = [json.loads(line) for line in (tmp_path / "log").read_bytes().splitlines()]
    assert (line["rows"], line["queue_ms"]) == (5, 0)
    assert 0 < line["predict_ms"] <= line["ms"]

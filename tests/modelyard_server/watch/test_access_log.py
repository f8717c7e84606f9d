"""The access log of a real server: a line for each request, ids, nothing secret, and no delay by a log nobody reads."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton

from harness.model_server import command, command_environment, free_port, serving
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

    def __init__(self, http: httpx.Client, output: Path, grpc_port: int, process: subprocess.Popen[bytes]) -> None:
        self.http, self._output, self.grpc_port, self.process = http, output, grpc_port, process

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
    folder = tmp_path_factory.mktemp("logged")
    write_slow(folder / "slow")
    key = KeyHash(id="abc", name="billing", sha256=hashlib.sha256(KEY.encode()).hexdigest())
    (folder / "access.json").write_text(Access(owner="ada", keys=(key,)).model_dump_json())
    ports = free_port(), free_port()
    settings = {"access": folder / "access.json", "access_log": True, "grpc_port": ports[1]}
    environment = command_environment(folder / "slow", ports[0], **settings)
    with (folder / "log").open("wb") as output, (folder / "errors").open("wb") as errors:
        process = subprocess.Popen(command(), env=environment, stdout=output, stderr=errors)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{ports[0]}", timeout=30) as http:
            eventually(
                lambda: http.get("/v2/health/ready").status_code == 200, what="the model server is ready", timeout=90
            )
            yield Logged(http, folder / "log", ports[1], process)
    finally:
        process.terminate()
        assert process.wait(30) == 0


def ask(logged: Logged, seconds: float = 0.01, **headers: str) -> httpx.Response:
    return logged.http.post("/invocations?secret=1", json={"instances": [[seconds]] * 2}, headers=BEARER | headers)


def test_a_line_tells_all_of_a_request(logged: Logged) -> None:
    answer = ask(logged, **{"x-request-id": "order-17/a"})
    assert answer.headers["x-request-id"] == "order-17/a"
    line = logged.line("order-17/a")
    assert set(line) == {
        "time", "id", "method", "path", "status", "bytes", "ms", "queue_ms", "predict_ms", "rows", "caller",
    }  # fmt: skip
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
    failed = ask(logged, -1.0)
    name = failed.headers["x-request-id"]
    assert (failed.status_code, failed.json()["id"]) == (500, name)
    assert logged.line(name)["status"] == 500
    malformed = logged.http.post("/invocations", content=b"x", headers=BEARER)
    assert logged.line(malformed.headers["x-request-id"])["status"] == 400


def test_nothing_secret_and_no_probe_is_in_it(logged: Logged) -> None:
    logged.http.get("/v2/health/live")
    logged.http.get("/metrics")
    logged.line(ask(logged).headers["x-request-id"])
    text = json.dumps(logged.lines())
    assert "secret" not in text
    assert "health" not in text
    assert "/metrics" not in text


def test_who_leaves_before_the_answer_has_a_line(logged: Logged) -> None:
    """Over gRPC; over HTTP nobody looks while the model runs."""
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
        with pytest.raises(Exception, match="UNAUTHENTICATED") as refused:
            client.infer("penguins", [sent], headers={"x-request-id": "rpc-2"})
        assert grpc.StatusCode.UNAUTHENTICATED.name in str(refused.value)
    assert logged.line("rpc-2")["status"] == 401


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
    port = free_port()
    environment = command_environment(tmp_path / "onnx", port, open=True, access_log=True)
    with (tmp_path / "log").open("wb") as output:
        process = subprocess.Popen(command(), env=environment, stdout=output)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
        eventually(lambda: http.get("/v2/health/ready").status_code == 200, what="ready", timeout=90)
        http.post("/invocations", json={"instances": [[1, 2, 3]] * 5}).raise_for_status()
    process.terminate()
    assert process.wait(30) == 0
    (line,) = [json.loads(line) for line in (tmp_path / "log").read_bytes().splitlines()]
    assert (line["rows"], line["queue_ms"]) == (5, 0)
    assert 0 < line["predict_ms"] <= line["ms"]

"""SIGTERM while a large answer is on its way: a process of its own, a caller who reads slowly or not at all."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest

from harness.model_server import serving
from harness.packages import write_slow
from harness.wait import eventually

ROWS = 600_000
PART = 256 * 1024


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("package") / "slow"
    write_slow(directory)
    return directory


@contextmanager
def answering(client: httpx.Client) -> Iterator[tuple[socket.socket, bytes]]:
    """A caller with a small window whose answer of more than ten megabytes has begun, and what has come of it."""
    # More than the kernel takes of it: the server has to keep it until the caller reads on.
    rows = np.full((ROWS, 1), 1.2345678901234567e-9).tobytes()
    tensor = {"name": "input", "shape": [ROWS, 1], "datatype": "FP64", "parameters": {"binary_data_size": len(rows)}}
    said = json.dumps({"inputs": [tensor]}).encode()
    head = b"POST /v2/models/penguins/infer HTTP/1.1\r\nhost: x\r\ninference-header-content-length: %d\r\n" % len(said)
    with socket.socket() as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        caller.settimeout(20)
        caller.connect((str(client.base_url.host), client.base_url.port))
        caller.sendall(head + b"content-length: %d\r\n\r\n" % len(said + rows) + said + rows)
        yield caller, caller.recv(4096)


def stop(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and the server has begun to drain."""
    process.terminate()

    def refused() -> bool:
        try:
            httpx.get(f"{client.base_url}/v2/health/live")
        except httpx.ConnectError:
            return True
        return False

    eventually(refused, what="the server takes no more connections")


def test_a_slow_reader_gets_the_whole_answer(package: Path) -> None:
    with serving(package, open=True, drain_timeout=30) as (client, process), answering(client) as (caller, got):
        stop(client, process)
        assert process.poll() is None
        slowly = threading.Event()
        head, _, body = got.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        length = next(int(line[16:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length: "))
        assert length > 10_000_000
        came = [body]
        since = 0
        while part := caller.recv(PART):
            came.append(part)
            since += len(part)
            if since > 4 * PART:
                since = 0
                slowly.wait(0.05)
        whole = b"".join(came)
        assert len(whole) == length
        assert json.loads(whole)["outputs"][0]["shape"] == [ROWS]
        ended = time.monotonic()
        assert process.wait(20) == 0
        assert time.monotonic() - ended < 5  # not the whole of drain_timeout


def test_who_reads_nothing_is_given_up_in_time(package: Path) -> None:
    with serving(package, open=True, drain_timeout=1) as (client, process), answering(client) as (_, got):
        start = time.monotonic()
        stop(client, process)
        assert process.wait(20) == 0
        assert 0.8 < time.monotonic() - start < 10
        assert len(got) < 10_000_000

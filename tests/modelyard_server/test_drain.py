"""SIGTERM while a large answer is on its way: a process of its own, a caller who reads slowly or not at all."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import httpx
import numpy as np
import pytest

from harness.model_server import free_port, serving, spawn
from harness.packages import write_onnx, write_slow
from harness.wait import eventually
from modelyard_api.models import MANIFEST_PATH

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
    with serving(package, open=True, drain_timeout=200) as (client, process), answering(client) as (caller, got):
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
        assert process.wait(20) == 0, "it does not wait for the whole of drain_timeout"


def test_who_reads_nothing_is_given_up_in_time(package: Path) -> None:
    with serving(package, open=True, drain_timeout=1) as (client, process), answering(client) as (_, got):
        start = time.monotonic()
        stop(client, process)
        assert process.wait(20) == 0
        assert time.monotonic() - start > 0.8
        assert len(got) < 10_000_000


def test_a_version_that_is_being_loaded_holds_up_no_end(tmp_path: Path) -> None:
    write_onnx(tmp_path / "one")
    stuck = tmp_path / "pipe" / MANIFEST_PATH
    stuck.parent.mkdir(parents=True)
    os.mkfifo(stuck)
    (tmp_path / "current").symlink_to("one")
    with serving(tmp_path / "current", open=True, drain_timeout=1) as (_, process):
        (tmp_path / "new").symlink_to("pipe")
        (tmp_path / "new").replace(tmp_path / "current")
        process.send_signal(signal.SIGHUP)
        with being_read(stuck):
            process.terminate()
            assert process.wait(15) == 0


def test_ends_by_sigterm_while_the_server_itself_loads(tmp_path: Path) -> None:
    """With exit code 0: it said so itself, as the first process of a container has to."""
    stuck = tmp_path / MANIFEST_PATH
    stuck.parent.mkdir()
    os.mkfifo(stuck)
    process = spawn(tmp_path, free_port(), open=True)
    with being_read(stuck):
        process.terminate()
        process.communicate(timeout=15)
    assert process.returncode == 0


@contextmanager
def being_read(fifo: Path) -> Iterator[None]:
    """Somebody has opened it to read, and goes on to wait for what is written."""

    def opened() -> BinaryIO | None:
        try:
            return os.fdopen(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK), "wb")
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return None

    with eventually(opened, what="it is being read"):  # closed, it would be read to its end
        yield

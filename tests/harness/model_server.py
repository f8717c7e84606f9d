"""A real model server as a child process, for the tests."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import psutil

from harness.wait import eventually
from modelyard_server.__main__ import EXIT_PORT

_START = 90.0
"""Seconds. Where others want the processor too, importing scikit-learn alone takes half a minute."""


def free_port() -> int:
    """A loopback port that nobody holds now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def command_environment(package: Path, port: int, **settings: object) -> dict[str, str]:
    """The environment of a server of `package` at `port`."""
    known: dict[str, object] = {"package": package, "endpoint": "penguins", "model": "ada.penguins", "port": port}
    return os.environ | {f"MODELYARD_SERVER_{k.upper()}": str(v) for k, v in (known | settings).items()}


def command() -> list[str]:
    """What starts a server."""
    return [sys.executable, "-m", "modelyard_server"]


def spawn(package: Path, port: int, **settings: object) -> subprocess.Popen[bytes]:
    """`python -m modelyard_server`, not awaited."""
    return subprocess.Popen(command(), env=command_environment(package, port, **settings), stderr=subprocess.PIPE)


@contextmanager
def serving(package: Path, **settings: object) -> Iterator[tuple[httpx.Client, subprocess.Popen[bytes]]]:
    """A ready server and a client at its root; ended afterwards."""
    for _ in range(5):  # the port may be taken meanwhile, perhaps by a server of another run, which would answer
        port = free_port()
        process = spawn(package, port, **settings)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                eventually(partial(_begun, process, client), timeout=_START, what="the model server is ready")
                if process.poll() == EXIT_PORT and "grpc_port" not in settings:
                    continue
                assert process.poll() is None, process.communicate()[1].decode()
                yield client, process
                return
        finally:
            if process.poll() is None:
                process.terminate()
            process.communicate(timeout=30)
    raise AssertionError("no port was free")


@contextmanager
def serving_at(package: Path, **settings: object) -> Iterator[httpx.Client]:
    """A ready server with gRPC on the port beside, as the hub side starts one."""
    for _ in range(5):  # the port beside may be taken meanwhile
        port = free_port()
        if port == 65535:
            continue
        process = spawn(package, port, open=True, grpc_port=port + 1, **settings)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                eventually(partial(_begun, process, client), what="ready", timeout=90)
                if process.poll() == EXIT_PORT:
                    continue
                assert process.poll() is None, process.communicate()[1].decode()
                yield client
                return
        finally:
            process.terminate()
            process.communicate(timeout=30)
    raise AssertionError("no two ports side by side were free")


def _begun(process: subprocess.Popen[bytes], client: httpx.Client) -> bool:
    """Whether it is ready, or has ended. A server of somebody else's at its port is not it."""
    try:
        if process.poll() is not None:
            return True
        ours = {c.laddr.port for c in psutil.Process(process.pid).net_connections("tcp") if c.status == "LISTEN"}
        return client.base_url.port in ours and client.get("/v2/health/ready").status_code == 200
    except (httpx.TransportError, psutil.NoSuchProcess):
        return False

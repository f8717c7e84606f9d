"""A real model server as a child process, for the tests."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from harness.wait import eventually

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


def spawn(package: Path, port: int, **settings: object) -> subprocess.Popen[bytes]:
    """`python -m modelyard_server`, not awaited."""
    command = [sys.executable, "-m", "modelyard_server"]
    return subprocess.Popen(command, env=command_environment(package, port, **settings), stderr=subprocess.PIPE)


@contextmanager
def serving(package: Path, **settings: object) -> Iterator[tuple[httpx.Client, subprocess.Popen[bytes]]]:
    """A ready server and a client at its root; ended afterwards."""
    port = free_port()
    process = spawn(package, port, **settings)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            ready = lambda: client.get("/v2/health/ready").status_code == 200  # noqa: E731
            eventually(ready, timeout=_START, what="the model server is ready")
            yield client, process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=30)

"""A real model server as a child process, for the tests."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
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


class Process(subprocess.Popen[bytes]):
    """A server's process."""

    port = 0
    grpc_port: int | None = None


Ports = tuple[int, int | None]
"""Of HTTP, and of gRPC."""


def http_alone() -> Ports:
    """No gRPC."""
    return free_port(), None


def with_grpc() -> Ports:
    """Both, anywhere."""
    return free_port(), free_port()


def side_by_side() -> Ports:
    """gRPC on the port beside, as the hub side starts a server."""
    port = free_port()
    while port == 65535:
        port = free_port()
    return port, port + 1


def command_environment(package: Path, port: int, **settings: object) -> dict[str, str]:
    """The environment of a server of `package` at `port`."""
    known: dict[str, object] = {"package": package, "endpoint": "penguins", "model": "ada.penguins", "port": port}
    return os.environ | {f"MODELYARD_SERVER_{k.upper()}": str(v) for k, v in (known | settings).items()}


def command() -> list[str]:
    """What starts a server."""
    return [sys.executable, "-m", "modelyard_server"]


def spawn(package: Path, port: int, *, output: Path | None = None, **settings: object) -> Process:
    """`python -m modelyard_server`, not awaited. `output`: where its standard output goes."""
    with contextlib.nullcontext() if output is None else output.open("wb") as file:
        return Process(
            command(), env=command_environment(package, port, **settings), stdout=file, stderr=subprocess.PIPE
        )


@contextlib.contextmanager
def serving(
    package: Path, choose: Callable[[], Ports] = http_alone, *, output: Path | None = None, **settings: object
) -> Iterator[tuple[httpx.Client, Process]]:
    """A ready server and a client at its root; ended afterwards. `choose`: ports that are free when it is asked."""
    for _ in range(5):  # one may be taken meanwhile, perhaps by a server of another run, which would answer
        port, grpc_port = choose()
        more = {} if grpc_port is None else {"grpc_port": grpc_port}
        process = spawn(package, port, output=output, **settings, **more)
        process.port, process.grpc_port = port, grpc_port
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                eventually(partial(_begun, process, client), timeout=_START, what="the model server is ready")
                if process.poll() == EXIT_PORT:
                    continue
                assert process.poll() is None, process.communicate()[1].decode()
                yield client, process
                return
        finally:
            if process.poll() is None:
                process.terminate()
            process.communicate(timeout=30)
    raise AssertionError("no port was free")


def _begun(process: subprocess.Popen[bytes], client: httpx.Client) -> bool:
    """Whether it is ready, or has ended. A server of somebody else's at its port is not it."""
    try:
        if process.poll() is not None:
            return True
        ours = {c.laddr.port for c in psutil.Process(process.pid).net_connections("tcp") if c.status == "LISTEN"}
        return client.base_url.port in ours and client.get("/v2/health/ready").status_code == 200
    except (httpx.TransportError, psutil.NoSuchProcess):
        return False

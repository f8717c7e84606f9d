"""A cloud's metadata service at its usual address, for pods of a cluster on this machine and for nobody else.

It answers in a network namespace of its own, to which only what comes from pods is sent: the machine itself, which may
be a cloud's, reaches its own as ever. Pods here have no way out by themselves, so those under test are given one.
"""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from harness.kubernetes.network import POD_NETWORK

ADDRESS, PORT = "169.254.169.254", 80
_HERE, _THERE = "198.18.255.1", "198.18.255.2"
_TABLE = "16925"
_SERVE = f"""
import socket
listener = socket.create_server(({ADDRESS!r}, {PORT}))
while True:
    listener.accept()[0].close()
"""


@contextmanager
def metadata_service(*pods: str) -> Iterator[tuple[str, int]]:
    """Its address and port, while it answers; `pods`: uids of those that have a way there."""
    name = f"meta-{secrets.token_hex(3)}"
    outer, inner = f"{name}-o", f"{name}-i"
    there = ("netns", "exec", name, "ip")
    with ExitStack() as stack:
        _ip("netns", "add", name)
        stack.callback(_ip, "netns", "delete", name)
        _ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", name)
        _ip("address", "add", f"{_HERE}/30", "dev", outer)
        _ip("link", "set", outer, "up")
        _ip(*there, "address", "add", f"{_THERE}/30", "dev", inner)
        _ip(*there, "address", "add", f"{ADDRESS}/32", "dev", "lo")
        for device in ("lo", inner):
            _ip(*there, "link", "set", device, "up")
        _ip(*there, "route", "add", "default", "via", _HERE)
        _ip("route", "add", f"{ADDRESS}/32", "via", _THERE, "dev", outer, "table", _TABLE)
        rule = ("from", POD_NETWORK, "to", f"{ADDRESS}/32", "lookup", _TABLE)
        _ip("rule", "add", *rule)
        stack.callback(_ip, "rule", "delete", *rule)
        server = subprocess.Popen(["ip", "netns", "exec", name, "python3", "-c", _SERVE])
        stack.callback(_end, server)
        for pod in pods:
            _open(pod)
        yield ADDRESS, PORT


def _open(pod: str) -> None:
    """Give a pod a route there, by the way that it has to its node."""
    pid = _process(pod)
    route = _run("nsenter", "--target", pid, "--net", "ip", "-4", "route", "show").split("via ", 1)[1].split()[0]
    _run("nsenter", "--target", pid, "--net", "ip", "route", "replace", f"{ADDRESS}/32", "via", route)


def _process(pod: str) -> str:
    """One of a pod's processes: its control group has the pod's uid in its name."""
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"pod{pod}" in (entry / "cgroup").read_text():
                return entry.name
        except OSError:
            continue
    raise AssertionError(f"no process of the pod {pod} is on this machine")


def _end(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    server.wait(10)


def _ip(*arguments: str) -> str:
    return _run("ip", *arguments)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout

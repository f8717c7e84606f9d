"""The hub service as a real process."""

import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import httpx
import psutil
import pytest

from harness.fake_hub import FakeHub
from harness.runs import spec
from harness.wait import eventually
from harness.web import serving
from modelyard_api.resources import MiB

ROOT = "/services/modelyard"
HEAVY = {"mlflow", "sklearn", "pandas", "torch", "jupyterhub"}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _environment(home: Path, hub_url: str, port: int, settings: dict[str, str]) -> dict[str, str]:
    mine = {k: v for k, v in os.environ.items() if not k.startswith(("MODELYARD_", "JUPYTERHUB_"))}
    return mine | {
        "MODELYARD_HOME": str(home),
        "JUPYTERHUB_API_TOKEN": "service-secret",
        "JUPYTERHUB_API_URL": f"{hub_url}/hub/api",
        "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{port}",
        **settings,
    }


@contextmanager
def _service(
    home: Path, hub: FakeHub, settings: dict[str, str] | None = None
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    port = _free_port()
    with serving(hub.app()) as hub_url, (home / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "modelyard_hub"],
            env=_environment(home, hub_url, port, settings or {}),
            cwd=home,
            stderr=log,
        )
        try:
            yield f"http://127.0.0.1:{port}{ROOT}", process
        finally:
            process.kill()
            process.wait(10)


def test_it_serves_small_and_ends_on_sigterm(tmp_path: Path) -> None:
    hub = FakeHub()
    hub.add("ada", "ada")
    with _service(tmp_path, hub) as (url, process):
        eventually(lambda: httpx.get(f"{url}/health", trust_env=False).status_code == 200, timeout=60)
        headers = {"Authorization": "Bearer ada"}
        answer = httpx.get(f"{url}/api/v1/me", headers=headers, trust_env=False)
        assert answer.json()["username"] == "ada"
        assert httpx.get(f"{url}/api/openapi.json", trust_env=False).status_code == 200
        assert psutil.Process(process.pid).memory_info().rss < 150e6
        with httpx.stream("GET", f"{url}/api/v1/events", headers=headers, trust_env=False) as events:
            assert next(events.iter_text()).startswith("retry:")
            process.send_signal(signal.SIGTERM)
            assert process.wait(15) in (0, -signal.SIGTERM)  # uvicorn ends by the signal that it was sent
        assert "Traceback" not in (tmp_path / "log").read_text()


def test_snapshots_pass_through_it_in_pieces(tmp_path: Path) -> None:
    """Up and down again: what it holds in memory does not grow with them."""
    size, piece = 192 * MiB, b"\0" * MiB
    hub = FakeHub()
    hub.add("ada", "ada")
    digest = hashlib.sha256()
    for _ in range(size // MiB):
        digest.update(piece)
    settings = {"MODELYARD_RUN_SNAPSHOT_MAX": str(size), "MODELYARD_RUN_SLOTS": "1"}
    with _service(tmp_path, hub, settings) as (url, process):
        eventually(lambda: httpx.get(f"{url}/health", trust_env=False).status_code == 200, timeout=60)
        with httpx.Client(base_url=f"{url}/api/v1", headers={"Authorization": "Bearer ada"}, trust_env=False) as ada:
            ada.timeout = httpx.Timeout(120)
            assert ada.get("/snapshots").json() == {"largest": size}
            before = psutil.Process(process.pid).memory_info().rss
            with Peak(process.pid) as peak:
                sent = ada.put(f"/snapshots/{digest.hexdigest()}", content=(piece for _ in range(size // MiB)))
                assert sent.status_code == 204, sent.text
                made = ada.post("/runs", json={"spec": spec(digest.hexdigest()).model_dump(mode="json")})
                assert made.status_code == 201, made.text
                got = 0
                with ada.stream("GET", f"/runs/{made.json()['id']}/input") as answer:
                    assert answer.headers["content-length"] == str(size)
                    for data in answer.iter_bytes():
                        got += len(data)
            assert got == size
            assert peak.bytes - before < 24 * MiB, f"{(peak.bytes - before) // MiB} MiB more than before"


def test_a_snapshot_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    hub = FakeHub()
    hub.add("ada", "ada")
    hub.add("reads", "ada", [], ["custom:modelyard:read"])
    with _service(tmp_path, hub) as (url, _):
        eventually(lambda: httpx.get(f"{url}/health", trust_env=False).status_code == 200, timeout=60)
        place = httpx.URL(url)
        for token, query, length, status in (
            ("nobody", "", 2**40, 401),
            ("reads", "", 2**40, 403),
            ("ada", "?owner=bob", 2**40, 403),
            ("ada", "", 2**40, 413),
            ("ada", "", 32 * MiB + 1, 413),
        ):
            with socket.create_connection((place.host, place.port or 0), timeout=20) as connection:
                head = f"PUT {place.path}/api/v1/snapshots/{'0' * 64}{query} HTTP/1.1\r\nHost: yard\r\n"
                head += f"Authorization: Bearer {token}\r\nContent-Length: {length}\r\n\r\n"
                connection.sendall(head.encode())  # and nothing of the body
                answer = b"".join(iter(lambda c=connection: c.recv(65536), b"")).decode()
            assert answer.startswith(f"HTTP/1.1 {status} "), answer
            assert "connection: close" in answer.lower()
    assert "Traceback" not in (tmp_path / "log").read_text()


class Peak:
    """The most memory that a process was seen to have."""

    def __init__(self, pid: int) -> None:
        self._process, self._ended = psutil.Process(pid), threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.bytes = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.01):
            self.bytes = max(self.bytes, self._process.memory_info().rss)


def test_started_by_hand_it_says_what_is_missing(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MODELYARD_", "JUPYTERHUB_"))}
    done = subprocess.run(
        [sys.executable, "-m", "modelyard_hub"], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "JUPYTERHUB_API_TOKEN" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("module", ["modelyard_hub.app", "modelyard_hub.__main__"])
def test_nothing_heavy_is_imported(module: str) -> None:
    code = f"import sys, {module}; print(' '.join({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""

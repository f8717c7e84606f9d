"""The hub service as a real process."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from harness.fake_hub import FakeHub
from harness.wait import eventually
from harness.web import serving

ROOT = "/services/modelyard"
HEAVY = {"mlflow", "sklearn", "pandas", "torch", "jupyterhub"}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _environment(home: Path, hub_url: str, port: int) -> dict[str, str]:
    mine = {k: v for k, v in os.environ.items() if not k.startswith(("MODELYARD_", "JUPYTERHUB_"))}
    return mine | {
        "MODELYARD_HOME": str(home),
        "JUPYTERHUB_API_TOKEN": "service-secret",
        "JUPYTERHUB_API_URL": f"{hub_url}/hub/api",
        "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{port}",
    }


@contextmanager
def _service(home: Path, hub: FakeHub) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    port = _free_port()
    with serving(hub.app()) as hub_url, (home / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "modelyard_hub"], env=_environment(home, hub_url, port), cwd=home, stderr=log
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

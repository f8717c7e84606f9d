"""The notebook server's handlers on a real Jupyter Server: runs without a kernel, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from harness.model_server import free_port
from harness.wait import eventually
from modelyard.training import runlog
from modelyard.training.run import TrainingRun
from modelyard.training.spec import TrainSpec

TOKEN = "a-token-of-the-test"


class JupyterServer:
    """A Jupyter Server without a front end, as the package's installation enables our extension in it."""

    def __init__(self, folder: Path) -> None:
        self.runs = folder / "runs"
        self.runs.mkdir(parents=True)
        self.url = f"http://127.0.0.1:{free_port()}/user/ada/"
        port = self.url.split(":")[2].split("/")[0]
        environment = {**os.environ, "HOME": str(folder), "MODELYARD_RUNS": str(self.runs),
                       "JUPYTER_CONFIG_DIR": str(folder / "config")}  # fmt: skip
        options = [f"--ServerApp.port={port}", "--ServerApp.ip=127.0.0.1", "--ServerApp.base_url=/user/ada/",
                   f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={folder}", "--no-browser",
                   "--allow-root"]  # fmt: skip
        self.log = (folder / "server.log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jupyter_server", *options], env=environment, stdout=self.log, stderr=self.log
        )

    def client(self, **headers: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers=headers, timeout=30)

    def by_token(self) -> httpx.Client:
        return self.client(Authorization=f"token {TOKEN}")

    @contextmanager
    def by_cookie(self) -> Iterator[httpx.Client]:
        """As a page does: signed in by cookie, the cross-site token beside it."""
        with self.client() as client:
            client.get(f"login?token={TOKEN}", follow_redirects=True)
            yield client

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)
        self.log.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    running = JupyterServer(tmp_path_factory.mktemp("jupyter"))
    try:
        with running.by_token() as client:
            eventually(lambda: client.get("api").status_code == 200, timeout=60, what="Jupyter Server answers")
        yield running
    finally:
        running.stop()


SLEEPER = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_DFL); print('up', flush=True); time.sleep(600)"


@pytest.fixture
def run(server: JupyterServer) -> Iterator[tuple[TrainingRun, subprocess.Popen[bytes]]]:
    """A run whose process does nothing, in a session of its own."""
    import psutil

    process = subprocess.Popen([sys.executable, "-c", SLEEPER], start_new_session=True, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    folder = server.runs / f"churn-20260101-000000-{process.pid:06d}"
    folder.mkdir()
    TrainSpec("churn", "Pipeline").save(folder)
    (folder / "output.log").write_text("hello from the process\n")
    created = psutil.Process(process.pid).create_time()
    runlog.append(folder, "launched", pid=process.pid, created=created)
    runlog.append(folder, "points", series={"loss": [[1, 2], [0.5, 0.25]]})
    yield TrainingRun(folder), process
    if process.poll() is None:
        process.kill()
    process.wait(10)
    process.stdout.close()


def test_a_run_is_told_as_the_panel_is(server: JupyterServer, run: tuple[TrainingRun, object]) -> None:
    with server.by_token() as client:
        answer = client.get(f"modelyard/runs/{run[0].id}")
        assert answer.status_code == 200
        found = answer.json()
        assert (found["view"]["state"], found["view"]["curves"]["names"]) == ("running", ["loss"])
        assert len(found["curves"]) == 24  # four float32 as base64
        assert client.get(f"modelyard/runs/{run[0].id}/log").json() == "hello from the process\n"
        assert answer.headers["cache-control"] == "no-store"


def test_a_run_is_paused_resumed_and_stopped(
    server: JupyterServer, run: tuple[TrainingRun, subprocess.Popen[bytes]]
) -> None:
    found, process = run
    with server.by_token() as client:
        paused = client.post(f"modelyard/runs/{found.id}/pause").json()
        assert paused["view"]["state"] == "paused"
        assert client.post(f"modelyard/runs/{found.id}/resume").json()["view"]["state"] == "running"
        stopped = client.post(f"modelyard/runs/{found.id}/stop").json()
        assert stopped["view"]["stopping"] or stopped["view"]["state"] == "stopped"
        process.wait(30)
        eventually(lambda: client.get(f"modelyard/runs/{found.id}").json()["view"]["state"] == "stopped")


def test_a_run_is_killed_with_its_process(
    server: JupyterServer, run: tuple[TrainingRun, subprocess.Popen[bytes]]
) -> None:
    with server.by_token() as client:
        assert client.post(f"modelyard/runs/{run[0].id}/kill").status_code == 200
    assert run[1].wait(30) == -9


def test_who_is_not_signed_in_learns_nothing(server: JupyterServer, run: tuple[TrainingRun, object]) -> None:
    with server.client() as client:
        assert client.get(f"modelyard/runs/{run[0].id}").status_code == 403
        assert client.post(f"modelyard/runs/{run[0].id}/stop").status_code == 403
    with server.client(Authorization="token wrong") as client:
        assert client.get(f"modelyard/runs/{run[0].id}").status_code == 403


def test_another_site_cannot_act_with_the_users_cookie(server: JupyterServer, run: tuple[TrainingRun, object]) -> None:
    with server.by_cookie() as client:
        place = f"modelyard/runs/{run[0].id}"
        assert client.get(place, headers={"Referer": server.url}).status_code == 200
        refused = client.post(f"{place}/kill")
        assert refused.status_code == 403
        assert "_xsrf" in refused.text
        token = client.cookies["_xsrf"]
        allowed = client.post(f"{place}/pause", headers={"X-XSRFToken": token})
        assert allowed.status_code == 200


@pytest.mark.parametrize(
    "run_id",
    ["..", "%2e%2e", "..%2Fsecret", "%2e%2e%2fsecret", "%2Fetc", "nothing-20260101-000000-aaaaaa", "a%00b", "A B"],
)
def test_what_is_no_run_is_not_found(server: JupyterServer, run_id: str) -> None:
    secret = server.runs.parent / "secret"
    secret.mkdir(exist_ok=True)
    runlog.append(secret, "launched", pid=os.getpid(), created=0)
    with server.by_token() as client:
        for path in (run_id, f"{run_id}/log"):
            answer = client.get(f"modelyard/runs/{path}")
            assert answer.status_code in (403, 404), path
        assert client.post(f"modelyard/runs/{run_id}/kill").status_code in (403, 404)


def test_parts_and_actions_that_there_are_not(server: JupyterServer, run: tuple[TrainingRun, object]) -> None:
    place = f"modelyard/runs/{run[0].id}"
    with server.by_token() as client:
        unknown = client.get(f"{place}/spec")
        assert unknown.status_code == 404
        assert json.loads(unknown.text)["title"] == "Not found"
        assert client.get(f"{place}/..%2Fspec.json").status_code == 404
        assert client.post(f"{place}/delete").status_code == 405

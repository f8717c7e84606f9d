"""A model's processes, for real: slow, crashing, killed, out of memory; and the server that outlives them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from harness.model_server import free_port, serving, spawn
from harness.packages import write_moody
from harness.wait import eventually, eventually_async
from modelyard_api.models import PYTHON_FILES
from modelyard_server.manifest import read_manifest
from modelyard_server.workers.pool import Pool
from modelyard_server.workers.worker import Launch


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("moody") / "package"
    write_moody(directory)
    return directory


@pytest.fixture(scope="module")
def server(package: Path) -> Iterator[tuple[httpx.Client, psutil.Process]]:
    with serving(package, open=True, max_queue=4) as (client, process):
        yield client, psutil.Process(process.pid)


def ask(client: httpx.Client, value: float, timeout: float = 30) -> httpx.Response:
    return httpx.post(f"{client.base_url}/invocations", json={"inputs": [[value]]}, timeout=timeout)


def metric(client: httpx.Client, name: str) -> float:
    found = re.search(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", client.get("/metrics").text, re.MULTILINE)
    assert found, name
    return float(found[1])


def child(process: psutil.Process) -> psutil.Process:
    (found,) = process.children()
    return found


def ready(client: httpx.Client) -> bool:
    return client.get("/v2/health/ready").status_code == 200


def test_a_slow_or_busy_call_keeps_nothing_else_waiting(server: tuple[httpx.Client, psutil.Process]) -> None:
    client, _ = server
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(ask, client, -8.0)  # holds the interpreter's lock of its process, for seconds
        eventually(lambda: metric(client, "modelyard_in_flight") == 1, what="it is asked")
        for path in ("/v2/health/live", "/v2/health/ready", "/metrics", "/v2/models/penguins") * 5:
            assert client.get(path).status_code == 200
        assert not coming.done(), "the model was at work all the while"
        assert coming.result().json() == {"predictions": [-8.0]}


def test_processes_that_the_model_forks_end_by_a_signal(server: tuple[httpx.Client, psutil.Process]) -> None:
    """Else a pool, which ends its processes so, would wait for them for ever."""
    assert ask(server[0], -9.0).json() == {"predictions": [1.0]}


@pytest.mark.parametrize(
    ("value", "said"), [(-1.0, "SIGKILL"), (-2.0, "exit code 5"), (-3.0, "SIGSEGV")], ids=["kill", "exit", "segfault"]
)
def test_a_crash_fails_its_own_request_and_the_model_comes_back(package: Path, value: float, said: str) -> None:
    with serving(package, open=True) as (client, process), ThreadPoolExecutor(2) as pool:
        before = child(psutil.Process(process.pid)).pid
        slow = pool.submit(ask, client, 0.5)
        eventually(lambda: metric(client, "modelyard_in_flight") == 1, what="the first is at work")
        crashing = pool.submit(ask, client, value)
        eventually(lambda: metric(client, "modelyard_in_flight") == 2, what="the second waits")
        third = pool.submit(ask, client, 0.0)
        problem = crashing.result()
        assert slow.result().json() == {"predictions": [0.5]}
        assert (problem.status_code, problem.json()["code"]) == (500, "ModelCrashed")
        assert said in problem.json()["detail"]
        assert "started again" in problem.json()["remedy"]
        assert "Traceback" not in problem.text
        assert third.result().json() == {"predictions": [0.0]}, "what waited is answered by the next process"
        assert client.get("/v2/health/live").status_code == 200
        assert metric(client, "modelyard_worker_restarts_total") == 1
        assert child(psutil.Process(process.pid)).pid != before
        process.terminate()
        _, log = process.communicate(timeout=30)
        assert problem.json()["id"] in log.decode()


def test_an_answer_that_cannot_be_read_fails_its_request_and_the_model_comes_back(package: Path) -> None:
    with serving(package, open=True) as (client, process):
        before = child(psutil.Process(process.pid))
        problem = ask(client, -10.0)
        assert (problem.status_code, problem.json()["code"]) == (500, "ModelCrashed")
        assert "could not be read: UnpicklingError" in problem.json()["detail"]
        assert ask(client, 0.25).json() == {"predictions": [0.25]}, "not what was left of the answer before"
        assert child(psutil.Process(process.pid)).pid != before.pid
        assert metric(client, "modelyard_worker_restarts_total") == 1
        process.terminate()
        log = process.communicate(timeout=30)[1].decode()
        assert "complex is not part of an answer" in log.split(problem.json()["id"])[1]


def test_metrics_count_what_was_answered(package: Path) -> None:
    with serving(package, open=True, workers=3) as (client, process), ThreadPoolExecutor(12) as pool:
        eventually(lambda: metric(client, "modelyard_workers") == 3, what="all are up")
        asking = [pool.submit(ask, client, 0.001 * (n % 5)) for n in range(60)]
        for worker in psutil.Process(process.pid).children():
            worker.kill()
            eventually(lambda: metric(client, "modelyard_workers") == 3, what="it is up again")
        codes = Counter(coming.result().status_code for coming in asking)
        assert set(codes) <= {200, 500}, "500 are those that a process was killed with"
        assert codes[500] <= 3
        for name in ("request_seconds_count", "queue_seconds_count", "predict_seconds_count", "batch_rows_sum"):
            assert metric(client, f"modelyard_{name}") == 60
        assert metric(client, "modelyard_rows_total") == codes[200]


def test_an_idle_process_that_is_killed_is_replaced_and_readiness_tells(package: Path) -> None:
    with serving(package, open=True) as (client, process):
        child(psutil.Process(process.pid)).kill()
        eventually(lambda: not ready(client), what="not ready while no process is up", interval=0.001)
        assert client.get("/v2/health/live").status_code == 200
        assert ask(client, 0.0).json() == {"predictions": [0.0]}, "it waits for the next one"
        assert ready(client)
        assert metric(client, "modelyard_worker_memory_bytes") > 10 * 2**20


def test_a_model_that_keeps_ending_is_refused_at_once_until_it_stays(package: Path, tmp_path: Path) -> None:
    with serving(package, open=True) as (client, process):
        for _ in range(3):
            assert ask(client, -2.0).status_code in (500, 503)
        refused = eventually(lambda: (a := ask(client, 0.0)).status_code == 503 and a, what="refused at once")
        assert 1 <= int(refused.headers["retry-after"]) <= 30
        assert "several times in a row" in refused.json()["detail"]
        assert process.poll() is None
        eventually(lambda: ready(client), what="it is started again")
        assert ask(client, 0.0).json() == {"predictions": [0.0]}


def test_what_the_model_raises_is_told_without_its_traceback(server: tuple[httpx.Client, psutil.Process]) -> None:
    client, process = server
    before = child(process).pid
    raised, memory = ask(client, -4.0), ask(client, -5.0)
    assert (raised.status_code, raised.json()["code"]) == (500, "ModelFailed")
    assert raised.json()["detail"].startswith("the model raised OSError: cannot read …/")
    assert "Traceback" not in raised.text
    assert raised.json()["id"]
    assert "out of memory" in memory.json()["detail"]
    assert "more memory" in memory.json()["remedy"]
    assert child(process).pid == before, "it goes on"


def test_answers_that_are_objects_come_as_text(server: tuple[httpx.Client, psutil.Process]) -> None:
    client, _ = server
    assert ask(client, -6.0).json() == {"predictions": ["<class 'complex'>", "text", None, 1.5]}


def test_the_server_itself_has_no_library_of_the_models(
    package: Path, server: tuple[httpx.Client, psutil.Process]
) -> None:
    client, process = server
    loaded = set(ask(client, -7.0).json()["predictions"])
    assert "numpy" in loaded
    assert not {"mlflow", "pandas", "sklearn", "torch", "uvloop"} & loaded, "a plain class needs none either"
    maps = Path(f"/proc/{process.pid}/maps").read_text()
    assert not re.search(r"/(sklearn|torch|pandas|onnxruntime)/", maps)


def test_a_full_queue_is_refused(server: tuple[httpx.Client, psutil.Process]) -> None:
    client, _ = server
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(ask, client, 1.0)
        eventually(lambda: metric(client, "modelyard_in_flight") == 1, what="one is at work")
        others = [pool.submit(ask, client, 0.0).result for _ in range(7)]
        assert sorted(answer().status_code for answer in others) == [200] * 4 + [503] * 3
        assert first.result().status_code == 200


def test_drains_then_ends_with_its_process(package: Path) -> None:
    with serving(package, open=True) as (client, process), ThreadPoolExecutor(1) as pool:
        worker = child(psutil.Process(process.pid))
        coming = pool.submit(ask, client, 1.5)
        eventually(lambda: metric(client, "modelyard_in_flight") == 1, what="it is at work")
        worker.terminate()  # as a runtime may that ends a whole group
        process.terminate()
        assert coming.result().json() == {"predictions": [1.5]}
        assert process.wait(15) == 0
        eventually(lambda: not worker.is_running(), what="its process is gone", timeout=5)


@pytest.mark.parametrize("busy", [False, True])
def test_its_process_ends_with_a_server_that_is_killed(package: Path, busy: bool) -> None:
    with serving(package, open=True) as (client, process):
        worker = child(psutil.Process(process.pid))
        if busy:
            threading.Thread(target=_ignore_the_break, args=(client,)).start()
            eventually(lambda: metric(client, "modelyard_in_flight") == 1, what="it is at work")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        eventually(lambda: not worker.is_running(), what="its process is gone", timeout=5)


def _ignore_the_break(client: httpx.Client) -> None:
    with contextlib.suppress(httpx.TransportError):
        ask(client, 60.0)


def test_a_package_whose_process_does_not_get_ready_ends_the_server(tmp_path: Path) -> None:
    write_moody(tmp_path / "p")
    (tmp_path / "p" / PYTHON_FILES / "doomed").touch()
    process = spawn(tmp_path / "p", free_port(), open=True)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "did not get ready: it ended with exit code 7" in log.decode()


def test_a_restart_that_fails_is_tried_again(tmp_path: Path) -> None:
    write_moody(tmp_path / "p")
    with serving(tmp_path / "p", open=True) as (client, process):
        (tmp_path / "p" / PYTHON_FILES / "doomed").touch()
        child(psutil.Process(process.pid)).kill()
        eventually(lambda: metric(client, "modelyard_worker_restarts_total") == 2, what="a second start")
        eventually(lambda: ready(client), what="it is up again")
        assert ask(client, 0.0).status_code == 200


def test_several_processes_work_side_by_side(package: Path) -> None:
    with serving(package, open=True, workers=2) as (client, process), ThreadPoolExecutor(2) as pool:
        eventually(lambda: metric(client, "modelyard_workers") == 2, what="both are up")
        # Each waits until the other one has begun.
        assert [a.status_code for a in pool.map(lambda _: ask(client, -11.0), range(2))] == [200, 200]
        crashing = pool.submit(ask, client, -2.0)
        assert crashing.result().status_code == 500
        assert ready(client), "the other one is up"
        assert ask(client, 0.0).status_code == 200
        assert len(psutil.Process(process.pid).children()) in (1, 2)


@pytest.mark.parametrize("how", ["stuck", "cold"], ids=["loads for ever", "warms up for ever"])
def test_a_model_that_never_gets_ready_ends_the_server_in_time_which_answers_meanwhile(
    tmp_path: Path, how: str
) -> None:
    write_moody(tmp_path / "p")
    (tmp_path / "p" / PYTHON_FILES / how).touch()
    port = free_port()
    process = spawn(tmp_path / "p", port, open=True, load_timeout=6)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=5) as client:
        waiting = eventually(lambda: client.get("/v2/health/ready"), what="it answers")
        assert (waiting.status_code, client.get("/v2/health/live").status_code) == (503, 200)
        assert "for 6 s at most" in waiting.json()["detail"]
        assert client.get("/metrics").status_code == 200
    _, log = process.communicate(timeout=60)
    assert process.returncode == 5
    assert b"the model was not loaded within 6 s (MODELYARD_SERVER_LOAD_TIMEOUT)" in log


def test_a_restart_that_hangs_while_it_loads_is_ended_and_tried_again(tmp_path: Path) -> None:
    write_moody(tmp_path / "p")
    stuck = tmp_path / "p" / PYTHON_FILES / "stuck"
    with serving(tmp_path / "p", open=True, load_timeout=15) as (client, process):
        stuck.touch()
        child(psutil.Process(process.pid)).kill()
        eventually(lambda: metric(client, "modelyard_worker_restarts_total") == 1, what="it is started again")
        began, slowest = time.perf_counter(), 0.0
        for path in ("/v2/health/live", "/metrics") * 5:
            assert client.get(path).status_code == 200
        slowest = time.perf_counter() - began
        assert slowest < 4, "neither waits for the model"
        eventually(lambda: metric(client, "modelyard_worker_restarts_total") == 2, what="it is ended")
        said = client.get("/v2/health/ready").json()["detail"]
        assert "the model was not loaded within 15 s (MODELYARD_SERVER_LOAD_TIMEOUT)" in said
        stuck.unlink()
        eventually(lambda: ready(client), what="it is up again")
        assert ask(client, 0.0).json() == {"predictions": [0.0]}


async def test_a_pool_that_is_closed_waits_for_no_model_that_loads(tmp_path: Path) -> None:
    write_moody(tmp_path / "p")
    (tmp_path / "p" / PYTHON_FILES / "stuck").touch()
    pool = Pool(read_manifest(tmp_path / "p"), Launch(tmp_path / "p"), 2)
    pool.start()

    async def started() -> bool:
        return len(pool.memory()) == 2

    await eventually_async(started)
    workers = [slot.worker for slot in pool.lanes if slot.worker is not None]
    try:
        async with asyncio.timeout(15):
            await pool.close(within=60)
    finally:
        for worker in workers:
            worker.kill()
            await worker.wait()
            worker._end.close()

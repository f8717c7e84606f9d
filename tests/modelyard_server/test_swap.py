"""Another version in a running server: no request fails, and one that cannot be loaded changes nothing."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace

import grpc
import httpx
import numpy as np
import psutil
import pytest
import tritonclient.grpc as triton
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression
from tritonclient.grpc import service_pb2, service_pb2_grpc

from harness.collector import attributes, collecting
from harness.model_server import Process, serving, with_grpc
from harness.packages import write_moody, write_onnx
from harness.wait import eventually, eventually_async
from modelyard_api.models import MANIFEST_PATH, PYTHON_FILES
from modelyard_api.names import GRPC_SERVICE
from modelyard_server.dataplane import DataPlane
from modelyard_server.loading import Loaded
from modelyard_server.pace import SLOW
from modelyard_server.rpc.service import NOT_SERVED
from modelyard_server.swap import Swapper


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """`one` and `two`, ONNX graphs that answer the other way round; `slow`, Python; `broken`; `stuck`, whose process
    never loads; `pipe`, which the server itself reads for ever; and a link to `one`."""
    write_onnx(tmp_path / "one")
    write_onnx(tmp_path / "two")
    rows = np.arange(24, dtype=np.float64).reshape(8, 3)
    other = LogisticRegression().fit(rows, ["yes"] * 4 + ["zz"] * 4)
    graph = to_onnx(other, rows[:1], options={id(other): {"zipmap": False}})
    (tmp_path / "two" / "modelyard/model.onnx").write_bytes(graph.SerializeToString())
    write_moody(tmp_path / "slow")
    write_moody(tmp_path / "stuck")
    (tmp_path / "stuck" / PYTHON_FILES / "stuck").touch()
    (tmp_path / "broken").mkdir()
    (tmp_path / "pipe" / MANIFEST_PATH).parent.mkdir(parents=True)
    os.mkfifo(tmp_path / "pipe" / MANIFEST_PATH)
    (tmp_path / "current").symlink_to("one")
    return tmp_path


def point(packages: Path, name: str, process: int) -> None:
    """Put the link elsewhere at once, and say so."""
    new = packages / "new"
    new.symlink_to(name)
    os.replace(new, packages / "current")
    os.kill(process, signal.SIGHUP)


def version(client: httpx.Client) -> str:
    return str(client.get("/v2/models/penguins").json()["versions"][0])


class Caller(threading.Thread):
    """Asks without a pause, and counts what it is answered."""

    def __init__(self, url: str, row: list[float]) -> None:
        super().__init__()
        self.url, self.row = url, row
        self.seen: Counter[object] = Counter()
        self.last = ""
        self.ended = threading.Event()

    def run(self) -> None:
        with httpx.Client(base_url=self.url, timeout=30) as client:
            while not self.ended.is_set():
                answer = client.post("/invocations", json={"inputs": [self.row]})
                good = answer.status_code == 200
                self.last = answer.json()["predictions"][0] if good else answer.text
                self.seen[self.last] += 1
                self.seen["ready", client.get("/v2/health/ready").status_code] += 1


def test_under_load_no_request_fails_and_health_stays(packages: Path) -> None:
    with serving(packages / "current", open=True, version="") as (client, process):
        assert version(client) == "one"
        callers = [Caller(str(client.base_url), [0.0, 1.0, 2.0]) for _ in range(4)]
        for caller in callers:
            caller.start()
        for name, answer in (("one", "no"), ("two", "yes"), ("one", "no")):
            if version(client) != name:
                point(packages, name, process.pid)
            eventually(lambda: version(client) == name, what=f"{name} is served")  # noqa: B023
            eventually(lambda: all(c.last == answer for c in callers), what=f"all are answered by {name}")  # noqa: B023
        for caller in callers:
            caller.ended.set()
            caller.join()
        seen = sum((caller.seen for caller in callers), Counter[object]())
        assert set(seen) == {"no", "yes", ("ready", 200)}, "answers of both, and nothing else"
        assert f'version="{version(client)}"' in client.get("/metrics").text


def test_a_call_under_way_is_answered_by_the_model_that_began_it_which_is_then_unloaded(packages: Path) -> None:
    (packages / "current").unlink()
    (packages / "current").symlink_to("slow")
    with serving(packages / "current", open=True, version="") as (client, process):
        (old,) = psutil.Process(process.pid).children()
        answers: list[httpx.Response] = []
        url = f"{client.base_url}/invocations"
        asking = threading.Thread(target=lambda: answers.append(httpx.post(url, json={"inputs": [[4.0]]}, timeout=60)))
        asking.start()
        eventually(lambda: "modelyard_in_flight 1.0" in client.get("/metrics").text, what="it is at work")
        point(packages, "one", process.pid)
        eventually(lambda: version(client) == "one", what="the other one is served")
        assert client.post("/invocations", json={"inputs": [[0.0, 1.0, 2.0]]}).json() == {"predictions": ["no"]}
        assert old.is_running()
        assert not answers
        asking.join(60)
        assert answers[0].json() == {"predictions": [4.0]}
        eventually(lambda: not old.is_running(), what="its process is gone")
        assert "modelyard_workers" not in client.get("/metrics").text


def test_who_is_told_of_requests_is_told_which_version_answered(
    packages: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    told = {"access_log": True, "open": True, "version": ""}
    with (
        collecting() as collector,
        serving(packages / "current", with_grpc, otlp_url=collector.url, **told) as (client, process),
    ):
        for name in ("one", "two", "one"):
            if version(client) != name:
                point(packages, name, process.pid)
            eventually(lambda: version(client) == name, what=f"{name} is served")  # noqa: B023
            for rows in ([[0.0, 1.0, 2.0]] * 3, [["no number"]]):
                client.post("/invocations", json={"inputs": rows})
            ask_over_grpc(process)
            text = client.get("/metrics").text
            assert f'modelyard_model_info{{flavor="onnx",model="ada.penguins",version="{name}"}} 1.0' in text
            assert f'nv_inference_count{{model="ada.penguins",version="{name}"}} 4.0' in text
            assert f'nv_inference_request_failure{{model="ada.penguins",version="{name}"}} 1.0' in text
        process.terminate()
        assert process.wait(20) == 0
    asked = ("POST /invocations 200", "POST /invocations 422", f"gRPC /{GRPC_SERVICE}/ModelInfer 200")
    wanted = [(each, name) for name in ("one", "two", "one") for each in asked]
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    said = [(f"{line['method']} {line['path']} {line['status']}", line["version"]) for line in lines]
    assert [found for found in said if found[0] in asked] == wanted
    spans = sorted(collector.spans["request"], key=lambda span: span.start_time_unix_nano)
    named = [(span, attributes(span)) for span in spans]
    traced = [
        (
            f"{a['http.request.method']} {a['url.path']} {a['http.response.status_code']}",
            collector.versions[span.span_id],
        )
        for span, a in named
    ]
    assert [found for found in traced if found[0] in asked] == wanted


def ask_over_grpc(server: Process) -> None:
    sent = triton.InferInput("input", [1, 3], "FP64")
    sent.set_data_from_numpy(np.ones((1, 3)))
    with triton.InferenceServerClient(f"127.0.0.1:{server.grpc_port}") as client:
        client.infer("penguins", [sent])


def test_what_cannot_be_loaded_changes_nothing(packages: Path) -> None:
    with serving(packages / "current", open=True, version="") as (client, process):
        point(packages, "broken", process.pid)
        point(packages, "slow", process.pid)  # waits until the one before was given up
        eventually(lambda: version(client) == "slow", what="the next one is served", timeout=60)
        assert client.post("/invocations", json={"inputs": [[0.0]]}).json() == {"predictions": [0.0]}
        assert client.get("/v2/health/ready").status_code == 200


def test_why_another_version_is_not_served_is_told_over_grpc_as_over_http(packages: Path) -> None:
    with (
        serving(packages / "current", with_grpc, open=True, version="") as (client, process),
        grpc.insecure_channel(f"127.0.0.1:{process.grpc_port}") as channel,
    ):
        ask = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelMetadata
        asked = service_pb2.ModelMetadataRequest(name="penguins")

        def told() -> dict[str, bytes]:
            return dict(ask.with_call(asked, timeout=20)[1].trailing_metadata())

        assert NOT_SERVED not in told()
        point(packages, "broken", process.pid)
        said = eventually(lambda: told().get(NOT_SERVED), what="it is said")
        described = client.get("/v2/models/penguins").json()
        assert said.decode() == described["parameters"]["not_served"]
        assert ask(asked, timeout=20).versions == ["one"]
        point(packages, "two", process.pid)
        eventually(lambda: version(client) == "two", what="the next one is served")
        assert NOT_SERVED not in told()


@pytest.mark.parametrize("hangs", ["stuck", "pipe"])
def test_what_hangs_while_it_loads_is_given_up_and_said_and_the_version_before_serves(
    packages: Path, hangs: str
) -> None:
    with serving(packages / "current", open=True, version="", load_timeout=15) as (client, process):
        caller = Caller(str(client.base_url), [0.0, 1.0, 2.0])
        caller.start()
        point(packages, hangs, process.pid)

        def not_served() -> str:
            return str(client.get("/v2/models/penguins").json()["parameters"].get("not_served", ""))

        try:
            said = eventually(not_served, what="it is said", timeout=60)
        finally:
            caller.ended.set()
            caller.join()
        assert said.startswith("the model was not loaded within 15 s (MODELYARD_SERVER_LOAD_TIMEOUT)")
        assert set(caller.seen) == {"no", ("ready", 200)}
        point(packages, "two", process.pid)
        eventually(lambda: version(client) == "two", what="the next one is served")
        assert not_served() == ""


class Weights:
    """A version that is to be let go; `retire` waits for `done`."""

    def __init__(self) -> None:
        self.done = asyncio.Event()

    async def retire(self) -> None:
        await self.done.wait()


async def test_a_version_is_let_go_and_one_still_at_work_holds_up_no_swap() -> None:
    served = [Weights()]
    before = [weakref.ref(served[0])]
    loaded = Loaded(DataPlane.__new__(DataPlane), SLOW, "1")
    loaded.model.manifest = SimpleNamespace(flavor="onnx")  # type: ignore[assignment]

    async def load() -> Loaded:
        return loaded

    def switch(now: Loaded) -> Callable[[], Awaitable[None]]:
        old, served[0] = served[0], Weights()
        before.append(weakref.ref(served[0]))
        return old.retire

    async def switched() -> bool:
        return len(before) == wanted

    async def let_go() -> bool:
        return [version() is None for version in before] == [True, True, False]

    swapper = Swapper(load, switch)
    try:
        for wanted in (2, 3):  # noqa: B007 - `switched` reads it; the second while the first version is at work
            swapper.ask()
            await eventually_async(switched, what="it is switched")
        for version in before[:-1]:
            if (old := version()) is not None:
                old.done.set()
        old = None
        await eventually_async(let_go, what="both are let go")
    finally:
        await swapper.close()

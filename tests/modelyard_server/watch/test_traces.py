"""Traces of a real server, at a collector that reads them, and at collectors that are no good."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton

from harness.collector import Collector, attributes, collecting
from harness.model_server import Ports, Process, free_port, http_alone, serving, with_grpc
from harness.packages import write_onnx
from harness.wait import eventually

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("package") / "onnx"
    write_onnx(directory)
    return directory


@contextmanager
def traced(
    package: Path, collector: Collector, choose: Callable[[], Ports] = http_alone, **more: Any
) -> Iterator[tuple[httpx.Client, Process]]:
    settings = {"open": True, "otlp_url": collector.url, "model": "ada.penguins", "version": 3} | more
    with serving(package, choose, **settings) as found:
        yield found


def ask(http: httpx.Client, sampled: str | None = None) -> None:
    headers = {} if sampled is None else {"traceparent": f"00-{TRACE}-{PARENT}-{sampled}"}
    http.post("/invocations", json={"instances": [[1, 2, 3]] * 4}, headers=headers).raise_for_status()


def test_spans_continue_the_callers_trace(package: Path) -> None:
    with collecting() as collector, traced(package, collector, with_grpc, trace_share=0) as (http, process):
        ask(http, "00")
        ask(http)
        ask(http, "01")
        request = eventually(lambda: collector.spans.get("request"), what="a span")[0]
        assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, PARENT)
        assert collector.resource["service.name"] == "penguins"
        assert collector.resource["service.version"] == "3"
        said = attributes(request)
        assert (said["url.path"], said["http.response.status_code"], said["modelyard.rows"]) == ("/invocations", 200, 4)
        (queue,), (predict,) = collector.spans["queue"], collector.spans["predict"]
        assert {queue.parent_span_id, predict.parent_span_id} == {request.span_id}
        assert attributes(predict) == {"modelyard.rows": 4, "modelyard.batch.rows": 4}
        times = [request.start_time_unix_nano, queue.start_time_unix_nano, queue.end_time_unix_nano]
        times += [predict.start_time_unix_nano, predict.end_time_unix_nano, request.end_time_unix_nano]
        assert times == sorted(times)
        assert abs(time.time_ns() - request.end_time_unix_nano) < 60e9
        sent = triton.InferInput("input", [1, 3], "FP64")
        sent.set_data_from_numpy(np.ones((1, 3)))
        with triton.InferenceServerClient(f"127.0.0.1:{process.grpc_port}") as client:
            client.infer("penguins", [sent], headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
        process.terminate()
        assert process.wait(20) == 0  # what is not delivered is, at the end
        assert len(collector.spans["request"]) == 2
        assert attributes(collector.spans["request"][1])["http.request.method"] == "gRPC"


def test_all_are_traced_where_nobody_says_otherwise(package: Path) -> None:
    with collecting() as collector, traced(package, collector) as (http, _):
        ask(http)
        http.post("/invocations", content=b"no JSON")
        found = eventually(
            lambda: spans if len(spans := collector.spans.get("request", [])) == 2 else None, what="two spans"
        )
        assert [attributes(span)["http.response.status_code"] for span in found] == [200, 400]
        assert len({span.trace_id for span in found}) == 2
        assert len(collector.spans["predict"]) == 1


@pytest.mark.parametrize("how", [{"silent": True}, {"status": 503}, {"gone": True}])
def test_a_collector_that_is_no_good_delays_no_answer(package: Path, how: dict[str, Any]) -> None:
    """A silent one answers nothing before the test has ended: who waited for it would get no answer at all."""
    gone = how.pop("gone", False)
    with collecting(**how) as collector:
        if gone:
            collector.server_close()
        with traced(package, collector) as (http, process):
            ask(http)
            assert gone or collector.asked.wait(20)  # from now on its thread waits
            for _ in range(300):
                ask(http)
            process.terminate()
            assert process.wait(20) == 0


def test_nothing_is_imported_where_it_is_off() -> None:
    look = (
        "import sys, modelyard_server.__main__ as m; print([n for n in ('grpc', 'opentelemetry') if n in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", look], capture_output=True, text=True).stdout == "[]\n"


def test_a_missing_extra_is_told(package: Path, tmp_path: Path) -> None:
    (tmp_path / "opentelemetry.py").write_text("raise ModuleNotFoundError('no', name='opentelemetry')")
    from harness.model_server import command, command_environment

    environment = command_environment(package, free_port(), open=True, otlp_url="http://127.0.0.1:9")
    environment["PYTHONPATH"] = str(tmp_path)
    ended = subprocess.run(command(), env=environment, capture_output=True, timeout=60)
    assert ended.returncode == 2
    assert b"serving-traces" in ended.stderr

"""Logs, and metrics scraped from real servers."""

from pathlib import Path

import psutil
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from harness.api import API, Yard, body, problem
from harness.model_server import serving as model_server
from harness.packages import write_moody
from harness.wait import eventually
from harness.web import serving
from modelyard_hub.api.scrape import parse, total
from modelyard_hub.reconcile.names import workload_name
from modelyard_hub.runtimes.base import ObservedServer, Phase, Replica, ReplicaLog

CHURN = f"{API}/endpoints/ada/churn"
TEXT = """
# TYPE modelyard_requests counter
modelyard_requests_total{code="200"} 90.0
modelyard_requests_total{code="422"} 9.0
modelyard_requests_total{code="500"} 1.0
# TYPE modelyard_request_seconds histogram
modelyard_request_seconds_bucket{le="0.001"} 0.0
modelyard_request_seconds_bucket{le="0.002"} 50.0
modelyard_request_seconds_bucket{le="0.01"} 100.0
modelyard_request_seconds_bucket{le="+Inf"} 100.0
modelyard_request_seconds_count 100.0
modelyard_request_seconds_sum 0.4
# TYPE modelyard_in_flight gauge
modelyard_in_flight 3.0
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 1.0e+08
"""


@pytest.fixture
async def churn(yard: Yard) -> Yard:
    async with yard.client("ada") as ada:
        await ada.put(CHURN, json=body({1: 90, 2: 10}), headers={"If-None-Match": "*"})
    return yard


def test_sums_over_replicas() -> None:
    found = total(2, [parse(TEXT), parse(TEXT)])
    assert found.model_dump() == {
        "revision": 2,
        "requests": 200,
        "errors": 20,
        "in_flight": 6,
        "latency_p50_ms": 2.0,
        "latency_p99_ms": 9.84,
        "latency_ms": ((1.0, 0), (2.0, 100), (10.0, 200), (None, 200)),
        "memory_bytes": 200_000_000,
    }


def test_memory_is_that_of_the_models_own_processes_too(tmp_path: Path) -> None:
    write_moody(tmp_path / "package")
    with model_server(tmp_path / "package", open=True, workers=2) as (client, process):
        up = lambda: "modelyard_workers 2.0" in client.get("/metrics").text  # noqa: E731
        eventually(up, timeout=60, what="both are up")
        whole = psutil.Process(process.pid)
        used = sum(one.memory_info().rss for one in (whole, *whole.children()))
        assert len(whole.children()) == 2
        assert parse(client.get("/metrics").text).memory == pytest.approx(used, rel=0.1)


def test_nothing_scraped_has_no_latency() -> None:
    found = total(1, [])
    assert (found.latency_p50_ms, found.latency_ms) == (None, ())


async def test_metrics_are_scraped_from_the_replicas_that_answer(churn: Yard) -> None:
    async def metrics(request: Request) -> Response:
        assert "x-forwarded-for" not in request.headers
        return PlainTextResponse(TEXT)

    with serving(Starlette(routes=[Route("/metrics", metrics)])) as url:
        replicas = (
            Replica(0, Phase.ready, url),
            Replica(1, Phase.ready, "http://127.0.0.1:1"),
            Replica(2, Phase.starting),
        )
        name = workload_name("ada", "churn", 1)
        churn.runtime.servers[name] = ObservedServer(name, "", replicas)
        async with churn.client("bob") as bob:
            (found,) = (await bob.get(f"{CHURN}/metrics")).json()["items"]
    assert (found["revision"], found["requests"], found["errors"]) == (1, 100, 10)


async def test_logs(churn: Yard, tmp_path: Path) -> None:
    name = workload_name("ada", "churn", 2)
    churn.runtime.lines[name] = (ReplicaLog(0, ("one", "two", "three")), ReplicaLog(1, ("four",)))
    async with churn.client("ada") as ada:
        assert (await ada.get(f"{CHURN}/logs", params={"lines": 2})).json()["items"] == [
            {"revision": 2, "replica": 0, "lines": ["two", "three"]},
            {"revision": 2, "replica": 1, "lines": ["four"]},
        ]
        assert (await ada.get(f"{CHURN}/logs", params={"revision": 1})).json() == {"items": []}
        assert "it has 1, 2" in problem(await ada.get(f"{CHURN}/logs?revision=7"), 404, "NotFound")["detail"]
        said = problem(await ada.get(f"{CHURN}/logs?lines=0"), 422, "InvalidInput")
        assert said["errors"][0]["field"] == "lines"

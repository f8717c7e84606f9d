"""gRPC through a real Traefik to real model servers, by a client that nobody here wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton

from harness.model_server import serving, side_by_side
from harness.packages import write_onnx
from harness.traefik import RealTraefik
from harness.wait import eventually, eventually_async
from modelyard_api.names import ENDPOINT_HEADER, REVISION_HEADER
from modelyard_hub.routing.document import EndpointRoute, RouterOptions, endpoint_section
from modelyard_hub.routing.traefik import TraefikRouter

ENDPOINT = {ENDPOINT_HEADER.lower(): "ada/churn"}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("package") / "onnx"
    write_onnx(directory)
    return directory


@contextmanager
def both(package: Path) -> Iterator[dict[int, httpx.Client]]:
    """A server of each of two revisions, with gRPC on the port beside."""
    with (
        serving(package, side_by_side, open=True, revision=1, version=1) as (one, _),
        serving(package, side_by_side, open=True, revision=2, version=2) as (two, _),
    ):
        yield {1: one, 2: two}


def asked(client: triton.InferenceServerClient, **headers: str) -> str:
    """The version that answers."""
    rows = triton.InferInput("input", [1, 3], "FP64")
    rows.set_data_from_numpy(np.ones((1, 3)))
    answer = client.infer("penguins", [rows], headers=ENDPOINT | headers, client_timeout=10)
    return str(answer.get_response().model_version)


async def test_calls_reach_the_endpoint_by_its_shares_and_by_revision(package: Path, tmp_path: Path) -> None:
    current: list[TraefikRouter] = []
    traefik = RealTraefik(tmp_path, lambda: current[0].document() if current else None)
    router = TraefikRouter(RouterOptions(grpc=True), traefik.api_url)
    try:
        router.restore((), ())
        current.append(router)
        with both(package) as servers, triton.InferenceServerClient(traefik.url.removeprefix("http://")) as client:
            urls = {number: (str(server.base_url).rstrip("/"),) for number, server in servers.items()}
            route = EndpointRoute("ada", "churn", {1: 50, 2: 50}, urls)
            router.publish(route.key, route)
            await eventually_async(lambda: router.applied(route.key), timeout=10, what="Traefik applies the route")
            eventually(lambda: asked(client), timeout=10, what="an answer")
            assert Counter(asked(client) for _ in range(20)) == {"1": 10, "2": 10}
            assert {asked(client, **{REVISION_HEADER.lower(): "2"}) for _ in range(4)} == {"2"}
            assert client.get_model_metadata("penguins", headers=ENDPOINT).name == "penguins"
            with pytest.raises(Exception, match=r"NOT_FOUND|UNIMPLEMENTED"):
                client.is_server_live(headers={ENDPOINT_HEADER.lower(): "ada/other"})
            body = {"instances": [[1, 2, 3]]}
            async with httpx.AsyncClient(base_url=traefik.url, trust_env=False, timeout=30) as caller:
                over_http = await caller.post("/serve/ada/churn/invocations", json=body)
            assert over_http.status_code == 200
    finally:
        await router.close()
        traefik.close()


def test_there_are_no_such_routes_unless_asked_for() -> None:
    route = EndpointRoute("ada", "churn", {1: 100}, {1: ("http://[::1]:8080",)})
    assert not any(".grpc" in name for name in endpoint_section(route).routers)
    section = endpoint_section(route, grpc=True)
    assert section.services["serve.ada.churn.r1.grpc"]["loadBalancer"]["servers"] == [{"url": "h2c://[::1]:8081"}]
    assert section.routers["serve.ada.churn.grpc"]["rule"].endswith("Header(`X-Modelyard-Endpoint`, `ada/churn`)")

"""Routing with a real Traefik and real servers."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from harness.traefik import RealTraefik, Web, echo, free_port
from harness.wait import eventually_async
from modelyard_hub.routing.document import AGAIN_MAX_BODY, EndpointRoute, RouterOptions, endpoint_section
from modelyard_hub.routing.hub import HubRoute
from modelyard_hub.routing.traefik import TraefikRouter

KEY = ("ada", "churn")


@pytest.fixture
def servers() -> Iterator[Callable[[str], Web]]:
    made: list[Web] = []

    def start(name: str) -> Web:
        made.append(echo(name))
        return made[-1]

    yield start
    for server in made:
        server.close()


class Stand:
    """A router, a Traefik that pulls from it, a caller."""

    def __init__(self, folder: Path, options: RouterOptions) -> None:
        self.current: list[TraefikRouter] = []
        self.traefik = RealTraefik(folder, lambda: self.current[0].document() if self.current else None)
        self.router = TraefikRouter(options, self.traefik.api_url)
        self.current.append(self.router)
        self.caller = httpx.AsyncClient(base_url=self.traefik.url, trust_env=False, timeout=10)

    async def publish(self, route: EndpointRoute | None) -> None:
        self.router.publish(KEY, route)
        await eventually_async(lambda: self.router.applied(KEY), timeout=10, what="Traefik applies the route")

    async def close(self) -> None:
        await self.caller.aclose()
        await self.router.close()
        self.traefik.close()


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[Stand]:
    made = Stand(tmp_path, RouterOptions())
    made.router.restore((), ())
    try:
        yield made
    finally:
        await made.close()


def two(one: Web, other: Web) -> EndpointRoute:
    return EndpointRoute(*KEY, weights={1: 90, 2: 10}, servers={1: (one.url,), 2: (other.url,)})


async def test_weights_headers_and_paths(stand: Stand, servers: Callable[[str], Web]) -> None:
    await eventually_async(lambda: stand.router.applied(KEY), timeout=10, what="no route, and none reported")
    await stand.publish(two(servers("one"), servers("two")))
    counts: Counter[str] = Counter()
    for _ in range(200):
        counts[(await stand.caller.get("/serve/ada/churn/v2")).json()["server"]] += 1
    assert counts == {"one": 180, "two": 20}

    chosen = await stand.caller.post(
        "/serve/ada/churn/v2/models/churn/infer",
        headers={"X-Modelyard-Revision": "2", "Cookie": "jupyterhub-session-id=secret", "Authorization": "Bearer key"},
        json={},
    )
    assert chosen.json()["server"] == "two"
    assert chosen.json()["path"] == "/v2/models/churn/infer"
    assert "cookie" not in chosen.json()["headers"]
    assert chosen.json()["headers"]["authorization"] == "Bearer key"
    assert (await stand.caller.get("/serve/ada/churn")).json()["path"] == "/"
    assert (await stand.caller.get("/serve/ada/churning/v2")).status_code == 404

    await stand.publish(None)
    assert (await stand.caller.get("/serve/ada/churn/v2")).status_code == 404


async def test_what_a_model_server_answers_changes_nothing_in_a_browser(stand: Stand) -> None:
    """Its owner wrote it, and it is at the address of the hub."""
    hostile = {
        "Content-Type": "text/html",
        "Content-Security-Policy": "default-src *",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Set-Cookie": "_xsrf=mine; Path=/",
        "Clear-Site-Data": '"cookies"',
        "Service-Worker-Allowed": "/",
        "NEL": '{"report_to": "mine", "max_age": 86400}',
        "Report-To": '{"group": "mine", "max_age": 86400, "endpoints": [{"url": "https://elsewhere.example"}]}',
        "Alt-Svc": 'h2=":8443"',
        "Access-Control-Allow-Origin": "https://elsewhere.example",
        "Access-Control-Allow-Credentials": "true",
    }
    server = Web(lambda path, headers: (200, hostile, b"<script>"))
    try:
        await stand.publish(EndpointRoute(*KEY, weights={1: 100}, servers={1: (server.url,)}))
        for revision in ({}, {"X-Modelyard-Revision": "1"}):
            said = (await stand.caller.get("/serve/ada/churn/", headers=revision)).headers
            assert said.get_list("content-security-policy")[0].startswith("sandbox allow-scripts ")
            assert "allow-same-origin" not in said["content-security-policy"]
            assert said.get_list("x-content-type-options") == ["nosniff"]
            gone = {"cross-origin-opener-policy", "set-cookie", "clear-site-data", "service-worker-allowed", "nel"}
            assert not (gone | {"report-to", "alt-svc"}) & set(said)
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        for origin, allowed in (("null", "null"), ("https://elsewhere.example", None)):
            preflight = await stand.caller.options("/serve/ada/churn/v2", headers=asked | {"Origin": origin})
            assert preflight.headers.get("access-control-allow-origin") == allowed
            assert "access-control-allow-credentials" not in preflight.headers
    finally:
        server.close()


async def test_no_server_is_unavailable_and_a_new_one_is_used(stand: Stand, servers: Callable[[str], Web]) -> None:
    await stand.publish(EndpointRoute(*KEY, weights={1: 100}, servers={}))
    assert (await stand.caller.get("/serve/ada/churn/v2")).status_code == 503
    await stand.publish(EndpointRoute(*KEY, weights={1: 100}, servers={1: (servers("one").url,)}))
    assert (await stand.caller.get("/serve/ada/churn/v2")).json()["server"] == "one"
    await stand.publish(EndpointRoute(*KEY))
    assert (await stand.caller.get("/serve/ada/churn/v2")).status_code == 503


async def test_a_server_that_takes_no_connections_is_not_seen(stand: Stand, servers: Callable[[str], Web]) -> None:
    alive, dead = servers("alive"), f"http://127.0.0.1:{free_port()}"
    await stand.publish(EndpointRoute(*KEY, weights={1: 100}, servers={1: (alive.url, dead)}))
    for _ in range(20):
        answer = await stand.caller.post("/serve/ada/churn/v2/models/churn/infer", json={"inputs": []})
        assert answer.status_code == 200


@pytest.mark.parametrize(("size", "deaths"), [(10, 2), (AGAIN_MAX_BODY + 1, 1)])
async def test_a_call_that_kills_its_server_kills_two_at_most_and_a_large_one_only_one(
    stand: Stand, size: int, deaths: int
) -> None:
    hits = 0

    def die(path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        nonlocal hits
        if path.startswith("/v2/health"):
            return 200, {}, b""
        hits += 1
        raise ConnectionAbortedError("the process is gone in the middle of the call")

    fragile = [Web(die) for _ in range(4)]
    await stand.publish(EndpointRoute(*KEY, weights={1: 100}, servers={1: tuple(f.url for f in fragile)}))
    answer = await stand.caller.post("/serve/ada/churn/v2/models/churn/infer", content=b"x" * size)
    assert answer.status_code == 502
    assert hits == deaths
    for server in fragile:
        server.close()


async def test_a_call_whose_server_died_is_sent_once_more(stand: Stand) -> None:
    seen: list[str] = []

    def die_once(path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        if path.startswith("/v2/health"):
            return 200, {}, b""
        seen.append(path)
        if len(seen) == 1:
            raise ConnectionAbortedError("the process is gone in the middle of the call")
        return 200, {}, headers["content-length"].encode()

    dying = Web(die_once)
    await stand.publish(EndpointRoute(*KEY, weights={1: 100}, servers={1: (dying.url,)}))
    answer = await stand.caller.post("/serve/ada/churn/v2/models/churn/infer", content=b"x" * 1000)
    assert (answer.status_code, answer.text) == (200, "1000")
    assert len(seen) == 2
    dying.close()


async def test_a_revision_without_live_servers_loses_its_share(stand: Stand, servers: Callable[[str], Web]) -> None:
    one, two_ = servers("one"), f"http://127.0.0.1:{free_port()}"
    await stand.publish(EndpointRoute(*KEY, weights={1: 50, 2: 50}, servers={1: (one.url,), 2: (two_,)}))

    async def all_well() -> bool:
        answers = [await stand.caller.get("/serve/ada/churn/v2") for _ in range(4)]
        return all(a.status_code == 200 for a in answers)

    await eventually_async(all_well, timeout=10)


async def test_routes_outlive_the_provider_and_come_back_with_it(stand: Stand, servers: Callable[[str], Web]) -> None:
    one, two_ = servers("one"), servers("two")
    await stand.publish(two(one, two_))
    kept = [stand.router.dump(KEY) or ""]
    stand.traefik.provider.close()
    assert await stand.router.applied(KEY)
    assert (await stand.caller.get("/serve/ada/churn/v2")).status_code == 200

    again = TraefikRouter(RouterOptions(), stand.traefik.api_url)
    assert again.document() is None
    again.restore(kept, {one.url, two_.url})
    assert again.document() == stand.router.document()
    assert again.published() == (KEY,)
    again.restore(kept, {one.url})
    route = again.route(KEY)
    assert route is not None
    assert route.servers == {1: (one.url,), 2: ()}
    assert not await again.applied(KEY), "Traefik still names the server that is gone"
    await again.close()


async def test_applied_is_false_while_traefik_is_away(tmp_path: Path) -> None:
    router = TraefikRouter(RouterOptions(), f"http://127.0.0.1:{free_port()}")
    router.restore(["not json"], ())
    assert not await router.applied(KEY)
    await router.close()


async def test_while_the_hub_service_is_away_mlflow_is_asked_nothing(
    tmp_path: Path, servers: Callable[[str], Web]
) -> None:
    """The library takes this answer, and no other one, for a request that nobody has seen."""
    mlflow = servers("mlflow")
    away = f"http://127.0.0.1:{free_port()}"
    stand = Stand(tmp_path, RouterOptions(service=away, mlflow=f"{mlflow.url}/mlflow"))
    stand.router.restore((), ())
    try:
        await eventually_async(lambda: _status_is(stand.caller, 500), timeout=10)
        answer = await stand.caller.post("/mlflow/api/2.0/mlflow/runs/create", json={})
        assert (answer.status_code, answer.content) == (500, b"")
    finally:
        await stand.close()


async def test_mlflow_asks_the_hub_service_first(tmp_path: Path, servers: Callable[[str], Web]) -> None:
    def authorize(path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        forwarded.append((headers["x-forwarded-proto"], headers["x-forwarded-host"]))
        if headers.get("authorization") == "Bearer good":
            return 200, {"X-Modelyard-Token": "signed"}, b""
        return 401, {"Content-Type": "application/problem+json"}, json.dumps({"status": 401}).encode()

    forwarded: list[tuple[str, str]] = []
    hub, mlflow = Web(authorize), servers("mlflow")
    stand = Stand(tmp_path, RouterOptions(service=hub.url, mlflow=f"{mlflow.url}/mlflow"))
    stand.router.restore((), ())
    forged = {"X-Modelyard-Token": "forged", "X-Modelyard-User": "admin"}
    try:
        await eventually_async(lambda: _status_is(stand.caller, 401), timeout=10)
        answer = await stand.caller.get("/mlflow/api/x", headers={"Authorization": "Bearer good", **forged})
        assert answer.status_code == 200
        assert answer.json()["path"] == "/mlflow/api/x"
        assert answer.json()["headers"]["x-modelyard-token"] == "signed"
        assert "x-modelyard-user" not in answer.json()["headers"]
        claimed = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "elsewhere.example"}
        refused = await stand.caller.get("/mlflow/", headers={**forged, **claimed})
        assert forwarded[-1] == ("http", stand.caller.base_url.netloc.decode()), "what a stranger claims counts nothing"
        assert refused.status_code == 401
        assert refused.headers["content-type"] == "application/problem+json"
    finally:
        await stand.close()
        hub.close()


async def test_what_no_endpoint_takes_the_hub_service_answers(tmp_path: Path, servers: Callable[[str], Web]) -> None:
    hub, model, jupyterhub = servers("hub"), servers("model"), servers("jupyterhub")
    stand = Stand(tmp_path, RouterOptions(service=f"{hub.url}/services/modelyard"))
    stand.router.route_hub([HubRoute(routespec="/", target=jupyterhub.url)])
    stand.router.restore((), ())
    try:
        await stand.publish(EndpointRoute(*KEY, weights={1: 100}, servers={1: (model.url,)}))
        assert (await stand.caller.get("/serve/ada/churn/v2")).json()["server"] == "model"
        told = await stand.caller.post("/serve/ada/gone/v2", headers={"Cookie": "session=secret"}, json={})
        assert told.json()["server"] == "hub"
        assert told.json()["path"] == "/services/modelyard/internal/serve/ada/gone/v2"
        assert "cookie" not in told.json()["headers"]
        assert (await stand.caller.get("/serve")).json()["server"] == "hub"
        assert (await stand.caller.get("/server")).json()["server"] == "jupyterhub"
    finally:
        await stand.close()


async def _status_is(caller: httpx.AsyncClient, status: int) -> bool:
    return (await caller.get("/mlflow/")).status_code == status


async def test_it_is_told_once_when_traefik_has_a_route(stand: Stand, servers: Callable[[str], Web]) -> None:
    confirmed = stand.router.confirmed()
    one, two_ = servers("one"), servers("two")
    for route in (two(one, two_), None):
        stand.router.publish(KEY, route)
        assert await asyncio.wait_for(anext(confirmed), 10) == KEY
        assert await stand.router.applied(KEY)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(confirmed), 0.5)


async def test_an_older_report_says_nothing_of_a_new_route(stand: Stand, servers: Callable[[str], Web]) -> None:
    first, other = two(servers("one"), servers("two")), two(servers("three"), servers("four"))
    await stand.publish(first)
    stand.traefik.provider.close()  # what comes now is never pulled
    stand.router.publish(KEY, other)
    stand.router.publish(KEY, first)
    assert not await stand.router._reports.confirm(endpoint_section(first), first.id, float("inf"))
    await eventually_async(lambda: stand.router.applied(KEY), timeout=10, what="a report that was asked for since")


async def test_what_traefik_pulls_is_small(stand: Stand, servers: Callable[[str], Web]) -> None:
    await stand.publish(two(servers("one"), servers("two")))
    packed = stand.router.packed()
    assert packed is not None
    assert gzip.decompress(packed).decode() == stand.router.document()
    stand.router.publish(KEY, None)
    assert gzip.decompress(stand.router.packed() or b"").decode() == stand.router.document()

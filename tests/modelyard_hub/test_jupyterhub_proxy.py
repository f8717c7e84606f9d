"""JupyterHub's proxy class, against the real API that is there, away, or slow to come."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.api import Yard, yard
from harness.traefik import free_port
from harness.wait import eventually_async
from harness.web import serving
from modelyard_hub.jupyterhub_proxy import HubServiceProxy, Routes
from modelyard_hub.routing.hub import HubRoute

PATH = "/services/modelyard/internal/hub-routes"
ADA = ("/user/ada/", "http://10.0.0.2:8888", {"user": "ada", "server_name": ""})


def route(routespec: str, port: int = 1) -> HubRoute:
    return HubRoute(routespec=routespec, target=f"http://10.0.0.1:{port}")


def test_changes_lie_over_what_is_kept() -> None:
    routes = Routes()
    routes.change("/new/", route("/new/"))
    routes.change("/old/", None)
    assert (set(routes.table()), routes.known) == ({"/new/"}, False)
    routes.read([route("/"), route("/old/"), route("/new/", 2)])
    assert (set(routes.table()), routes.known) == ({"/", "/new/"}, True)
    assert routes.table()["/new/"] == route("/new/")


def test_what_changes_while_it_is_written_is_written_next() -> None:
    routes = Routes()
    routes.read([])
    routes.change("/a/", route("/a/"))
    routes.change("/b/", route("/b/"))
    sent = routes.table()
    routes.change("/a/", route("/a/", 2))
    routes.change("/b/", None)
    routes.written(sent)
    assert routes.pending
    assert routes.table() == {"/a/": route("/a/", 2)}
    routes.written(routes.table())
    assert not routes.pending


@pytest.fixture(name="yard")
async def _yard(tmp_path: Path) -> AsyncIterator[Yard]:
    async with yard(tmp_path) as made:
        yield made


class Stand:
    """A hub service at a port where it is, or is not."""

    def __init__(self, made: Yard) -> None:
        self.yard, self.port = made, free_port()
        self.proxies: list[HubServiceProxy] = []
        self.url = f"http://127.0.0.1:{self.port}{PATH}"

    @contextmanager
    def service(self) -> Iterator[None]:
        with serving(self.yard.app, self.port):
            yield

    def proxy(self, **options: Any) -> HubServiceProxy:
        app = SimpleNamespace(subdomain_host="")
        made = HubServiceProxy(app=app, routes_url=self.url, token=self.yard.hub.secret, host_routing=False, **options)
        self.proxies.append(made)
        return made

    async def told(self, *routespecs: str) -> None:
        """Wait until these are what the hub service has."""

        async def are() -> bool:
            return [r.routespec for r in self.yard.router.hub_routes()] == sorted(routespecs)

        await eventually_async(are, timeout=20, what=f"{routespecs}")


@pytest.fixture
async def stand(yard: Yard) -> AsyncIterator[Stand]:
    made = Stand(yard)
    yield made
    for proxy in made.proxies:
        await proxy.stop()


async def test_routes_are_told_and_outlive_jupyterhub(stand: Stand) -> None:
    with stand.service():
        first = stand.proxy()
        await first.add_route("/", "http://10.0.0.1:8081", {"hub": True})
        await first.add_route(*ADA)
        await stand.told("/", "/user/ada/")
        again = stand.proxy()
        expected = dict(zip(("routespec", "target", "data"), ADA, strict=True))
        assert (await again.get_all_routes())["/user/ada/"] == expected
        await again.delete_route("/user/ada/")
        await stand.told("/")


async def test_while_the_service_is_away_nothing_is_lost_and_nothing_waits(stand: Stand) -> None:
    with stand.service():
        await stand.proxy().add_route("/user/bob/", "http://10.0.0.9:8888", {"user": "bob"})
        await stand.told("/user/bob/")
    started = stand.proxy()  # it cannot read what is kept
    assert await started.get_all_routes() == {}
    await started.add_route(*ADA)
    await started.add_route("/user/eve/", "http://10.0.0.3:8888", {"user": "eve"})
    await started.delete_route("/user/eve/")
    assert set(await started.get_all_routes()) == {"/user/ada/"}
    with stand.service():
        await stand.told("/user/ada/", "/user/bob/")
        assert set(await started.get_all_routes()) == {"/user/ada/", "/user/bob/"}


async def test_a_service_that_accepts_and_says_nothing_is_away(stand: Stand) -> None:
    proxy = stand.proxy()
    with socket.create_server(("127.0.0.1", stand.port)):
        proxy._http.timeout = 0.2
        await proxy.add_route(*ADA)
        assert set(await proxy.get_all_routes()) == {"/user/ada/"}
    with stand.service():
        await stand.told("/user/ada/")


async def test_a_start_does_not_wait_for_ever_until_its_route_is_live(stand: Stand) -> None:
    """Traefik is away here: the server is not stopped for that."""
    told: list[str] = []
    spawner = SimpleNamespace(
        proxy_spec=ADA[0],
        server=SimpleNamespace(host=ADA[1]),
        pending="spawn",
        _log_name="ada",
        answering=lambda: told.append("answering"),
    )
    user = SimpleNamespace(name="ada", spawners={"": spawner}, proxy_spec=ADA[0])
    with stand.service():
        await stand.proxy(live_timeout=0.3).add_user(user)
        await stand.told("/user/ada/")
    assert told == ["answering"]

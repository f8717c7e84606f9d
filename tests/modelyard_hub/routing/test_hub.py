"""JupyterHub's routes: as rules, and in a real Traefik."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from pydantic import ValidationError

from harness.traefik import RealTraefik, Web, echo
from harness.wait import eventually_async
from modelyard_hub.routing.document import RouterOptions
from modelyard_hub.routing.hub import HubRoute, HubRoutes, hub_section
from modelyard_hub.routing.traefik import TraefikRouter

SPITEFUL = ["back`tick`) || PathPrefix(`/", 'quo"te") || PathPrefix("/', "back\\slash", "a b@c.d", "Ünï", "new\nline"]


def route(routespec: str, target: str = "http://10.1.2.3:8888") -> HubRoute:
    return HubRoute(routespec=routespec, target=target, data={"user": "x"})


def user(name: str) -> str:
    """As JupyterHub writes it."""
    return f"/user/{quote(name, safe='@~')}/"


def test_a_route_as_a_whole() -> None:
    section = hub_section([route("/user/ada/")])
    assert section.routers == {
        "hub.user-ada.4e257a59fb": {
            "entryPoints": ["web"],
            "rule": '(PathPrefix("/user/ada/") || Path("/user/ada"))',
            "service": "hub.user-ada.4e257a59fb",
            "priority": 10,
        }
    }
    assert section.services == {
        "hub.user-ada.4e257a59fb": {
            "loadBalancer": {"servers": [{"url": "http://10.1.2.3:8888"}], "passHostHeader": True}
        }
    }


def test_the_root_and_a_host_of_its_own() -> None:
    rules = [r["rule"] for r in hub_section([route("/"), route("ada.yard.test/user/ada/")]).routers.values()]
    assert rules == [
        'PathPrefix("/")',
        'Host("ada.yard.test") && (PathPrefix("/user/ada/") || Path("/user/ada"))',
    ]


@pytest.mark.parametrize("routespec", ["", "user/ada", "/user/ada", "/user/" + 3000 * "a" + "/"])
def test_what_is_no_routespec_is_refused(routespec: str) -> None:
    with pytest.raises(ValidationError):
        route(routespec)


@pytest.mark.parametrize("target", ["", "10.0.0.1:8888", "file:///etc/passwd", "http://"])
def test_what_is_no_server_is_refused(target: str) -> None:
    with pytest.raises(ValidationError):
        route("/", target)


class Stand:
    """A router whose document a real Traefik pulls."""

    def __init__(self, folder: Path) -> None:
        self.servers: dict[str, Web] = {}
        self.router: TraefikRouter | None = None
        self.traefik = RealTraefik(folder, lambda: self.router.document() if self.router else None)
        self.router = TraefikRouter(RouterOptions(), self.traefik.api_url)
        self.router.restore((), ())

    async def route(self, *routespecs: str) -> None:
        """Each to a server that answers its own routespec."""
        assert self.router is not None
        for spec in routespecs:
            self.servers.setdefault(spec, echo(spec))
        self.router.route_hub([route(spec, self.servers[spec].url) for spec in routespecs])
        await eventually_async(self.router.hub_applied, timeout=10, what="Traefik applies them")

    def ask(self, path: str) -> str:
        answer = httpx.get(self.traefik.url + path, trust_env=False, timeout=10)
        return str(answer.json()["server"]) if answer.status_code == 200 else str(answer.status_code)

    async def close(self) -> None:
        assert self.router is not None
        await self.router.close()
        self.traefik.close()
        for server in self.servers.values():
            server.close()


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[Stand]:
    made = Stand(tmp_path)
    yield made
    await made.close()


def below(*specs: str) -> Iterator[tuple[str, str]]:
    for spec in specs:
        yield spec, spec
        yield spec + "api/kernels?x=1", spec
        yield spec.rstrip("/") or "/", spec


async def test_each_path_reaches_its_own_server_whatever_the_names(stand: Stand) -> None:
    specs = ["/", "/user/ada/", "/user/ada/second/", *(user(name) for name in SPITEFUL)]
    await stand.route(*specs)
    for path, spec in below(*specs):
        assert stand.ask(path) == spec, path
    assert stand.ask("/user/adam/") == "/"
    assert stand.ask("/hub/home") == "/"


async def test_what_is_gone_and_what_moved(stand: Stand) -> None:
    await stand.route("/", "/user/ada/")
    assert stand.router is not None
    assert await stand.router.hub_applied("/user/ada/")
    assert not await stand.router.hub_applied("/user/bob/")
    await stand.route("/")
    assert stand.ask("/user/ada/") == "/"
    assert not await stand.router.hub_applied("/user/ada/")
    stand.servers["/"] = echo("elsewhere")
    await stand.route("/")
    assert stand.ask("/") == "elsewhere"


async def test_kept_routes_are_taken_up_and_spoilt_ones_left(stand: Stand) -> None:
    assert stand.router is not None
    kept = HubRoutes(routes=[route("/"), route("/user/ada/")])
    stand.router.restore_hub(kept.model_dump_json())
    assert list(stand.router.hub_routes()) == kept.routes
    stand.router.restore_hub('{"routes": [{"routespec": 1}]}')
    assert list(stand.router.hub_routes()) == kept.routes

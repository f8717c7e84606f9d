"""The routes as they should be, the document that Traefik pulls, and what Traefik says it applied."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import httpx

from modelyard_hub.routing.document import EndpointRoute, RouterOptions, build, endpoint_section, render
from modelyard_hub.routing.hub import PREFIX as HUB
from modelyard_hub.routing.hub import HubRoute, HubRoutes, hub_section
from modelyard_hub.routing.section import Section

log = logging.getLogger(__name__)

Key = tuple[str, str]
_PROVIDER = "@http"
_FRESH = 0.05


class TraefikRouter:
    """Holds one route per endpoint, and JupyterHub's. Before `restore` there is no document: Traefik keeps what it has.

    Where the name in `api_url` has several addresses, each is a Traefik, and what they say counts when all say it.
    """

    def __init__(self, options: RouterOptions, api_url: str, client: httpx.AsyncClient | None = None) -> None:
        """`api_url` is that of Traefik's API, without `/api`."""
        self._options = options
        self._api = api_url.rstrip("/") + "/api"
        self._client = client or httpx.AsyncClient(trust_env=False, timeout=5.0)
        self._routes: dict[Key, EndpointRoute] = {}
        self._hub: tuple[HubRoute, ...] = ()
        self._restored = False
        self._document: str | None = None
        self._seen: tuple[float, Sequence[Mapping[str, Any]]] = (float("-inf"), ())

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.aclose()

    def restore(self, kept: str | None, running: Collection[str]) -> None:
        """Take up the routes that an earlier process kept (`dump`), so that calls go on until each endpoint was looked
        at. Servers that are not among the `running` URLs are left out: something else may have their port by now."""
        self._routes = {}
        try:
            routes = [EndpointRoute.from_json(entry) for entry in json.loads(kept)["routes"]] if kept else []
        except (ValueError, KeyError, TypeError, AttributeError):
            log.exception("reading the kept routes; going on without")
            routes = []
        for route in routes:
            servers = {n: tuple(u for u in urls if u in running) for n, urls in route.servers.items()}
            self._routes[route.key] = EndpointRoute(route.owner, route.name, route.weights, servers)
        self._restored = True
        self._rebuild()

    def dump(self) -> str:
        """All routes, for `restore`."""
        return json.dumps({"routes": [self._routes[key].to_json() for key in sorted(self._routes)]}, sort_keys=True)

    def document(self) -> str | None:
        """The document for Traefik's HTTP provider; None before `restore`."""
        return self._document

    def published(self) -> tuple[Key, ...]:
        """Endpoints that have a route."""
        return tuple(self._routes)

    def route(self, key: Key) -> EndpointRoute | None:
        """The published route of an endpoint."""
        return self._routes.get(key)

    def publish(self, key: Key, route: EndpointRoute | None) -> bool:
        """Make this the endpoint's route (None: none) in the document. Whether that changed it."""
        if self._routes.get(key) == route:
            return False
        if route is None:
            del self._routes[key]
        else:
            self._routes[key] = route
        self._rebuild()
        return True

    async def applied(self, key: Key) -> bool:
        """Whether Traefik reports exactly the published route, or none where there is none. False when it is away."""
        route, name = self._routes.get(key), f"serve.{key[0]}.{key[1]}"
        wanted = Section({}, {}, {}) if route is None else endpoint_section(route, self._options.entrypoints)
        return await self._all_have(wanted, lambda reported: _belongs(reported, name))

    def hub_routes(self) -> tuple[HubRoute, ...]:
        """JupyterHub's routes as they were told last."""
        return self._hub

    def restore_hub(self, kept: str | None) -> None:
        """Take up what JupyterHub told an earlier process (`HubRoutes` as JSON)."""
        try:
            self.route_hub(HubRoutes.model_validate_json(kept).routes if kept else ())
        except ValueError:
            log.exception("reading JupyterHub's routes; going on until it tells them again")

    def route_hub(self, routes: Iterable[HubRoute]) -> None:
        """Make these JupyterHub's routes in the document."""
        self._hub = tuple(sorted(routes, key=lambda route: route.routespec))
        if self._restored:
            self._rebuild()

    async def hub_applied(self, routespec: str | None = None) -> bool:
        """Whether Traefik reports exactly JupyterHub's routes, or one of them. False when it is away."""
        chosen = [route for route in self._hub if routespec in (None, route.routespec)]
        if routespec is not None and not chosen:
            return False
        names = {route.id + _PROVIDER for route in chosen}
        wanted = hub_section(chosen, self._options.entrypoints)
        if routespec is not None:
            return await self._all_have(wanted, names.__contains__)
        return await self._all_have(wanted, lambda n: n.startswith(HUB) and n.endswith(_PROVIDER))

    async def _all_have(self, wanted: Section, ours: Callable[[str], bool]) -> bool:
        reports = await self._reported()
        return bool(reports) and all(
            _routers_match(wanted.routers, _chosen(report, "routers", ours))
            and _services_match(wanted.services, _chosen(report, "services", ours))
            for report in reports
        )

    async def _reported(self) -> Sequence[Mapping[str, Any]]:
        """Each Traefik's whole configuration, fetched once for all who ask at about the same time; none when one of
        them is away."""
        if time.monotonic() - self._seen[0] < _FRESH:
            return self._seen[1]
        try:
            found: Sequence[Mapping[str, Any]] = await asyncio.gather(*map(self._ask, await _addresses(self._api)))
        except (httpx.HTTPError, OSError, ValueError) as error:
            log.debug("asking Traefik: %s", error)
            found = ()
        self._seen = (time.monotonic(), found)
        return found

    async def _ask(self, api: httpx.URL) -> Mapping[str, Any]:
        response = await self._client.get(f"{api}/rawdata")
        response.raise_for_status()
        data: Mapping[str, Any] = response.json()
        return data

    def _rebuild(self) -> None:
        routes = [self._routes[key] for key in sorted(self._routes)]
        self._document = render(build(routes, self._options, self._hub))


async def _addresses(url: str) -> list[httpx.URL]:
    """The URL with each address of its host in the host's place."""
    whole = httpx.URL(url)
    found = await asyncio.get_running_loop().getaddrinfo(whole.host, whole.port or 80, type=socket.SOCK_STREAM)
    return [whole.copy_with(host=address) for address in sorted({str(entry[4][0]) for entry in found})]


def _belongs(reported: str, name: str) -> bool:
    """Whether a reported name is that of the endpoint `name` or of one of its revisions."""
    return reported == name + _PROVIDER or (reported.startswith(f"{name}.r") and reported.endswith(_PROVIDER))


def _chosen(report: Mapping[str, Any], kind: str, ours: Callable[[str], bool]) -> dict[str, Any]:
    return {n.removesuffix(_PROVIDER): member for n, member in report.get(kind, {}).items() if ours(n)}


def _routers_match(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    if set(found) != set(wanted):
        return False
    return all(
        found[n].get("status") == "enabled"
        and found[n].get("rule") == router["rule"]
        and found[n].get("service", "").removesuffix(_PROVIDER) == router["service"]
        for n, router in wanted.items()
    )


def _services_match(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    return set(found) == set(wanted) and all(_essence(found[n]) == _essence(s) for n, s in wanted.items())


def _essence(service: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a service does with calls, in the document's shape or in that of Traefik's report."""
    if weighted := service.get("weighted"):
        shares = weighted.get("services", [])
        return ("weighted", sorted((s["name"].removesuffix(_PROVIDER), s.get("weight", 1)) for s in shares))
    servers = (service.get("loadBalancer") or {}).get("servers") or []
    return ("servers", sorted(s["url"].rstrip("/") for s in servers))

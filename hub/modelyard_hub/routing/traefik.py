"""The routes as they should be, the document that Traefik pulls, and what Traefik says it applied."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Collection, Mapping
from typing import Any

import httpx

from modelyard_hub.routing.document import EndpointRoute, RouterOptions, build, endpoint_section, render

log = logging.getLogger(__name__)

Key = tuple[str, str]
_PROVIDER = "@http"
_FRESH = 0.05


class TraefikRouter:
    """Holds one route per endpoint. Before `restore` there is no document: Traefik keeps what it has."""

    def __init__(self, options: RouterOptions, api_url: str, client: httpx.AsyncClient | None = None) -> None:
        """`api_url` is that of Traefik's API, without `/api`."""
        self._options = options
        self._api = api_url.rstrip("/") + "/api"
        self._client = client or httpx.AsyncClient(trust_env=False, timeout=5.0)
        self._routes: dict[Key, EndpointRoute] = {}
        self._document: str | None = None
        self._seen: tuple[float, Mapping[str, Any] | None] = (float("-inf"), None)

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
        actual = await self._reported()
        if actual is None:
            return False
        route = self._routes.get(key)
        name = f"serve.{key[0]}.{key[1]}"
        if route is None:
            return not any(_belongs(n, name) for kind in ("routers", "services") for n in actual.get(kind, {}))
        section = endpoint_section(route, self._options.entrypoint)
        return _routers_match(section.routers, actual.get("routers", {}), name) and _services_match(
            section.services, actual.get("services", {}), name
        )

    async def _reported(self) -> Mapping[str, Any] | None:
        """Traefik's whole configuration, fetched once for all who ask at about the same time; None when away."""
        if time.monotonic() - self._seen[0] < _FRESH:
            return self._seen[1]
        try:
            response = await self._client.get(f"{self._api}/rawdata")
            response.raise_for_status()
            data: Mapping[str, Any] | None = response.json()
        except (httpx.HTTPError, ValueError) as error:
            log.debug("asking Traefik: %s", error)
            data = None
        self._seen = (time.monotonic(), data)
        return data

    def _rebuild(self) -> None:
        self._document = render(build([self._routes[key] for key in sorted(self._routes)], self._options))


def _belongs(reported: str, name: str) -> bool:
    """Whether a reported name is that of the endpoint `name` or of one of its revisions."""
    return reported == name + _PROVIDER or (reported.startswith(f"{name}.r") and reported.endswith(_PROVIDER))


def _routers_match(wanted: Mapping[str, Any], reported: Mapping[str, Any], name: str) -> bool:
    found = {n.removesuffix(_PROVIDER): r for n, r in reported.items() if _belongs(n, name)}
    if set(found) != set(wanted):
        return False
    return all(
        found[n].get("status") == "enabled"
        and found[n].get("rule") == router["rule"]
        and found[n].get("service", "").removesuffix(_PROVIDER) == router["service"]
        for n, router in wanted.items()
    )


def _services_match(wanted: Mapping[str, Any], reported: Mapping[str, Any], name: str) -> bool:
    found = {n.removesuffix(_PROVIDER): s for n, s in reported.items() if _belongs(n, name)}
    return set(found) == set(wanted) and all(_essence(found[n]) == _essence(s) for n, s in wanted.items())


def _essence(service: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a service does with calls, in the document's shape or in that of Traefik's report."""
    if weighted := service.get("weighted"):
        shares = weighted.get("services", [])
        return ("weighted", sorted((s["name"].removesuffix(_PROVIDER), s.get("weight", 1)) for s in shares))
    servers = (service.get("loadBalancer") or {}).get("servers") or []
    return ("servers", sorted(s["url"].rstrip("/") for s in servers))

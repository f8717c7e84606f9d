"""The routes as they should be, the document that Traefik pulls, and what Traefik says it applied."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import time
from collections.abc import AsyncIterator, Collection, Iterable

import httpx

from modelyard_hub.routing.document import (
    EndpointRoute,
    Members,
    RouterOptions,
    build,
    compose,
    endpoint_section,
    members,
)
from modelyard_hub.routing.hub import PREFIX as HUB
from modelyard_hub.routing.hub import HubRoute, HubRoutes, hub_section
from modelyard_hub.routing.report import Reports
from modelyard_hub.routing.section import Section

log = logging.getLogger(__name__)

Key = tuple[str, str]
_NEVER = float("-inf")


class TraefikRouter:
    """Holds one route per endpoint, and JupyterHub's. Before `restore` there is no document: Traefik keeps what it has.

    Where the name in `api_url` has several addresses, each is a Traefik, and what they say counts when all say it.
    """

    def __init__(self, options: RouterOptions, api_url: str, client: httpx.AsyncClient | None = None) -> None:
        """`api_url` is that of Traefik's API, without `/api`."""
        self._options = options
        self._client = client or httpx.AsyncClient(trust_env=False, timeout=5.0)
        self._reports = Reports(api_url.rstrip("/") + "/api", self._client)
        self._routes: dict[Key, EndpointRoute] = {}
        self._members: dict[Key, Members] = {}
        self._hub: tuple[HubRoute, ...] = ()
        self._restored = False
        self._document: str | None = None
        self._packed: bytes | None = None
        # When what carries that name in the document was changed: an older report says nothing of it.
        self._changed: dict[str, float] = {}
        self._pending: set[Key] = set()
        self._published = asyncio.Event()

    async def close(self) -> None:
        """Let go of the connections."""
        await self._reports.close()
        await self._client.aclose()

    def restore(self, kept: Iterable[str], running: Collection[str]) -> None:
        """Take up the routes that an earlier process kept (`dump`), so that calls go on until each endpoint was looked
        at. Servers that are not among the `running` URLs are left out: something else may have their port by now."""
        self._routes, self._members = {}, {}
        for text in kept:
            try:
                route = EndpointRoute.from_json(json.loads(text))
            except (ValueError, KeyError, TypeError, AttributeError):
                log.exception("reading a kept route; going on without")
                continue
            servers = {n: tuple(u for u in urls if u in running) for n, urls in route.servers.items()}
            self._put(EndpointRoute(route.owner, route.name, route.weights, servers))
        self._restored = True

    def dump(self, key: Key) -> str | None:
        """The route of an endpoint, for `restore`; None where it has none."""
        route = self._routes.get(key)
        return None if route is None else json.dumps(route.to_json(), sort_keys=True)

    def document(self) -> str | None:
        """The document for Traefik's HTTP provider; None before `restore`."""
        if self._document is None and self._restored:
            shared = build((), self._options, self._hub)["http"]
            rest = Section(*(shared.get(kind, {}) for kind in ("routers", "services", "middlewares")))
            self._document = compose([*(self._members[key] for key in sorted(self._members)), members(rest)])
        return self._document

    def packed(self) -> bytes | None:
        """The document with gzip: Traefik pulls it some times a second, and it rarely changes."""
        if self._packed is None and (text := self.document()) is not None:
            self._packed = gzip.compress(text.encode(), compresslevel=1, mtime=0)
        return self._packed

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
            del self._routes[key], self._members[key]
            self._touched(_name(key))
        else:
            self._put(route)
        self._pending.add(key)
        self._published.set()
        return True

    async def applied(self, key: Key) -> bool:
        """Whether Traefik reports exactly the published route, or none where there is none. False when it is away."""
        route, name = self._routes.get(key), _name(key)
        wanted = Section({}, {}, {}) if route is None else self._section(route)
        confirmed = await self._reports.confirm(wanted, name, self._changed.get(name, _NEVER))
        if confirmed and self._routes.get(key) == route:
            self._pending.discard(key)
            if route is None:
                self._changed.pop(name, None)  # nothing is left of it
        return confirmed

    async def confirmed(self) -> AsyncIterator[Key]:
        """Endpoints whose published route Traefik has come to report, as that happens. Without end."""
        while True:
            await self._published.wait()
            for key in tuple(self._pending):
                if await self.applied(key):
                    yield key
            if self._pending:
                await self._reports.wait()
            else:
                self._published.clear()

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
        self._touched(HUB)

    async def hub_applied(self, routespec: str | None = None) -> bool:
        """Whether Traefik reports exactly JupyterHub's routes, or one of them. False when it is away."""
        since = self._changed.get(HUB, _NEVER)
        chosen = [route for route in self._hub if routespec in (None, route.routespec)]
        if routespec is not None and not chosen:
            return False
        names = {route.id for route in chosen}
        wanted = hub_section(chosen, self._options.entrypoints)
        if routespec is not None:
            return await self._reports.confirm_all(wanted, names.__contains__, since)
        return await self._reports.confirm_all(wanted, lambda n: n.startswith(HUB), since)

    def _section(self, route: EndpointRoute) -> Section:
        return endpoint_section(route, self._options.entrypoints, grpc=self._options.grpc)

    def _put(self, route: EndpointRoute) -> None:
        self._routes[route.key] = route
        self._members[route.key] = members(self._section(route))
        self._touched(route.id)

    def _touched(self, name: str) -> None:
        """The document is to be made anew, when it is asked for."""
        self._document = self._packed = None
        self._changed[name] = time.monotonic()


def _name(key: Key) -> str:
    return f"serve.{key[0]}.{key[1]}"

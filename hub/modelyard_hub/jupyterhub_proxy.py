"""JupyterHub's proxy class: its routes are kept by the hub service, in the one document that Traefik pulls.

So they outlive JupyterHub, every Traefik has them, and none needs a file that JupyterHub can write.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
from jupyterhub.proxy import Proxy
from traitlets import Bool, Float, Unicode

from modelyard_hub.backoff import Backoff
from modelyard_hub.routing.hub import HubRoute, HubRoutes
from modelyard_hub.spawner.starts.phases import record

Table = dict[str, HubRoute]
"""Routes by routespec."""


class Routes:
    """What is kept as far as it is known, and what is to be changed: the table that JupyterHub sees. Pure."""

    def __init__(self) -> None:
        self._kept: Table | None = None
        self._changes: dict[str, HubRoute | None] = {}

    @property
    def known(self) -> bool:
        """Whether it was ever read what is kept; before that nothing may be written over it."""
        return self._kept is not None

    @property
    def pending(self) -> bool:
        """Whether there are changes that are not kept yet."""
        return bool(self._changes)

    def table(self) -> Table:
        """All routes, as they are to be."""
        merged: dict[str, HubRoute | None] = {**(self._kept or {}), **self._changes}
        return {routespec: route for routespec, route in merged.items() if route is not None}

    def change(self, routespec: str, route: HubRoute | None) -> None:
        """Have a route, or none."""
        self._changes[routespec] = route

    def read(self, routes: list[HubRoute]) -> None:
        """The routes that are kept."""
        self._kept = {route.routespec: route for route in routes}

    def written(self, table: Table) -> None:
        """`table` is kept now; what was changed meanwhile is still to be written."""
        self._kept = table
        self._changes = {spec: route for spec, route in self._changes.items() if table.get(spec) != route}


class HubServiceProxy(Proxy):  # type: ignore[misc]  # JupyterHub is untyped
    """JupyterHub's proxy API over the hub service's `internal/hub-routes`.

    While the service is away, changes are remembered and told when it is back; JupyterHub goes on.
    """

    should_start = Bool(False, config=True, help="Traefik is started by others.")
    routes_url = Unicode(config=True, help="URL of `internal/hub-routes` at the hub service.")
    token = Unicode(config=True, help="The hub service's own token.")
    live_timeout = Float(60.0, config=True, help="Seconds to wait until a new notebook server's route is live.")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._routes = Routes()
        self._changed = asyncio.Event()
        self._telling: asyncio.Task[None] | None = None
        self._exchange = asyncio.Lock()  # an answer that was overtaken by a change would undo it
        self._backoff = Backoff(first=0.1, cap=5.0)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        # The hub service is near: a proxy of the environment has no business in between.
        self._http = httpx.AsyncClient(headers=headers, timeout=5.0, trust_env=False)

    async def add_route(self, routespec: str, target: str, data: dict[str, Any]) -> None:
        """See `Proxy.add_route`. Returns at once."""
        self.announce(routespec, target, data)

    async def delete_route(self, routespec: str) -> None:
        """See `Proxy.delete_route`. Returns at once."""
        self.withdraw(routespec)

    def announce(self, routespec: str, target: str, data: dict[str, Any]) -> None:
        """Have a route to what answers there, or soon will."""
        routespec = self.validate_routespec(routespec)
        self._change(routespec, HubRoute(routespec=routespec, target=target, data=data))

    def withdraw(self, routespec: str) -> None:
        """Have it no more."""
        self._change(self.validate_routespec(routespec), None)

    async def get_all_routes(self) -> dict[str, dict[str, Any]]:
        """See `Proxy.get_all_routes`: what the hub service keeps, with the changes that it was not told yet."""
        if not self._routes.pending:
            try:
                await self._read()
            except (httpx.HTTPError, ValueError) as error:
                self.log.warning("The hub service does not tell its routes, going on with those known: %s", error)
        return {spec: route.model_dump() for spec, route in self._routes.table().items()}

    async def add_user(self, user: Any, server_name: str = "") -> None:
        """See `Proxy.add_user`. At a server's start it waits until the route is live: the user is sent there next.

        Not longer than `live_timeout`: the server runs, and its route will come.
        """
        spawner = user.spawners[server_name]
        starts, began = spawner.pending == "spawn", time.monotonic()
        if starts and (answering := getattr(spawner, "answering", None)):
            answering()
        await super().add_user(user, server_name)
        if not starts:
            return
        if await self._live(self.validate_routespec(spawner.proxy_spec)):
            record("route", time.monotonic() - began)
        else:
            self.log.error("The route of %s is not live after %.0f s", spawner.proxy_spec, self.live_timeout)

    async def stop(self) -> None:
        """See `Proxy.stop`: let go of the connections. Routes stay."""
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.wait({self._telling})
        await self._http.aclose()

    def _change(self, routespec: str, route: HubRoute | None) -> None:
        self._routes.change(routespec, route)
        self._changed.set()
        if self._telling is None:
            self._telling = asyncio.create_task(self._tell(), name="tell JupyterHub's routes")
            self._telling.add_done_callback(self._say_why)

    async def _tell(self) -> None:
        """Until JupyterHub ends: each change is told, in order, however long it takes."""
        failures = 0
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                if not self._routes.known:
                    await self._read()
                await self._write()
            except Exception as error:
                failures += 1
                self._changed.set()
                unforeseen = error if not isinstance(error, httpx.HTTPError) else None
                self.log.warning("Telling routes to the hub service: %r", error, exc_info=unforeseen)
                await asyncio.sleep(self._backoff.delay(failures))
            else:
                failures = 0

    async def _read(self) -> None:
        async with self._exchange:
            self._routes.read((await self._ask()).routes)

    async def _write(self) -> None:
        async with self._exchange:
            table = self._routes.table()
            told = HubRoutes(routes=list(table.values()))
            body = told.model_dump_json(exclude={"applied"})
            answer = await self._http.put(self.routes_url, content=body)
            answer.raise_for_status()
            self._routes.written(table)

    async def _ask(self, **query: str) -> HubRoutes:
        answer = await self._http.get(self.routes_url, params=query)
        answer.raise_for_status()
        return HubRoutes.model_validate_json(answer.content)

    async def _live(self, routespec: str) -> bool:
        """Whether a route is live within `live_timeout`."""
        deadline = time.monotonic() + self.live_timeout
        while time.monotonic() < deadline:
            try:
                if not self._routes.pending and (await self._ask(routespec=routespec)).applied:
                    return True
            except (httpx.HTTPError, ValueError):
                pass  # the task above tells of it
            await asyncio.sleep(0.1)
        return False

    def _say_why(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.log.critical("Routes are not told to the hub service any more", exc_info=error)

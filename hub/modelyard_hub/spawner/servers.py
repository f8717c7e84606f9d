"""JupyterHub's servers as the REST API tells them, with what each waits for: the spawners know it.

The hub service reads it here, in one call for all; JupyterHub's own model of a server has no place for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.scopes import needs_scope
from jupyterhub.utils import url_path_join

from modelyard_api.choices import Sizes
from modelyard_api.names import owner_name
from modelyard_api.servers import Server, ServerList, ServerSpec, ServerStatus, State

PATH = "api/modelyard/servers"
PATIENCE = 3.0
"""Seconds that a start has to say what it waits for."""
log = logging.getLogger(__name__)
SizesOf = Callable[[Any], Sizes | None]


def install(app: Any, sizes_of: SizesOf) -> None:
    """Add the route to JupyterHub's application."""
    route = (url_path_join(app.hub_prefix, PATH), ServersHandler, {"sizes_of": sizes_of})
    app.tornado_application.add_handlers(".*", [route])


class ServersHandler(APIHandler):  # type: ignore[misc]  # JupyterHub is untyped
    """`GET`: the servers that the caller's scopes reach and that run, start, stop or have failed to start."""

    def initialize(self, sizes_of: SizesOf) -> None:
        """Called by tornado for each request."""
        super().initialize()
        self._sizes_of = sizes_of

    @needs_scope("read:servers", post_filter=True)  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        """With `?user=NAME` only that user's, those too that are stopped."""
        name = self.get_argument("user", None)
        mine = self.get_scope_filter("read:servers")
        found = [spawner for spawner in self._spawners(name) if mine(spawner, kind="server")]
        told = await asyncio.gather(*(self._told(spawner) for spawner in found))
        items = tuple(server for server in told if name is not None or server.status.state != "stopped")
        self.write(ServerList(items=items).model_dump_json())

    def _spawners(self, name: str | None) -> Iterator[Any]:
        """Those that this process of the hub has; all others are stopped, and nothing is to be said of them."""
        if name is None:
            for user in list(self.users.values()):
                yield from list(user.spawners.values())
        elif user := self.find_user(name):
            yield from [user.spawners[server] for server in sorted(user.orm_spawners)]

    async def _told(self, spawner: Any) -> Server:
        return await tell(spawner, self._sizes_of(spawner))


async def tell(spawner: Any, sizes: Sizes | None) -> Server:
    """One server as it is now."""
    state = _state(spawner)
    said: dict[str, Any] = {}
    if state == "starting":
        said = spawner.in_line() or await _says(spawner)
    since = _since(spawner)
    if state == "failed":
        since, said = failure(spawner)
    status = {field: said[field] for field in ServerStatus.model_fields if field in said}
    spec = ServerSpec() if sizes is None else ServerSpec.model_validate(sizes, from_attributes=True)
    url = spawner.user.server_url(spawner.name) if state == "running" else ""
    now = ServerStatus.model_validate({**status, "state": state, "since": since, "url": url})
    return Server(owner=owner_name(spawner.user.name), name=spawner.name, spec=spec, status=now)


def failure(spawner: Any) -> tuple[datetime | None, dict[str, Any]]:
    """When its last start failed, and why."""
    error = spawner._spawn_future.exception()
    found = getattr(error, "diagnosis", None)
    if found is None:
        return None, {"cause": str(getattr(error, "jupyterhub_message", "") or error or type(error).__name__)}
    names = ("phase", "reason", "cause", "remedy", "evidence")
    return error.at, {name: getattr(found, name) for name in names}


def _state(spawner: Any) -> State:
    if spawner.pending == "spawn":
        return "starting"
    if spawner.pending == "stop":
        return "stopping"
    if spawner.active:
        return "running"
    start = spawner._spawn_future
    failed = start is not None and start.done() and not start.cancelled() and start.exception() is not None
    return "failed" if failed else "stopped"


def _since(spawner: Any) -> datetime | None:
    asked = spawner.queue.marks.get(spawner.key) if spawner.queue else None
    if asked is not None:
        return datetime.fromtimestamp(asked, UTC)
    started: datetime | None = spawner.orm_spawner.started
    return started.replace(tzinfo=UTC) if started else None


async def _says(spawner: Any) -> dict[str, Any]:
    """What it waits for; nothing where that cannot be told in time: the list is no worse for it."""
    said: dict[str, Any] = {}
    with suppress(TimeoutError):
        try:
            said = await asyncio.wait_for(spawner.says(), PATIENCE)
        except Exception:
            log.exception("Telling what %s waits for", spawner.key)
    return said

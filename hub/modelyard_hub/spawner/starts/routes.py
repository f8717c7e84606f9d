"""A notebook server's route, made while the server starts.

Its port is open long before it answers, and calls wait there. So routers can know the way by the time that it is ready,
and a page that is asked for meanwhile is late rather than an error.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any
from urllib.parse import urlsplit

from modelyard_hub.jupyterhub_proxy import HubServiceProxy


def announce(spawner: Any, target: str) -> None:
    """The server will answer at `target` (`http://host:port`). JupyterHub adds the same route when it does."""
    if proxy := _proxy(spawner):
        proxy.announce(spawner.proxy_spec, target, {"user": spawner.user.name, "server_name": spawner.name})


def withdraw(spawner: Any) -> None:
    """It ends, or has not started."""
    if proxy := _proxy(spawner):
        proxy.withdraw(spawner.proxy_spec)


async def until_open(url: str, every: float, cap: float = 1.0) -> None:
    """Until something listens at the URL's host and port: tried after `every` seconds, then less often, up to `cap`."""
    place = urlsplit(url)
    while True:
        with contextlib.suppress(OSError, TimeoutError):
            _, writer = await asyncio.wait_for(asyncio.open_connection(place.hostname, place.port), 5)
            writer.close()
            return
        await asyncio.sleep(every)
        every = min(cap, every * 1.25)


def _proxy(spawner: Any) -> HubServiceProxy | None:
    settings = getattr(spawner.user, "settings", None) or {}
    proxy = settings.get("proxy") if isinstance(settings, dict) else None
    return proxy if isinstance(proxy, HubServiceProxy) else None

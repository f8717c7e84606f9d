"""What belongs to no namespace: nodes, what their pods asked for, attachments. Read seldom, once for all."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from kubernetes_asyncio.client import StorageV1Api
from kubernetes_asyncio.client.exceptions import ApiException

from modelyard_hub.spawner.starts.causes.base import Object
from modelyard_hub.spawner.starts.causes.room import usage

FRESH = 10.0
"""Seconds for which it is good enough."""
REFUSED = 300.0
"""Seconds after which what the hub may not see is asked for again."""
PAGE, PAGES = 500, 20
AWAY = (ApiException, aiohttp.ClientError, OSError, TimeoutError, ValueError)
"""What reading may raise, which keeps nobody from being told the rest."""
log = logging.getLogger(__name__)


class Wide:
    """None where the hub may not see it. `feeds`: how many watches of events are open, of all who wait."""

    def __init__(self, api: Any) -> None:
        self._api = api
        self._kept: dict[str, tuple[float, Any]] = {}
        self._reading = asyncio.Lock()
        self.feeds = 0

    async def nodes(self) -> tuple[Object, ...] | None:
        """All nodes; None where the hub may not see them."""
        found: tuple[Object, ...] | None = await self._have("nodes", self._nodes)
        return found

    async def used(self) -> dict[str, dict[str, float]] | None:
        """What pods asked for, by node and resource; None where the hub may not see all pods, or they are too many."""
        found: dict[str, dict[str, float]] | None = await self._have("used", self._used)
        return found

    async def attachments(self) -> tuple[Object, ...] | None:
        """All VolumeAttachments; None where the hub may not see them."""
        found: tuple[Object, ...] | None = await self._have("attachments", self._attachments)
        return found

    async def _have(self, name: str, look: Callable[[], Awaitable[Any]]) -> Any:
        async with self._reading:
            until, found = self._kept.get(name, (0.0, None))
            if time.monotonic() >= until:
                found, lasts = None, FRESH
                try:
                    found = await look()
                except AWAY as error:
                    if getattr(error, "status", 0) == 403:
                        lasts = REFUSED
                    else:
                        log.warning("Reading the cluster's %s: %r", name, error)
                self._kept[name] = (time.monotonic() + lasts, found)
            return found

    async def _nodes(self) -> tuple[Object, ...]:
        return tuple((await read(self._api.list_node, resource_version="0"))["items"])

    async def _attachments(self) -> tuple[Object, ...]:
        storage = StorageV1Api(self._api.api_client)
        return tuple((await read(storage.list_volume_attachment, resource_version="0"))["items"])

    async def _used(self) -> dict[str, dict[str, float]] | None:
        total: dict[str, dict[str, float]] = {}
        more: dict[str, Any] = {}
        for _ in range(PAGES):
            page = await read(
                self._api.list_pod_for_all_namespaces,
                field_selector="spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed",
                limit=PAGE,
                **more,
            )
            for node, resources in usage(page["items"]).items():
                mine = total.setdefault(node, {})
                for resource, count in resources.items():
                    mine[resource] = mine.get(resource, 0.0) + count
            if not (token := page["metadata"].get("continue")):
                return total
            more = {"_continue": token}
        return None


async def read(call: Callable[..., Awaitable[Any]], **arguments: Any) -> dict[str, Any]:
    """As JSON: making objects of it would cost the hub more than reading it. ApiException where it is refused."""
    answer = await call(_preload_content=False, _request_timeout=15, **arguments)
    body = await answer.read()
    if not 200 <= answer.status <= 299:
        refused = ApiException(status=answer.status, reason=answer.reason)
        refused.body = body.decode(errors="replace")
        raise refused
    # A list of 500 pods is megabytes: other requests are answered meanwhile.
    found: dict[str, Any] = await asyncio.to_thread(json.loads, body) if len(body) > 100_000 else json.loads(body)
    return found

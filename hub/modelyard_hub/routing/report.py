"""What the Traefiks say that they have applied, and whether that is what a part of the document asks for."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from modelyard_hub.routing.section import Section

log = logging.getLogger(__name__)
_PROVIDER = "@http"
_FRESH, _GOOD = 0.05, 5.0
_LEAST, _AWAY = 0.1, 1.0
_SHARE = 0.2
"""Of this process's time, at most, for reading reports while many ask."""


@dataclass(frozen=True)
class Report:
    """One Traefik's routers and services of the document by name; `of` has an endpoint's, by `serve.owner.name`."""

    routers: Mapping[str, Any]
    services: Mapping[str, Any]
    of: Mapping[str, Section]

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Report:
        """Of the answer to /api/rawdata."""
        routers, services = (_ours(data.get(kind) or {}) for kind in ("routers", "services"))
        of: dict[str, Section] = {}
        for name, router in routers.items():
            of.setdefault(_endpoint(name), Section({}, {}, {})).routers[name] = router
        for name, service in services.items():
            of.setdefault(_endpoint(name), Section({}, {}, {})).services[name] = service
        return cls(routers, services, of)


class Reports:
    """The reports of all Traefiks behind the name in `url`: fetched once for all who ask at about the same time, and no
    more often than reading them leaves time for other things."""

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        self._url, self._client = url, client
        self._began = self._fresh_until = float("-inf")
        self._reports: Sequence[Report] = ()
        self._fetching: asyncio.Task[None] | None = None

    async def confirm(self, wanted: Section, name: str, since: float) -> bool:
        """Whether all have exactly what is wanted of the endpoint `serve.owner.name`; False where none was asked after
        `since` (of `time.monotonic`) yet."""
        none = Section({}, {}, {})
        return await self._all(since, lambda report: matches(wanted, report.of.get(name, none)))

    async def confirm_all(self, wanted: Section, ours: Callable[[str], bool], since: float) -> bool:
        """The same of everything with `ours` names."""

        def found(report: Report) -> Section:
            routers = {name: member for name, member in report.routers.items() if ours(name)}
            return Section(routers, {name: member for name, member in report.services.items() if ours(name)}, {})

        return await self._all(since, lambda report: matches(wanted, found(report)))

    async def _all(self, since: float, holds: Callable[[Report], bool]) -> bool:
        """A report of a moment ago is good where it confirms; else one is asked for now."""
        for asked_since in (since, float("inf")):
            await self._refresh(asked_since)
            if self._reports and self._began >= since and all(holds(report) for report in self._reports):
                return True
        return False

    async def close(self) -> None:
        """Let go of what is being fetched."""
        if self._fetching is not None and not self._fetching.done():
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    async def wait(self) -> None:
        """Until there is a point in asking again."""
        patience = _LEAST if self._reports else _AWAY
        await asyncio.sleep(max(patience, self._fresh_until - time.monotonic()))

    async def _refresh(self, since: float) -> None:
        """What was asked after `since` is good for a while: only a restarted Traefik would say otherwise."""
        now = time.monotonic()
        if now < self._fresh_until or (self._reports and self._began >= since and now < self._began + _GOOD):
            return
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(self._fetch(), name="ask Traefik")
        await asyncio.shield(self._fetching)

    async def _fetch(self) -> None:
        began, rest = time.monotonic(), _FRESH
        try:
            texts = await asyncio.gather(*map(self._ask, await _addresses(self._url)))
            reading = time.thread_time()
            self._reports = tuple(Report.read(json_of(text)) for text in texts)
            rest = max(_FRESH, (time.thread_time() - reading) / _SHARE)
        except (httpx.HTTPError, OSError, ValueError) as error:
            log.debug("asking Traefik: %s", error)
            self._reports, rest = (), _AWAY  # one that takes no packets holds up whoever asks
        self._began = began
        self._fresh_until = time.monotonic() + rest

    async def _ask(self, api: httpx.URL) -> bytes:
        response = await self._client.get(f"{api}/rawdata")
        response.raise_for_status()
        return response.content


def json_of(text: bytes) -> Mapping[str, Any]:
    """The object in a JSON text; ValueError."""
    data = json.loads(text)
    if not isinstance(data, dict):
        raise ValueError("it is no object")
    return data


async def _addresses(url: str) -> list[httpx.URL]:
    """The URL with each address of its host in the host's place."""
    whole = httpx.URL(url)
    found = await asyncio.get_running_loop().getaddrinfo(whole.host, whole.port or 80, type=socket.SOCK_STREAM)
    return [whole.copy_with(host=address) for address in sorted({str(entry[4][0]) for entry in found})]


def _ours(members: Mapping[str, Any]) -> dict[str, Any]:
    return {n.removesuffix(_PROVIDER): member for n, member in members.items() if n.endswith(_PROVIDER)}


def _endpoint(name: str) -> str:
    """`serve.owner.name`, of it or of one of its revisions: labels hold no dot."""
    return ".".join(name.split(".", 3)[:3])


def matches(wanted: Section, found: Section) -> bool:
    """Whether the routers and services are the same in what they do."""
    return _routers_match(wanted.routers, found.routers) and _services_match(wanted.services, found.services)


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

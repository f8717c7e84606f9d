"""What the cluster says about one start, asked for only while somebody waits for it.

Nothing here grows with what others do in the namespace: events are watched by the name of their object, claims are
read by name. What is cluster-wide (`wide.py`) is read only when a start cannot be placed or attached.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from kubernetes_asyncio import watch

from modelyard_hub.backoff import Backoff
from modelyard_hub.spawner.starts.causes.base import Diagnosis, Object, Observed
from modelyard_hub.spawner.starts.diagnosis import diagnose
from modelyard_hub.spawner.starts.phases import HISTORY
from modelyard_hub.spawner.starts.wide import AWAY, Wide, read

FEEDS = 60
"""Watches of events at once: each holds one of the client's 100 connections, and starting pods needs some too."""
LINES, LOG_BYTES = 20, 8192
UNKNOWN = Diagnosis("start", "unknown", "It starts. What it waits for cannot be told.", wrong=False)
log = logging.getLogger(__name__)


class Feed:
    """The events of one object, by a watch that begins when it is made."""

    def __init__(self, api: Any, namespace: str, kind: str, name: str) -> None:
        self._api, self._namespace = api, namespace
        self._chosen = f"involvedObject.kind={kind},involvedObject.name={name}"
        self._events: dict[str, Object] = {}
        self._first = asyncio.Event()
        self._task = asyncio.create_task(self._watch(), name=f"events of {name}")

    async def settled(self, seconds: float) -> None:
        """Wait for the events that were there already, not longer than this."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._first.wait(), seconds)

    def of(self, uid: str) -> tuple[Object, ...]:
        """Those of the object with this uid: one of the same name may have been there before."""
        return tuple(e for e in self._events.values() if e["involvedObject"].get("uid") in (uid, None, ""))

    async def close(self) -> None:
        """End the watch."""
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _watch(self) -> None:
        """Until cancelled; without the right to read events there are none."""
        backoff, failures = Backoff(first=1.0, cap=15.0), 0
        while True:
            try:
                async with watch.Watch().stream(
                    self._api.list_namespaced_event, self._namespace, field_selector=self._chosen, timeout_seconds=300
                ) as stream:
                    async for change in stream:
                        failures = 0
                        event = change["raw_object"]
                        self._events[event["metadata"]["uid"]] = event
                        self._first.set()
            except Exception as error:
                failures += 1
                log.warning("Reading events (%s): %s", self._chosen, error)
            await asyncio.sleep(backoff.delay(max(failures, 1)))


@dataclass
class Look:
    """What is known of one start, while somebody waits. `pod()`: as the hub's own watch has it now, or None; `before`:
    what was in its way before there was a pod."""

    api: Any
    namespace: str
    wide: Wide
    pod: Callable[[], Object | None]
    before: Diagnosis | None = None
    _feeds: dict[str, Feed] = field(default_factory=dict)
    _kept: dict[str, tuple[float, Any]] = field(default_factory=dict)
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    _last: tuple[float, Diagnosis] | None = None
    _closed: bool = False

    async def diagnosis(self, *, anew: bool = False) -> Diagnosis:
        """Why it is pending. Several who ask within a second get one answer, unless it has to be made anew."""
        async with self._asking:
            if anew or self._last is None or time.monotonic() - self._last[0] > 1.0:
                found = await self._diagnose()
                self._last = (time.monotonic(), found)
            return self._last[1]

    def events(self) -> tuple[Object, ...]:
        """Those that were seen so far, of the pod and its claims."""
        pod = self.pod()
        uid = str(((pod or {}).get("metadata") or {}).get("uid"))
        return tuple(e for name, feed in self._feeds.items() for e in feed.of(uid if name == "pod" else name))

    def at_once(self) -> Diagnosis:
        """From what is known without asking anybody."""
        return _told(Observed(datetime.now(UTC), self.pod(), self.events(), usual=HISTORY.expected()))

    async def close(self) -> None:
        """End what was begun, and begin nothing more: somebody may still be asking."""
        self._closed = True
        feeds, self._feeds = self._feeds, {}
        self.wide.feeds -= len(feeds)
        await asyncio.gather(*(feed.close() for feed in feeds.values()))

    async def _diagnose(self) -> Diagnosis:
        pod = self.pod()
        if pod is not None:
            await self._follow("pod", "Pod", pod["metadata"]["name"])
        first = Observed(datetime.now(UTC), pod, self.events(), usual=HISTORY.expected())
        found = _told(first)
        return (self.before or found) if pod is None else _told(await self._more(first, found))

    async def _more(self, seen: Observed, found: Diagnosis) -> Observed:
        """What is worth asking for, given what is known."""
        message = str(seen.condition("PodScheduled").get("message") or "")
        if found.phase in ("schedule", "attach") and not seen.node:
            seen = replace(seen, claims=await self._claims(seen))
            seen = replace(seen, events=self.events())
        if found.phase == "schedule" and message:
            seen = replace(seen, nodes=await self.wide.nodes())
            if "Insufficient" in message and seen.nodes is not None:
                seen = replace(seen, used=await self.wide.used())
        if seen.node and (found.phase in ("pull", "start") or found.reason in ("stuck", "mount", "attach")):
            seen = replace(seen, nodes=await self.wide.nodes())
        if found.reason == "volume-in-use":
            seen = replace(seen, attachments=await self.wide.attachments())
        if found.phase == "ready" and found.wrong:
            seen = replace(seen, log=await self._log(seen))
        return seen

    async def _follow(self, key: str, kind: str, name: str) -> None:
        """Without a feed where too many wait: conditions and states are told all the same."""
        if key not in self._feeds and self.wide.feeds < FEEDS and not self._closed:
            self.wide.feeds += 1
            feed = self._feeds[key] = Feed(self.api, self.namespace, kind, name)
            await feed.settled(1.0)

    async def _claims(self, seen: Observed) -> tuple[Object, ...]:
        found = []
        for volume in seen.spec.get("volumes") or ():
            name = str((volume.get("persistentVolumeClaim") or {}).get("claimName") or "")
            claim = await self._have(f"claim {name}", 3.0, partial(self._claim, name)) if name else None
            if claim is not None:
                found.append(claim)
                if (claim.get("status") or {}).get("phase") != "Bound":
                    await self._follow(claim["metadata"]["uid"], "PersistentVolumeClaim", name)
        return tuple(found)

    async def _claim(self, name: str) -> Object:
        return await read(self.api.read_namespaced_persistent_volume_claim, name=name, namespace=self.namespace)

    async def _log(self, seen: Observed) -> tuple[str, ...]:
        """The end of the server's log; of the one before, where it was started again."""
        statuses = seen.status.get("containerStatuses") or ()
        again = any(s.get("restartCount") and (s.get("state") or {}).get("running") for s in statuses)
        return await self._have("log", 3.0, lambda: self._tail(bool(again))) or ()

    async def _tail(self, previous: bool) -> tuple[str, ...]:
        pod = self.pod() or {}
        answer = await self.api.read_namespaced_pod_log(
            pod["metadata"]["name"], self.namespace, container="notebook", tail_lines=LINES, limit_bytes=LOG_BYTES,
            previous=previous, _request_timeout=10,
        )  # fmt: skip
        return tuple(line for line in str(answer).splitlines() if line.strip())

    async def _have(self, name: str, lasts: float, look: Callable[[], Awaitable[Any]]) -> Any:
        until, found = self._kept.get(name, (0.0, None))
        if time.monotonic() >= until:
            try:
                found = await look()
            except AWAY as error:
                log.info("Reading the %s of a start: %r", name, error)
            self._kept[name] = (time.monotonic() + lasts, found)
        return found


def _told(seen: Observed) -> Diagnosis:
    """A start does not fail because something about it was not understood."""
    try:
        return diagnose(seen)
    except Exception:
        log.exception("Telling what %s waits for", ((seen.pod or {}).get("metadata") or {}).get("name"))
        return UNKNOWN

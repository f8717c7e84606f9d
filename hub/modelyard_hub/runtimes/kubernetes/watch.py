"""Following one kind of objects: list, then watch; whatever happens, list or watch again, later each time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from modelyard_api.errors import ModelyardError
from modelyard_hub.runtimes.kubernetes.cache import Cache, instance
from modelyard_hub.runtimes.kubernetes.client import Client
from modelyard_hub.runtimes.kubernetes.errors import Expired, Throttled, refusal
from modelyard_hub.runtimes.kubernetes.kinds import Kind
from modelyard_hub.runtimes.kubernetes.options import Timing
from modelyard_hub.runtimes.kubernetes.slim import slim

log = logging.getLogger(__name__)
_SETTLED = 1.0


class Watcher:
    """Keeps a cache of one kind true. `changed` is called with each workload that there is news of; `health` when the
    cluster is lost (False) or found again (True)."""

    def __init__(
        self, client: Client, kind: Kind, selector: str, changed: Callable[[str], None], health: Callable[[bool], None]
    ) -> None:
        self.kind, self.cache = kind, Cache(partial(slim, kind))
        self.away_since: datetime | None = None
        self.trouble: ModelyardError | None = None
        self._client, self._selector = client, selector
        self._changed, self._health = changed, health
        self._version = ""
        self._failures = 0
        self._hurry = asyncio.Event()

    def hurry(self) -> None:
        """Look at once for a cluster that is away: it was seen elsewhere."""
        if self.away_since is not None and not isinstance(self.trouble, Throttled):
            self._hurry.set()

    async def list(self) -> None:
        """Take all there is. Raises ModelyardError."""
        found, self._version = await self._client.list(self.kind, self._selector)
        news = self.cache.replace(found, self._version)
        self._heard()
        for name in sorted(news):
            self._changed(name)

    async def run(self, timing: Timing) -> None:
        """Until cancelled. The cache stays what was seen last while the cluster is away."""
        while True:
            wait = 0.0
            try:
                if not self._version:
                    await self.list()
                wait = await self._watch(timing)
            except Expired as error:
                log.info("%s; listing again", error.detail)
                self._version = ""
                self._failures += 1
                # Once at once; a cluster that says so again of what it has just listed is no better than one away.
                wait = timing.backoff.delay(self._failures - 1)
            except ModelyardError as error:
                self._failures += 1
                self._lost(error)
                wait = timing.backoff.delay(self._failures)
                if isinstance(error, Throttled):
                    wait = max(wait, error.retry_after)
            except Exception:
                self._failures += 1
                self._version = ""
                log.exception("watching %s", self.kind.plural)
                wait = timing.backoff.delay(self._failures)
            await self._pause(wait)

    async def _pause(self, seconds: float) -> None:
        self._hurry.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()

    async def _watch(self, timing: Timing) -> float:
        """Until the cluster ends it; seconds to wait before the next one."""
        loop = asyncio.get_running_loop()
        began, heard = loop.time(), False
        async with self._client.watch(self.kind, self._selector, self._version) as events:
            # Nothing may change for a minute; but an answer that is cut off at once is none.
            settled = loop.call_later(min(_SETTLED, timing.silence / 2), self._heard)
            try:
                async for event in events:
                    self._take(str(event.get("type")), event.get("object") or {})
                    heard, self._failures = True, 0
                    self._heard()
            finally:
                settled.cancel()
        self._heard()
        if heard or loop.time() - began >= timing.watch / 2:
            self._failures = 0
        else:
            self._failures += 1  # ended at once, with nothing said
        return timing.backoff.delay(self._failures)

    def _take(self, kind: str, found: dict[str, Any]) -> None:
        if kind == "ERROR":
            status = int(found.get("code") or 500)
            raise refusal(status, str(found.get("message", "")), {}, f"watch {self.kind.plural}")
        self._version = str(found["metadata"]["resourceVersion"])
        if kind == "BOOKMARK":
            return
        news = self.cache.remove(found) if kind == "DELETED" else self.cache.put(found)
        if news:
            self._changed(instance(found))

    def _heard(self) -> None:
        if self.away_since is not None:
            log.info("%s are watched again", self.kind.plural)
            self.away_since, self.trouble = None, None
            self._health(True)

    def _lost(self, error: ModelyardError) -> None:
        # It is written down of each endpoint, so another wording of the same is no news.
        if type(self.trouble) is not type(error):
            self.trouble = error
        if self.away_since is None:
            self.away_since = datetime.now(UTC)
            log.warning("watching %s: %s", self.kind.plural, error)
            self._health(False)

"""Keys to look at: merged while they wait, never two workers on one, delayed, backing off after failures."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

from modelyard_hub.backoff import Backoff

K = TypeVar("K")


class WorkQueue(Generic[K]):
    """A key added while it is worked on comes again afterwards, so that no change is missed."""

    def __init__(self, backoff: Backoff | None = None) -> None:
        self._backoff = backoff or Backoff(first=0.5, cap=30.0)
        self._waiting: asyncio.Queue[K] = asyncio.Queue()
        self._dirty: set[K] = set()
        self._working: set[K] = set()
        self._failures: dict[K, int] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}

    def add(self, key: K) -> None:
        """Work on `key` soon."""
        self._cancel_timer(key)
        if key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._working:
            self._waiting.put_nowait(key)

    def add_later(self, key: K, delay: float) -> None:
        """Work on `key` in `delay` seconds, or earlier when an earlier time was asked for."""
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if key in self._dirty or (timer is not None and timer.when() <= loop.time() + delay):
            return
        self._cancel_timer(key)
        self._timers[key] = loop.call_later(delay, self.add, key)

    def retry(self, key: K) -> float:
        """Work on `key` again after a failure; the seconds until then."""
        self._failures[key] = self._failures.get(key, 0) + 1
        delay = self._backoff.delay(self._failures[key])
        self.add_later(key, delay)
        return delay

    def forgive(self, key: K) -> None:
        """Work on `key` succeeded: the next failure is the first."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """The next key, to be given back with `done`."""
        key = await self._waiting.get()
        self._dirty.discard(key)
        self._working.add(key)
        return key

    def done(self, key: K) -> None:
        """Work on `key` ended, however."""
        self._working.discard(key)
        if key in self._dirty:
            self._waiting.put_nowait(key)

    def close(self) -> None:
        """Cancel what was to come later."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _cancel_timer(self, key: K) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

"""Fan-out of events within this process: a bounded queue per reader, dropped when it overflows."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

from modelyard_hub.store.records import StoredEvent

QUEUE_SIZE = 1000


class Feed:
    """Hands each published event to each subscription. `publish` may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscriptions: set[Subscription] = set()

    def publish(self, events: Iterable[StoredEvent]) -> None:
        """Give events to every reader, in order."""
        batch = tuple(events)
        with self._lock:
            for subscription in tuple(self._subscriptions):
                subscription.wake(batch)

    def subscribe(self, backlog: Callable[[], Awaitable[tuple[StoredEvent, ...]]] | None) -> Subscription:
        """A reader that begins now; `backlog` reads the older events that it missed."""
        subscription = Subscription(backlog, self._forget)
        with self._lock:
            self._subscriptions.add(subscription)
        return subscription

    def close(self) -> None:
        """End every subscription."""
        with self._lock:
            for subscription in self._subscriptions:
                subscription.wake(None)
            self._subscriptions.clear()

    def _forget(self, subscription: Subscription) -> None:
        with self._lock:
            self._subscriptions.discard(subscription)


class Subscription(AsyncIterator[StoredEvent]):
    """One reader's events: the backlog first, then what comes, no id twice. Ends when it overflowed."""

    def __init__(
        self,
        backlog: Callable[[], Awaitable[tuple[StoredEvent, ...]]] | None,
        forget: Callable[[Subscription], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[StoredEvent | None] = asyncio.Queue()
        self._backlog = backlog
        self._missed: deque[StoredEvent] = deque()
        self._forget = forget
        self._last = 0
        self._overflowed = False

    def wake(self, events: tuple[StoredEvent, ...] | None) -> None:
        """Take events over from any thread; None ends the subscription."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._take, events)

    async def __anext__(self) -> StoredEvent:
        if self._backlog is not None:
            self._missed.extend(await self._backlog())
            self._backlog = None  # after it, so that a cancelled reader asks again
        while True:
            if self._missed:
                event: StoredEvent | None = self._missed.popleft()
            else:
                event = None if self._overflowed else await self._queue.get()
            if event is None:
                self.close()
                raise StopAsyncIteration
            if event.id > self._last:
                self._last = event.id
                return event

    def close(self) -> None:
        """Stop taking events."""
        self._forget(self)

    async def aclose(self) -> None:
        """Stop taking events; the name that async generators have."""
        self.close()

    def _take(self, events: tuple[StoredEvent, ...] | None) -> None:
        if events is None:
            self._queue.put_nowait(None)
            return
        for event in events:
            if self._queue.qsize() >= QUEUE_SIZE:
                self._overflowed = True
                self._forget(self)
                self._queue.put_nowait(None)
                return
            self._queue.put_nowait(event)

"""Names that changed, for several readers at their own speeds."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator


class Feed(AsyncIterator[str]):
    """One reader's names, each at most once until it is read. Ends when closed."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}
        self._news = asyncio.Event()
        self._closed = False

    def add(self, name: str) -> None:
        """A name to read."""
        self._names[name] = None
        self._news.set()

    def close(self) -> None:
        """No more names follow."""
        self._closed = True
        self._news.set()

    async def __anext__(self) -> str:
        while not self._names:
            if self._closed:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        name = next(iter(self._names))
        del self._names[name]
        return name


class Changes:
    """Tells all readers. A reader that is no longer held is forgotten."""

    def __init__(self) -> None:
        self._feeds: weakref.WeakSet[Feed] = weakref.WeakSet()

    def tell(self, name: str) -> None:
        """That name changed."""
        for feed in tuple(self._feeds):
            feed.add(name)

    def read(self) -> Feed:
        """Names from now on."""
        feed = Feed()
        self._feeds.add(feed)
        return feed

    def close(self) -> None:
        """End all readers."""
        for feed in tuple(self._feeds):
            feed.close()

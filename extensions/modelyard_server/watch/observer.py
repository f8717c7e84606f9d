"""Whoever wants to know of requests: the access log, the traces."""

from __future__ import annotations

import time
from typing import Protocol

from modelyard_server.watch.ids import request_id
from modelyard_server.watch.record import Record


class Watcher(Protocol):
    """Is told of each request when it is answered. Raises nothing, and never waits."""

    def tell(self, record: Record, status: int, size: int, ended: float) -> None:
        """`size`: bytes of the answer's body; `ended` on the clock of `time.perf_counter`."""

    async def close(self) -> None:
        """What is not delivered yet is, within two seconds."""


class Observer:
    """Makes records, and tells the watchers."""

    def __init__(self, watchers: tuple[Watcher, ...]) -> None:
        self._watchers = watchers

    def begin(
        self, method: str, path: str, started: float, asked: bytes | None = None, parent: bytes | None = None
    ) -> Record:
        """A record of a request that came at `started`; `asked`, `parent`: its X-Request-Id and its traceparent."""
        begun = time.time_ns() - int((time.perf_counter() - started) * 1e9)
        traceparent = "" if parent is None else parent.decode("latin-1")
        return Record(request_id(asked), begun, started, method, path[:200], traceparent)

    def end(self, record: Record, status: int, size: int) -> None:
        """It was answered; 499: its caller had left."""
        ended = time.perf_counter()
        for watcher in self._watchers:
            watcher.tell(record, status, size, ended)

    async def close(self) -> None:
        for watcher in self._watchers:
            await watcher.close()

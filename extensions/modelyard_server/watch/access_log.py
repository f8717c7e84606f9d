"""The access log: one line of JSON for each request."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import orjson

from modelyard_server.watch.record import Record

_EVERY = 0.1
"""Seconds that a line waits, so that lines are written together."""
_MOST = 10_000
"""Lines that wait while nobody takes them. What comes then is counted, not kept."""


class AccessLog:
    """Writes to a file descriptor from a thread of its own: a log that nobody reads delays no answer."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: list[bytes] = []
        self._lost = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="access-log")
        self._writing: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def tell(self, record: Record, status: int, size: int, ended: float) -> None:
        if len(self._lines) >= _MOST:
            self._lost += 1
            return
        self._lines.append(_line(record, status, size, ended))
        if self._timer is None and self._writing is None:
            self._timer = asyncio.get_running_loop().call_later(_EVERY, self._write)

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._writing is not None:
            await asyncio.wait([self._writing], timeout=1)
        if self._lines and self._writing is None:
            self._write()
            if self._writing is not None:
                await asyncio.wait([self._writing], timeout=1)
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _write(self) -> None:
        self._timer = None
        lines, self._lines = self._lines, []
        if self._lost:
            lines.append(orjson.dumps({"time": datetime.now(UTC), "lost": self._lost}) + b"\n")
            self._lost = 0
        loop = asyncio.get_running_loop()
        self._writing = loop.run_in_executor(self._thread, _write_all, self._descriptor, b"".join(lines))
        self._writing.add_done_callback(self._written)

    def _written(self, written: asyncio.Future[None]) -> None:
        self._writing = None
        if not written.cancelled():
            written.exception()  # nobody reads any more; a model server goes on without
        if self._lines or self._lost:
            self._timer = asyncio.get_running_loop().call_later(_EVERY, self._write)


def _line(record: Record, status: int, size: int, ended: float) -> bytes:
    said: dict[str, Any] = {
        "time": datetime.fromtimestamp(record.begun / 1e9, UTC),
        "id": record.id,
        "method": record.method,
        "path": record.path,
        "status": status,
        "bytes": size,
        "ms": round((ended - record.started) * 1000, 3),
    }
    if record.run_to:
        said["queue_ms"] = round((record.run_from - record.waited_from) * 1000, 3)
        said["predict_ms"] = round((record.run_to - record.run_from) * 1000, 3)
    if record.version:
        said["version"] = record.version
    if record.rows:
        said["rows"] = record.rows
    if record.caller is not None:
        said["caller"] = record.caller
    if record.address:
        said["address"] = record.address
    if record.reason:
        said["reason"] = record.reason
    if record.traceparent:
        said["traceparent"] = record.traceparent[:80]
    return orjson.dumps(said, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z)


def _write_all(descriptor: int, text: bytes) -> None:
    rest = memoryview(text)
    while rest:
        rest = rest[os.write(descriptor, rest) :]

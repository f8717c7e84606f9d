"""All connections of one listening socket: counted, swept, drained."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from dataclasses import dataclass
from email.utils import formatdate

from modelyard_server.web.connection import Connection
from modelyard_server.web.messages import Application

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """Bytes and seconds. `patience`: for a request to come and for an answer to be taken; `idle`: between requests."""

    body: int
    head: int = 32 * 1024
    connections: int = 4096
    patience: float = 20.0
    idle: float = 120.0


class Listener:
    """`async with`: listens. `in_flight` counts predictions whose head has come and whose answer has not gone."""

    def __init__(self, app: Application, limits: Limits, fixed: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        self.app = app
        self.limits = limits
        self.in_flight = 0
        self.draining = False
        self._own = b"".join(b"%b: %b\r\n" % pair for pair in fixed)
        self.fixed = b""
        self._connections: set[Connection] = set()
        self._empty = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def listen(self, listener: socket.socket) -> None:
        """Accept connections from now on."""
        self._stamp()
        self._sweeper = asyncio.create_task(self._sweep(), name="sweep")
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), sock=listener, backlog=1024)

    async def drain(self, within: float) -> None:
        """Accept no more, answer what has begun, at most `within` seconds; then end what is left."""
        self.draining = True
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.drain()
        self._settle()
        try:
            await asyncio.wait_for(self._empty.wait(), within)
        except TimeoutError:
            _log.warning("%d connections did not end within %g s", len(self._connections), within)
        for connection in list(self._connections):
            connection.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()

    def join(self, connection: Connection) -> bool:
        """False: there are too many."""
        self._connections.add(connection)
        return len(self._connections) <= self.limits.connections

    def leave(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._settle()

    def failed(self, doing: str, error: BaseException) -> None:
        """Logs what a connection could not do."""
        _log.error("%s", doing, exc_info=error)

    def _settle(self) -> None:
        if self.draining and not self._connections:
            self._empty.set()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(1)
            self._stamp()
            now = time.perf_counter()
            for connection in list(self._connections):
                connection.sweep(now)

    def _stamp(self) -> None:
        self.fixed = b"date: %b\r\n%b" % (formatdate(usegmt=True).encode(), self._own)

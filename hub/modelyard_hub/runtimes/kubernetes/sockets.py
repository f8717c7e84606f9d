"""The sockets of an aiohttp session, so that the session's end can wait for theirs.

A call that is cancelled closes its connection with the goodbye of TLS, which aiohttp does not wait for: the socket
would outlive the event loop.
"""

from __future__ import annotations

import asyncio
import socket
import weakref
from contextlib import suppress
from typing import Any

_LOOKS = 200
_INTERVAL = 0.005


class Sockets:
    """Makes sockets (`factory`, as aiohttp's `socket_factory`), and waits until the event loop has closed them all."""

    def __init__(self) -> None:
        self._made: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    def factory(self, address: tuple[Any, ...]) -> socket.socket:
        """A socket for that address, as `getaddrinfo` gives it."""
        family, kind, protocol = address[:3]
        made = socket.socket(family, kind, protocol)
        self._made.add(made)
        return made

    async def closed(self) -> None:
        """Wait for the other side's goodbye, for a second at most; then go without."""
        if not await self._seen_closed():
            for left in self._open():
                with suppress(OSError):  # the other side was quicker
                    left.shutdown(socket.SHUT_RDWR)
            await self._seen_closed()

    async def _seen_closed(self) -> bool:
        for _ in range(_LOOKS):
            if not self._open():
                return True
            await asyncio.sleep(_INTERVAL)
        return False

    def _open(self) -> list[socket.socket]:
        return [made for made in self._made if made.fileno() != -1]

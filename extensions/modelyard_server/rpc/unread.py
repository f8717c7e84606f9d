"""Callers who do not take their answers: how long an answer is kept for them, and how much for one connection.

grpc keeps what a caller does not read, without a limit, and has no way to end one call or one connection. So the
connection's socket is ended beneath it, and grpc lets all of its calls go."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import unquote

from modelyard_api.errors import Unavailable

_log = logging.getLogger(__name__)
_LEAST_RATE = 64 * 1024
"""Bytes a second that an answer must be taken with, once its patience is over."""


class Unread:
    """Answers that have been given to grpc and not been taken. `patience` in seconds, `most` in bytes of a connection:
    beyond, it is asked to read first."""

    def __init__(self, port: int, patience: float, most: int) -> None:
        self._port = port
        self._patience = patience
        self._most = most
        self._kept: Counter[str] = Counter()

    def admit(self, peer: str) -> None:
        """Raises Unavailable."""
        if self._kept[peer] > self._most:
            raise Unavailable(
                f"{self._kept[peer]} bytes of answers wait to be read on this connection",
                remedy="Read them, then ask again.",
                retry_after=1,
            )

    def keep(self, context: Any, size: int) -> None:
        """An answer is given to grpc; its connection is cut where it is not taken in time."""
        peer = context.peer()
        late = asyncio.get_running_loop().call_later(self._patience + size / _LEAST_RATE, self._cut, peer)
        self._kept[peer] += size

        def taken(_: Any) -> None:
            late.cancel()
            self._kept[peer] -= size
            if self._kept[peer] <= 0:
                del self._kept[peer]

        context.add_done_callback(taken)

    def _cut(self, peer: str) -> None:
        _log.warning("gRPC: %s does not take its answers, and is cut off", peer)
        host, _, port = unquote(peer.partition(":")[2]).rpartition(":")
        for end in _sockets():
            with end, suppress(OSError):  # not connected, or gone meanwhile
                theirs = end.getpeername()
                # A listener for both families has IPv4's addresses inside IPv6's.
                same = str(theirs[1]) == port and theirs[0].removeprefix("::ffff:") == host.strip("[]")
                if same and end.getsockname()[1] == self._port:
                    end.shutdown(socket.SHUT_RDWR)


def _sockets() -> Iterator[socket.socket]:
    """Those of this process, each by a new descriptor: whose the old one is may close it, and reuse its number."""
    for name in os.listdir("/dev/fd"):
        with suppress(OSError):
            copy = os.dup(int(name))
            try:
                found = socket.socket(fileno=copy)
            except OSError:  # it is none
                os.close(copy)
                continue
            if found.family in (socket.AF_INET, socket.AF_INET6):
                yield found
            else:
                found.close()

"""Free ports on loopback, none given to two replicas at a time."""

from __future__ import annotations

import socket


class Ports:
    """A replica keeps its port over restarts, so that the router's document stays true."""

    def __init__(self) -> None:
        self._taken: set[int] = set()

    def reserve(self, port: int | None) -> None:
        """Note a port that a running replica has."""
        if port is not None:
            self._taken.add(port)

    def take(self, wanted: int | None) -> int:
        """`wanted` where given, else a port that is free just now; it may be taken by others before it is bound."""
        while wanted is None:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                candidate = int(probe.getsockname()[1])
            wanted = None if candidate in self._taken else candidate
        self._taken.add(wanted)
        return wanted

    def give_back(self, port: int | None) -> None:
        """The port is no longer used."""
        if port is not None:
            self._taken.discard(port)

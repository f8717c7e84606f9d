"""The server's port, opened before the server is there: calls wait in the socket's queue, and none is refused.

Without, JupyterHub asks again and again, less and less often, and is late by half a second to two; and a route to the
server could not be made before it answers, for its calls would fail.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

BACKLOG = 128


@dataclass(frozen=True)
class Early:
    """Sockets that listen at an address already."""

    host: str
    port: int
    sockets: tuple[socket.socket, ...]


def listen(environ: Mapping[str, str] = os.environ) -> Early | None:
    """Open the port that JupyterHub chose. None where it named none, or the port cannot be had: the server then does
    and says what it always did."""
    url = urlsplit(environ.get("JUPYTERHUB_SERVICE_URL", ""))
    if not url.port:
        return None
    host = url.hostname or ""
    try:
        return Early(host, url.port, tuple(_bind(host, url.port)))
    except OSError:
        return None


def _bind(host: str, port: int) -> list[socket.socket]:
    """One socket for each address of the host; without a host, for each protocol of this machine."""
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    made: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            made.append(_listening(socket.socket(family, kind, protocol), address))
    except OSError:
        for one in made:
            one.close()
        raise
    return made


def _listening(one: socket.socket, address: object) -> socket.socket:
    try:
        one.setblocking(False)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if one.family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(address)  # type: ignore[arg-type]  # as getaddrinfo gave it
        one.listen(BACKLOG)
    except OSError:
        one.close()
        raise
    return one

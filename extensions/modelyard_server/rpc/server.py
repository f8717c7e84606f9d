"""The port on which the service listens, within the limits that HTTP has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from modelyard_api.errors import Conflict, Unavailable
from modelyard_server.app import Parts
from modelyard_server.rpc.service import Service
from modelyard_server.watch.observer import Observer

_HEAD = 32 * 1024
_CALLS = 256
"""Calls at once of one connection; its caller keeps further ones until some are answered."""
_IDLE = 120_000
"""Milliseconds without a call after which a connection is closed."""


class RpcServer:
    """Listens from `start` on, until `drain`."""

    def __init__(self, parts: Callable[[], Parts], observer: Observer | None) -> None:
        self._settings = parts().settings
        self._parts = parts
        self._draining = False
        self.service = Service(parts, observer, ready=self._ready)
        self._server: Any = None

    async def start(self, port: int) -> None:
        """Raises Conflict where the port is in use."""
        limit = self._settings.max_connections
        self._server = grpc.aio.server(maximum_concurrent_rpcs=limit, options=self._options())
        self._server.add_generic_rpc_handlers((self.service.handlers(), self.service.health()))
        address = f"{self._settings.host}:{port}"
        try:
            self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise Conflict(f"cannot listen on {address} for gRPC: {error}") from None
        await self._server.start()

    async def drain(self, within: float) -> None:
        """Take no more calls, answer what has begun, at most `within` seconds."""
        self._draining = True
        await self._server.stop(within)

    def _ready(self) -> bool:
        if self._draining:
            return False
        pool = self._parts().pool
        try:
            if pool is not None:
                pool.ready()
        except Unavailable:
            return False
        return True

    def _options(self) -> list[tuple[str, int]]:
        settings = self._settings
        patience = int(settings.patience * 1000)
        return [
            ("grpc.so_reuseport", 0),  # a second server on the port would take half of the calls
            ("grpc.max_receive_message_length", settings.max_body),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_metadata_size", _HEAD),
            ("grpc.absolute_max_metadata_size", _HEAD),
            ("grpc.max_concurrent_streams", min(_CALLS, settings.max_connections)),
            ("grpc.server_handshake_timeout_ms", patience),
            ("grpc.max_connection_idle_ms", _IDLE),
            ("grpc.keepalive_time_ms", 3 * patience),
            ("grpc.keepalive_timeout_ms", patience),
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ]

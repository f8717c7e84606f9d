"""A request and an answer, as the connection and the application exchange them."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol

from modelyard_server.watch.record import Record

JSON = b"application/json"
OCTETS = b"application/octet-stream"


@dataclass(slots=True)
class Request:
    """Header names are lower case. `started` is on the clock of `time.perf_counter`; `peer`: the address at the
    connection's other end."""

    method: bytes = b""
    target: bytes = b""
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""
    started: float = 0.0
    admitted: bool = False
    peer: str = ""
    record: Record | None = None

    @property
    def path(self) -> str:
        """Without query and without a slash at the end."""
        return self.target.partition(b"?")[0].decode("latin-1").rstrip("/") or "/"

    def header(self, name: bytes, default: str = "") -> str:
        """A header's value as text."""
        value = self.headers.get(name)
        return default if value is None else value.decode("latin-1")


@dataclass(slots=True)
class Answer:
    """`last`: the connection ends with this answer; `reason`: why it is no good one, for who is told of requests."""

    status: int
    body: bytes
    kind: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()
    last: bool = False
    reason: str = ""


class Application(Protocol):
    """What answers requests. None of these raises."""

    def admit(self, request: Request) -> Answer | None:
        """Called when a request's head is there, before its body is read: an answer refuses it."""

    def handle(self, request: Request) -> Answer | Awaitable[Answer]:
        """The answer to a whole request: at once, or later."""

    def malformed(self, request: Request, status: int, detail: str) -> Answer:
        """The answer to what is no request, or one beyond a limit; `request` has what is known of it."""


REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}

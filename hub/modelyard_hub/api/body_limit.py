"""Refuse request bodies over the limit: by what Content-Length says, and by what really comes."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from modelyard_api.errors import MalformedRequest, ModelyardError, TooLarge
from modelyard_hub.api.problems import answer


class BodyLimit:
    """Reads a body whole, up to the limit, before the application sees the request; a large one in the pieces that the
    application asks for, which so may refuse the request by its head alone."""

    def __init__(self, app: ASGIApp, limit: int, streamed: Mapping[str, int] | None = None) -> None:
        """`limit` in bytes; `streamed`: that of what is read in pieces, below a path."""
        self._app = app
        self._limit = limit
        self._streamed = streamed or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        streamed = next((most for below, most in self._streamed.items() if scope["path"].startswith(below)), None)
        if streamed is not None:
            pieces = _Pieces(scope, receive, send, streamed)
            await self._app(scope, pieces.receive, pieces.send)
            return
        try:
            body = await self._read(scope, receive, self._limit)
        except ModelyardError as error:
            await answer(error, {"Connection": "close"})(scope, receive, send)
            return
        if body is None:
            return
        pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return pending.pop() if pending else await receive()

        await self._app(scope, replay, send)

    async def _read(self, scope: Scope, receive: Receive, limit: int) -> bytes | None:
        """The body; None when the client went away."""
        _check_announced(scope, limit)
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if len(body) > limit:
                raise _too_large(limit)
            if not message.get("more_body", False):
                return bytes(body)


class _Pieces:
    """A body that is read piece by piece, and refused where it is too large once its first one is asked for."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        self._scope, self._receive, self._send, self._limit = scope, receive, send, limit
        self._came = 0
        self._whole = False

    async def receive(self) -> Message:
        if not self._came:
            _check_announced(self._scope, self._limit)
        message = await self._receive()
        self._came += len(message.get("body", b""))
        if self._came > self._limit:
            raise _too_large(self._limit)
        self._whole = self._whole or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and not self._whole:
            # Nobody reads the rest: it is not to be taken for the next request.
            message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
        await self._send(message)


def _check_announced(scope: Scope, limit: int) -> None:
    announced = next((v for k, v in scope["headers"] if k == b"content-length"), b"0")
    if not announced.isdigit():
        raise MalformedRequest("Content-Length is not a number")
    if int(announced) > limit:
        raise _too_large(limit)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(
        f"the request body is larger than {limit} bytes",
        remedy="Send less, or let the administrator raise MODELYARD_MAX_BODY (of a run's files: "
        "MODELYARD_RUN_SNAPSHOT_MAX).",
        limit=limit,
    )

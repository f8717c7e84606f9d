"""Refuse request bodies over the limit: by what Content-Length says, and by what really comes."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from modelyard_api.errors import MalformedRequest, ModelyardError, TooLarge
from modelyard_hub.api.problems import answer


class BodyLimit:
    """Reads a body whole, up to the limit, before the application sees the request."""

    def __init__(self, app: ASGIApp, limit: int, larger: Mapping[str, int] | None = None) -> None:
        """`limit` in bytes; `larger`: another one below a path."""
        self._app = app
        self._limit = limit
        self._larger = larger or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        try:
            body = await self._read(scope, receive, self._limit_of(scope["path"]))
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
        announced = next((v for k, v in scope["headers"] if k == b"content-length"), b"0")
        if not announced.isdigit():
            raise MalformedRequest("Content-Length is not a number")
        if int(announced) > limit:
            raise _too_large(limit)
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

    def _limit_of(self, path: str) -> int:
        return next((limit for below, limit in self._larger.items() if path.startswith(below)), self._limit)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(
        f"the request body is larger than {limit} bytes",
        remedy="Send less, or let the administrator raise MODELYARD_MAX_BODY (of a run's files: "
        "MODELYARD_RUN_SNAPSHOT_MAX).",
        limit=limit,
    )

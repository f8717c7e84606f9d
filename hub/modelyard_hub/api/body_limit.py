"""Refuse request bodies over the limit: by what Content-Length says, and by what really comes."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from modelyard_api.errors import MalformedRequest, ModelyardError, TooLarge
from modelyard_hub.api.problems import answer


class BodyLimit:
    """Reads a body whole, up to the limit, before the application sees the request."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        """`limit` in bytes."""
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        try:
            body = await self._read(scope, receive)
        except ModelyardError as error:
            await answer(error, {"Connection": "close"})(scope, receive, send)
            return
        if body is None:
            return
        pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return pending.pop() if pending else await receive()

        await self._app(scope, replay, send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """The body; None when the client went away."""
        announced = next((v for k, v in scope["headers"] if k == b"content-length"), b"0")
        if not announced.isdigit():
            raise MalformedRequest("Content-Length is not a number")
        if int(announced) > self._limit:
            raise self._too_large()
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if len(body) > self._limit:
                raise self._too_large()
            if not message.get("more_body", False):
                return bytes(body)

    def _too_large(self) -> TooLarge:
        return TooLarge(
            f"the request body is larger than {self._limit} bytes",
            remedy="Send less, or let the administrator raise MODELYARD_MAX_BODY.",
            limit=self._limit,
        )

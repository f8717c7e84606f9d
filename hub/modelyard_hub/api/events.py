"""`/events`: changes as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from fastapi.responses import StreamingResponse

from modelyard_api.endpoints import Event, Identity
from modelyard_api.errors import MalformedRequest, Unauthenticated, Unavailable
from modelyard_hub.api.problems import responses
from modelyard_hub.auth import READ, audience, bearer, has_scope
from modelyard_hub.parts import Parts, PartsDep, Reader
from modelyard_hub.store.records import StoredEvent

HEARTBEAT = 15.0
"""Seconds of silence after which a comment is sent, and the token is looked at again."""
_HIGHEST = 2**63 - 1
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {}}, "description": "Each event's data is an `Event` as JSON."}
}
router = APIRouter(tags=["events"], responses=responses(400, 401, 403, 422, 503))


@router.get("/events", response_class=StreamingResponse, responses={**_STREAM}, summary="Changes, as they happen")
async def events(
    request: Request,
    parts: PartsDep,
    identity: Reader,
    last_event_id: Annotated[str | None, Header(description="Resume after this event.")] = None,
) -> StreamingResponse:
    """Only about endpoints that the caller may see. A client that reads too slowly is cut off and resumes by id."""
    after = None
    if last_event_id is not None:
        if not (last_event_id.isascii() and last_event_id.isdigit()):
            raise MalformedRequest(f"Last-Event-ID {last_event_id!r} is not a number")
        after = min(int(last_event_id[:20]), _HIGHEST)
    source = parts.store.events(after)
    token = bearer(request.headers.get("authorization"))
    stream = _stream(parts, source, identity, token)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


async def _stream(
    parts: Parts, source: AsyncIterator[StoredEvent], identity: Identity, token: str | None
) -> AsyncIterator[str]:
    close = getattr(source, "aclose", None)
    try:
        yield "retry: 2000\n: welcome\n\n"
        while True:
            try:
                event = await asyncio.wait_for(anext(source), HEARTBEAT)
            except TimeoutError:
                yield ": still here\n\n"
                try:
                    identity = await parts.identities.identify(token)
                except Unauthenticated:
                    return
                except Unavailable:
                    continue  # the hub is away; whoever was let in stays until it says otherwise
                if not has_scope(identity, READ):
                    return
            except StopAsyncIteration:
                return
            else:
                if identity.admin or not audience(identity).isdisjoint(event.audience):
                    yield format_event(event)
    finally:
        if close is not None:
            await close()


def format_event(event: Event) -> str:
    """One event as it goes over the wire."""
    return f"id: {event.id}\nevent: {event.kind.value}\ndata: {event.model_dump_json()}\n\n"

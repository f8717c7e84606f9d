"""Waiting for an endpoint to do what its spec says, with the reason shown meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from modelyard.client import AsyncClient
from modelyard_api.conditions import Condition, ConditionStatus, find
from modelyard_api.endpoints import Endpoint
from modelyard_api.errors import NotFound, PublishFailed, TimedOut, Unavailable

_POLL = 0.2
_HOPELESS = ("CrashLoop", "NoPackage")


def pending(endpoint: Endpoint, revision: int | None) -> Condition | None:
    """Why the endpoint does not yet do what its spec says; None when it does. `revision`: has to be ready, too. Pure."""
    status = endpoint.status
    if status.observed_generation < endpoint.generation:
        return _not("Waiting", "the change is not looked at yet", endpoint)
    if revision is not None:
        one = next((r for r in status.revisions if r.number == revision), None)
        own = find(one.conditions, "Ready") if one is not None else None
        if own is None or own.status is not ConditionStatus.true:
            return own or _not("Waiting", f"revision {revision} is not started yet", endpoint)
    for kind in ("Ready", "TrafficApplied", "Routed"):
        condition = find(status.conditions, kind)
        if condition is not None and condition.status is not ConditionStatus.true:
            return condition
    return None if status.ready else _not("Waiting", "no condition yet", endpoint)


async def until_applied(
    client: AsyncClient,
    endpoint: Endpoint,
    *,
    revision: int | None = None,
    timeout: float = 180.0,
    say: Callable[[str], None] = lambda text: None,
) -> Endpoint:
    """The endpoint once it does what its spec says. `timeout` in seconds; `say` hears each new reason.

    Raises PublishFailed when a revision cannot start (with its log tail), TimedOut with the last reason.
    """
    deadline = time.monotonic() + timeout
    said = ""
    now = endpoint
    while True:
        try:
            now = await client.get_endpoint(endpoint.owner, endpoint.name)
            reason = pending(now, revision)
        except (Unavailable, TimedOut) as error:  # the hub service may restart meanwhile; what serves stays
            reason = _not("Unavailable", error.detail, now)
        if reason is None:
            return now
        if reason.reason in _HOPELESS:
            raise failure(now, revision, reason)
        text = f"{reason.reason}: {reason.message}".rstrip(": ")
        if text != said:
            said = text
            say(text)
        if time.monotonic() > deadline:
            tail = "\n".join(_tail(now, revision))
            raise TimedOut(
                f"{endpoint.owner}/{endpoint.name} was not ready within {timeout:g} s: {text}\n{tail}".rstrip(),
                remedy="Look at .logs(), or give a longer timeout=.",
            )
        await asyncio.sleep(_POLL)


async def until_gone(client: AsyncClient, owner: str, name: str, *, timeout: float = 60.0) -> None:
    """Return when the endpoint is not found any more. Raises TimedOut."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        try:
            await client.get_endpoint(owner, name)
        except NotFound:
            return
        await asyncio.sleep(_POLL)
    raise TimedOut(f"{owner}/{name} is still being stopped after {timeout:g} s", remedy="It goes on; look again later.")


def failure(endpoint: Endpoint, revision: int | None, reason: Condition) -> PublishFailed:
    """What to raise for a revision that cannot start."""
    tail = _tail(endpoint, revision)
    text = "\n".join([f"{endpoint.owner}/{endpoint.name} does not start: {reason.reason}: {reason.message}", *tail])
    return PublishFailed(text, remedy="The lines above are the model server's last.", log_tail=list(tail))


def _tail(endpoint: Endpoint, revision: int | None) -> tuple[str, ...]:
    return next((r.log_tail for r in endpoint.status.revisions if revision in (None, r.number) and r.log_tail), ())


def _not(reason: str, message: str, endpoint: Endpoint) -> Condition:
    since = endpoint.updated_at
    return Condition(type="Ready", status=ConditionStatus.unknown, reason=reason, message=message, since=since)

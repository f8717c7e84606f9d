"""Waiting for what goes on by itself: a run, a group of runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from modelyard.errors import TimedOut

_FIRST, _LAST = 0.3, 2.0


async def until(ended: Callable[[], Awaitable[bool]], timeout: float | None, still: Callable[[], str]) -> None:  # noqa: ASYNC109
    """Ask less and less often, until it has ended. TimedOut after `timeout` seconds, with what `still` says."""
    deadline = None if timeout is None else time.monotonic() + timeout
    pause = _FIRST
    while not await ended():
        if deadline is not None and time.monotonic() + pause > deadline:
            raise TimedOut(f"{still()} after {timeout:g} s", remedy="It goes on.")
        await asyncio.sleep(pause)
        pause = min(1.5 * pause, _LAST)

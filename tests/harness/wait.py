"""Waiting for a condition with a timeout, instead of sleeping for a guess."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
_pause = threading.Event()


def eventually(condition: Callable[[], T], *, timeout: float = 30.0, interval: float = 0.05, what: str = "") -> T:
    """The first truthy value of `condition`; AssertionError with the last one after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    last: object = None
    while True:
        try:
            value = condition()
            if value:
                return value
            last = value
        except Exception as error:  # whatever it raises is "not yet"; the last one is shown on timeout
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what or condition}; last: {last!r}")
        _pause.wait(interval)


async def eventually_async(
    condition: Callable[[], Awaitable[T]], *, timeout: float = 30.0, interval: float = 0.05, what: str = ""
) -> T:
    """As `eventually`, for a coroutine function."""
    deadline = time.monotonic() + timeout
    last: object = None
    while True:
        try:
            value = await condition()
            if value:
                return value
            last = value
        except Exception as error:  # as above
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what or condition}; last: {last!r}")
        await asyncio.sleep(interval)

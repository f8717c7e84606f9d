"""The blocking face of the async client: one event loop on one background thread, for notebooks and scripts.

A notebook's own loop is busy running the cell, so its thread cannot also run ours. The caller waits on a future, which
Ctrl-C interrupts; the coroutine is cancelled then.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
_lock = threading.Lock()
_loops: dict[int, asyncio.AbstractEventLoop] = {}


def _loop() -> asyncio.AbstractEventLoop:
    """The loop of this process; a forked child gets its own, for threads do not survive a fork."""
    with _lock:
        loop = _loops.get(os.getpid())
        if loop is None:
            loop = asyncio.new_event_loop()
            _loops.clear()
            _loops[os.getpid()] = loop
            threading.Thread(target=loop.run_forever, name="modelyard-client", daemon=True).start()
        return loop


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run it on the background loop and wait for its result, however the caller's own thread is occupied."""
    future = asyncio.run_coroutine_threadsafe(coroutine, _loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise

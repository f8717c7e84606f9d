"""One event loop in a thread of its own, on which the blocking face runs the async client.

So it works in a notebook, whose own loop is running, and Ctrl-C (the kernel's interrupt) reaches the caller at once.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import queue
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
_CANCEL_WAIT = 5.0


class _Loop:
    """The loop and its thread, of this process: a forked child starts its own."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="modelyard-client", daemon=True)
        self.thread.start()


_lock = threading.Lock()
_current: _Loop | None = None


def _loop() -> _Loop:
    global _current
    with _lock:
        if _current is None or _current.pid != os.getpid():
            _current = _Loop()
        return _current


def run(
    work: Coroutine[Any, Any, T], steps: queue.SimpleQueue[Any] | None = None, show: Callable[[Any], None] | None = None
) -> T:
    """The result of `work`. What it puts on `steps` is given to `show` in the calling thread, while that waits."""
    background = _loop()
    if threading.current_thread() is background.thread:
        work.close()
        raise RuntimeError("a blocking call inside the client's own loop; use modelyard.AsyncClient there")
    future = asyncio.run_coroutine_threadsafe(work, background.loop)
    try:
        if steps is not None and show is not None:
            future.add_done_callback(lambda _: steps.put(_END))
            while (step := steps.get()) is not _END:
                show(step)
        return future.result()
    except BaseException:
        if not future.done():
            future.cancel()
            # What must be tidied up is, before the prompt is back; whatever it says of that is not the cause.
            concurrent.futures.wait([future], timeout=_CANCEL_WAIT)
        raise


_END = object()

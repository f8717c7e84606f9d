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
from typing import Any, Generic, TypeVar

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
    job = Job(work, background.loop)
    try:
        job.start()
        if steps is not None and show is not None:
            job.done.add_done_callback(lambda _: steps.put(_END))
            while (step := steps.get()) is not _END:
                show(step)
        return job.done.result()
    except BaseException:
        if not job.done.done():
            job.cancel()
            # What must be tidied up is, before the prompt is back; whatever it says of that is not the cause.
            concurrent.futures.wait([job.done], timeout=_CANCEL_WAIT)
        raise


def begin(work: Coroutine[Any, Any, T]) -> Job[T]:
    """`work`, begun; whoever asked does not wait, and may cancel it."""
    job = Job(work, _loop().loop)
    job.start()
    return job


class Job(Generic[T]):
    """Work on the loop that can be cancelled at any moment after it was made: an interrupt may come between any two
    steps of `start`, where `asyncio.run_coroutine_threadsafe` has begun the work but not yet said how to end it."""

    def __init__(self, work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> None:
        self.done: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._work = work
        self._loop = loop
        self._task: asyncio.Task[T] | None = None

    def start(self) -> None:
        """Let it begin."""
        self._loop.call_soon_threadsafe(self._begin)

    def cancel(self) -> None:
        """Ask it to end; `done` tells when it has, with CancelledError."""
        self._loop.call_soon_threadsafe(self._end)

    def _begin(self) -> None:
        self._task = self._loop.create_task(self._work, name="modelyard-call")
        self._task.add_done_callback(self._settle)

    def _end(self) -> None:
        if self._task is not None:
            self._task.cancel()
        elif not self.done.done():
            self._work.close()
            self.done.set_exception(concurrent.futures.CancelledError())

    def _settle(self, task: asyncio.Task[T]) -> None:
        error = concurrent.futures.CancelledError() if task.cancelled() else task.exception()
        if error is not None:
            self.done.set_exception(error)
        else:
            self.done.set_result(task.result())


_END = object()

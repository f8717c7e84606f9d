"""Adaptive batching: the next batch is what queued while the last one ran, so that a lone request never waits."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from numpy.typing import NDArray

from modelyard_api.errors import ModelCrashed, ModelyardError, Unavailable
from modelyard_server.block import Block
from modelyard_server.dataplane import Contract, DataPlane, concatenate, rows
from modelyard_server.flavors.base import Columns, Outputs, Wanted
from modelyard_server.metrics import Metrics
from modelyard_server.watch.record import Record
from modelyard_server.workers.worker import NotBegun

_log = logging.getLogger(__name__)
_LONG = 0.05
"""Seconds of one run beyond which requests are joined no more: it would be no faster by the row, and all of them would
wait for it, with memory for all."""
_FEW = 8
"""Rows that are joined whatever they take, so that a model that gains by it is seen to."""


_LONGEST = 60
"""Seconds after which who was refused is told to ask again, at most."""
Ran = list[tuple[float, int]]
"""The model's runs: seconds and rows of each."""


class Lane(Protocol):
    """Where batches run, one at a time."""

    @property
    def thread(self) -> Executor:
        """What `run` is called in."""

    async def free(self) -> None:
        """Returns when it can take a batch."""

    def run(self, columns: Columns, wanted: Wanted = None) -> Outputs:
        """As `DataPlane.run`. Raises NotBegun where it cannot take one any more, ModelCrashed."""

    def lost(self) -> None:
        """It raised NotBegun."""


class Here:
    """This process."""

    def __init__(self, plane: DataPlane) -> None:
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self.run = plane.run

    async def free(self) -> None:
        """See `Lane.free`."""

    def lost(self) -> None:
        """See `Lane.lost`."""


@dataclass(frozen=True, eq=False)
class _Waiting:
    columns: Columns
    rows: int
    answer: asyncio.Future[Outputs]
    wanted: Wanted = None
    since: float = field(default_factory=time.perf_counter)
    record: Record | None = None


class Batcher:
    """Each lane takes what is in the queue when it is free; requests that come meanwhile queue up to `max_queue`."""

    def __init__(
        self,
        contract: Contract,
        lanes: Sequence[Lane],
        *,
        max_batch: int,
        max_queue: int,
        max_delay: float = 0.0,
        metrics: Metrics,
    ) -> None:
        self._metrics = metrics
        self._max_delay = max_delay
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._mergeable = contract.manifest.task != "other"
        self._row = 0.0  # seconds, of the last runs
        self._queue: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._lanes = lanes
        self._tasks = [asyncio.create_task(self._work(lane), name=f"batcher {i}") for i, lane in enumerate(lanes)]

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._queue)

    @property
    def full(self) -> bool:
        """Whether no more requests may wait."""
        return len(self._queue) >= self._max_queue

    def too_many(self) -> Unavailable:
        """What one that would have to is refused with."""
        return Unavailable(f"{self._max_queue} requests are waiting already", retry_after=self._until_empty())

    async def predict(self, columns: Columns, wanted: Wanted = None, record: Record | None = None) -> Outputs:
        """Outputs for checked columns, at least the wanted. Raises ModelFailed; Unavailable when the queue is full.

        Cancelled, it leaves the queue: who left takes nobody's place there."""
        if self.full:
            raise self.too_many()
        answer: asyncio.Future[Outputs] = asyncio.get_running_loop().create_future()
        waiting = _Waiting(columns, rows(columns), answer, wanted, record=record)
        self._queue.append(waiting)
        self._wake.set()
        try:
            return await answer
        except asyncio.CancelledError:
            with suppress(ValueError):  # it is predicted just now
                self._queue.remove(waiting)
            raise

    def give_up(self, error: ModelyardError) -> None:
        """Fail what waits."""
        while self._queue:
            waiting = self._queue.popleft()
            if not waiting.answer.done():
                waiting.answer.set_exception(error)

    async def close(self) -> None:
        """End at once; what still waits is given up. A server drains before, and a model may never return."""
        while self._queue:
            self._queue.popleft().answer.cancel()
        for task in self._tasks:
            task.cancel()
        for lane in self._lanes:
            lane.thread.shutdown(wait=False, cancel_futures=True)

    async def _work(self, lane: Lane) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            await lane.free()
            if self._max_delay and 0 < len(self._queue) < self._max_batch:
                await asyncio.sleep(self._max_delay)
            batch = self._next()
            if not batch:
                self._wake.clear()
                continue
            start, ran = time.perf_counter(), Ran()
            try:
                answers = await loop.run_in_executor(lane.thread, self._run, lane, batch, ran)
            except Exception as error:
                if not isinstance(error, ModelCrashed | NotBegun):
                    _log.exception("a batch of %d requests failed", len(batch))
                answers = [error] * len(batch)
            self._count(ran)
            self._deliver(lane, batch, answers, start)

    def _count(self, ran: Ran) -> None:
        """Metrics are for one thread: the loop's, not those of the lanes."""
        for seconds, count in ran:
            self._row += 0.3 * (seconds / count - self._row)
            self._metrics.predict.observe(seconds)
            self._metrics.batch.observe(count)

    def _deliver(self, lane: Lane, batch: list[_Waiting], answers: Sequence[Outputs | Exception], start: float) -> None:
        again = [w for w, a in zip(batch, answers, strict=True) if isinstance(a, NotBegun) and not w.answer.done()]
        begun = [w for w, a in zip(batch, answers, strict=True) if not isinstance(a, NotBegun)]
        for waiting in begun:
            self._metrics.queue.observe(start - waiting.since)
        _tell(begun, start)
        for waiting, answer in zip(batch, answers, strict=True):
            if waiting.answer.done() or isinstance(answer, NotBegun):
                continue
            if isinstance(answer, BaseException):
                waiting.answer.set_exception(answer)
            else:
                waiting.answer.set_result(answer)
        if again:
            lane.lost()
            self._queue.extendleft(reversed(again))
            self._wake.set()

    def _until_empty(self) -> int:
        """Seconds until what waits now will have been answered, as far as the last runs tell."""
        total = sum(waiting.rows for waiting in self._queue)
        return min(_LONGEST, max(1, math.ceil(total * self._row / len(self._lanes))))

    def _next(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        total = 0
        while self._queue:
            waiting = self._queue[0]
            if batch and not (self._mergeable and self._fits(batch[0], waiting, total)):
                break
            self._queue.popleft()
            if not waiting.answer.done():  # else its caller has gone
                batch.append(waiting)
                total += waiting.rows
        return batch

    def _fits(self, first: _Waiting, further: _Waiting, total: int) -> bool:
        if isinstance(first.columns, Block) and isinstance(further.columns, Block):
            return total + further.rows <= self._most
        # Joined, columns of two types would become a third, which the signature does not name.
        same = all(_like(first.columns[n]) == _like(further.columns[n]) for n in first.columns)
        return same and total + further.rows <= self._most

    @property
    def _most(self) -> int:
        """Rows of a batch: as many as take no longer than they should."""
        return min(self._max_batch, max(_FEW, int(_LONG / self._row) if self._row else _FEW))

    def _run(self, lane: Lane, batch: list[_Waiting], ran: Ran) -> list[Outputs | Exception]:
        if len(batch) > 1:
            try:
                whole = _timed(lane, concatenate([w.columns for w in batch]), _all_wanted(batch), ran)
                total = sum(w.rows for w in batch)
                if all(array.ndim and len(array) == total for array in whole.values()):
                    return _split(whole, [w.rows for w in batch])
            except (ModelCrashed, NotBegun):
                raise
            except ModelyardError:
                pass  # one of them is at fault: ask one by one, so that only that one fails
            except Exception:
                _log.exception("%d requests at once failed; they are asked one by one", len(batch))
        return [_one(lane, waiting, ran) for waiting in batch]


def _one(lane: Lane, waiting: _Waiting, ran: Ran) -> Outputs | Exception:
    try:
        return _timed(lane, waiting.columns, waiting.wanted, ran)
    except Exception as error:
        return error


def _timed(lane: Lane, columns: Columns, wanted: Wanted, ran: Ran) -> Outputs:
    start = time.perf_counter()
    begun = True
    try:
        return lane.run(columns, wanted)
    except NotBegun:
        begun = False
        raise
    finally:
        if begun:
            ran.append((time.perf_counter() - start, rows(columns)))


def _all_wanted(batch: list[_Waiting]) -> Wanted:
    found: frozenset[str] = frozenset()
    for waiting in batch:
        if waiting.wanted is None:
            return None
        found |= waiting.wanted
    return found


def _tell(batch: list[_Waiting], start: float) -> None:
    """Their records, where they have any."""
    if any(waiting.record is not None for waiting in batch):
        end, total = time.perf_counter(), sum(waiting.rows for waiting in batch)
        for waiting in batch:
            if waiting.record is not None:
                waiting.record.ran(waiting.since, start, end, total)


def _like(array: NDArray[Any]) -> tuple[Any, ...]:
    """What two arrays must share to be joined; texts are alike as objects and with a width."""
    return array.shape[1:], "text" if array.dtype.kind in "OU" else array.dtype


def _split(whole: Outputs, sizes: list[int]) -> list[Outputs | Exception]:
    parts: list[Outputs | Exception] = []
    start = 0
    for size in sizes:
        parts.append({name: array[start : start + size] for name, array in whole.items()})
        start += size
    return parts

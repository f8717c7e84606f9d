"""Reading, scoring and writing at once, with a bounded number of batches between them.

One thread reads, as many as there are planes score, and the caller takes the answers in order.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from modelyard.batch.scoring.answering import Answered, Answerer
from modelyard.batch.scoring.plan import Unit
from modelyard.batch.scoring.sources import Files, Piece

_AHEAD = 2
"""Batches read ahead of those being scored."""


@dataclass(frozen=True)
class Start:
    """Where in a unit reading begins: at row `row` of segment `segment`."""

    segment: int = 0
    row: int = 0


@dataclass(frozen=True)
class Step:
    """A scored piece and where the next one begins; `answered` None: the unit is at its end."""

    unit: Unit
    answered: Answered | None
    segment: int = 0
    next: int = 0


@dataclass(frozen=True)
class _Read:
    unit: Unit
    piece: Piece | None
    segment: int = 0


def pieces(
    files: Files, work: Sequence[tuple[Unit, Start]], columns: Sequence[str], rows: int
) -> Generator[_Read, None, None]:
    """All pieces of the units, each unit's end told."""
    for unit, start in work:
        for index, segment in enumerate(unit.segments):
            if index < start.segment:
                continue
            first = start.row if index == start.segment else 0
            reader = files.reader(segment.file)
            for piece in reader.pieces(segment, columns, rows, first):
                yield _Read(unit, piece, index)
        yield _Read(unit, None)


def scored(
    read: Iterator[_Read], answerers: Sequence[Answerer], stopped: Callable[[], bool]
) -> Generator[Step, None, None]:
    """The steps in the order of what is read. What a thread raises is raised here. Ends early where `stopped`."""
    free: queue.SimpleQueue[Answerer] = queue.SimpleQueue()
    for answerer in answerers:
        free.put(answerer)

    def answer(piece: Piece) -> Answered:
        mine = free.get()
        try:
            return mine.answer(piece)
        finally:
            free.put(mine)

    ahead = _Ahead(read)
    waiting: deque[tuple[_Read, Future[Answered] | None]] = deque()
    pool = ThreadPoolExecutor(len(answerers), thread_name_prefix="score")
    try:
        for one in ahead:
            if stopped():
                return
            waiting.append((one, None if one.piece is None else pool.submit(answer, one.piece)))
            while len(waiting) > len(answerers) + 1:
                yield _step(*waiting.popleft())
        while waiting and not stopped():
            yield _step(*waiting.popleft())
    finally:
        ahead.close()
        pool.shutdown(wait=True, cancel_futures=True)


def _step(read: _Read, answered: Future[Answered] | None) -> Step:
    if read.piece is None or answered is None:
        return Step(read.unit, None)
    return Step(read.unit, answered.result(), read.segment, read.piece.next)


class _Ahead:
    """An iterator that is read in a thread of its own, some items ahead."""

    _END = object()

    def __init__(self, source: Iterator[_Read]) -> None:
        self._source = source
        self._queue: queue.Queue[Any] = queue.Queue(_AHEAD)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="read", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[_Read]:
        while True:
            item = self._queue.get()
            if item is self._END:
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def close(self) -> None:
        """Read no more; returns when the thread has ended."""
        self._closed.set()
        while self._thread.is_alive():
            with suppress(queue.Empty):
                self._queue.get(timeout=0.02)

    def _run(self) -> None:
        try:
            for item in self._source:
                self._queue.put(item)
                if self._closed.is_set():
                    return
            self._queue.put(self._END)
        except BaseException as error:  # it is raised where the items are taken
            self._queue.put(error)

"""From a request to predict to its answer: read, run where it is quickest, write. Times each part."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from modelyard_api.errors import ModelyardError, Unavailable
from modelyard_server.batching import Batcher, Here
from modelyard_server.body import (
    COMPRESS_FROM,
    THREAD_FROM,
    UNZIP_FROM,
    gunzip,
    reads_quickly,
    takes_gzip,
    zip_small,
)
from modelyard_server.flavors.base import Outputs, Wanted
from modelyard_server.loading import Loaded
from modelyard_server.metrics import Metrics
from modelyard_server.questions import Codec, Question
from modelyard_server.settings import ServerSettings
from modelyard_server.watch.record import Record
from modelyard_server.web.messages import Answer, Request
from modelyard_server.workers.pool import Pool


class Predictor:
    """Quick models run at once, on the event loop; others in the batcher's thread; those of a pool in its processes."""

    def __init__(self, settings: ServerSettings, loaded: Loaded, metrics: Metrics) -> None:
        model, pace = loaded.model, loaded.pace
        self._model = model
        self._pending = 0
        self._idle = asyncio.Event()
        self._pool = model if isinstance(model, Pool) else None
        self._here = None if isinstance(model, Pool) else model
        self._pace = pace
        self._metrics = metrics
        self._limit = settings.max_body
        self._codec = Codec(model, settings.endpoint, loaded.version, settings.max_rows)
        self._batcher = Batcher(
            model,
            model.lanes if isinstance(model, Pool) else (Here(model),),
            max_batch=settings.max_batch,
            max_queue=settings.max_queue,
            max_delay=settings.max_delay,
            metrics=metrics,
        )
        metrics.queued = lambda: self._batcher.waiting
        metrics.pool = self._pool
        if self._pool is not None:
            self._pool.away = self._batcher.give_up

    def began(self) -> None:
        """An answer is being waited for."""
        self._pending += 1

    def ended(self) -> None:
        """It is not any more."""
        self._pending -= 1
        if not self._pending:
            self._idle.set()

    async def retire(self) -> None:
        """Answer what is under way, then unload the model."""
        # Who was given an answer of ours before now has begun to wait for it after this.
        await asyncio.sleep(0)
        while self._pending:
            self._idle.clear()
            await self._idle.wait()
        await self.close()

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()
        await self._batcher.close()

    @property
    def full(self) -> bool:
        """Whether a request is refused unread, as it would have to wait and the queue is full."""
        return self._pace.never and self._batcher.full

    def too_many(self) -> Unavailable:
        """What it is refused with."""
        return self._batcher.too_many()

    def admit(self) -> None:
        """Raises Unavailable when the queue is full, or no process of the model is there."""
        if self._pool is not None:
            self._pool.admit()
        if self.full:
            raise self.too_many()

    async def exchange(
        self,
        read: Callable[[Codec], Question],
        write: Callable[[Codec, Question, Outputs], bytes],
        size: int,
        record: Record | None,
    ) -> bytes:
        """An answer for a transport of its own, whose request has `size` bytes. Raises ModelyardError."""
        self.began()
        try:
            return await self._exchanged(read, write, size, record)
        finally:
            self.ended()

    async def _exchanged(
        self,
        read: Callable[[Codec], Question],
        write: Callable[[Codec, Question, Outputs], bytes],
        size: int,
        record: Record | None,
    ) -> bytes:
        start = time.perf_counter()
        try:
            question = read(self._codec) if size <= THREAD_FROM else await asyncio.to_thread(read, self._codec)
        except ModelyardError as error:
            self._refused(error)
            raise
        self._metrics.read.observe(time.perf_counter() - start)
        coming = self._run(question, record)
        outputs = coming if isinstance(coming, dict) else await coming
        start = time.perf_counter()
        self._metrics.rows += question.rows
        if _size(outputs) > THREAD_FROM:
            answer = await asyncio.to_thread(write, self._codec, question, outputs)
        else:
            answer = write(self._codec, question, outputs)
        self._metrics.write.observe(time.perf_counter() - start)
        return answer

    def answer(self, request: Request, *, invoked: bool) -> Answer | Awaitable[Answer]:
        """Raises ModelyardError, at once or when it is awaited."""
        self.admit()
        start = time.perf_counter()
        body = request.body
        if b"content-encoding" in request.headers and request.header(b"content-encoding").lower() == "gzip":
            if len(body) > UNZIP_FROM:
                return self._large(request, lambda: gunzip(request.body, self._limit), invoked)
            body = gunzip(body, self._limit)
        head = request.headers.get(b"inference-header-content-length")
        if len(body) > THREAD_FROM and not reads_quickly(head, body):
            return self._large(request, lambda: body, invoked)
        try:
            question = self._codec.read(request, body, invoked=invoked)
        except ModelyardError as error:
            self._refused(error)
            raise
        return self._asked(request, question, start)

    async def _large(self, request: Request, body: Callable[[], bytes], invoked: bool) -> Answer:
        start = time.perf_counter()
        try:
            question = await asyncio.to_thread(lambda: self._codec.read(request, body(), invoked=invoked))
        except ModelyardError as error:
            self._refused(error)
            raise
        answer = self._asked(request, question, start)
        return answer if isinstance(answer, Answer) else await answer

    def _refused(self, error: ModelyardError) -> None:
        self._metrics.violations[str(error.extra.get("rule", type(error).__name__))] += 1

    def _asked(self, request: Request, question: Question, start: float) -> Answer | Awaitable[Answer]:
        self._metrics.read.observe(time.perf_counter() - start)
        outputs = self._run(question, request.record, self._codec.wanted(question) if self._here is None else None)
        if isinstance(outputs, dict):
            return self._written(request, question, outputs, time.perf_counter())
        return self._queued(request, question, outputs)

    def _run(self, question: Question, record: Record | None, wanted: Wanted = None) -> Outputs | Awaitable[Outputs]:
        """At once from a quick model, else later."""
        if record is not None:
            record.rows = question.rows
        here = self._here
        if here is None or not self._pace.quick(question.rows, question.columns):
            return self._batcher.predict(question.columns, wanted, record)
        start = time.perf_counter()
        outputs = here.run(question.columns)
        end = time.perf_counter()
        self._pace.saw(question.rows, end - start)
        self._metrics.predict.observe(end - start)
        self._metrics.queue.observe(0.0)
        self._metrics.batch.observe(question.rows)
        if record is not None:
            record.ran(start, start, end, question.rows)
        return outputs

    async def _queued(self, request: Request, question: Question, coming: Awaitable[Outputs]) -> Answer:
        outputs = await coming
        answer = self._written(request, question, outputs, time.perf_counter())
        return answer if isinstance(answer, Answer) else await answer

    def _written(
        self, request: Request, question: Question, outputs: Outputs, start: float
    ) -> Answer | Awaitable[Answer]:
        self._metrics.rows += question.rows
        if _size(outputs) > THREAD_FROM:
            return self._write_large(request, question, outputs, start)
        answer = self._codec.write(question, outputs)
        self._metrics.write.observe(time.perf_counter() - start)
        if not _zips(request, answer):
            return answer
        if len(answer.body) < THREAD_FROM:
            return _zipped(zip_small(answer.body))
        return self._zipping(answer)

    async def _write_large(self, request: Request, question: Question, outputs: Outputs, start: float) -> Answer:
        answer = await asyncio.to_thread(self._codec.write, question, outputs)
        self._metrics.write.observe(time.perf_counter() - start)
        return await self._zipping(answer) if _zips(request, answer) else answer

    async def _zipping(self, answer: Answer) -> Answer:
        return _zipped(await asyncio.to_thread(zip_small, answer.body))


def _size(outputs: Outputs) -> int:
    size = 0
    for array in outputs.values():
        size += array.nbytes
    return size


def _zips(request: Request, answer: Answer) -> bool:
    if len(answer.body) < COMPRESS_FROM or answer.headers or b"accept-encoding" not in request.headers:
        return False
    return takes_gzip(request.header(b"accept-encoding"))


def _zipped(body: bytes) -> Answer:
    return Answer(200, body, headers=((b"content-encoding", b"gzip"), (b"vary", b"accept-encoding")))

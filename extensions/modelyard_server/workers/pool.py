"""Keeps a model's processes up.

starting ──hello──▶ up ──ended──▶ pausing (none the first time, then 1, 2, 4 … 30 s) ──▶ starting …
starting ──no hello within `Launch.load_timeout`──▶ ended
A process that was up for a minute has made good for the ends before it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from modelyard_api.errors import InvalidInput, ModelyardError, TimedOut, Unavailable
from modelyard_api.models import PackageManifest
from modelyard_server.dataplane import Contract
from modelyard_server.flavors.base import Columns, Outputs, Wanted
from modelyard_server.workers.worker import Launch, NotBegun, Worker

_log = logging.getLogger(__name__)
_LONGEST = 30.0
_STEADY = 60.0
_LAST = 2.0


def pause(ends: int) -> float:
    """Seconds before the next start, after so many ends in a row. A first one is not waited for: others may ask."""
    return 0.0 if ends < 2 else min(_LONGEST, 2.0 ** (ends - 2))


def too_late(seconds: float) -> TimedOut:
    """A model was not loaded and warm within so many seconds."""
    return TimedOut(
        f"the model was not loaded within {seconds:g} s (MODELYARD_SERVER_LOAD_TIMEOUT)",
        remedy="Have it load less or sooner, or have the limit raised: docs/workers.md.",
    )


@dataclass(frozen=True)
class End:
    """How a process ended, in words; `late`: it was ended because it did not get ready in time."""

    was_up: bool
    how: str
    late: bool = False


class Slot:
    """A process, and the next one when it has ended: a `Lane` of the batcher's."""

    def __init__(self, number: int, launch: Launch) -> None:
        self.number = number
        self.thread = ThreadPoolExecutor(1, thread_name_prefix=f"worker-{number}")
        self.worker: Worker | None = None
        self.device = "cpu"
        self.until: float | None = None  # on the clock of time.monotonic: no start before
        self._up = asyncio.Event()
        self._launch = launch

    @property
    def up(self) -> bool:
        return self._up.is_set()

    async def free(self) -> None:
        """See `Lane.free`."""
        await self._up.wait()

    def run(self, columns: Columns, wanted: Wanted = None) -> Outputs:
        """See `Lane.run`."""
        worker = self.worker
        if worker is None:
            raise NotBegun
        return worker.call(columns, wanted)

    def lost(self) -> None:
        """See `Lane.lost`."""
        if self.worker is None or self.worker.deaf():
            self._up.clear()
        if self.worker is not None and self.worker.deaf():
            self.worker.kill()

    async def live(self, came_up: Callable[[], None]) -> End:
        """One process from its start to its end."""
        try:
            worker = await Worker.start(self._launch)
        except OSError as error:
            return End(False, f"it cannot be started: {error}")
        self.worker = worker
        ending = asyncio.create_task(worker.wait(), name=f"end of worker {self.number}")
        try:
            hello = asyncio.get_running_loop().run_in_executor(self.thread, worker.hello)
            done, _ = await asyncio.wait((hello,), timeout=self._launch.load_timeout)
            if not done:
                worker.kill()
            up = await hello
            if up:
                self.device = worker.device
                self._up.set()
                came_up()
            how = await asyncio.shield(ending)
            return End(up, how) if done else End(up, too_late(self._launch.load_timeout).detail, late=True)
        finally:
            self._up.clear()
            if ending.done():
                self.worker = None


class Pool(Contract):
    """`start` begins to keep `count` processes. Until one of them was up, `broken` is set when one ends, and `failure`
    says why."""

    def __init__(self, manifest: PackageManifest, launch: Launch, count: int) -> None:
        super().__init__(manifest)
        self.lanes = tuple(Slot(number, launch) for number in range(count))
        self.restarts = 0
        self.broken = asyncio.Event()
        self.failure: ModelyardError | None = None
        self.away: Callable[[ModelyardError], None] = lambda _: None
        """Called when no process is up, and none will be soon."""
        self._ever = asyncio.Event()
        self._launch = launch
        self._how = ""  # the last end
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        for slot in self.lanes:
            self._tasks.append(asyncio.create_task(self._keep(slot), name=f"worker {slot.number}"))

    @property
    def up(self) -> int:
        """How many processes are ready to predict."""
        return sum(slot.up for slot in self.lanes)

    def memory(self) -> dict[str, int]:
        """Resident bytes of each process, by its number."""
        return {str(s.number): s.worker.memory() for s in self.lanes if s.worker is not None}

    def admit(self) -> None:
        """Raises Unavailable when no process is up and none is being started: a request would wait for long."""
        refusal = self._refusal()
        if refusal is not None:
            raise refusal

    def ready(self) -> None:
        """Raises Unavailable while no process is up."""
        if not self.up:
            said = (
                f"no process of the model is up, and it is started again: {self._how}"
                if self._ever.is_set()
                else f"the model is being loaded, for {self._launch.load_timeout:g} s at most"
            )
            raise Unavailable(said, retry_after=1)

    async def settled(self) -> None:
        """Until a first process is up, or `broken` is set."""
        waiting = [asyncio.create_task(event.wait()) for event in (self._ever, self.broken)]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()

    async def close(self, within: float = _LAST) -> None:
        """Let each process finish what it has begun, for at most `within` seconds. One that loads has begun nothing."""
        for task in self._tasks:
            task.cancel()
        workers = [slot.worker for slot in self.lanes if slot.worker is not None]
        for slot in self.lanes:
            if slot.worker is not None:
                slot.worker.let_go() if slot.up else slot.worker.kill()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*(worker.wait() for worker in workers)), within)
        for slot in self.lanes:
            if slot.worker is not None:
                slot.worker.kill()
            slot.thread.shutdown(wait=False, cancel_futures=True)

    def _refusal(self) -> Unavailable | None:
        waits = [slot.until - time.monotonic() for slot in self.lanes if slot.until is not None]
        if len(waits) < len(self.lanes):
            return None
        seconds = max(1, math.ceil(min(waits)))
        remedy = f"It is started again in {seconds} s; see the endpoint's log for why it ended."
        said = f"the model's process has ended several times in a row: {self._how}"
        return Unavailable(said, remedy=remedy, retry_after=seconds)

    def _came_up(self) -> None:
        self.device = next((slot.device for slot in self.lanes if slot.up), "cpu")
        self._ever.set()

    async def _keep(self, slot: Slot) -> None:
        """For ever."""
        ends = 0
        while True:
            began = time.monotonic()
            try:
                end = await slot.live(self._came_up)
            except Exception:
                _log.exception("keeping process %d of the model", slot.number)
                end = End(False, "it could not be kept")
            self._how = end.how
            if not self._ever.is_set():
                _log.error("the model's process did not get ready: %s", end.how)
                self.failure = too_late(self._launch.load_timeout) if end.late else _not_loaded(end.how)
                self.broken.set()
                return
            ends = 1 if end.was_up and time.monotonic() - began > _STEADY else ends + 1
            self.restarts += 1
            seconds = pause(ends)
            _log.error("process %d of the model is gone: %s; started again in %g s", slot.number, end.how, seconds)
            if seconds:
                await self._pause(slot, seconds)

    async def _pause(self, slot: Slot, seconds: float) -> None:
        slot.until = time.monotonic() + seconds
        refusal = self._refusal()
        if refusal is not None:
            self.away(refusal)
        try:
            await asyncio.sleep(seconds)
        finally:
            slot.until = None


def _not_loaded(how: str) -> InvalidInput:
    return InvalidInput(f"the package cannot be loaded: {how}", remedy="See the log above.")

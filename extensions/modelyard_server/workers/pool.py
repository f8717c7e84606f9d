"""Keeps a model's processes up.

starting ──hello──▶ up ──ended──▶ pausing (none the first time, then 1, 2, 4 … 30 s) ──▶ starting …
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

from modelyard_api.errors import ModelyardError, Unavailable
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

    async def live(self, came_up: Callable[[], None]) -> tuple[bool, str]:
        """One process from its start to its end: whether it was up, and how it ended."""
        try:
            worker = await Worker.start(self._launch)
        except OSError as error:
            return False, f"it cannot be started: {error}"
        self.worker = worker
        ending = asyncio.create_task(worker.wait(), name=f"end of worker {self.number}")
        up = False
        try:
            up = await asyncio.get_running_loop().run_in_executor(self.thread, worker.hello)
            if up:
                self.device = worker.device
                self._up.set()
                came_up()
            return up, await asyncio.shield(ending)
        finally:
            self._up.clear()
            if ending.done():
                self.worker = None


class Pool(Contract):
    """`start` begins to keep `count` processes. Until one of them was up, `broken` is set when one ends."""

    def __init__(self, manifest: PackageManifest, launch: Launch, count: int) -> None:
        super().__init__(manifest)
        self.lanes = tuple(Slot(number, launch) for number in range(count))
        self.restarts = 0
        self.broken = asyncio.Event()
        self.away: Callable[[ModelyardError], None] = lambda _: None
        """Called when no process is up, and none will be soon."""
        self._ever = asyncio.Event()
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
                "no process of the model is up: it is started again"
                if self._ever.is_set()
                else "the model is being loaded"
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
        """Let each process finish what it has begun, for at most `within` seconds."""
        for task in self._tasks:
            task.cancel()
        workers = [slot.worker for slot in self.lanes if slot.worker is not None]
        for worker in workers:
            worker.let_go()
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
        return Unavailable("the model's process has ended several times in a row", remedy=remedy, retry_after=seconds)

    def _came_up(self) -> None:
        self.device = next((slot.device for slot in self.lanes if slot.up), "cpu")
        self._ever.set()

    async def _keep(self, slot: Slot) -> None:
        """For ever."""
        ends = 0
        while True:
            began = time.monotonic()
            try:
                was_up, how = await slot.live(self._came_up)
            except Exception:
                _log.exception("keeping process %d of the model", slot.number)
                was_up, how = False, "it could not be kept"
            if not self._ever.is_set():
                _log.error("the model's process did not get ready: %s", how)
                self.broken.set()
                return
            ends = 1 if was_up and time.monotonic() - began > _STEADY else ends + 1
            self.restarts += 1
            seconds = pause(ends)
            _log.error("process %d of the model is gone: %s; started again in %g s", slot.number, how, seconds)
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

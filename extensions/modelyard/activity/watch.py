"""Looks every few seconds at what is at work in a notebook server, and keeps when something last was."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from modelyard.activity import busy
from modelyard.activity.gpus import Gpus, look
from modelyard.activity.peaks import Teller
from modelyard.activity.processes import Meter
from modelyard.activity.traffic import Traffic
from modelyard_api.activity import Activity, Countdown

log = logging.getLogger(__name__)
EVERY = 10.0
WINDOW = 60.0
"""Seconds over which CPUs are averaged: a moment of housekeeping is no work."""
CPU = 0.1
"""CPUs from which on it is. A notebook's kernel that does nothing takes a hundredth."""
GPU = 0.01


class Watch:
    """Of one server. `settings` are its web application's."""

    def __init__(self, settings: dict[str, Any], gpus: Gpus | None = None, window: float = WINDOW) -> None:
        self._settings, self._gpus = settings, gpus  # the driver may take a while to say what there is
        self.traffic, self.meter = Traffic(), Meter(window)
        self._started = self._last = self._present = self._gpu_last = time.time()
        self._busy: tuple[str, ...] = ()
        self._looking = asyncio.Lock()
        self._keep_until = self._ends_at = self._told_at = self._keep = 0.0

    async def run(self, every: float = EVERY) -> None:
        """Without end."""
        teller = Teller()
        while True:
            try:
                await self.look()
                await teller.tell(self.meter.use)
            except Exception:  # the next look may do; a server that says nothing is not ended
                log.exception("looking at what is at work")
            await asyncio.sleep(every)

    async def look(self) -> None:
        """Once; who asks meanwhile waits for it, for the meter counts from one look to the next."""
        async with self._looking:
            await self._look()

    async def _look(self) -> None:
        share = await asyncio.to_thread(self._measure)
        now = time.time()
        found = [*busy.kernels(self._settings["kernel_manager"], self._settings.get("session_manager"))]
        found += await asyncio.to_thread(lambda: list(busy.terminals(self._settings.get("terminal_manager"))))
        if (cpu := self.meter.cpu()) >= CPU:
            found.append(f"Processes use {cpu:.1f} CPUs")
        if share >= GPU:
            self._gpu_last = now
            found.append("A GPU computes")
        if sending := self.traffic.sending():
            found.append(f"{sending} download{'s' if sending > 1 else ''}")
        self._busy = tuple(found)
        if found:
            self._last = now

    def _measure(self) -> float:
        self.meter.sample()
        self._gpus = self._gpus or look()
        return self._gpus.share()

    def present(self) -> None:
        """Somebody is at work in a page of this server."""
        self._present = time.time()

    def keep(self, seconds: float) -> None:
        """Its user wants it kept; whether for so long is not decided here."""
        self._keep_until = time.time() + seconds

    def count_down(self, told: Countdown) -> None:
        """It will be ended, unless something happens."""
        self._told_at = time.time()
        self._ends_at = self._told_at + told.seconds if told.seconds else 0.0
        self._keep = told.keep

    async def now(self) -> Activity:
        """As it is now: looked at anew."""
        await self.look()
        last = max(self._last, self._present, self.traffic.changed, *self._others())
        if max(last, self._keep_until) > self._told_at:
            self._ends_at = 0.0  # something happened since
        return Activity(
            now=time.time(),
            started=self._started,
            last=last,
            busy=self._busy,
            keep_until=self._keep_until,
            ends_at=self._ends_at,
            keep=self._keep,
            gpus=self._gpus.count() if self._gpus else 0,
            gpu_last=self._gpu_last,
            use=self.meter.use,
        )

    def _others(self) -> list[float]:
        """When kernels and terminals last said something. What pages ask by themselves is none of it."""
        kernels, terminals = self._settings["kernel_manager"], self._settings.get("terminal_manager")
        said = [kernels.get_kernel(one).last_activity for one in kernels.list_kernel_ids()]
        said += [terminal.last_activity for terminal in getattr(terminals, "terminals", {}).values()]
        return [moment.timestamp() for moment in said if moment is not None]

"""The supervisor: starts the siblings together, starts again what dies, stops them all."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import httpx

from modelyard_api.errors import ModelyardError, Unavailable
from modelyard_hub.embedded.processes import end, log_path, log_tail, record, signal_group, spawn
from modelyard_hub.embedded.siblings import Sibling

Progress = Callable[[str, str], None]
"""Called with a sibling's name and its state: starting, ready, died, stopping, stopped."""

START_TIMEOUT = 120.0
_HEALTHY_AFTER = 30.0
_MAX_BACKOFF = 30.0
_log = logging.getLogger(__name__)


class Supervisor:
    """Runs `siblings` with logs below `home`."""

    def __init__(self, home: Path, siblings: tuple[Sibling, ...], progress: Progress) -> None:
        self._home = home
        self._siblings = siblings
        self._progress = progress
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._ready: dict[str, asyncio.Event] = {s.name: asyncio.Event() for s in siblings}
        self._failures: dict[str, int] = {s.name: 0 for s in siblings}
        self._stopping = False

    async def start(self) -> None:
        """Returns when all answer. Raises Unavailable with a sibling's last log lines when one does not."""
        self._tasks = [asyncio.create_task(self._keep(s), name=f"keep-{s.name}") for s in self._siblings]
        try:
            async with asyncio.timeout(START_TIMEOUT):
                await asyncio.gather(*(self._wait_ready(s) for s in self._siblings))
        except TimeoutError:
            late = next(s for s in self._siblings if not self._ready[s.name].is_set())
            raise self._not_started(late, f"did not answer within {START_TIMEOUT:.0f} s") from None

    async def stop(self) -> None:
        """End all, in an order in which none misses another; then their sessions."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(self._end(s) for s in self._siblings if s.name != "traefik"))
        await asyncio.gather(*(self._end(s) for s in self._siblings if s.name == "traefik"))
        self._record()

    async def _end(self, sibling: Sibling) -> None:
        process = self._running.get(sibling.name)
        if process is not None:
            self._progress(sibling.name, "stopping")
            await end(process, sibling.grace)
            self._progress(sibling.name, "stopped")

    async def _wait_ready(self, sibling: Sibling) -> None:
        ready = asyncio.create_task(self._ready[sibling.name].wait(), name=f"ready-{sibling.name}")
        keeper = next(t for t in self._tasks if t.get_name() == f"keep-{sibling.name}")
        try:
            while not ready.done():
                await asyncio.wait({ready, keeper}, timeout=0.2, return_when=asyncio.FIRST_COMPLETED)
                if self._failures[sibling.name] >= 2:
                    raise self._not_started(sibling, "ends as soon as it is started")
                if keeper.done():
                    await keeper
        finally:
            ready.cancel()

    def _not_started(self, sibling: Sibling, cause: str) -> Unavailable:
        tail = "\n".join(f"    {line}" for line in log_tail(self._home, sibling.name))
        path = log_path(self._home, sibling.name)
        return Unavailable(f"{sibling.title} {cause}; the end of {path}:\n{tail}", remedy="")

    async def _keep(self, sibling: Sibling) -> None:
        """Run it for as long as this task lives; a death is followed by a start at once, later ones by backoff."""
        delay = 0.0
        while True:
            await asyncio.sleep(delay)
            self._progress(sibling.name, "starting")
            started = time.monotonic()
            process = await spawn(self._home, sibling, os.environ)
            self._running[sibling.name] = process
            self._record()
            async with AsyncExitStack() as stack:
                probe = asyncio.create_task(self._probe(sibling), name=f"probe-{sibling.name}")
                stack.callback(probe.cancel)
                code = await process.wait()
            signal_group(process.pid, signal.SIGKILL)
            if not self._ready[sibling.name].is_set():
                self._failures[sibling.name] += 1
            healthy = time.monotonic() - started > _HEALTHY_AFTER
            delay = 0.0 if healthy else min(max(1.0, delay * 2), _MAX_BACKOFF) if delay else 0.1
            self._progress(sibling.name, f"died (exit code {code}); starting it again")

    def _record(self) -> None:
        """Note who runs. Where that fails, as on a full disk, parts are started and ended all the same."""
        try:
            record(self._home, {name: p.pid for name, p in self._running.items() if p.returncode is None})
        except ModelyardError as error:
            _log.warning("noting which parts run: %s", error)

    async def _probe(self, sibling: Sibling) -> None:
        async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
            while True:
                try:
                    if (await client.get(sibling.probe)).status_code < 400:
                        break
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.05)
        self._ready[sibling.name].set()
        self._failures[sibling.name] = 0
        self._progress(sibling.name, "ready")

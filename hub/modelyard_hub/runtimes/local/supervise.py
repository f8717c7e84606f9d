"""The life of one replica: start, watch, end, wait, start again.

starting ──ready──▶ ready ──ended──▶ backoff ──▶ starting …       `crash_loop_after` ends in a row: crash_loop,
any ──leave──▶ stopping ──▶ gone                                  tried again all the same, at the longest wait
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import httpx

from modelyard_api.errors import ModelyardError
from modelyard_api.names import EXIT_LOAD_TIMEOUT
from modelyard_hub.runtimes.base import Phase, Replica, Server
from modelyard_hub.runtimes.environment import Place, loaded_too_late, server_environment
from modelyard_hub.runtimes.local.fetched import local_package
from modelyard_hub.runtimes.local.logs import rotate, tail
from modelyard_hub.runtimes.local.options import LocalOptions
from modelyard_hub.runtimes.local.ports import Ports
from modelyard_hub.runtimes.local.process import NONCE, ROOT, Launch, Process, spawn
from modelyard_hub.runtimes.local.state import ReplicaRecord, WorkloadFolder

log = logging.getLogger(__name__)

EXIT_PORT_IN_USE = 4
_PORT_TRIES = 20
_PASSED_ON = ("PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV",
              "SSL_CERT_FILE", "SSL_CERT_DIR")  # fmt: skip
_FAILING = (Phase.backoff, Phase.crash_loop)


@dataclass(frozen=True)
class Ended:
    """Why a process is gone. `new_port`: only its port was at fault, so that it does not count as a failure."""

    reason: str
    message: str
    new_port: bool = False


@dataclass(frozen=True)
class Surroundings:
    """What all replicas of a runtime share."""

    options: LocalOptions
    root: str
    ports: Ports
    client: httpx.AsyncClient


class Supervisor:
    """Keeps one replica of `server` running until told to leave. `process` is one to adopt, from an earlier run;
    `changed` is called after each observable change."""

    def __init__(
        self,
        folder: WorkloadFolder,
        server: Server,
        record: ReplicaRecord,
        around: Surroundings,
        changed: Callable[[], None],
        process: Process | None = None,
    ) -> None:
        self.record = record
        self._folder, self._server, self._around, self._changed = folder, server, around, changed
        self._timing = around.options.timing
        self._process = process
        self._leaving: asyncio.Task[None] | None = None
        self._writing: asyncio.Future[None] | None = None
        self._port_tries = 0
        # A replica that was ready stays routed while it is taken up; the watch finds out when it no longer answers.
        crashing = record.failures >= around.options.crash_loop_after
        phase = Phase.ready if process and record.ready else Phase.crash_loop if crashing else Phase.starting
        self.observed = Replica(record.index, phase, since=datetime.now(UTC))
        self._show(phase)
        self._task = asyncio.create_task(self._run(), name=f"replica {server.name}/{record.index}")

    @property
    def gone(self) -> bool:
        """Whether it left."""
        return self._leaving is not None and self._leaving.done()

    @property
    def leaving(self) -> bool:
        """Whether it was told to leave."""
        return self._leaving is not None

    def leave(self, notice: float) -> None:
        """Drain and end it for good; when ready, first wait `notice` seconds for the router to look away."""
        if self._leaving is None:
            delay = notice if self.observed.phase is Phase.ready else 0.0
            self._show(Phase.stopping, self.observed.reason, self.observed.message)
            self._leaving = asyncio.create_task(self._leave(delay), name=f"end {self._server.name}/{self.record.index}")

    async def close(self) -> None:
        """Stop watching and leave the process running."""
        for task in (self._task, self._leaving):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await self._written()
        if self._process is not None:
            self._process.close()

    async def _leave(self, delay: float) -> None:
        await asyncio.sleep(delay)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._process is not None:
            await self._process.end(self._timing.drain_timeout)
            self._process.close()
            self._process = None
        await self._written()
        await asyncio.to_thread(self._folder.forget_replica, self.record.index)
        self._around.ports.give_back(self.record.port)
        asyncio.get_running_loop().call_soon(self._changed)

    async def _run(self) -> None:
        """The replica's whole life; only cancellation ends it."""
        while True:
            try:
                if self._process is None:
                    await self._start()
                assert self._process is not None
                ended = await self._watch(self._process)
                self._process.close()
                self._process = None
                delay = await self._after(ended)
            except ModelyardError as error:
                delay = await self._after(Ended(type(error).__name__, str(error)))
            except Exception as error:
                log.exception("supervising %s/%s", self._server.name, self.record.index)
                delay = await self._after(Ended(type(error).__name__, str(error)))
            await asyncio.sleep(delay)

    async def _start(self) -> None:
        """Checkpoint a nonce, spawn, checkpoint the pid: killed in between, the process is found by the nonce."""
        package = await local_package(self._server.package, self._folder, self._around.options.fetch)
        port = self._around.ports.take(self.record.port)
        nonce = uuid.uuid4().hex
        starting = replace(self.record, nonce=nonce, port=port, pid=None, started="", ready=False)
        self.record = starting
        await self._checkpoint()
        if self.observed.phase is not Phase.crash_loop:
            self._show(Phase.starting, self.observed.reason, self.observed.message)
        options = self._around.options
        launch = Launch(
            command=options.command,
            environment=self._environment(port, nonce, package),
            directory=self._folder.path,
            output=self._folder.log(self.record.index),
            memory=self._server.resources.memory,
            nice=options.nice,
        )
        self._process = spawn(launch)
        self.record = self.record.of(self._process.identity)
        await self._checkpoint_if_possible()

    def _environment(self, port: int, nonce: str, package: Path) -> dict[str, str]:
        """What the process gets: none of the hub service's secrets."""
        options = self._around.options
        place = Place(
            package=str(package),
            host="127.0.0.1",
            port=port,
            access=str(self._folder.access),
            max_body=options.max_body,
            start_timeout=options.timing.start_timeout,
            drain_timeout=options.timing.drain_timeout,
            watch=options.watch,
            grpc=options.grpc,
        )
        passed = {k: v for k, v in os.environ.items() if k in _PASSED_ON or k.startswith("LC_")}
        return {**passed, **server_environment(self._server, place), NONCE: nonce, ROOT: self._around.root}

    async def _watch(self, process: Process) -> Ended:
        """Poll until the process is gone, or must go. Death is noticed at once, not at the next poll."""
        now = asyncio.get_running_loop().time
        began = ready_since = now()
        deadline, misses = began + self._timing.start_timeout, 0
        while True:
            answered = await self._probe()
            if not process.alive():
                return self._death(process)
            if answered == 200 and self.observed.phase is not Phase.ready:
                ready_since = now()
                await self._became_ready()
            if answered is not None and answered != 200 and self.observed.phase is Phase.ready:
                deadline = now() + self._timing.start_timeout
                self._show(Phase.starting, "NotReady", f"The model server answers {answered}.")
            misses = 0 if answered is not None or self.observed.phase is not Phase.ready else misses + 1
            if ended := self._verdict(process, misses, now() > deadline):
                process.signal(signal.SIGKILL)
                await process.wait()
                return ended
            ready = self.observed.phase is Phase.ready
            if ready and self.record.failures and now() - ready_since >= self._timing.healthy_after:
                self.record = replace(self.record, failures=0)
                await self._checkpoint_if_possible()
            await process.wait(self._timing.pause(ready, now() - began))
            if ready:
                await asyncio.to_thread(self._rotate)

    def _verdict(self, process: Process, misses: int, late: bool) -> Ended | None:
        """Why a running process must go, or None."""
        used, limit = process.memory(), self._server.resources.memory
        if used > limit:
            text = f"It used {used // 2**20} MiB, more than its limit of {limit // 2**20} MiB."
            return Ended("OutOfMemory", text)
        if misses >= self._timing.misses:
            return Ended("Unresponsive", f"It did not answer {misses} times in a row.")
        if late and self.observed.phase is not Phase.ready:
            return Ended("StartTimeout", f"It was not ready within {self._timing.start_timeout:g} s.")
        return None

    def _death(self, process: Process) -> Ended:
        code = process.exit_code
        if code == EXIT_PORT_IN_USE:
            return Ended("PortInUse", f"Port {self.record.port} was taken meanwhile.", new_port=True)
        if code == EXIT_LOAD_TIMEOUT:
            return Ended("LoadTimeout", loaded_too_late(self._timing.start_timeout))
        lines = self._tail()
        if any("MemoryError" in line or "bad_alloc" in line for line in lines[-3:]) and code != 0:
            return Ended("OutOfMemory", f"It could not get more memory (exit code {code}).")
        if code is None:
            return Ended("Exited", "It ended; its exit code is not known, an earlier process had started it.")
        if code < 0:
            hint = " It was killed, perhaps by the system for want of memory." if code == -signal.SIGKILL else ""
            return Ended("Signaled", f"It ended by signal {signal.Signals(-code).name}.{hint}")
        return Ended("Exited", f"It ended with exit code {code}.")

    async def _probe(self) -> int | None:
        """Status of the server's readiness; None when it does not answer."""
        try:
            url = f"http://127.0.0.1:{self.record.port}/v2/health/ready"
            response = await self._around.client.get(url, timeout=self._timing.probe_timeout)
        except httpx.HTTPError:
            return None
        return response.status_code

    async def _became_ready(self) -> None:
        self._port_tries = 0
        if not self.record.ready:
            self.record = replace(self.record, ready=True)
            # Before it is said: who takes it up after a crash must not take a routed replica for a starting one.
            await self._checkpoint_if_possible()
        self._show(Phase.ready)

    async def _checkpoint(self) -> None:
        """Write the record. It outlives a cancellation, and who ends this waits: no file appears later."""
        self._writing = asyncio.ensure_future(asyncio.to_thread(self._folder.write_replica, self.record))
        await asyncio.shield(self._writing)

    async def _written(self) -> None:
        if self._writing is not None:
            await asyncio.gather(self._writing, return_exceptions=True)

    async def _checkpoint_if_possible(self) -> None:
        """For what a later process can find out without it: the pid by the nonce, readiness by asking."""
        try:
            await self._checkpoint()
        except ModelyardError as error:
            log.warning("checkpoint of %s/%s: %s", self._server.name, self.record.index, error)

    async def _after(self, ended: Ended) -> float:
        """Record an end; seconds to wait before the next start."""
        options, record = self._around.options, replace(self.record, pid=None, ready=False)
        log.info("replica %s/%s: %s: %s", self._server.name, record.index, ended.reason, ended.message)
        if ended.new_port:
            self._around.ports.give_back(record.port)
            self.record = record = replace(record, port=None)
            self._port_tries += 1
            if self._port_tries < _PORT_TRIES:
                return 0.0
        failures = record.failures + 1
        self.record = replace(record, restarts=record.restarts + 1, failures=failures)
        looping = failures >= options.crash_loop_after
        self._show(Phase.crash_loop if looping else Phase.backoff, ended.reason, ended.message)
        return self._timing.backoff.delay(failures)

    def _rotate(self) -> None:
        rotate(self._folder.log(self.record.index), self._around.options.log_size, self._around.options.log_files)

    def _tail(self) -> tuple[str, ...]:
        return tail(self._folder.log(self.record.index), self._around.options.tail_lines)

    def _show(self, phase: Phase, reason: str = "", message: str = "") -> None:
        """Change what is observed, and tell. A replica that leaves shows nothing else any more."""
        if self._leaving is not None:
            return
        since = self.observed.since if phase is self.observed.phase else datetime.now(UTC)
        self.observed = Replica(
            index=self.record.index,
            phase=phase,
            address=f"http://127.0.0.1:{self.record.port}" if self.record.port else None,
            restarts=self.record.restarts,
            reason=reason,
            message=message,
            log_tail=self._tail() if phase in _FAILING else (),
            since=since,
        )
        self._changed()

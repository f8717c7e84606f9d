"""The life of one task on this machine: start it or take it up, wait for its end, see that its end is known.

The command runs below `modelyard_server.task`, which keeps its limits and delivers what it leaves also while no hub
service runs; here it is only started, watched and, when it is deleted, ended.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from modelyard_api.errors import ModelyardError, Unavailable
from modelyard_api.tasks import TaskState, TaskStatus
from modelyard_hub.runtimes.local.logs import tail
from modelyard_hub.runtimes.local.options import LocalOptions
from modelyard_hub.runtimes.local.process import NONCE, PART, ROOT, Launch, Process, find_parts, spawn
from modelyard_hub.runtimes.local.task_files import TaskFiles, TaskRecord
from modelyard_hub.runtimes.task import ObservedTask

log = logging.getLogger(__name__)
_PASSED_ON = ("HOME", "USER", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV", "SSL_CERT_FILE",
              "SSL_CERT_DIR", "CUDA_VISIBLE_DEVICES")  # fmt: skip


class TaskRun:
    """Runs the task of `record`. `process` is one to adopt; `changed` is called after each observable change."""

    def __init__(
        self,
        files: TaskFiles,
        record: TaskRecord,
        options: LocalOptions,
        changed: Callable[[], None],
        process: Process | None = None,
        *,
        root: str = "",
    ) -> None:
        """`root`: the runtime's folder, where it is not the one around the task's."""
        self.files, self.record = files, record
        self._options, self._changed, self._process = options, changed, process
        self._root = root or str(files.path.parent)
        self._ran = process is not None
        self._leaving: asyncio.Task[None] | None = None
        task = record.task
        self.observed = ObservedTask(task.name, task.digest(), labels=task.labels, deleting=record.deleting)
        if (status := files.status()) is not None:
            self._show(status)
        self._living = asyncio.create_task(self._live(), name=f"task {task.name}")

    def leave(self, done: Callable[[], None]) -> None:
        """End it, for good, in the background; `done` is called when nothing is left."""
        if self._leaving is None:
            self.observed = replace(self.observed, deleting=True)
            self._leaving = asyncio.create_task(self._leave(done), name=f"end task {self.record.task.name}")
            self._changed()

    async def close(self) -> None:
        """Stop watching and leave the process running."""
        for task in (self._living, self._leaving):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if self._process is not None:
            self._process.close()

    def logs(self, lines: int) -> tuple[str, ...]:
        """The last lines."""
        return tail(self.files.log, lines)

    async def _leave(self, done: Callable[[], None]) -> None:
        self._living.cancel()
        await asyncio.gather(self._living, return_exceptions=True)
        if self._process is not None:
            timing = self._options.timing
            await self._process.end(timing.drain_timeout + timing.deliver)
            self._process.close()
            self._process = None
        await self._end_parts()
        with suppress(OSError):
            await asyncio.to_thread(self.files.remove)
        done()

    async def _live(self) -> None:
        """Until it has ended; only cancellation ends it earlier."""
        failures = 0
        while not self.observed.state.ended:
            try:
                await self._step()
            except ModelyardError as error:
                failures += 1
                self._wait_for(type(error).__name__, str(error))
            except Exception as error:
                failures += 1
                log.exception("running task %s", self.record.task.name)
                self._wait_for(type(error).__name__, str(error))
            if not self.observed.state.ended:
                await asyncio.sleep(self._options.timing.backoff.delay(failures))

    async def _step(self) -> None:
        """Start it where it was not, wait for its end, and see that its end is known."""
        status = await asyncio.to_thread(self.files.status)
        # One that was about to be started, and says nothing, never was.
        if status is None and not self._ran:
            await self._start()
        if self._process is not None:
            await self._watch(self._process)
            self._process.close()
            self._process = None
        await self._end_parts()
        status = await asyncio.to_thread(self.files.status)
        if status is None or not status.state.ended:
            await self._deliver_for_it()
            status = await asyncio.to_thread(self.files.status)
        if status is None or not status.state.ended:
            raise Unavailable(f"nothing is known of the end of task {self.record.task.name}")
        self._show(status)

    async def _start(self) -> None:
        """Checkpoint a nonce, spawn, checkpoint the pid: killed in between, the process is found by the nonce."""
        nonce, task, options = uuid.uuid4().hex, self.record.task, self._options
        self.record = replace(self.record, nonce=nonce, pid=None, started="")
        await asyncio.to_thread(self.files.write, self.record)
        launch = Launch(
            command=self._command(),
            environment={**self._environment(), NONCE: nonce, PART: nonce, ROOT: self._root},
            directory=self.files.path,
            output=self.files.runner_log,
            memory=task.resources.memory,
            nice=options.nice,
        )
        self._process = spawn(launch)
        self._ran = True
        self.record = self.record.of(self._process.identity)
        with suppress(ModelyardError):  # it is found by its nonce
            await asyncio.to_thread(self.files.write, self.record)

    def _command(self) -> list[str]:
        task, timing = self.record.task, self._options.timing
        given = [*self._options.task, "run", "--folder", str(self.files.run), "--output", task.output]
        given += ["--environment", str(self.files.environment), "--files", str(self.files.files)]
        given += ["--grace", str(timing.drain_timeout), "--memory", str(task.resources.memory)]
        given += ["--log-size", str(self._options.log_size), "--every", str(timing.deliver_every)]
        if task.timeout is not None:
            given += ["--timeout", str(task.timeout)]
        return [*given, "--", *task.command]

    def _environment(self) -> dict[str, str]:
        """None of the hub service's secrets but the keys of the store, which the command does not get."""
        passed = {k: v for k, v in os.environ.items() if k in _PASSED_ON or k.startswith(("LC_", "AWS_"))}
        threads = str(max(1, round(self.record.task.resources.cpu)))
        # `python` is the one that we run on, as in an image.
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
        return {**passed, "PATH": path, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": threads}

    async def _watch(self, process: Process) -> None:
        """Until its process is gone."""
        while not await process.wait(self._options.timing.starting_poll):
            status = await asyncio.to_thread(self.files.status)
            if status is not None:
                if status.state is TaskState.running:
                    self._show(status)
                break
        await process.wait()

    async def _end_parts(self) -> None:
        """End what the command left running, in whatever session."""
        for identity in await asyncio.to_thread(find_parts, self._root, self.record.nonce):
            part = Process(identity)
            part.signal(signal.SIGKILL)
            part.close()

    async def _deliver_for_it(self) -> None:
        """Its runner is gone without a word: say so in its place, and deliver what is there."""
        command = [*self._options.task, "deliver", "--gone", "--folder", str(self.files.run)]
        await asyncio.to_thread(self.files.run.mkdir, exist_ok=True)
        process = await asyncio.create_subprocess_exec(
            *command,
            "--output",
            self.record.task.output,
            env=self._environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            _, errors = await process.communicate()
        except asyncio.CancelledError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise
        if process.returncode not in (0, 1):
            last = (errors.decode(errors="replace").strip().splitlines() or [f"exit code {process.returncode}"])[-1]
            raise Unavailable(f"what task {self.record.task.name} left cannot be delivered: {last}")

    def _show(self, status: TaskStatus) -> None:
        now = self.observed.told(status)
        if now != self.observed:
            self.observed = now
            self._changed()

    def _wait_for(self, reason: str, message: str) -> None:
        """Say what keeps it from going on; it is tried again."""
        now = replace(self.observed, reason=reason, message=message)
        if now != self.observed:
            self.observed = now
            self._changed()

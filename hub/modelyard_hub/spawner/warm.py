"""The process that notebook servers of this machine are forked from: `python -m modelyard.singleuser.warm`.

It has imported all that a server needs, which is most of a start. Where it is not there, is still importing, or was
started before something was installed, a server is started the plain way.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

log = logging.getLogger(__name__)
PROGRAM = "modelyard.singleuser.warm"
ANSWERS_WITHIN = 5.0
"""Seconds after which a process that was told to fork has not."""


@dataclass
class Forked:
    """A server's process. `status` is that of its end, None while it runs."""

    pid: int
    status: int | None = None


@dataclass
class Warm:
    """The process, and what it forked. `environment`: what it is started with; a server's own comes with each."""

    environment: Mapping[str, str]
    _process: asyncio.subprocess.Process | None = None
    _starting: asyncio.Task[None] | None = None
    _reading: asyncio.Task[None] | None = None
    _installed: object = None
    _ready: asyncio.Event = field(default_factory=asyncio.Event)
    _asked: list[asyncio.Future[Forked]] = field(default_factory=list)
    _servers: dict[int, Forked] = field(default_factory=dict)

    def prepare(self) -> None:
        """Have one soon; returns at once."""
        if self._starting is None or (self._starting.done() and not self.running):
            self._starting = asyncio.create_task(self._start(), name="start the warm process")

    @property
    def running(self) -> bool:
        """Whether there is one, ready or not yet."""
        return self._process is not None and self._process.returncode is None

    def knows(self, server: Forked) -> bool:
        """Whether the end of this server will be told."""
        return self.running and self._servers.get(server.pid) is server

    async def fork(
        self, environ: Mapping[str, str], arguments: Sequence[str], folder: str, cores: Sequence[int]
    ) -> Forked | None:
        """A server that begins now; None where there is nothing to fork from."""
        if self.running and self._installed != installed():
            log.info("something was installed; notebook servers are forked from a new process")
            await self.close()
        self.prepare()
        if not self.running or not self._ready.is_set():
            return None
        told = {"environ": dict(environ), "arguments": [*arguments], "folder": folder, "cores": [*cores]}
        asked: asyncio.Future[Forked] = asyncio.get_running_loop().create_future()
        self._asked.append(asked)
        try:
            assert self._process is not None
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(told).encode() + b"\n")
            return await asyncio.wait_for(asked, ANSWERS_WITHIN)
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            log.warning("a notebook server is started the plain way: %r", error)
            await self.close()
            return None

    async def close(self) -> None:
        """End it; servers go on."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if self._reading is not None:
            await asyncio.wait({self._reading})

    async def _start(self) -> None:
        self._ready, self._asked, self._servers = asyncio.Event(), [], {}
        self._installed = await asyncio.to_thread(installed)
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", PROGRAM, env=self.environment, stdin=pipe, stdout=pipe, start_new_session=True
        )
        self._reading = asyncio.create_task(self._read(self._process), name="read the warm process")

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            said = json.loads(line)
            if "ready" in said:
                self._ready.set()
            elif "pid" in said:
                server = self._servers[said["pid"]] = Forked(said["pid"])
                asked = self._asked.pop(0)
                if not asked.done():
                    asked.set_result(server)  # not its number: it may have ended before who asked is back
                else:  # nobody waits for it any more
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(said["pid"], signal.SIGKILL)
            elif ended := self._servers.pop(said["ended"], None):
                ended.status = said["status"]
        for asked in self._asked:
            if not asked.done():
                asked.set_exception(ConnectionResetError("it ended"))
        await process.wait()


def installed() -> object:
    """What differs after a package was installed or removed, or a server extension enabled."""
    folders = [Path(entry) for entry in sys.path if entry.endswith("-packages")]
    folders += [Path(sys.prefix) / "etc" / "jupyter" / f"jupyter_{kind}_config.d" for kind in ("server", "notebook")]
    return tuple((str(folder), folder.stat().st_mtime_ns) for folder in folders if folder.exists())

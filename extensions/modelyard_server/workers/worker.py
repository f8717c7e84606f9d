"""One process of the model, as the server has it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from modelyard_api.errors import ModelCrashed, ModelFailed
from modelyard_server.device import Device
from modelyard_server.flavors.base import Columns, Outputs, Wanted
from modelyard_server.task.memory import oom_kills
from modelyard_server.workers import wire
from modelyard_server.workers.child import READY

_LAST = 5.0
"""Seconds for a process to end that has closed its socket."""
_PAGE = os.sysconf("SC_PAGE_SIZE")


class NotBegun(Exception):
    """The process was gone before it was asked: whoever has the request may ask another one."""


@dataclass(frozen=True)
class Launch:
    """What each process is started with. `load_timeout`: seconds for the model to be loaded and warm."""

    package: Path
    threads: int = 1
    device: Device = "cpu"
    load_timeout: float = 120.0


class Worker:
    """A running process. `hello` and `call` block, and are for one thread at a time."""

    def __init__(self, process: asyncio.subprocess.Process, end: socket.socket) -> None:
        self._process = process
        self._end = end
        self._gone = threading.Event()
        self._kills = oom_kills()
        self._ended = ""
        self.for_want_of_memory = False
        self.device = "cpu"

    @classmethod
    async def start(cls, launch: Launch) -> Worker:
        """Raises OSError where the system starts no process."""
        ours, theirs = socket.socketpair()
        with theirs:
            wire.widen(ours)
            wire.widen(theirs)
            said = (str(theirs.fileno()), str(os.getpid()), str(launch.package), str(launch.threads), launch.device)
            # -P: what lies in the current folder must not hide an installed module.
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-P", "-m", "modelyard_server.workers", *said),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
            )
        return cls(process, ours)

    @property
    def pid(self) -> int:
        return self._process.pid

    def hello(self) -> bool:
        """Wait until the model is loaded and warm; False: the process ended before."""
        try:
            said = wire.receive(self._end, plain=True)
        except wire.Closed:
            return False
        word, _, self.device = str(said).partition(" ")
        return word == READY

    def call(self, columns: Columns, wanted: Wanted = None) -> Outputs:
        """The model's outputs. Raises ModelFailed with the model's words, ModelCrashed, NotBegun."""
        if wire.closed(self._end):
            raise NotBegun
        try:
            wire.send(self._end, (columns, wanted))
            answer = wire.receive(self._end, plain=True)
            if isinstance(answer, dict):
                return answer
            detail, remedy, told = answer
        except wire.Closed:
            raise self._lost() from None
        except Exception as unread:
            # What is left of the answer would be read as the next one's head: no memory for it, for example.
            self.kill()
            raise ModelCrashed(
                f"the answer of the model's process could not be read: {type(unread).__name__}",
                remedy="The model is started again by itself. See the endpoint's log.",
            ) from unread
        error = ModelFailed(detail, remedy=remedy)
        error.add_note(f"In the model's process {self.pid}:\n{told}")
        raise error

    def _lost(self) -> ModelCrashed:
        if not self._gone.wait(_LAST):
            self.kill()
            self._gone.wait(_LAST)
        if self.for_want_of_memory:
            remedy = "Send fewer rows at once, or give the endpoint more memory. The model is started again by itself."
            return ModelCrashed(f"the model ran out of memory on this request: {self._ended}", remedy=remedy)
        remedy = "Try again: it is started again by itself. If the same input ends it again, see the endpoint's log."
        return ModelCrashed(f"the model's process ended while it worked on this request: {self._ended}", remedy=remedy)

    async def wait(self) -> str:
        """Until it has ended; how, in words."""
        code = await self._process.wait()
        self.for_want_of_memory = code == -signal.SIGKILL and oom_kills() > self._kills
        self._ended = in_words(code, self.for_want_of_memory)
        self._gone.set()
        # A process that it has started may hold the other end: who reads here would wait for that one.
        with suppress(OSError):
            self._end.shutdown(socket.SHUT_RDWR)
        return self._ended

    def deaf(self) -> bool:
        """Whether it listens no more."""
        return wire.closed(self._end)

    def let_go(self) -> None:
        """Let it end when it is done."""
        with suppress(OSError):
            self._end.shutdown(socket.SHUT_WR)

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()

    def memory(self) -> int:
        """Resident bytes; 0 where it is gone."""
        try:
            return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * _PAGE
        except (OSError, IndexError):
            return 0


def in_words(code: int, for_want_of_memory: bool = False) -> str:
    """How a process ended."""
    if for_want_of_memory:
        return "the system ended it for want of memory"
    if code >= 0:
        return f"it ended with exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"it ended by {name}" + (", perhaps sent by the system for want of memory" if name == "SIGKILL" else "")

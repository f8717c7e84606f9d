"""One process, told apart from any other that gets its number later: spawn, adopt, signal, wait.

A pid alone names nothing: it is used again. `Identity` adds when the process started, counted by the kernel since boot
(a clock that is set does not move it). On Linux a signal goes through a pidfd that was opened before the identity was
checked, so it cannot reach a process that took the pid in between.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from modelyard_api.errors import StorageFull, Unavailable

NONCE = "MODELYARD_REPLICA"
PART = "MODELYARD_TASK"
"""As the nonce, of a task's runner and of everything that its command starts."""
ROOT = "MODELYARD_WORKLOADS"
HAS_PIDFD = hasattr(os, "pidfd_open") and hasattr(signal, "pidfd_send_signal")
POLL = 0.2

# A Popen is kept until its process is reaped, also where a runtime was closed and a later one adopts the process: only
# the parent may learn the exit status, and a zombie would keep its pid.
_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class Identity:
    """`started` is opaque text, equal for equal processes on one machine across its reboots."""

    pid: int
    started: str


def started(pid: int) -> str | None:
    """When the process of that pid began; None when there is none, or only its remains."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return _started_elsewhere(pid)
    fields = stat[stat.rindex(")") + 2 :].split()
    return None if fields[0] in "ZXx" else f"{boot}/{fields[19]}"


def _started_elsewhere(pid: int) -> str | None:
    if Path("/proc/self/stat").exists():
        return None
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else repr(process.create_time())
    except psutil.Error:
        return None


class Process:
    """A process that this or an earlier one spawned. `close` lets go of it without ending it."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.exit_code: int | None = None
        self._fd: int | None = None
        if HAS_PIDFD:
            with contextlib.suppress(OSError):
                self._fd = os.pidfd_open(identity.pid)
        if self._fd is not None and started(identity.pid) != identity.started:
            self.close()

    def alive(self) -> bool:
        """Whether it still runs. Reaps it, and keeps its exit code, where it is our child."""
        child = _children.get(self.identity.pid)
        if child is not None and child.poll() is not None:
            self.exit_code = child.returncode
            del _children[self.identity.pid]
            return False
        return started(self.identity.pid) == self.identity.started

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens when it is gone."""
        if not self.alive():
            return
        with contextlib.suppress(ProcessLookupError):
            if self._fd is not None:
                signal.pidfd_send_signal(self._fd, number)
            else:
                os.kill(self.identity.pid, number)

    async def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is gone: True; False when `seconds` passed first."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while self.alive():
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return False
            await self._wait_for_news(left)
        return True

    async def _wait_for_news(self, seconds: float | None) -> None:
        if self._fd is None:
            await asyncio.sleep(POLL if seconds is None else min(POLL, seconds))
            return
        loop = asyncio.get_running_loop()
        gone = asyncio.Event()
        # A descriptor of its own: two waiters on one would take each other's reader away.
        fd = os.dup(self._fd)
        loop.add_reader(fd, gone.set)
        try:
            async with asyncio.timeout(seconds):
                await gone.wait()
        except TimeoutError:
            pass
        finally:
            loop.remove_reader(fd)
            os.close(fd)

    async def end(self, drain_timeout: float) -> None:
        """SIGTERM, `drain_timeout` seconds to finish, SIGKILL; returns when it is gone."""
        self.signal(signal.SIGTERM)
        if not await self.wait(drain_timeout):
            self.signal(signal.SIGKILL)
            await self.wait()

    def memory(self) -> int:
        """Resident bytes, with those of its children, where a model's memory may be; 0 when it is gone."""
        if not self.alive():
            return 0
        return sum(_resident(pid) for pid in (self.identity.pid, *_children_of(self.identity.pid)))

    def close(self) -> None:
        """Let go, leaving it running."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _resident(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _children_of(pid: int) -> list[int]:
    """As the kernel lists them, where it does: psutil looks through all processes of the machine."""
    try:
        return [
            int(found) for path in Path(f"/proc/{pid}/task").glob("*/children") for found in path.read_text().split()
        ]
    except OSError:
        pass
    try:
        return [child.pid for child in psutil.Process(pid).children()]
    except psutil.Error:
        return []


@dataclass(frozen=True)
class Launch:
    """How to start a replica: `output` is appended to by stdout and stderr; `memory` bytes bound its data segment."""

    command: Sequence[str]
    environment: Mapping[str, str]
    directory: Path
    output: Path
    memory: int
    nice: int


def spawn(launch: Launch) -> Process:
    """Start a process in a session of its own, so that neither a terminal's Ctrl-C nor our death ends it.

    Raises StorageFull or Unavailable when it cannot be started.
    """
    try:
        output = os.open(launch.output, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    except OSError as error:
        raise as_unavailable(error, f"the log {launch.output.name} cannot be opened") from error
    try:
        child = subprocess.Popen(
            launch.command,
            env=dict(launch.environment),
            cwd=launch.directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    except OSError as error:
        raise as_unavailable(error, f"{launch.command[0]} cannot be started") from error
    finally:
        os.close(output)
    _children[child.pid] = child
    _limit(child.pid, launch)
    # A child that is gone already is a zombie until alive() reaps it: it has no start time, and needs none.
    return Process(Identity(child.pid, started(child.pid) or "gone"))


def _limit(pid: int, launch: Launch) -> None:
    """Limits set from outside: a preexec function would run Python between fork and exec of a threaded process."""
    with contextlib.suppress(psutil.Error, OSError):
        process = psutil.Process(pid)
        if launch.nice:
            process.nice(launch.nice)
        if hasattr(process, "rlimit"):
            # A wall against one huge allocation between two looks at the resident size. Address space counts what is
            # never touched (thread stacks, arenas), so the wall stands at twice the limit.
            process.rlimit(psutil.RLIMIT_DATA, (2 * launch.memory, 2 * launch.memory))


def find_by_root(root: Path) -> dict[str, Identity]:
    """Session leaders that were started for the runtime in `root`, by the nonce in their environment."""
    found: dict[str, Identity] = {}
    for process in psutil.process_iter():
        try:
            # Descendants inherit the environment; only the one that was spawned leads its session.
            if os.getsid(process.pid) != process.pid:
                continue
            environment = process.environ()
        except (psutil.Error, OSError):
            continue
        nonce, began = environment.get(NONCE), started(process.pid)
        if nonce and began and environment.get(ROOT) == str(root):
            found[nonce] = Identity(process.pid, began)
    return found


def find_parts(root: str, nonce: str | None = None) -> list[Identity]:
    """Processes that belong to the task of that nonce, or to any task, of the runtime in `root`."""
    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except (psutil.Error, OSError):
            continue
        mark, began = environment.get(PART), started(process.pid)
        if mark and began and environment.get(ROOT) == root and nonce in (None, mark):
            found.append(Identity(process.pid, began))
    return found


def as_unavailable(error: OSError, what: str) -> Unavailable:
    """An operating system's error as ours: StorageFull for a full disk or quota."""
    text = f"{what}: {error.strerror or error}"
    return StorageFull(text) if error.errno in (errno.ENOSPC, errno.EDQUOT) else Unavailable(text)

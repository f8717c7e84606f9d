"""The processes that a notebook server started, and what they use."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from modelyard_api.activity import Use

OWNER = "JUPYTERHUB_SERVICE_PREFIX"
"""In the environment of all that a server starts: also of what outlived the shell that it was started from."""
SHM = Path("/dev/shm")
_CGROUP = Path("/sys/fs/cgroup")
_UNLIMITED = 2.0**60
"""Bytes from which on cgroup v1 means that there is no limit."""


def started_here(environ: Mapping[str, str] = os.environ) -> Iterator[psutil.Process]:
    """All processes of this server but itself."""
    me, prefix = os.getpid(), environ.get(OWNER)
    below = {process.pid for process in psutil.Process(me).children(recursive=True)}
    for process in psutil.process_iter():
        try:
            if process.pid in below or (process.pid != me and prefix and process.environ().get(OWNER) == prefix):
                yield process
        except (psutil.Error, OSError):  # it ended, or is another account's
            continue


class Meter:
    """Samples of what they use; `window` in seconds is what an average is over."""

    def __init__(self, window: float) -> None:
        self._window = window
        self._spent: dict[tuple[int, float], float] = {}
        self._total = 0.0
        self._samples: deque[tuple[float, float]] = deque()
        self.use = _limits()

    def sample(self, now: float | None = None) -> None:
        """Look at all of them."""
        now = time.monotonic() if now is None else now
        spent: dict[tuple[int, float], float] = {}
        memory = _memory(os.getpid())
        for process in started_here():
            try:
                with process.oneshot():
                    times = process.cpu_times()
                    spent[process.pid, process.create_time()] = times.user + times.system
                    memory += _memory(process.pid)
            except (psutil.Error, OSError):
                continue
        # What ended since has spent something too, which nobody tells.
        self._total += sum(max(0.0, seconds - self._spent.get(key, 0.0)) for key, seconds in spent.items())
        self._spent = spent
        self._samples.append((now, self._total))
        while len(self._samples) > 2 and self._samples[1][0] <= now - self._window:
            self._samples.popleft()
        self._note(_cgroup_memory() or memory)

    def cpu(self) -> float:
        """CPUs in use on average over the window; that of two samples at least."""
        (first, before), (last, after) = self._samples[0], self._samples[-1]
        return (after - before) / (last - first) if last > first else 0.0

    def _note(self, memory: int) -> None:
        recent = list(self._samples)[-2:]
        passed = recent[-1][0] - recent[0][0]
        cpu = (recent[-1][1] - recent[0][1]) / passed if passed else 0.0
        shm = _shm()
        old = self.use
        self.use = old.model_copy(
            update={
                **_resized(old),
                "cpu": cpu, "cpu_peak": max(cpu, old.cpu_peak),
                "memory": memory, "memory_peak": max(memory, old.memory_peak),
                "shm": shm, "shm_peak": max(shm, old.shm_peak),
            }
        )  # fmt: skip


def _memory(pid: int) -> int:
    """Bytes that are this process's alone; shared ones count once at least where they are read."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except (psutil.Error, OSError):
        return 0


def _cgroup_memory() -> int | None:
    """Bytes of a container, of which caches that can be dropped are no part; None outside of one."""
    if "MODELYARD_SHM" not in os.environ:  # a process among others: the cgroup is not its own
        return None
    for usage, stat, cache in (
        ("memory.current", "memory.stat", "inactive_file"),
        ("memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
    ):
        try:
            used = int((_CGROUP / usage).read_text())
            lines = (line.split() for line in (_CGROUP / stat).read_text().splitlines())
            return max(0, used - next(int(value) for key, value in lines if key == cache))
        except (OSError, ValueError, StopIteration):
            continue
    return None


def _resized(old: Use) -> dict[str, float]:
    """The limits as they are now: a container's may change while it runs, and what it was told at its start does not.
    Empty where there were none, or nobody says."""
    found: dict[str, float] = {}
    if old.memory_limit and "MODELYARD_SHM" in os.environ:
        if memory := _number("memory.max", "memory/memory.limit_in_bytes"):
            found["memory_limit"] = int(memory)
        if cpu := _cgroup_cpus():
            found["cpu_limit"] = cpu
    return found


def _cgroup_cpus() -> float | None:
    try:
        quota, period = (_CGROUP / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        quota_us, period_us = _number("cpu/cpu.cfs_quota_us"), _number("cpu/cpu.cfs_period_us")
        return quota_us / period_us if quota_us and period_us else None


def _number(*paths: str) -> float | None:
    """Of the first file there that has one; None where it says that there is no limit."""
    for path in paths:
        try:
            found = float((_CGROUP / path).read_text())
        except (OSError, ValueError):
            continue
        return found if 0 < found < _UNLIMITED else None
    return None


def _shm() -> int:
    """Bytes in /dev/shm, where that is the server's own."""
    if "MODELYARD_SHM" not in os.environ:
        return 0
    try:
        found = os.statvfs(SHM)
    except OSError:
        return 0
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def _limits(environ: Mapping[str, str] = os.environ) -> Use:
    def number(name: str) -> float | None:
        try:
            return float(environ[name]) or None
        except (KeyError, ValueError):
            return None

    memory, shm = number("MEM_LIMIT"), number("MODELYARD_SHM")
    return Use(
        cpu_limit=number("CPU_LIMIT"),
        memory_limit=None if memory is None else int(memory),
        shm_limit=None if shm is None else int(shm),
    )

"""What may be chosen about the local runtime, and where its files lie."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from modelyard_api.resources import MiB
from modelyard_hub.backoff import Backoff
from modelyard_hub.runtimes.environment import watch
from modelyard_hub.settings import Settings

WORKLOADS = "workloads"
"""Folder of the local runtime in the state folder."""


@dataclass(frozen=True)
class Timing:
    """Seconds, but for `misses`."""

    start_timeout: float = 120.0
    drain_timeout: float = 10.0
    deliver: float = 30.0  # for what a task leaves, when it is ended
    deliver_every: float = 1.0  # between deliveries of its log, and of what is to be looked at meanwhile
    leave_router: float = 1.0  # between "stopping" and SIGTERM where a ready replica leaves a running workload
    starting_poll: float = 0.05
    ready_poll: float = 1.0
    probe_timeout: float = 5.0
    misses: int = 3
    healthy_after: float = 60.0
    backoff: Backoff = field(default_factory=Backoff)

    def pause(self, ready: bool, age: float) -> float:
        """Seconds until the next look at a replica that was started `age` seconds ago: often while it is new."""
        return self.ready_poll if ready else min(self.ready_poll, max(self.starting_poll, age / 20))


@dataclass(frozen=True)
class LocalOptions:
    """Options of `LocalRuntime`. `command` runs one replica, after `fetch` brought its package where it is not here;
    `task` runs a task's command and delivers what it leaves; `nice` is added to their priority (0: same as ours)."""

    command: tuple[str, ...] = (sys.executable, "-m", "modelyard_server")
    fetch: tuple[str, ...] = (sys.executable, "-m", "modelyard_server.fetch")
    task: tuple[str, ...] = (sys.executable, "-m", "modelyard_server.task")
    timing: Timing = field(default_factory=Timing)
    crash_loop_after: int = 3
    max_body: int = 64 * MiB
    watch: Mapping[str, str] = field(default_factory=dict)
    grpc: bool = False
    log_size: int = 10 * MiB
    log_files: int = 3
    tail_lines: int = 20
    nice: int = 5

    @classmethod
    def from_settings(cls, settings: Settings) -> LocalOptions:
        """The options that the hub side's settings ask for."""
        return cls(
            timing=Timing(start_timeout=settings.start_timeout, drain_timeout=settings.drain_timeout),
            crash_loop_after=settings.crash_loop_after,
            max_body=settings.serve_max_body,
            watch=watch(settings),
            grpc=settings.serve_grpc,
            log_size=settings.log_size,
            log_files=settings.log_files,
        )


def workloads_folder(home: Path) -> Path:
    """Where the workloads of a state folder lie."""
    return home / WORKLOADS

"""The contract of a runtime: told what should run, it makes it so, and says what does. Tasks: `task.py`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from modelyard_api.models import Flavor
from modelyard_api.resources import Resources
from modelyard_hub.runtimes.task import ObservedTask, Task


class Phase(StrEnum):
    """Where one replica is in its life."""

    starting = "starting"
    ready = "ready"
    backoff = "backoff"
    crash_loop = "crash_loop"
    stopping = "stopping"


UNHEARD = "NodeLost"
"""The reason of a replica whose machine says nothing: it may well run on."""


@dataclass(frozen=True)
class Package:
    """A model version's files, as a runtime can reach them: `location` is an absolute path or `s3://bucket/key`.

    `flavor` was read when the version was looked up; None where an earlier version did not keep it.
    """

    location: str
    model: str
    version: str
    flavor: Flavor | None = None


@dataclass(frozen=True)
class Server:
    """A replicated, long-lived workload: what should run. `name` is a DNS label, unique over the runtime.

    `files` are small documents (access rules) that the runtime places beside the workload and replaces in one step when
    they change; changing them or `replicas` never restarts a replica, changing anything else does. Where `max_replicas`
    is greater than `replicas`, a runtime that can scales between them by load; one that cannot keeps `replicas`.
    """

    name: str
    endpoint: str
    package: Package
    resources: Resources = field(default_factory=Resources)
    replicas: int = 1
    max_replicas: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    def template_digest(self) -> str:
        """Digest of what needs new replicas when it changes."""
        parts = [self.endpoint, self.package.location, self.package.model, self.package.version]
        parts += [self.resources.model_dump_json(), json.dumps(dict(self.environment), sort_keys=True)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def digest(self) -> str:
        """Digest of everything desired; equal digests need no apply."""
        rest = json.dumps([self.replicas, self.max_replicas, dict(self.files), dict(self.labels)], sort_keys=True)
        return hashlib.sha256((self.template_digest() + rest).encode()).hexdigest()


@dataclass(frozen=True)
class Replica:
    """One observed replica. `address` is an http URL that the router and the hub service reach, when it has one.

    `ended`: how and when the one before it ended, where a replica that is ready was started again.
    """

    index: int
    phase: Phase
    address: str | None = None
    restarts: int = 0
    reason: str = ""
    message: str = ""
    log_tail: tuple[str, ...] = ()
    since: datetime | None = None
    ended: str = ""


@dataclass(frozen=True)
class ObservedServer:
    """What runs of a `Server`; `digest` is that of the last applied one.

    `scaled_to`: replicas that the runtime aims at now, where it scales by load. `unseen_since`: since then the runtime
    could not look, `unseen_because` of this, so that the rest is what it saw last.
    """

    name: str
    digest: str
    replicas: tuple[Replica, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    scaled_to: int | None = None
    unseen_since: datetime | None = None
    unseen_because: str = ""


@dataclass(frozen=True)
class ReplicaLog:
    replica: int
    lines: tuple[str, ...]


class Runtime(Protocol):
    """Every method may be called again with the same arguments without further effect.

    Servers and tasks share one space of names.
    """

    async def open(self) -> None:
        """Take up what an earlier process left running. Called once, before anything else."""

    async def close(self) -> None:
        """Let go of everything and leave the workloads running."""

    async def apply(self, server: Server) -> None:
        """Make `server` run; returns when it is recorded, not when it is ready. Raises StorageFull, Unavailable, and
        Conflict where a task has its name."""

    async def run(self, task: Task) -> None:
        """Run `task` once; returns when it is recorded, not when it ended. Raises InvalidInput, StorageFull,
        Unavailable, and Conflict where another workload has its name."""

    async def delete(self, name: str) -> None:
        """Stop and forget a workload: drained first, then ended. Unknown names are fine. What a task left at its output
        stays."""

    async def observe(self) -> Mapping[str, ObservedServer]:
        """All servers by name, as they are now; those being stopped included."""

    async def observe_tasks(self) -> Mapping[str, ObservedTask]:
        """All tasks by name, those that ended included, until they are deleted."""

    async def logs(self, name: str, *, lines: int) -> tuple[ReplicaLog, ...]:
        """The last `lines` log lines of each replica of a server, of a task, or of each of its shards; NotFound for an
        unknown name."""

    def changes(self) -> AsyncIterator[str]:
        """Names of workloads whose observed state changed, from now on; merged when the reader is slow. Also of those
        that could not be applied or deleted, when that is worth another try."""

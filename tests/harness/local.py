"""A local runtime whose replicas misbehave when a test wants them to."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import harness
from harness.code import python_task
from modelyard_api.resources import MiB, Resources
from modelyard_hub.backoff import Backoff
from modelyard_hub.runtimes.base import Package, Server
from modelyard_hub.runtimes.local import LocalOptions, LocalRuntime, Timing
from modelyard_hub.runtimes.local.options import workloads_folder
from modelyard_hub.runtimes.task import Task

MISBEHAVING = Path(next(iter(harness.__path__))) / "misbehaving_server.py"
QUICK = Timing(
    start_timeout=10.0,
    drain_timeout=1.0,
    leave_router=0.05,
    starting_poll=0.02,
    ready_poll=0.1,
    probe_timeout=0.5,
    deliver=10.0,
    deliver_every=0.2,
    backoff=Backoff(first=0.1, cap=0.4),
)


class LocalYard:
    """A local runtime whose replicas run the misbehaving server."""

    patience = 20.0

    def __init__(self, home: Path) -> None:
        self.home = home
        self.switches = home / "switches"
        self.switches.mkdir(exist_ok=True)
        self.options = LocalOptions(
            command=(sys.executable, str(MISBEHAVING), str(self.switches)), timing=QUICK, log_size=64 * 1024
        )
        self.root = workloads_folder(home)
        self.runtime = LocalRuntime(self.root, self.options)

    async def reopen(self) -> LocalRuntime:
        await self.runtime.close()
        self.runtime = LocalRuntime(self.root, self.options)
        await self.runtime.open()
        return self.runtime

    def server(self, **changes: Any) -> Server:
        small = Server(
            name="ada-churn-1",
            endpoint="churn",
            package=Package(str(self.home), "ada.churn", "7"),
            resources=Resources(memory=128 * MiB),
            labels={"modelyard.dev/revision": "1"},
        )
        return replace(small, **changes)

    def task(self, code: str = "", **changes: Any) -> Task:
        return replace(python_task(code, str(self.home / "output")), **changes)

    def switch(self, misbehaviour: str, argument: str | None = "") -> None:
        if argument is None:
            (self.switches / misbehaviour).unlink()
        else:
            (self.switches / misbehaviour).write_text(argument)

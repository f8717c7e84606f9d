"""End all workloads of a state folder without a runtime: for the supervisor of the embedded default, at its end."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from modelyard_hub.runtimes.local.options import workloads_folder
from modelyard_hub.runtimes.local.process import Identity, Process, find_by_root, find_parts
from modelyard_hub.runtimes.local.state import folders
from modelyard_hub.runtimes.local.task_files import TaskFiles

_POLL = 0.05


def stop_everything(home: Path, drain_timeout: float) -> int:
    """End the replicas and tasks recorded in `home`: SIGTERM, up to `drain_timeout` seconds for all together, SIGKILL.

    Call it after the hub service ended, which would start them again. Their servers stay recorded, so that the next
    start brings them back; tasks have failed then. Returns how many ran. Sends signals only to processes whose start
    time is the recorded one.
    """
    root = workloads_folder(home.absolute())
    running = [p for p in map(Process, _identities(root)) if p.alive()]
    count = len(running)
    for process in running:
        process.signal(signal.SIGTERM)
    running = _wait(running, drain_timeout)
    for process in running:
        process.signal(signal.SIGKILL)
    # Also what a task's command started, where its runner had no time to see to it.
    parts = [p for p in map(Process, find_parts(str(root))) if p.alive()]
    for process in parts:
        process.signal(signal.SIGKILL)
    _wait(running + parts, drain_timeout + 5.0)
    return count


def _identities(root: Path) -> set[Identity]:
    recorded = {r.identity for folder in folders(root) for r in folder.read_replicas()}
    recorded |= {_task_identity(folder.path) for folder in folders(root)}
    return {i for i in recorded if i is not None} | set(find_by_root(root).values())


def _task_identity(path: Path) -> Identity | None:
    try:
        task = TaskFiles(path).read()
    except (ValueError, KeyError, TypeError):
        return None  # nobody can read it; its process is found by its environment
    return None if task is None else task.identity


def _wait(running: list[Process], seconds: float) -> list[Process]:
    """Those that still run after that time."""
    deadline = time.monotonic() + seconds
    while True:
        left = []
        for process in running:
            if process.alive():
                left.append(process)
            else:
                process.close()
        running = left
        if not running or time.monotonic() > deadline:
            return running
        time.sleep(_POLL)

"""Processes that a training started (joblib's and others), and what they leave in shared memory."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path


def end() -> None:
    """End all that still run, and remove what they shared. Called before the training process becomes another one,
    which nobody told them of."""
    if "joblib.externals.loky.reusable_executor" in sys.modules:
        from joblib.externals.loky import reusable_executor

        if reusable_executor._executor is not None:
            reusable_executor._executor.shutdown(wait=False, kill_workers=True)
    for pid in descendants(os.getpid()):
        with contextlib.suppress(OSError):
            if b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes():  # it cleans up, and ends itself
                os.kill(pid, signal.SIGKILL)


def clean(pid: int) -> None:
    """Remove what joblib of process `pid`, which was killed with all its workers, left in shared memory."""
    for root in {Path("/dev/shm"), Path(tempfile.gettempdir())}:
        for folder in root.glob(f"joblib_memmapping_folder_{pid}_*"):
            shutil.rmtree(folder, ignore_errors=True)
        for semaphore in root.glob(f"sem.loky-{pid}-*"):
            semaphore.unlink(missing_ok=True)


def descendants(pid: int) -> list[int]:
    """Children of `pid`, and theirs."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, path.read_text().split()):
                found += [child, *descendants(child)]
    return found

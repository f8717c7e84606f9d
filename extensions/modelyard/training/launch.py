"""Starting a run's process, the first time and again: never two at once.

The process holds a lock on a file of the run's folder for as long as it lives, whatever it becomes: the lock belongs
to an open file, which it inherits.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modelyard.errors import Conflict
from modelyard.training import faults, runlog

OUTPUT = "output.log"
RESUMED = "--resumed"
_MODULE = "modelyard.training"
_LOCK = "lock"
_started: list[subprocess.Popen[bytes]] = []
"""Those that may still run: a process outlives its handle, and Python warns of one that is forgotten while it runs."""


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """The descriptor of the run's lock, to be handed to its process. Conflict when a process holds it already."""
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                f"a process of {folder.name} still lives",
                remedy="It was resumed already, or is just ending: look at its state.",
            ) from None
        yield lock
    finally:
        os.close(lock)


def launch(folder: Path, lock: int, *, resumed: bool = False) -> subprocess.Popen[bytes]:
    """Start the process that trains what `folder` holds; `resumed`: from its last checkpoint."""
    import psutil

    with (folder / OUTPUT).open("ab") as output:  # appending, so that it can be cut while it is written
        process = subprocess.Popen(
            [sys.executable, "-m", _MODULE, str(folder), *([RESUMED] if resumed else [])],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # the kernel's interrupt and restart do not reach it
            pass_fds=(lock,),
        )
    _started[:] = [one for one in _started if one.poll() is None] + [process]
    try:
        created = psutil.Process(process.pid).create_time()
    except psutil.Error:
        created = time.time()
    runlog.append(folder, "launched", pid=process.pid, created=created, oom_kills=faults.oom_kills())
    return process

"""How much memory a command uses, and whether the system ended something for want of it."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

# The first is cgroup v2's, the second v1's: in a container they are the container's own.
_COUNTERS = (Path("/sys/fs/cgroup/memory.events"), Path("/sys/fs/cgroup/memory/memory.oom_control"))


def oom_kills() -> int:
    """How many processes the kernel has ended here for want of memory; 0 where it does not say."""
    for path in _COUNTERS:
        with suppress(OSError):
            if found := re.search(r"^oom_kill (\d+)$", path.read_text(), re.MULTILINE):
                return int(found[1])
    return 0


def used_by(pid: int, limit: int) -> int:
    """Bytes that a process and its descendants use together; 0 when they are gone.

    Resident pages first; where these are more than `limit`, each page that several share counts once, which takes long.
    """
    import psutil  # where a pod's limits do it, it is not there

    try:
        leader = psutil.Process(pid)
        family = [leader, *leader.children(recursive=True)]
    except psutil.Error:
        return 0
    resident = sum(_of(process, "rss") for process in family)
    return resident if resident <= limit else sum(_of(process, "pss") for process in family)


def _of(process: object, measure: str) -> int:
    import psutil

    assert isinstance(process, psutil.Process)
    with suppress(psutil.Error):
        if measure == "pss":
            full = process.memory_full_info()
            return int(getattr(full, "pss", full.uss))
        return int(process.memory_info().rss)
    return 0

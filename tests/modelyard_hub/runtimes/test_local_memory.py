"""What a replica uses: with the processes that its model is in."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from harness.wait import eventually
from modelyard_hub.runtimes.local.process import Launch, spawn

CHILD = "held = b'x' * (80 << 20); import time; time.sleep(60)"


async def test_a_childs_memory_counts(tmp_path: Path) -> None:
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}])"
    launch = Launch((sys.executable, "-c", code), dict(os.environ), tmp_path, tmp_path / "log", 1 << 30, 0)
    process = spawn(launch)
    try:
        eventually(lambda: process.memory() > 90 << 20, what="its child's 80 MiB and their interpreters")
    finally:
        os.killpg(process.identity.pid, signal.SIGKILL)
        await process.wait()
        process.close()
    assert process.memory() == 0

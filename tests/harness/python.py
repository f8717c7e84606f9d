"""Python in a process of its own, for what happens once in each."""

from __future__ import annotations

import subprocess
import sys


def python(code: str) -> str:
    """What it prints; AssertionError where it fails."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout

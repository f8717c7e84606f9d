"""A small file system of its own (tmpfs), which tests fill for real."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_BLOCK = 4096


class Disk:
    """A mounted file system at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    def fill(self, leave: int = 0) -> None:
        """Until nothing more fits, then give back `leave` bytes (whole blocks)."""
        with self._ballast.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(b"\0" * _BLOCK)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
        os.truncate(self._ballast, max(0, self._ballast.stat().st_size - leave) // _BLOCK * _BLOCK)

    def free(self) -> None:
        """Make room again."""
        self._ballast.unlink()

    def close(self) -> None:
        """Nothing may be written any more."""
        subprocess.run(["mount", "-o", "remount,ro", str(self.path)], check=True)


@contextmanager
def small_disk(path: Path, size: int) -> Iterator[Disk]:
    """A file system of `size` bytes at `path`. Only root may mount: others skip; root in CI fails where it cannot."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount the small file system that this test fills")
    path.mkdir(parents=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], capture_output=True, text=True
    )
    if done.returncode != 0:
        text = f"this test fills a tmpfs, and mounting one is refused here: {done.stderr.strip()}"
        if os.environ.get("CI"):
            pytest.fail(f"{text}. Give CI the right to mount (CAP_SYS_ADMIN).")
        pytest.skip(text)
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)

"""Programs of the distribution that the tests drive: installed where they are missing and this may be done."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "modelyard"
"""What takes minutes to make and is the same for every checkout: binaries, images."""


@contextmanager
def alone(name: str) -> Iterator[None]:
    """One process at a time makes the thing called `name`; others wait here."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f".{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def need(**programs: str) -> None:
    """Have these programs, given as program=package. AssertionError names what is missing and cannot be installed.

    A program's name may hold `_` for `-`. Looked for where root finds them too, in /usr/sbin.
    """
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))

    def missing() -> list[str]:
        return [
            package for program, package in programs.items() if not shutil.which(program.replace("_", "-"), path=path)
        ]

    if not missing():
        return
    with alone("apt"):
        packages = sorted(set(missing()))
        if not packages:
            return
        by_hand = f"these tests need programs that are missing: apt-get install {' '.join(packages)}"
        assert os.geteuid() == 0, by_hand
        assert shutil.which("apt-get"), by_hand
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for arguments in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *packages]):
            done = subprocess.run(["apt-get", *arguments], env=quiet, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{by_hand}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    assert not missing(), by_hand

"""Buildah from the distribution, with a storage of the tests' own below the cache."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.debian import CACHE, need

_STORAGE = CACHE / "images" / "storage"
_RUN = CACHE / "images" / "run"


def buildah(command: str, *arguments: str) -> str:
    """Run `buildah <command> …`; its standard output. AssertionError with the end of its output when it fails."""
    need(buildah="buildah", runc="runc")
    globally = ["--root", str(_STORAGE), "--runroot", str(_RUN), "--storage-driver", "overlay"]
    # Not crun, which asks more of cgroups than a machine without systemd has.
    runtime = ["--runtime", "runc"] if command in ("build", "run") else []
    line = ["buildah", *globally, "--cgroup-manager", "cgroupfs", command, *runtime, *arguments]
    environment = {**os.environ, "BUILDAH_ISOLATION": "oci"}
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(line)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


@contextmanager
def container(image: str) -> Iterator[str]:
    """A container of an image, gone at the end; its id."""
    made = buildah("from", "--pull-never", image).strip()
    try:
        yield made
    finally:
        buildah("rm", made)


@contextmanager
def mounted(image: str) -> Iterator[Path]:
    """An image's files."""
    with container(image) as made:
        yield Path(buildah("mount", made).strip())
        buildah("umount", made)

"""Buildah from the distribution, with a storage of the tests' own below the cache."""

from __future__ import annotations

import os
import subprocess

from harness.debian import CACHE, need

_STORAGE = CACHE / "images" / "storage"
_RUN = CACHE / "images" / "run"


def buildah(command: str, *arguments: str, quiet: bool = True) -> str:
    """Run `buildah <command> …`; its standard output. AssertionError with the end of its output when it fails.

    `quiet` False lets it print.
    """
    need(buildah="buildah", runc="runc")
    globally = ("--root", str(_STORAGE), "--runroot", str(_RUN), "--storage-driver", "overlay")
    if command in ("build", "from", "run"):
        # Not crun, which asks more of cgroups than a machine without systemd has.
        arguments = ("--runtime", "runc", *arguments) if command != "from" else arguments
        globally = (*globally, "--cgroup-manager", "cgroupfs") if command == "build" else globally
    line = ["buildah", *globally, command, *arguments]
    environment = {**os.environ, "BUILDAH_ISOLATION": "oci"}
    if not quiet:
        subprocess.run(line, env=environment, check=True)
        return ""
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(line)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout

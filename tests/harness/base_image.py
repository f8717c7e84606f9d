"""The base image of the tests' images: Debian with Python, made with debootstrap, because no image registry is asked.

Elsewhere the Containerfiles build on python:3.11-slim, which has the same parts.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from harness.buildah import buildah, container
from harness.debian import CACHE, alone, need

NAME = "localhost/modelyard/base:test"
ARCHIVE = CACHE / "images" / "base.tar"
_SUITE = "bookworm"
_PACKAGES = ("python3", "python3-venv", "ca-certificates")
_UNUSED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "var/cache/apt", "var/lib/apt/lists",
           "var/log")  # fmt: skip


def base_image() -> Path:
    """The OCI archive of the base image, and the image in buildah's storage; made where they are not there yet (about a
    minute and a half)."""
    with alone("base-image"):
        if not ARCHIVE.exists():
            need(debootstrap="debootstrap")
            ARCHIVE.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=ARCHIVE.parent) as folder:
                _pack(_root(Path(folder) / "root"), Path(folder) / "base.tar")
        if not buildah("images", "--quiet", "--filter", f"reference={NAME}").strip():
            buildah("pull", "--quiet", f"oci-archive:{ARCHIVE}")
        return ARCHIVE


def _root(root: Path) -> Path:
    """A Debian root with Python called as in the official image."""
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(_PACKAGES)}", _SUITE, str(root), _mirror()]
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for name in _UNUSED:
        shutil.rmtree(root / name, ignore_errors=True)
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "usr/local/bin/python3").symlink_to("/usr/bin/python3")
    (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    # Where packages came from here is of no use elsewhere.
    (root / "etc/apt/sources.list").write_text(f"deb http://deb.debian.org/debian {_SUITE} main\n")
    return root


def _mirror() -> str:
    """The Debian mirror that this machine uses."""
    for path in (Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("debian.*"))):
        words = path.read_text().split() if path.exists() else []
        for word in words:
            if word.startswith(("http://", "https://")) and word.rstrip("/").endswith("/debian"):
                return word
    return "http://deb.debian.org/debian"


def _pack(root: Path, archive: Path) -> None:
    with container("scratch") as made:
        buildah("copy", "--quiet", made, str(root), "/")
        buildah("config", "--env", "PATH=/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin", made)
        buildah("config", "--env", "LANG=C.UTF-8", "--cmd", "python3", made)
        buildah("commit", "--quiet", "--format", "oci", made, NAME)
    buildah("push", "--quiet", NAME, f"oci-archive:{archive}:{NAME}")
    os.replace(archive, ARCHIVE)

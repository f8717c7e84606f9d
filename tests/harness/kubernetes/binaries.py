"""Kubernetes' programs, and others for its tests, out of one Go module: built once and kept in the cache.

One module, so that what they share, most of Kubernetes' libraries, is of one version and is compiled once.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.debian import CACHE, alone
from harness.golang import go_toolchain

_SOURCE = Path(__file__).parent
_VERSION = "v1.34.4"
# Without these the API server calls itself v0.0.0.
_FLAGS = "-s -w " + " ".join(
    f"-X k8s.io/component-base/version.{name}={value}"
    for name, value in (("gitVersion", _VERSION), ("gitMajor", "1"), ("gitMinor", "34"))
)


@dataclass(frozen=True)
class Program:
    """A package that becomes a program; `static` for one that runs in an image."""

    package: str
    static: bool = False

    @property
    def name(self) -> str:
        """Of its file."""
        return self.package.rpartition("/")[2]


# kubectl first: the others share most of what it is made of, and people ask for it first.
_KUBERNETES = ("kubectl", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
_CLUSTER = (
    *(Program(f"k8s.io/kubernetes/cmd/{name}") for name in _KUBERNETES),
    Program("modelyard/tests/kubernetes/pause", static=True),
    Program("modelyard/tests/kubernetes/dns"),
    Program("modelyard/tests/kubernetes/policies"),
    Program("modelyard/tests/kubernetes/storage"),
    Program("sigs.k8s.io/metrics-server/cmd/metrics-server"),
    Program("github.com/kubernetes-csi/external-provisioner/v5/cmd/csi-provisioner"),
    Program("github.com/kubernetes-csi/external-resizer/v2/cmd/csi-resizer"),
    Program("github.com/kubernetes-csi/external-attacher/v4/cmd/csi-attacher"),
    Program("github.com/kubernetes-csi/external-snapshotter/v8/cmd/csi-snapshotter"),
    Program("github.com/kubernetes-csi/external-snapshotter/v8/cmd/snapshot-controller"),
    Program("helm.sh/helm/v3/cmd/helm"),
)
_SNAPSHOTS = "github.com/kubernetes-csi/external-snapshotter/client/v8"
_PROGRAMS = {program.name: program for program in _CLUSTER}


def program(name: str) -> Path:
    """The program of that name, built first where it is not there yet."""
    target = _folder() / name
    if target.exists():
        return target
    with alone(f"kubernetes-{name}"):
        if not target.exists():
            print(f"Building {name}", file=sys.stderr, flush=True)  # noqa: T201
            _build(_PROGRAMS[name], target)
    return target


def build() -> Path:
    """The folder of all that a cluster is made of, built where it is not there yet."""
    missing = [one.name for one in _CLUSTER if not (_folder() / one.name).exists()]
    if len(missing) > 1:
        note = f"Building {len(missing)} programs, about 6 min in all on two cores the first time"
        print(note, file=sys.stderr, flush=True)  # noqa: T201
    for one in _CLUSTER:
        program(one.name)
    snapshot_kinds()
    return _folder()


def snapshot_kinds() -> str:
    """The CustomResourceDefinitions of volume snapshots, in YAML, as the module of their types brings them."""
    target = _folder() / "snapshots.yaml"
    if not target.exists():
        command = [go_toolchain(), "mod", "download", "-json", _SNAPSHOTS]
        done = subprocess.run(command, cwd=_SOURCE, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)} in {_SOURCE}\n{done.stderr[-3000:]}{done.stdout[-3000:]}"
        definitions = Path(json.loads(done.stdout)["Dir"]) / "config" / "crd"
        parts = [path.read_text() for path in sorted(definitions.glob("snapshot.storage.k8s.io_*.yaml"))]
        assert parts, f"there are none in {definitions}"
        pending = target.with_suffix(".new")
        pending.write_text("\n---\n".join(parts))
        os.replace(pending, target)
    return target.read_text()


@cache
def _folder() -> Path:
    """Of another name whenever anything that the programs are made of changes."""
    made_of = [_SOURCE / "go.mod", _SOURCE / "go.sum", *sorted(_SOURCE.rglob("*.go"))]
    text = b"".join(path.read_bytes() for path in made_of) + _FLAGS.encode()
    return CACHE / "kubernetes" / hashlib.sha256(text).hexdigest()[:12]


def _build(one: Program, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    pending = target.with_suffix(".new")
    # Nicely: it takes minutes of all cores, and somebody may be working beside it.
    command = ["nice", "-n", "5", go_toolchain(), "build", "-trimpath", "-buildvcs=false"]
    command += ["-ldflags", _FLAGS, "-o", str(pending), one.package]
    environment = {**os.environ, "GOFLAGS": "-mod=readonly", **({"CGO_ENABLED": "0"} if one.static else {})}
    done = subprocess.run(command, cwd=_SOURCE, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)} in {_SOURCE}\n{done.stderr[-3000:]}"
    os.replace(pending, target)

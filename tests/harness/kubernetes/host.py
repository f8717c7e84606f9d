"""What the cluster is on this machine: its processes in order, and all that has to go when it ends."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.base_image import base_image
from harness.debian import CACHE, alone, need
from harness.kubernetes import addons, control_plane, network, node, volumes
from harness.kubernetes.binaries import build, snapshot_kinds
from harness.kubernetes.containers import Containers
from harness.kubernetes.control_plane import Identity
from harness.kubernetes.images import pause
from harness.kubernetes.kubectl import Kubectl
from harness.kubernetes.processes import Processes
from harness.wait import eventually

FOLDER = CACHE / "cluster"
"""Where the state is, unless another folder is asked for."""

# Names the folder of the cluster that runs, so that what a killed run left is found.
_CURRENT = CACHE / "cluster.folder"


class Host:
    """A cluster that was started on this machine, by this process or another one; `folder` is its state."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes = Processes(folder)
        self.containers = Containers(folder, self.processes)
        self.kubeconfig = folder / "kubeconfig"
        self._kubectl = Kubectl(self.kubeconfig)

    @classmethod
    def of(cls, kubeconfig: Path) -> Host | None:
        """The cluster that this kubeconfig belongs to, if it was started on this machine."""
        host = cls(kubeconfig.resolve().parent)
        return host if (host.folder / "processes.json").exists() else None

    def start(self) -> None:
        """Start everything; returns when the node is ready. The state is new each time."""
        need(
            etcd="etcd-server", containerd="containerd", runc="runc", nft="nftables", conntrack="conntrack",
            iptables="iptables", ipset="ipset", ip="iproute2", mount="mount",
            **{"mkfs.xfs": "xfsprogs", "/usr/lib/cni/ptp": "containernetworking-plugins"},
        )  # fmt: skip
        assert os.geteuid() == 0, "a cluster's kubelet and containerd need root; or set MODELYARD_TEST_KUBECONFIG"
        programs, sandbox, base = build(), pause(), base_image()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        _CURRENT.write_text(str(self.folder))
        identity = Identity.make(self.folder / "identity")
        plugins = network.up(self.folder)
        start = self.processes.start
        start("etcd", control_plane.etcd(self.folder))
        start("kube-apiserver", control_plane.api_server(programs, identity))
        self.containers.start(plugins)
        self.containers.load(sandbox)
        shutil.copy(identity.kubeconfig("admin"), self.kubeconfig)
        self._wait_api_server()
        start("kube-controller-manager", control_plane.controller_manager(programs, identity))
        start("kube-scheduler", control_plane.scheduler(programs, identity))
        start("kubelet", node.kubelet(programs, identity, self.folder, self.containers.socket))
        start("kube-proxy", node.proxy(programs, identity, self.folder))
        addons.start(programs, identity, self.folder, self.processes)
        volumes.start(programs, identity, self.folder, self.processes)
        self._kubectl("apply", "--server-side", "-f", "-", input=snapshot_kinds())
        self._kubectl("apply", "--server-side", "-f", "-", input=addons.manifests(identity))
        self._kubectl("wait", "--for=condition=Established", "--all", "customresourcedefinitions", "--timeout=60s")
        self._kubectl("apply", "--server-side", "-f", "-", input=volumes.manifests())
        self.containers.load(base)
        self._wait_node()
        self.processes.check()

    def stop(self) -> None:
        """End everything and remove the state; also what a killed run left."""
        # The kubelet first, which would start again what ends; containerd while it can still end containers.
        # None need end in good order: what they know ends with them.
        self.processes.kill(("kubelet", "kube-controller-manager", "kube-scheduler"))
        self.containers.end_all()
        self.processes.kill()
        self.containers.clean()
        network.down(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)
        assert not self.folder.exists(), f"{self.folder} can't be removed"
        _CURRENT.unlink(missing_ok=True)

    def stop_api_server(self) -> None:
        """End the API server."""
        self.processes.stop("kube-apiserver")

    def start_api_server(self) -> None:
        """Start it again; returns when it answers."""
        self.processes.start("kube-apiserver")
        self._wait_api_server()

    def stop_kubelet(self) -> None:
        """End the kubelet; the containers run on."""
        self.processes.stop("kubelet")

    def start_kubelet(self) -> None:
        """Start it again; returns when the node is ready."""
        self.processes.start("kubelet")
        self._wait_node()

    def _wait_api_server(self) -> None:
        def ready() -> str:
            return self._kubectl("get", "--raw", "/readyz")

        try:
            eventually(ready, timeout=60, interval=0.2, what="the API server is ready")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.processes.tail('kube-apiserver')}") from error

    def _wait_node(self) -> None:
        try:
            self._kubectl("wait", "--for=create", f"node/{control_plane.NODE}", "--timeout=60s")
            self._kubectl("wait", "--for=condition=Ready", f"node/{control_plane.NODE}", "--timeout=60s")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.processes.tail('kubelet')}") from error


@contextmanager
def started(folder: Path = FOLDER) -> Iterator[Host]:
    """A cluster for as long as the context lasts. There is one on a machine at a time; another process waits here."""
    if _CURRENT.exists():
        there = Path(_CURRENT.read_text()) / "kubeconfig"
        note = "waiting for its end, unless it was left by a killed run"
        print(f"There is a cluster: {note}. To share it: MODELYARD_TEST_KUBECONFIG={there}", file=sys.stderr)  # noqa: T201
    with alone("cluster"):
        _remove_left()
        host = Host(folder)
        try:
            host.start()
            yield host
        finally:
            host.stop()


def clean() -> None:
    """Remove what a killed process left. A cluster whose process runs is waited for."""
    with alone("cluster"):
        _remove_left()


def _remove_left() -> None:
    if _CURRENT.exists():
        Host(Path(_CURRENT.read_text())).stop()

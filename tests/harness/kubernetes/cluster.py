"""`Cluster`: what tests do with a cluster, and `LocalCluster`, the one that is started on this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.kubernetes import addons, control_plane, images, network, node
from harness.kubernetes.binaries import CACHE, DNS, HELM, KUBERNETES, METRICS, STORAGE, build, locked
from harness.kubernetes.containers import Containers
from harness.kubernetes.control_plane import NODE, Identity
from harness.kubernetes.network import NODE_IP
from harness.kubernetes.processes import Processes
from harness.wait import eventually

VARIABLE = "MODELYARD_TEST_KUBECONFIG"
_STATE = CACHE / "cluster"


class Cluster:
    """A running cluster, known by its kubeconfig: one that the harness started, or any other."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self._local = kubeconfig == _STATE / "kubeconfig"
        self.storage_class = os.environ.get("MODELYARD_TEST_STORAGE_CLASS", addons.STORAGE_CLASS if self._local else "")
        self._processes = Processes(_STATE)

    @property
    def node(self) -> str:
        """Name of the first node."""
        return self.kubectl("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")

    @property
    def node_ip(self) -> str:
        """Its address, which pods reach too."""
        path = "jsonpath={.items[0].status.addresses[?(@.type=='InternalIP')].address}"
        return self.kubectl("get", "nodes", "-o", path)

    @property
    def helm(self) -> Path:
        """Helm's program."""
        return build(HELM) / "helm"

    def kubectl(self, *arguments: str, input: str | None = None) -> str:
        """Its output; RuntimeError with what it said."""
        program = build(KUBERNETES) / "kubectl" if self._local else "kubectl"
        command = [str(program), "--kubeconfig", str(self.kubeconfig), *arguments]
        done = subprocess.run(command, input=input, capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise RuntimeError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()[-3000:]}")
        return done.stdout

    def get(self, *arguments: str) -> Any:
        """`kubectl get` as data."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def apply(self, document: dict[str, Any], namespace: str | None = None) -> None:
        """Make an object so."""
        where = ["-n", namespace] if namespace else []
        self.kubectl("apply", "-f", "-", *where, input=json.dumps(document))

    def load_image(self, archive: Path) -> None:
        """Make an image archive known to the node."""
        self._containers().load(archive)

    def describe(self, namespace: str) -> str:
        """Events, pods and their logs: for the output of a test that failed."""
        said = []
        for arguments in (
            ("get", "all,pvc,hpa,pdb", "-o", "wide"),
            ("get", "events", "--sort-by=.lastTimestamp"),
            ("describe", "pods"),
        ):
            said.append(self._say(*arguments, "-n", namespace))
        pods = self._say("get", "pods", "-n", namespace, "-o", "name").split()
        for pod in pods:
            said.append(f"--- {pod}\n" + self._say("logs", pod, "-n", namespace, "--all-containers", "--tail=40"))
        return "\n".join(said)[-30_000:]

    def _say(self, *arguments: str) -> str:
        try:
            return self.kubectl(*arguments)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            return str(error)

    def stop_api_server(self) -> None:
        """End it; what runs goes on."""
        self._here()
        self._processes.stop("kube-apiserver")

    def start_api_server(self) -> None:
        """Start it again; returns when it answers."""
        self._here()
        identity = Identity(_STATE / "certificates")
        self._processes.start("kube-apiserver", control_plane.api_server(build(KUBERNETES), identity))
        eventually(lambda: self.kubectl("get", "--raw", "/readyz") == "ok", timeout=60, what="the API server is ready")

    def restart_api_server(self) -> None:
        """End it and start it again."""
        self.stop_api_server()
        self.start_api_server()

    def stop_kubelet(self) -> None:
        """End it; its pods go on."""
        self._here()
        self._processes.stop("kubelet")

    def start_kubelet(self) -> None:
        """Start it again; returns when the node is ready."""
        self._here()
        identity = Identity(_STATE / "certificates")
        socket = self._containers().socket
        self._processes.start("kubelet", node.kubelet(build(KUBERNETES), identity, _STATE, socket))
        self.wait_for_node()

    def wait_for_node(self) -> None:
        """Until its node is ready."""
        path = "jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}"
        ready = lambda: self.kubectl("get", "nodes", "-o", path).split() == ["True"]  # noqa: E731
        eventually(ready, timeout=90, interval=0.2, what="the node is ready")

    def _containers(self) -> Containers:
        self._here()
        return Containers(_STATE, self._processes)

    def _here(self) -> None:
        if not self._local:
            raise RuntimeError(
                f"this needs a cluster that the harness started on this machine, and {VARIABLE} names {self.kubeconfig}"
            )


@contextmanager
def running() -> Iterator[Cluster]:
    """A cluster on this machine, one at a time; stopped at the end, and nothing is left of it."""
    with locked(CACHE / "cluster.lock"):
        processes = Processes(_STATE)
        containers = Containers(_STATE, processes)
        _clean(processes, containers)
        try:
            yield _start(processes, containers)
        finally:
            _clean(processes, containers)


def _start(processes: Processes, containers: Containers) -> Cluster:
    programs = build(KUBERNETES)
    extra = {module.source.name: build(module) for module in (DNS, STORAGE, METRICS)}
    archives = (images.pause(), images.base())
    _STATE.mkdir(parents=True, mode=0o700)
    identity = Identity.make(_STATE / "certificates")
    configuration = network.up(_STATE)
    processes.start("etcd", control_plane.etcd(_STATE))
    processes.start("kube-apiserver", control_plane.api_server(programs, identity))
    containers.start(configuration)
    for archive in archives:
        containers.load(archive)
    shutil.copyfile(identity.kubeconfig("admin"), _STATE / "kubeconfig")
    cluster = Cluster(_STATE / "kubeconfig")
    _wait(processes, lambda: cluster.kubectl("get", "--raw", "/readyz") == "ok", "the API server is ready")
    processes.start("kube-controller-manager", control_plane.controller_manager(programs, identity))
    processes.start("kube-scheduler", control_plane.scheduler(programs, identity))
    processes.start("kubelet", node.kubelet(programs, identity, _STATE, containers.socket))
    processes.start("kube-proxy", node.proxy(programs, identity, _STATE))
    processes.start("coredns", addons.dns(extra["dns"], identity, _STATE))
    processes.start("storage", addons.storage(extra["storage"], identity, _STATE, cluster.apply))
    processes.start("metrics-server", addons.metrics(extra["metrics"], identity, cluster.apply))
    cluster.wait_for_node()
    processes.check()
    return cluster


def _wait(processes: Processes, condition: Any, what: str) -> None:
    def look() -> bool:
        processes.check()
        return bool(condition())

    eventually(look, timeout=90, interval=0.2, what=what)


def _clean(processes: Processes, containers: Containers) -> None:
    """End everything of this or an earlier cluster, whoever started it."""
    for name in ("kubelet", "kube-proxy"):
        processes.stop(name)
    if containers.socket.exists():
        try:
            containers.end_all()
        except RuntimeError as error:
            print(f"containerd did not end its containers: {error}", file=sys.stderr)  # noqa: T201
    processes.end_recorded()
    containers.clean()
    network.down()
    if _STATE.exists():
        shutil.rmtree(_STATE)


def named() -> Cluster | None:
    """The cluster that the environment names."""
    path = os.environ.get(VARIABLE)
    return Cluster(Path(path).expanduser().absolute()) if path else None


__all__ = ["NODE", "NODE_IP", "VARIABLE", "Cluster", "named", "running"]

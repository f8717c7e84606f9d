"""The Kubernetes that the cluster tests use: `running()` gives one, `python -m harness.cluster up` keeps one.

`MODELYARD_TEST_KUBECONFIG` names a cluster that is there already. If `up` started it on this machine, tests can stop
its parts as well; of a foreign one, they can't, and those that want to fail.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.kubernetes import binaries, host, images
from harness.kubernetes.host import Host
from harness.kubernetes.kubectl import Kubectl

_VARIABLE = "MODELYARD_TEST_KUBECONFIG"


class Cluster:
    """One cluster, by its kubeconfig of an administrator. Each failure of a call is an AssertionError."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self.kubectl = Kubectl(kubeconfig)
        self._host = Host.of(kubeconfig)

    @property
    def helm(self) -> Path:
        """A helm 3 program."""
        return binaries.program("helm")

    @property
    def node(self) -> str:
        """The name of a node: the only one, where the tests started the cluster."""
        return str(self._node()["metadata"]["name"])

    def _node(self) -> dict[str, Any]:
        """One that is for all pods: simulated ones, for example, are for those that tolerate them."""

        def own_taints(node: dict[str, Any]) -> list[Any]:
            taints = node["spec"].get("taints", ())
            return [taint for taint in taints if not taint["key"].startswith("node.kubernetes.io/")]

        found: dict[str, Any] = next(node for node in self.get("nodes")["items"] if not own_taints(node))
        return found

    @property
    def node_ip(self) -> str:
        """Its address, where pods reach what listens on this machine if the tests started the cluster."""
        addresses = self._node()["status"]["addresses"]
        return next(a["address"] for a in addresses if a["type"] == "InternalIP")

    @property
    def dns_ip(self) -> str:
        """The address that pods ask for names."""
        return str(self.get("service", "kube-dns", namespace="kube-system")["spec"]["clusterIP"])

    @property
    def storage_class(self) -> str:
        """The default storage class, which makes volumes as they are claimed."""
        mark = "storageclass.kubernetes.io/is-default-class"
        for item in self.get("storageclasses")["items"]:
            if item["metadata"].get("annotations", {}).get(mark) == "true":
                return str(item["metadata"]["name"])
        raise AssertionError("the cluster has no default storage class")

    @property
    def attached_class(self) -> str:
        """A storage class whose volumes are attached to their node, grow, and can be snapshotted (`snapshot_class`)."""
        return str(self._snapshotted()[0]["metadata"]["name"])

    @property
    def snapshot_class(self) -> str:
        """The class of its volumes' snapshots."""
        return str(self._snapshotted()[1]["metadata"]["name"])

    def _snapshotted(self) -> tuple[dict[str, Any], dict[str, Any]]:
        attached = {d["metadata"]["name"] for d in self.get("csidrivers")["items"] if d["spec"]["attachRequired"]}
        classes = self.get("storageclasses")["items"]
        for snapshots in self.get("volumesnapshotclasses")["items"]:
            for volumes in classes:
                if volumes["provisioner"] == snapshots["driver"] in attached:
                    return volumes, snapshots
        raise AssertionError("the cluster has no storage class with snapshots whose volumes are attached")

    def get(self, kind: str, name: str = "", namespace: str = "") -> dict[str, Any]:
        """One object, or with no name a List."""
        where = ["--namespace", namespace] if namespace else []
        found: dict[str, Any] = json.loads(
            self.kubectl("get", kind, *([name] if name else []), *where, "--output=json")
        )
        return found

    def apply(self, *manifests: dict[str, Any], namespace: str) -> None:
        """Make these objects."""
        document = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        self.kubectl("apply", "--server-side", "--namespace", namespace, "-f", "-", input=json.dumps(document))

    def load_image(self, archive: Path) -> None:
        """Put an OCI or docker archive where the node finds it. Use `imagePullPolicy: IfNotPresent` or `Never`."""
        self._on_this_machine().containers.load(archive)

    def stop_api_server(self) -> None:
        """End the API server."""
        self._on_this_machine().stop_api_server()

    def start_api_server(self) -> None:
        """Start it again; returns when it answers."""
        self._on_this_machine().start_api_server()

    def restart_api_server(self) -> None:
        """Both; its clients' watches and connections end."""
        self.stop_api_server()
        self.start_api_server()

    def stop_kubelet(self) -> None:
        """End the kubelet: the node's containers run on, and nobody reports them."""
        self._on_this_machine().stop_kubelet()

    def start_kubelet(self) -> None:
        """Start it again; returns when the node is ready."""
        self._on_this_machine().start_kubelet()

    def describe(self, namespace: str) -> str:
        """Events, pods and their logs, for a failing test's output."""
        parts = [
            self._say("get", "events", "--sort-by=.lastTimestamp", namespace=namespace),
            self._say("get", "all,pvc,jobs", "--output=wide", namespace=namespace),
        ]
        for name in self._say("get", "pods", "--output=name", namespace=namespace).split():
            logs = self._say("logs", name, "--all-containers", "--prefix", "--tail=60", namespace=namespace)
            parts.append(f"{name}:\n{logs}")
        return "\n".join(parts)

    def _say(self, *arguments: str, namespace: str) -> str:
        try:
            return self.kubectl(*arguments, "--namespace", namespace)
        except AssertionError as error:
            return str(error)

    def _on_this_machine(self) -> Host:
        assert self._host, (
            f"{self.kubeconfig} is of a cluster that was not started here: its parts can't be stopped, nor images "
            f"loaded. Unset {_VARIABLE}, or set it to what `python -m harness.cluster up` writes."
        )
        return self._host


@contextmanager
def running() -> Iterator[Cluster]:
    """The cluster that MODELYARD_TEST_KUBECONFIG names, else one of its own for as long as the context lasts."""
    if named := os.environ.get(_VARIABLE):
        assert Path(named).is_file(), f"{_VARIABLE} names {named}, which is not there"
        yield Cluster(Path(named))
        return
    with host.started() as here:
        yield Cluster(here.kubeconfig)


def main() -> None:
    """`build`: all that is built from source. `up`: a cluster, until Ctrl-C. `down`: remove what a killed `up` left."""
    parser = argparse.ArgumentParser(prog="python -m harness.cluster", description=main.__doc__)
    parser.add_argument("command", choices=["build", "up", "down"])
    parser.add_argument("--folder", type=Path, default=host.FOLDER, help="state; its file `kubeconfig` is the way in")
    arguments = parser.parse_args()
    if arguments.command == "build":
        binaries.build()
        images.pause()
    elif arguments.command == "down":
        host.clean()
    else:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _leave)
        with host.started(arguments.folder.resolve()) as here:
            _say(f"The cluster is up. Use it: export {_VARIABLE}={here.kubeconfig}")
            while True:
                signal.pause()


def _leave(number: int, frame: object) -> None:
    _say("Stopping the cluster")
    raise SystemExit(0)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()

"""Nodes that are not there, for many pods: kwok plays their kubelets, and this machine answers for the pods.

Only pods that ask for `ACCELERATOR` come to them, so that a cluster with real nodes can be shared meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kubernetes.client import CoreV1Api
from kubernetes.client.exceptions import ApiException
from kubernetes.config import new_client_from_config
from kubernetes_asyncio import client as kubernetes
from kubernetes_asyncio import config, watch
from urllib3.exceptions import HTTPError

from harness.cluster import Cluster
from harness.golang import go_tool

ACCELERATOR = "bench.modelyard.dev/accelerator"
"""A device that only these nodes have, and a taint of them that only who asks for it tolerates."""
log = logging.getLogger(__name__)
_MODULE = Path(__file__).parent / "kubernetes" / "kwok"
_MARK = "bench.modelyard.dev/kwok"
_PODS = "10.215.0.0/16"
_NODE_IP = "10.215.255.1"
_PORT = 8080
_DOUBTFUL = 90.0
"""Seconds after the API server was away within which the cluster may take nodes for lost."""
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


@contextmanager
def prompt_pods(cluster: Cluster) -> Iterator[None]:
    """Within `fake_nodes`: their pods run, and are gone, as soon as the cluster says that they should.

    For times with an etcd older than 3.4.31, where kwok takes up to half a minute to see a pod."""
    ready, over = threading.Event(), threading.Event()
    player = Player(cluster.kubeconfig)
    thread = threading.Thread(target=lambda: asyncio.run(player.play(ready, over)), name="play pods", daemon=True)
    thread.start()
    try:
        assert ready.wait(30), "pods cannot be watched"
        yield
    finally:
        over.set()
        thread.join(30)


@contextmanager
def fake_nodes(cluster: Cluster, count: int, folder: Path) -> Iterator[None]:
    """So many nodes with room for thousands of pods, which are ready soon after they are scheduled and answer every
    call with 200. Needs root. kwok's output goes to `folder`.

    An etcd older than 3.4.31 cannot serve the watches that kwok asks for: it lists instead, twice a minute."""
    # Last by name: who asks for a node of the cluster takes the first.
    names = [f"zz-kwok-{number}" for number in range(count)]
    command = [
        str(go_tool(_MODULE, "sigs.k8s.io/kwok/cmd/kwok")),
        f"--kubeconfig={cluster.kubeconfig}",
        "--manage-all-nodes=false",
        f"--manage-nodes-with-annotation-selector={_MARK}=yes",
        f"--cidr={_PODS}",
        f"--node-ip={_NODE_IP}",
        # With leases of its own it plays only the pods that were there before.
        "--node-lease-duration-seconds=0",
        "--server-address=127.0.0.1:0",
    ]
    with ExitStack() as stack:
        stack.enter_context(_answering())
        output = stack.enter_context((folder / "kwok.log").open("ab"))
        process = subprocess.Popen(command, stdout=output, stderr=output)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        cluster.kubectl("apply", "--filename", "-", input=json.dumps(_list([_node(name) for name in names])))
        stack.callback(cluster.kubectl, "delete", "node", *names, "--wait=false")
        stack.enter_context(_alive(cluster, names))
        nodes = [f"node/{name}" for name in names]
        cluster.kubectl("wait", "--for=condition=Ready", "--timeout=60s", *nodes)
        yield


def _node(name: str) -> dict[str, Any]:
    room = {"cpu": "1000", "memory": "4Ti", "pods": "2000", ACCELERATOR: "2000"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {_MARK: "yes", "node.alpha.kubernetes.io/ttl": "0"},
            "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "type": "kwok"},
        },
        "spec": {"taints": [{"key": ACCELERATOR, "value": "fake", "effect": "NoSchedule"}]},
        "status": {"capacity": room, "allocatable": room},
    }


def _list(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "List", "items": items}


@contextmanager
def _alive(cluster: Cluster, names: list[str]) -> Iterator[None]:
    """Renew the nodes' leases, as their kubelets would, and say of their pods that they are ready, after the cluster
    has taken the nodes for lost: which kwok does not."""
    over = threading.Event()

    def renew() -> None:
        wait, doubtful_until = 0.0, 0.0
        while not over.wait(wait):
            leases = json.dumps(_list([_lease(name) for name in names]))
            try:
                cluster.kubectl("apply", "--server-side", "--force-conflicts", "--filename", "-", input=leases)
                wait = 5.0
                if time.monotonic() < doubtful_until:
                    _ready_again(cluster, names)
            except (AssertionError, ApiException, HTTPError):  # the API server is away
                wait, doubtful_until = 0.5, time.monotonic() + _DOUBTFUL

    thread = threading.Thread(target=renew, name="leases", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(30)


def _ready_again(cluster: Cluster, names: list[str]) -> None:
    with new_client_from_config(str(cluster.kubeconfig)) as client, ThreadPoolExecutor(8) as pool:
        api = CoreV1Api(client)
        for name in names:
            pods = api.list_pod_for_all_namespaces(field_selector=f"spec.nodeName={name},status.phase=Running").items
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            ready = {"status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": now}]}}
            lost = [
                p.metadata for p in pods if any(c.type == "Ready" and c.status != "True" for c in p.status.conditions)
            ]
            for answer in [pool.submit(api.patch_namespaced_pod_status, p.name, p.namespace, ready) for p in lost]:
                with suppress(ApiException):  # it is gone
                    answer.result()


def _lease(name: str) -> dict[str, Any]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": "kube-node-lease"},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now},
    }


@contextmanager
def _answering() -> Iterator[None]:
    """All addresses of the pods are this machine's, and one server answers at them."""
    assert os.geteuid() == 0, "answering for pods that are not there needs root"
    subprocess.run(["ip", "route", "replace", "local", _PODS, "dev", "lo"], check=True, capture_output=True)
    ready, over = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(_serve(ready, over)), name="fake pods", daemon=True)
    thread.start()
    try:
        assert ready.wait(10), f"port {_PORT} is taken"
        yield
    finally:
        over.set()
        thread.join(10)
        subprocess.run(["ip", "route", "delete", "local", _PODS, "dev", "lo"], check=False, capture_output=True)


async def _serve(ready: threading.Event, over: threading.Event) -> None:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")  # nobody from elsewhere
    listener.bind(("0.0.0.0", _PORT))
    server = await asyncio.get_running_loop().create_server(_Pod, sock=listener, backlog=1000)
    ready.set()
    await asyncio.to_thread(over.wait)
    server.close()


class _Pod(asyncio.Protocol):
    """Answers whatever is asked, once per request without a body."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(_ANSWER * data.count(b"\r\n\r\n"))


class Player:
    """A kubelet of a few lines for all pods of the fake nodes."""

    def __init__(self, kubeconfig: Path) -> None:
        self._kubeconfig = kubeconfig
        self._known: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._few = asyncio.Semaphore(30)

    async def play(self, ready: threading.Event, over: threading.Event) -> None:
        """Until it is over."""
        await config.load_kube_config(str(self._kubeconfig))
        async with kubernetes.ApiClient() as api:
            following = asyncio.create_task(self._follow(kubernetes.CoreV1Api(api), ready), name="pods to play")
            await asyncio.to_thread(over.wait)
            for task in (following, *self._tasks):
                task.cancel()
            await asyncio.gather(following, *self._tasks, return_exceptions=True)

    async def _follow(self, core: Any, ready: threading.Event) -> None:
        while True:
            try:
                async with watch.Watch().stream(core.list_pod_for_all_namespaces, timeout_seconds=300) as stream:
                    ready.set()
                    async for change in stream:
                        if change["type"] != "DELETED":
                            self._see(core, change["raw_object"])
            except Exception as error:  # the API server may be away for a moment
                log.warning("Playing pods: %r", error)
                await asyncio.sleep(0.5)

    def _see(self, core: Any, pod: dict[str, Any]) -> None:
        meta, node = pod["metadata"], str(pod["spec"].get("nodeName") or "")
        wanted = "gone" if meta.get("deletionTimestamp") else "running"
        if node.startswith("zz-kwok-") and self._known.get(meta["uid"]) != wanted:
            self._known[meta["uid"]] = wanted
            task = asyncio.create_task(self._make(core, pod, wanted), name=f"{meta['name']} is {wanted}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _make(self, core: Any, pod: dict[str, Any], wanted: str) -> None:
        name, space = pod["metadata"]["name"], pod["metadata"]["namespace"]
        async with self._few:
            try:
                if wanted == "gone":
                    await core.delete_namespaced_pod(name, space, grace_period_seconds=0)
                else:
                    await core.patch_namespaced_pod_status(name, space, {"status": _runs(pod, len(self._known))})
            except kubernetes.ApiException as error:
                if error.status != 404:  # kwok, or its owner, was first
                    raise


def _runs(pod: dict[str, Any], number: int) -> dict[str, Any]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    kinds = ("Initialized", "PodReadyToStartContainers", "ContainersReady", "Ready")
    address = f"10.215.{number // 250 % 250}.{number % 250 + 1}"
    containers = [
        {
            "name": container["name"], "image": container["image"], "imageID": "", "ready": True, "started": True,
            "restartCount": 0, "state": {"running": {"startedAt": now}},
        }
        for container in pod["spec"]["containers"]
    ]  # fmt: skip
    return {
        "phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "hostIP": _NODE_IP, "startTime": now,
        "conditions": [{"type": kind, "status": "True", "lastTransitionTime": now} for kind in kinds],
        "containerStatuses": containers,
    }  # fmt: skip

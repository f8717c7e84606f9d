"""A Kubernetes runtime whose replicas misbehave when a test wants them to."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import httpx

from harness.code import python_task
from harness.local import MISBEHAVING
from harness.task_image import IMAGE as TASK_IMAGE
from harness.wait import eventually
from modelyard_api.resources import MiB, Resources
from modelyard_hub.runtimes.base import Package, Server
from modelyard_hub.runtimes.kubernetes import KubernetesOptions, KubernetesRuntime, Timing
from modelyard_hub.runtimes.kubernetes.pods import FILES_FOLDER
from modelyard_hub.runtimes.task import Task

IMAGE = "localhost/modelyard/misbehaving:test"
PROGRAM = "/misbehaving_server.py"
FILES = {PROGRAM: MISBEHAVING.read_bytes()}
QUICK = Timing(
    start_timeout=30.0,
    drain_timeout=2.0,
    notice=1.0,
    margin=1.0,
    deliver=5.0,
    deliver_every=0.5,
    task_start=5.0,
    ready_poll=1,
    live_poll=1,
    probe_timeout=1,
    watch=20.0,
    silence=5.0,
)


class Kubectl(Protocol):
    """What runs kubectl, and where its configuration is."""

    kubeconfig: Path

    def task(self, code: str = "", **changes: Any) -> Task:
        return replace(python_task(code, f"s3://tasks/{self.namespace}"), **{"image": TASK_IMAGE, **changes})

    def kubectl(self, *args: str, input: str | None = None) -> str: ...


class ClusterYard:
    """A Kubernetes runtime in a namespace of its own. Switches are files of the workload, so they come to running
    replicas as changed access rules do."""

    patience = 120.0

    def __init__(self, cluster: Kubectl, namespace: str) -> None:
        self.cluster, self.namespace = cluster, namespace
        self.options = KubernetesOptions(
            namespace=namespace,
            kubeconfig=cluster.kubeconfig,
            image=IMAGE,
            image_pull_policy="Never",
            command=("python3", PROGRAM, FILES_FOLDER),
            fetch=("true",),
            timing=QUICK,
        )
        self.switches: dict[str, str] = {}
        self.runtime = KubernetesRuntime(self.options)

    def use(self, options: KubernetesOptions) -> None:
        """Another runtime, with these options; neither is open."""
        self.options, self.runtime = options, KubernetesRuntime(options)

    async def reopen(self) -> KubernetesRuntime:
        await self.runtime.close()
        self.runtime = KubernetesRuntime(self.options)
        await self.runtime.open()
        return self.runtime

    def server(self, **changes: Any) -> Server:
        small = Server(
            name="ada-churn-1",
            endpoint="churn",
            package=Package("/nowhere", "ada.churn", "7"),
            resources=Resources(cpu=0.1, memory=128 * MiB),
            labels={"modelyard.dev/revision": "1"},
            files=dict(self.switches),
        )
        return replace(small, **changes)

    def task(self, code: str = "", **changes: Any) -> Task:
        return replace(python_task(code, f"s3://tasks/{self.namespace}"), **{"image": TASK_IMAGE, **changes})

    def kubectl(self, *args: str, input: str | None = None) -> str:
        """In the namespace."""
        return self.cluster.kubectl("--namespace", self.namespace, *args, input=input)

    def objects(self, kind: str) -> list[dict[str, Any]]:
        """All objects of a kind in the namespace."""
        items: list[dict[str, Any]] = json.loads(self.kubectl("get", kind, "--output=json"))["items"]
        return items

    def account(self, name: str, rules: list[dict[str, Any]], folder: Path) -> Path:
        """The kubeconfig of a service account with these rules."""
        role = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": name},
            "rules": rules,
        }
        self.kubectl("create", "--filename=-", input=json.dumps(role))
        self.kubectl("create", "serviceaccount", name)
        self.kubectl("create", "rolebinding", name, f"--role={name}", f"--serviceaccount={self.namespace}:{name}")
        token = self.kubectl("create", "token", name).strip()
        told = json.loads(self.cluster.kubectl("config", "view", "--raw", "--flatten", "--minify", "--output=json"))
        told["users"] = [{"name": told["users"][0]["name"], "user": {"token": token}}]
        path = folder / f"{name}.kubeconfig"
        path.write_text(json.dumps(told))
        return path

    def switch(self, misbehaviour: str, argument: str | None = "") -> None:
        name = self.server().name
        if argument is None:
            self.switches.pop(misbehaviour, None)
        else:
            self.switches[misbehaviour] = argument
        if not any(o["metadata"]["name"] == name for o in self.objects("secrets")):
            return
        text = None if argument is None else base64.b64encode(argument.encode()).decode()
        change = json.dumps({"data": {misbehaviour: text}})
        self.kubectl("patch", "secret", name, "--type=merge", "--patch", change)
        for pod in self.objects("pods"):
            self.kubectl("annotate", "pod", pod["metadata"]["name"], f"test/switched={misbehaviour}.{argument}",
                         "--overwrite")  # fmt: skip
        wanted = argument is not None
        for address in self._ready():
            eventually(_switched(address, misbehaviour, wanted), timeout=20.0, interval=0.1, what=misbehaviour)

    def _ready(self) -> list[str]:
        """Addresses of the pods that are ready."""
        return [
            f"http://{pod['status']['podIP']}:8080"
            for pod in self.objects("pods")
            for c in pod["status"].get("conditions", [])
            if c["type"] == "Ready" and c["status"] == "True"
        ]


def _switched(address: str, misbehaviour: str, wanted: bool) -> Callable[[], bool]:
    def look() -> bool:
        try:
            found = httpx.get(f"{address}/switches", timeout=5.0, trust_env=False).json()
        except httpx.HTTPError:
            return not wanted  # it ended, or is ended
        return (misbehaviour in found) == wanted

    return look

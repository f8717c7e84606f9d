"""Volumes as claims of the fake cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.fake_cluster import FakeCluster
from harness.observed_pods import QUICK
from modelyard_api.volumes import Volume
from modelyard_hub.runtimes.kubernetes import KubernetesOptions
from modelyard_hub.runtimes.kubernetes.rbac import RULES
from modelyard_hub.volumes.cluster import ClusterDisks, ClusterOptions


@dataclass
class Claims:
    """Disks on a fake cluster, whose provisioner is this."""

    disks: ClusterDisks
    cluster: FakeCluster

    def claim(self, volume: Volume) -> dict[str, Any]:
        (found,) = [o for (k, _), o in self.cluster.objects.items() if o["metadata"]["uid"] == volume.id]
        return found

    async def bind(self, volume: Volume) -> None:
        size = self.claim(volume)["spec"]["resources"]["requests"]["storage"]
        status = {"phase": "Bound", "capacity": {"storage": size}}
        name = self.claim(volume)["metadata"]["name"]
        await self.cluster.change("persistentvolumeclaims", name, lambda o: o.update(status=status))

    async def hold(self, volume: Volume) -> None:
        name = self.claim(volume)["metadata"]["name"]
        await self.cluster.put("pods", pod(f"notebook-{volume.owner}", name))

    async def release(self, volume: Volume) -> None:
        await self.cluster.remove("pods", f"notebook-{volume.owner}")


def pod(name: str, claim: str, phase: str = "Running") -> dict[str, Any]:
    """A notebook server that has this claim."""
    return {
        "metadata": {
            "name": name,
            "labels": {"app.kubernetes.io/part-of": "modelyard"},
            "annotations": {"hub.jupyter.org/servername": ""},
        },
        "spec": {"nodeName": "one", "volumes": [{"name": "home", "persistentVolumeClaim": {"claimName": claim}}]},
        "status": {"phase": phase},
    }


@asynccontextmanager
async def claims_of(cluster: FakeCluster, folder: Path) -> AsyncIterator[Claims]:
    """Volumes there, with the rights that the chart gives."""
    options = KubernetesOptions(
        namespace="yard", kubeconfig=cluster.kubeconfig(folder), task_image="notebook:1", timing=QUICK
    )
    made = Claims(ClusterDisks(ClusterOptions(options, fresh=0)), cluster)
    await made.disks.open()
    try:
        yield made
    finally:
        await made.disks.close()
    allowed = {(rule.resource, verb) for rule in RULES for verb in rule.verbs}
    assert cluster.verbs <= allowed, "the chart's Role does not grant it"

"""Volumes on a real storage: grown while a pod has them, snapshotted, restored, kept in the trash; a deleted user's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from contracts.disks import LATER, NOW
from harness import pod_hub, pods
from harness.base_image import NAME
from harness.cluster import Cluster
from harness.wait import eventually, eventually_async
from modelyard_api.errors import Conflict
from modelyard_api.volumes import Restoring, SnapshotPlan, Volume, VolumeSpec
from modelyard_hub.runtimes.kubernetes import KubernetesOptions
from modelyard_hub.volumes.claims import OWNER, TRASHED, USER, VOLUME, Storage, manifest
from modelyard_hub.volumes.cluster import ClusterDisks, ClusterOptions
from modelyard_hub.volumes.keeper import Keeper
from modelyard_hub.volumes.shelf import Bounds, Shelf

MiB = 1 << 20
USER_IDS = {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000}


@dataclass
class Yard:
    """Volumes in a namespace, and pods that have them."""

    disks: ClusterDisks
    cluster: Cluster
    namespace: str

    async def now(self, volume: Volume) -> Volume:
        (found,) = [v for v in await self.disks.volumes([volume.owner]) if v.id == volume.id]
        return found

    def claim(self, volume: Volume) -> str:
        claims = self.cluster.get("pvc", namespace=self.namespace)["items"]
        (found,) = [c for c in claims if c["metadata"]["uid"] == volume.id]
        return str(found["metadata"]["name"])

    async def run(self, name: str, **volumes: Volume) -> None:
        """A pod with volumes at `/<key>`."""
        where = {
            f"/{key}": {"persistentVolumeClaim": {"claimName": self.claim(volume)}} for key, volume in volumes.items()
        }
        spec = {**pods.pod_spec(pods.SLEEP, volumes=where), "securityContext": USER_IDS}
        self.cluster.apply(pods.pod(name, spec), namespace=self.namespace)
        arguments = ("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=90s", "--namespace", self.namespace)
        await asyncio.to_thread(self.cluster.kubectl, *arguments)

    async def python(self, pod: str, text: str) -> str:
        """What a pod's Python prints."""
        command = ("exec", pod, "--namespace", self.namespace, "--", "python3", "-c", text)
        return (await asyncio.to_thread(self.cluster.kubectl, *command)).strip()

    async def end(self, pod: str) -> None:
        command = ("delete", f"pod/{pod}", "--namespace", self.namespace)
        await asyncio.to_thread(self.cluster.kubectl, *command)


@pytest.fixture
async def yard(cluster: Cluster, namespace: str, tmp_path: Path) -> AsyncIterator[Yard]:
    options = KubernetesOptions(namespace=namespace, kubeconfig=cluster.kubeconfig, task_image=NAME)
    storage = Storage(cluster.attached_class)
    made = Yard(ClusterDisks(ClusterOptions(options, storage, cluster.snapshot_class, fresh=0)), cluster, namespace)
    await made.disks.open()
    yield made
    await made.disks.close()


async def told(action: str, subject: str) -> None:
    """The clock's audit."""


async def test_a_volume_through_its_life(yard: Yard) -> None:
    volume = await yard.disks.create("ada", "data", VolumeSpec(size=512 * MiB))
    await yard.run("one", data=volume)
    await yard.python("one", "import os; os.makedirs('/data/work'); open('/data/work/a.txt', 'w').write('before')")

    volume = await yard.disks.write(await yard.now(volume), volume.spec.model_copy(update={"size": 1024 * MiB}))
    assert volume.status.state == "growing"

    async def grown() -> bool:
        return (await yard.now(volume)).status.size == 1024 * MiB

    await eventually_async(grown, timeout=60)
    assert int(await yard.python("one", "import shutil; print(shutil.disk_usage('/data').total)")) > 768 * MiB

    assert await yard.disks.no_snapshots() == ""
    taken = await yard.disks.snapshot(await yard.now(volume))

    async def ready() -> bool:
        return (await yard.disks.snapshots(["ada"]))[0].ready

    await eventually_async(ready, timeout=60)
    (taken,) = await yard.disks.snapshots(["ada"])
    await yard.python("one", "open('/data/work/a.txt', 'w').write('after')")
    plan = SnapshotPlan(every_hours=24, keep=1)
    volume = await yard.disks.write(await yard.now(volume), volume.spec.model_copy(update={"snapshots": plan}))
    keeper = Keeper(Shelf(yard.disks, Bounds(largest=1 << 40, most=3, days=30)), told)
    for _ in range(2):
        await keeper.look()
    assert sorted(snapshot.planned for snapshot in await yard.disks.snapshots(["ada"])) == [False, True]
    order = Restoring(snapshot=taken.name, folder="work", into="restored", state="running")
    with pytest.raises(Conflict, match="mounted by one on"):
        await yard.disks.copy(taken, await yard.now(volume), order)
    with pytest.raises(Conflict, match="mounted by one on"):
        await yard.disks.trash(await yard.now(volume), NOW, LATER, "ada")
    await yard.end("one")

    await yard.disks.copy(taken, await yard.now(volume), order)

    async def copied() -> bool:
        (restoring,) = (await yard.now(volume)).status.restoring
        assert restoring.state != "failed", restoring
        return restoring.state == "succeeded"

    await eventually_async(copied, timeout=90)
    whole = await yard.disks.create("ada", "before", VolumeSpec(size=1024 * MiB), taken)
    await yard.run("two", data=volume, before=whole)
    read = "print(open('/data/work/a.txt').read(), open('/data/restored/work/a.txt').read(), "
    read += "open('/before/work/a.txt').read())"
    assert await yard.python("two", read) == "after before before"
    await yard.end("two")

    put = await yard.disks.trash(await yard.now(volume), NOW, LATER, "ada")
    await yard.run("three", data=volume)  # somebody who does not ask us
    with pytest.raises(Conflict, match="mounted by three on"):
        await yard.disks.purge(put)
    await yard.end("three")
    await yard.disks.purge(put)
    assert await yard.disks.snapshots(["ada"]) == []

    async def gone() -> bool:
        return [v.name for v in await yard.disks.volumes(["ada"])] == ["before"]

    await eventually_async(gone, timeout=30)


def homes(cluster: Cluster, namespace: str) -> list[dict[str, Any]]:
    return [c["metadata"] for c in cluster.get("pvc", namespace=namespace)["items"] if OWNER in c["metadata"]["labels"]]


@pytest.fixture
def hub(cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[pod_hub.PodHub]:
    with pod_hub.running(cluster, namespace, tmp_path / "hub") as running:
        yield running


def test_a_new_user_of_a_deleted_ones_name_gets_a_home_of_their_own(
    cluster: Cluster, namespace: str, hub: pod_hub.PodHub
) -> None:
    def started() -> bool:
        with hub.client() as client:
            return bool(client.get("/users/ada").json()["servers"].get("", {}).get("ready"))

    data = manifest("ada", VolumeSpec(size=64 * MiB), "data", Storage())
    cluster.kubectl("create", "--namespace", namespace, "--filename", "-", input=json.dumps(data))
    hub.start("ada")
    eventually(started, timeout=90, what="ada's server answers")
    first, _ = sorted(homes(cluster, namespace), key=lambda claim: claim["labels"][VOLUME], reverse=True)
    (pod,) = cluster.get("pods", namespace=namespace)["items"]
    mounts = {m["mountPath"] for m in pod["spec"]["containers"][0]["volumeMounts"]}
    assert {"/home/jovyan", "/home/jovyan/volumes/data"} <= mounts
    hub.stop("ada")
    hub.start("ada")
    eventually(started, timeout=90, what="ada's server answers again")
    assert len(homes(cluster, namespace)) == 2
    with hub.client() as client:
        assert client.delete("/users/ada").status_code == 204
    assert [claim["labels"].get(TRASHED) for claim in homes(cluster, namespace)] == ["true", "true"]
    (put,) = [claim for claim in homes(cluster, namespace) if claim["uid"] == first["uid"]]

    hub.start("ada")
    eventually(started, timeout=90, what="the other ada's server answers")
    live = [home for home in homes(cluster, namespace) if TRASHED not in home["labels"]]
    assert len(live) == 1
    assert live[0]["uid"] != first["uid"]
    assert live[0]["annotations"][USER] != put["annotations"][USER]
    pod = cluster.get("pods", namespace=namespace)["items"][0]
    (claimed,) = [
        v["persistentVolumeClaim"]["claimName"] for v in pod["spec"]["volumes"] if "persistentVolumeClaim" in v
    ]
    assert claimed == live[0]["name"]
    hub.stop("ada")

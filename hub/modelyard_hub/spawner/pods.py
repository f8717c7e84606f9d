"""A profile's sizes in a pod, and what a cluster says beside the choice."""

from __future__ import annotations

import asyncio
from typing import Any

from kubernetes_asyncio.client import ApiClient, V1EmptyDirVolumeSource, V1Toleration
from kubespawner.utils import get_k8s_model

from modelyard_api.choices import Sizes
from modelyard_api.profiles import Profile
from modelyard_api.quantities import quantity, show_bytes
from modelyard_hub.spawner.choosing.profiled import Profiled, threads
from modelyard_hub.spawner.queueing.queued import number
from modelyard_hub.spawner.queueing.turns import Need
from modelyard_hub.spawner.rooms import nodes, quota
from modelyard_hub.spawner.rooms.surroundings import Room, Surroundings

PROFILE = "modelyard.dev/profile"
PATIENCE = 2.0
"""Seconds that a page waits for the cluster's figures."""


class ProfiledPods(Profiled):
    """For KubeSpawner's subclass: sizes go into the pod's manifest, so that none of an earlier start are left over."""

    async def load_user_options(self) -> None:
        """KubeSpawner's own profiles: ours are applied already."""

    def take(self, sizes: Sizes) -> None:
        super().take(sizes)
        if sizes.volume is not None:
            self.storage_capacity = quantity(sizes.volume)

    async def get_pod_manifest(self) -> Any:
        """KubeSpawner's pod, of the chosen sizes."""
        pod = await super().get_pod_manifest()
        if self.sizes is not None:
            fill(pod, self.sizes)
        return pod

    def needs(self) -> dict[Need, float]:
        """What a ResourceQuota counts of the pod."""
        cpu = number(self.cpu_limit)
        found: dict[Need, float] = {
            ("pods", ""): 1.0,
            ("cpu", ""): cpu,
            ("cpu_sure", ""): number(self.cpu_guarantee) or cpu,
            ("memory", ""): number(self.mem_limit),
        }
        gpus = dict(self.extra_resource_limits) if isinstance(self.extra_resource_limits, dict) else {}
        if self.sizes and self.sizes.gpus:
            gpus = {**gpus, self.sizes.gpu_resource: self.sizes.gpus}
        return {**found, **{("gpus", resource): quota.number(str(count)) for resource, count in gpus.items()}}

    async def free(self) -> tuple[Room, ...]:
        """What is left of the namespace's ResourceQuotas."""
        return quota.rooms(await _quotas(self))

    def size_variables(self) -> dict[str, str]:
        """Also that shared memory is the server's own, how many threads to start, and that a server without GPUs gets
        none where all containers see them."""
        if self.sizes is None:
            return {}
        hidden = {} if self.sizes.gpus else {"NVIDIA_VISIBLE_DEVICES": "void"}
        own = {"MODELYARD_SHM": str(self.sizes.shm)}
        return super().size_variables() | own | threads(self.sizes.cpu) | hidden


def fill(pod: Any, sizes: Sizes) -> None:
    """Make `pod`, KubeSpawner's V1Pod, one of these sizes. CPU and memory are in it already."""
    spec, container = pod.spec, pod.spec.containers[0]
    pod.metadata.labels[PROFILE] = sizes.profile
    if sizes.image:
        container.image = sizes.image
        for variable in container.env:
            if variable.name in ("JUPYTER_IMAGE", "JUPYTER_IMAGE_SPEC"):
                variable.value = sizes.image
    if sizes.gpus:
        container.resources.limits[sizes.gpu_resource] = str(sizes.gpus)
    for volume in spec.volumes:
        if volume.name == "shm":
            volume.empty_dir = V1EmptyDirVolumeSource(medium="Memory", size_limit=quantity(sizes.shm))
    spec.node_selector = {**(spec.node_selector or {}), **sizes.node_selector} or None
    spec.tolerations = [*(spec.tolerations or ()), *(get_k8s_model(V1Toleration, t) for t in sizes.tolerations)] or None
    if sizes.runtime_class:
        spec.runtime_class_name = sizes.runtime_class
    if sizes.priority_class:
        spec.priority_class_name = sizes.priority_class


async def around(spawner: Any, profiles: tuple[Profile, ...]) -> Surroundings:
    """What is free of the namespace's quotas and on the nodes, and the home volume, if there is one, and who has it.
    What the cluster does not say in time, or the hub may not know, is left out."""
    questions = (_quotas(spawner), _free(spawner, profiles), _home(spawner), spawner.hold())
    quotas, free, home, hold = await asyncio.gather(*(_ask(spawner, question) for question in questions))
    rooms = (*(room for room in quota.rooms(quotas or ()) if room.need != "pods"), *(free or ()))
    if not home:
        return Surroundings(rooms)
    notes = [f"Your home is a volume of {show_bytes(home)} already. It grows on Modelyard's page, under Volumes."]
    found = hold.diagnosis() if hold else None
    warnings = (found.text,) if found and found.wrong else ()
    if found and not found.wrong:
        notes.append(found.text)
    return Surroundings(rooms, frozenset({"volume"}), tuple(notes), warnings)


async def _ask(spawner: Any, question: Any) -> Any:
    try:
        # What many pages ask for together is read to its end, for the next one.
        return await asyncio.wait_for(asyncio.shield(question), PATIENCE)
    except Exception as error:  # the form is shown without it
        spawner.log.warning("No figures of the cluster for the form of %s: %r", spawner.user.name, error)
        return None


async def _quotas(spawner: Any) -> list[dict[str, Any]]:
    listed = await spawner.api.list_namespaced_resource_quota(spawner.namespace)
    async with ApiClient() as client:
        found: list[dict[str, Any]] = client.sanitize_for_serialization(listed)["items"]
    return found


async def _free(spawner: Any, profiles: tuple[Profile, ...]) -> tuple[Room, ...]:
    wide = spawner.wide_view()
    seen, used = await wide.nodes(), await wide.used()
    placing = {"nodeSelector": spawner.node_selector, "tolerations": spawner.tolerations}
    return () if seen is None or used is None else nodes.rooms(seen, used, profiles, placing)


async def _home(spawner: Any) -> int | None:
    """Bytes of the claim."""
    claim = await spawner.find_home()
    if claim is None:
        return None
    size = ((claim.get("status") or {}).get("capacity") or claim["spec"]["resources"]["requests"])["storage"]
    return int(quota.number(size))

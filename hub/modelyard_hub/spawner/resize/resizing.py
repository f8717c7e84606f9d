"""In-place resize of a pod: what is asked of the cluster, and what it says of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from modelyard_api.bounds import show
from modelyard_api.choices import Sizes
from modelyard_api.errors import ClusterForbidden, Conflict, InvalidChoice, ModelyardError, Unavailable
from modelyard_hub.spawner.starts.causes.base import Object

CONTAINER = "notebook"
AT_NEXT_START = "Choose it at the next start: stop the server, and start it with that size."
AIR = 1.1
"""Memory above what is in use that a server must keep."""
_ABSENT = "This cluster cannot do it while a server runs: that needs Kubernetes 1.33 or later."
_FORBIDDEN = "the hub may not resize pods (patch pods/resize)"


@dataclass(frozen=True)
class Now:
    """What a pod has: CPUs and bytes; `cpu_sure` is reserved. `gpus`: of all kinds."""

    cpu: float
    cpu_sure: float
    memory: int
    shm: int
    gpus: int = 0

    @classmethod
    def of(cls, pod: Object) -> Now | None:
        """As its spec says; None where it has no limits, and so no size of ours."""
        resources = _container(pod).get("resources") or {}
        limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
        if "cpu" not in limits or "memory" not in limits:
            return None
        own = [v.get("emptyDir") or {} for v in pod["spec"].get("volumes") or () if v["name"] == "shm"]
        shm = own[0].get("sizeLimit") if own else None
        cpu = number(limits["cpu"])
        sure = number(requests["cpu"]) if "cpu" in requests else cpu
        gpus = sum(int(number(count)) for name, count in limits.items() if "/" in name)
        return cls(cpu, sure, int(number(limits["memory"])), int(number(shm)) if shm else 0, gpus)


def number(quantity: Any) -> float:
    """What a quantity of Kubernetes counts."""
    return float(parse_quantity(str(quantity)))


def patch(pod: Object, cpu: float, cpu_sure: float, memory: int) -> dict[str, Any]:
    """Of exactly this pod's resize."""
    asked = {"limits": {"cpu": f"{cpu:g}", "memory": str(memory)}}
    sure = {"requests": {"cpu": f"{cpu_sure:g}", "memory": str(memory)}}
    resources = {**asked, **sure}
    meta = {"uid": pod["metadata"]["uid"]}
    return {"metadata": meta, "spec": {"containers": [{"name": CONTAINER, "resources": resources}]}}


def check(sizes: Sizes, now: Now, used: int | None) -> None:
    """InvalidChoice where shared memory or what is in use does not fit into the memory. `used`: None where nobody says;
    then the cluster looks."""
    if sizes.memory < now.shm:
        raise InvalidChoice(
            f"memory: {show('memory', sizes.memory)} are less than the server's shared memory, {show('shm', now.shm)}.",
            remedy=AT_NEXT_START,
            field="memory",
        )
    if used is not None and sizes.memory < now.memory and sizes.memory < AIR * used:
        raise InvalidChoice(
            f"memory: {show('memory', sizes.memory)} are too little for what the server uses, {show('memory', used)}.",
            remedy="Shut kernels down, or free what they hold, first.",
            field="memory",
        )


def outcome(pod: Object, sizes: Sizes, generation: int) -> Conflict | bool:
    """Whether the pod has these sizes by now; Conflict: it will not get them. What was said of the pod before it had
    this `generation` is of an earlier size."""
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition.get("status") != "True" or condition.get("observedGeneration", generation) < generation:
            continue
        kind, reason, said = condition["type"], condition.get("reason", ""), condition.get("message", "")
        if kind == "PodResizePending":
            return Conflict(f"the server's node has no room for it: {said or reason}", remedy=AT_NEXT_START)
        if kind == "PodResizeInProgress" and reason == "Error":
            return Conflict(f"the server's node refuses it: {said}", remedy=AT_NEXT_START)
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    limits = next((s.get("resources") or {} for s in statuses if s["name"] == CONTAINER), {}).get("limits") or {}
    wanted = {"cpu": sizes.cpu, "memory": float(sizes.memory)}
    return all(name in limits and abs(number(limits[name]) - size) < 1e-6 for name, size in wanted.items())


def refused(status: int | None, said: str, pod: str) -> ModelyardError:
    """What the API server's refusal means. `said`: its words."""
    if status == 404 and f'"{pod}"' not in said:
        return Conflict(_ABSENT, remedy=AT_NEXT_START)
    if status == 403 and "exceeded quota" in said:
        quota = said.partition("exceeded quota: ")[2]
        return Conflict(f"a quota of the cluster has no room for it: {quota}", remedy="Ask for less, or wait.")
    if status == 403:
        return ClusterForbidden(_FORBIDDEN, remedy="An administrator grants it: helm upgrade does.")
    if status in (400, 404, 409, 422):
        return Conflict(f"the cluster refuses it: {said}", remedy=AT_NEXT_START)
    return Unavailable(f"the cluster does not take it: {said}")


def _container(pod: Object) -> Object:
    found: Object = next((c for c in pod["spec"]["containers"] if c["name"] == CONTAINER), {})
    return found

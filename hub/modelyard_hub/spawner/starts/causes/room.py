"""How much room the nodes have, for one pod."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from modelyard_hub.spawner.starts.causes.base import Object
from modelyard_hub.spawner.starts.causes.words import number


@dataclass(frozen=True)
class Best:
    """The node with the most of a resource free, and the largest there is. `free` is None where it is not known."""

    node: str
    free: float | None
    largest: float


def requests(pod: Object) -> dict[str, float]:
    """What a pod takes of a node's resources, by resource."""
    spec = pod.get("spec") or {}
    total = _sum(_asked(container) for container in spec.get("containers") or ())
    for container in spec.get("initContainers") or ():
        own = _asked(container)
        if container.get("restartPolicy") == "Always":
            total = _sum((total, own))
        else:
            total = {name: max(total.get(name, 0.0), own.get(name, 0.0)) for name in {*total, *own}}
    overhead = {name: number(value) for name, value in (spec.get("overhead") or {}).items()}
    return _sum((total, overhead, {"pods": 1.0}))


def usage(pods: Iterable[Object]) -> dict[str, dict[str, float]]:
    """What pods take, by node and resource."""
    used: dict[str, dict[str, float]] = {}
    for pod in pods:
        node = (pod.get("spec") or {}).get("nodeName")
        if node and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
            used[node] = _sum((used.get(node, {}), requests(pod)))
    return used


def selected(pod: Object, nodes: Iterable[Object]) -> list[Object]:
    """The nodes that have the labels that a pod asks for."""
    wanted = (pod.get("spec") or {}).get("nodeSelector") or {}
    return [n for n in nodes if wanted.items() <= ((n["metadata"].get("labels") or {}).items())]


def repelling(pod: Object, node: Object) -> list[Object]:
    """The taints of a node that keep a pod away."""
    tolerations = (pod.get("spec") or {}).get("tolerations") or ()
    taints = (node.get("spec") or {}).get("taints") or ()
    hard = [taint for taint in taints if taint.get("effect") != "PreferNoSchedule"]
    return [taint for taint in hard if not any(_tolerates(toleration, taint) for toleration in tolerations)]


def best(resource: str, nodes: Iterable[Object], used: Mapping[str, Mapping[str, float]] | None) -> Best | None:
    """Of these nodes, the one with the most of a resource free; None where there is no node with any of it."""
    found: list[Best] = []
    for node in nodes:
        name = node["metadata"]["name"]
        all_of_it = number(((node.get("status") or {}).get("allocatable") or {}).get(resource, 0))
        if all_of_it > 0:
            free = None if used is None else max(0.0, all_of_it - used.get(name, {}).get(resource, 0.0))
            found.append(Best(name, free, all_of_it))
    if not found:
        return None
    first = max(found, key=lambda one: (one.free or 0.0, one.largest))
    return Best(first.node, first.free, max(one.largest for one in found))


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("operator") == "Exists":
        return not toleration.get("key") or toleration["key"] == taint.get("key")
    return bool(
        toleration.get("key") == taint.get("key") and (toleration.get("value") or "") == (taint.get("value") or "")
    )


def _asked(container: Object) -> dict[str, float]:
    resources = container.get("resources") or {}
    return {
        name: number(v) for name, v in {**(resources.get("limits") or {}), **(resources.get("requests") or {})}.items()
    }


def _sum(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total.get(name, 0.0) + value
    return total

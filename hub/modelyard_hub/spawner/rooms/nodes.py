"""How much of the nodes is free for a server of each profile: nodes and profiles in, rooms out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from modelyard_api.profiles import Profile
from modelyard_hub.spawner.rooms.surroundings import Room
from modelyard_hub.spawner.starts.causes.base import Object
from modelyard_hub.spawner.starts.causes.room import best, repelling, selected
from modelyard_hub.spawner.starts.causes.words import number


def rooms(
    nodes: Iterable[Object],
    used: Mapping[str, Mapping[str, float]],
    profiles: Iterable[Profile],
    placing: Object,
) -> tuple[Room, ...]:
    """For each profile and need, the node with the most left: a server is on one node. None where a profile has no node
    now, which is no reason not to start: it may be made when somebody waits for it.

    `placing`: what all servers ask of a node, as `nodeSelector` and `tolerations` of a pod.
    """
    there = [node for node in nodes if _takes_pods(node)]
    found = []
    for profile in profiles:
        pod = _pod(profile, placing)
        fit = [node for node in selected(pod, there) if not repelling(pod, node)]
        for need, resource in _needs(profile):
            if (first := best(resource, fit, used)) is not None and first.free is not None:
                node = next(node for node in fit if node["metadata"]["name"] == first.node)
                total = number(node["status"]["allocatable"][resource])
                of = f"node {first.node}, the one with the most"
                named = resource if need == "gpus" else ""
                found.append(Room(need, first.free, total, of, named, profile.name))
    return tuple(found)


def _needs(profile: Profile) -> Sequence[tuple[str, str]]:
    needs = [("cpu_sure", "cpu"), ("memory", "memory")]
    return [*needs, ("gpus", profile.gpu_resource)] if profile.gpus.max else needs


def _takes_pods(node: Object) -> bool:
    if (node.get("spec") or {}).get("unschedulable"):
        return False
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def _pod(profile: Profile, placing: Object) -> dict[str, Any]:
    selector = {**(placing.get("nodeSelector") or {}), **profile.node_selector}
    return {
        "spec": {"nodeSelector": selector, "tolerations": [*(placing.get("tolerations") or ()), *profile.tolerations]}
    }

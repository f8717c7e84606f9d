"""How much of a namespace's quotas is free: ResourceQuota objects in, rooms out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from modelyard_hub.spawner.rooms.surroundings import Room

_NEEDS = {
    "cpu": "cpu_sure",
    "requests.cpu": "cpu_sure",
    "limits.cpu": "cpu",
    "memory": "memory",
    "requests.memory": "memory",
    "limits.memory": "memory",
    "pods": "pods",
    "count/pods": "pods",
}


def rooms(quotas: Iterable[Mapping[str, Any]]) -> tuple[Room, ...]:
    """Of ResourceQuotas as JSON: for each need the quota with the least left. Those for some pods only are left out.
    `pods` is a need too, of which each server has one."""
    found: dict[tuple[str, str], Room] = {}
    for quota in quotas:
        spec, status = quota.get("spec") or {}, quota.get("status") or {}
        if spec.get("scopes") or spec.get("scopeSelector"):
            continue
        of = f"the quota {quota['metadata']['name']}"
        used = status.get("used") or {}
        for key, hard in (status.get("hard") or {}).items():
            need, resource = _need(key)
            if need:
                total = number(hard)
                room = Room(need, max(0.0, total - number(used.get(key, "0"))), total, of, resource)
                tightest = found.setdefault((need, resource), room)
                if room.free < tightest.free:
                    found[need, resource] = room
    return tuple(found.values())


def number(quantity: str) -> float:
    """What a quantity of Kubernetes such as `1500m` or `2Gi` counts."""
    return float(parse_quantity(quantity))


def _need(key: str) -> tuple[str, str]:
    if key in _NEEDS:
        return _NEEDS[key], ""
    resource = key.removeprefix("requests.")
    return ("gpus", resource) if resource != key and "/" in resource and "storageclass" not in resource else ("", "")

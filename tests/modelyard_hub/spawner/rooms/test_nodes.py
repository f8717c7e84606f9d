"""How much of the nodes is free for a profile."""

from __future__ import annotations

from typing import Any

from modelyard_api.profiles import Profile
from modelyard_hub.spawner.rooms.nodes import rooms
from modelyard_hub.spawner.rooms.surroundings import Room

GiB = 2**30
CPU = Profile.model_validate({"name": "cpu", "cpu": 1, "memory": "1Gi"})
GPU = Profile.model_validate(
    {
        "name": "gpu",
        "cpu": 1,
        "memory": "1Gi",
        "gpus": 1,
        "node_selector": {"kind": "gpu"},
        "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
    }
)
TAINT = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}


def node(name: str, *, ready: str = "True", labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    allocatable = {"cpu": "4", "memory": "16Gi", "nvidia.com/gpu": "2", "pods": "110"}
    return {
        "metadata": {"name": name, "labels": labels or {}},
        "spec": spec,
        "status": {"allocatable": allocatable, "conditions": [{"type": "Ready", "status": ready}]},
    }


def test_each_profile_has_the_freest_of_the_nodes_that_it_may_be_placed_on() -> None:
    there = [
        node("full"),
        node("half"),
        node("closed", unschedulable=True),
        node("silent", ready="Unknown"),
        node("gpu-1", labels={"kind": "gpu"}, taints=[TAINT]),
    ]
    used = {
        "full": {"cpu": 4.0, "memory": 15.0 * GiB},
        "half": {"cpu": 1.5, "memory": 8.0 * GiB},
        "gpu-1": {"nvidia.com/gpu": 2.0, "memory": 17.0 * GiB},
    }
    half, one = "node half, the one with the most", "node gpu-1, the one with the most"
    assert set(rooms(there, used, (CPU, GPU), {})) == {
        Room("cpu_sure", 2.5, 4, half, "", "cpu"),
        Room("memory", 8 * GiB, 16 * GiB, half, "", "cpu"),
        Room("cpu_sure", 4, 4, one, "", "gpu"),
        Room("memory", 0, 16 * GiB, one, "", "gpu"),
        Room("gpus", 0, 2, one, "nvidia.com/gpu", "gpu"),
    }


def test_what_all_servers_ask_of_a_node_counts_too() -> None:
    there = [node("others"), node("ours", labels={"pool": "notebooks"}, taints=[TAINT])]
    placing = {"nodeSelector": {"pool": "notebooks"}, "tolerations": [{"operator": "Exists"}]}
    found = rooms(there, {}, (CPU, GPU), placing)
    assert {(room.of.split()[1].rstrip(","), room.profile) for room in found} == {("ours", "cpu")}
    assert rooms([], {}, (CPU,), {}) == (), "where there is no node, one may be made"

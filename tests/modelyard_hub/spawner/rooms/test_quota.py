"""How much of a namespace's quotas is free."""

from __future__ import annotations

from typing import Any

from modelyard_hub.spawner.rooms.quota import rooms
from modelyard_hub.spawner.rooms.surroundings import Room


def quota(name: str, hard: dict[str, str], used: dict[str, str], **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"hard": hard, **spec}, "status": {"hard": hard, "used": used}}


def test_each_need_has_the_quota_with_the_least_left() -> None:
    found = rooms(
        [
            quota("a", {"requests.cpu": "4", "limits.cpu": "8", "requests.memory": "16Gi", "pods": "10"},
                  {"requests.cpu": "1500m", "limits.cpu": "8", "requests.memory": "4Gi", "pods": "3"}),
            quota("b", {"limits.memory": "6Gi", "requests.nvidia.com/mig-1g.10gb": "7"}, {"limits.memory": "1Gi"}),
        ]
    )  # fmt: skip
    assert set(found) == {
        Room("cpu_sure", 2.5, 4, "the quota a"),
        Room("cpu", 0, 8, "the quota a"),
        Room("memory", 5 * 2**30, 6 * 2**30, "the quota b"),
        Room("pods", 7, 10, "the quota a"),
        Room("gpus", 7, 7, "the quota b", "nvidia.com/mig-1g.10gb"),
    }


def test_quotas_for_some_pods_only_and_those_without_status_say_nothing() -> None:
    scoped = quota("a", {"cpu": "4"}, {}, scopes=["BestEffort"])
    chosen = quota("b", {"cpu": "4"}, {}, scopeSelector={"matchExpressions": []})
    assert rooms([scoped, chosen, {"metadata": {"name": "new"}}]) == ()


def test_what_is_over_the_quota_leaves_nothing() -> None:
    assert rooms([quota("a", {"cpu": "1"}, {"cpu": "2"})])[0].free == 0


def test_storage_classes_are_no_gpus() -> None:
    assert (
        rooms([quota("a", {"rbd.storageclass.storage.k8s.io/requests.storage": "1Ti", "requests.storage": "1Ti"}, {})])
        == ()
    )

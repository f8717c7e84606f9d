"""What a pod has, what is asked of the cluster for another size, and what its answers mean."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from modelyard_api.choices import Sizes
from modelyard_api.errors import ClusterForbidden, Conflict, InvalidChoice, Unavailable
from modelyard_api.profiles import Catalogue
from modelyard_api.servers import ResizeOrder
from modelyard_hub.spawner.choosing.chooser import Chooser
from modelyard_hub.spawner.resize import resizing
from modelyard_hub.spawner.resize.resizing import Now

MiB = 1 << 20
SIZES = Sizes(profile="plain", cpu=0.2, cpu_sure=0.02, memory=512 * MiB, shm=64 * MiB)


def pod(limits: dict[str, str] | None = None, *conditions: dict[str, Any], **status: Any) -> dict[str, Any]:
    """As Kubernetes 1.34 tells it; `limits`: what the kubelet says that it has."""
    has = {"limits": limits or {"cpu": "100m", "memory": "256Mi"}}
    wanted = {"limits": {"cpu": "200m", "memory": "512Mi"}, "requests": {"cpu": "20m", "memory": "512Mi"}}
    shm = {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}}
    return {
        "metadata": {"name": "notebook-ada", "uid": "u-1", "generation": 2},
        "spec": {"containers": [{"name": "notebook", "resources": wanted}], "volumes": [shm]},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}, *({"status": "True", **c} for c in conditions)],
            "containerStatuses": [{"name": "notebook", "resources": has}],
            **status,
        },
    }


def test_what_a_pod_has_is_what_its_spec_says() -> None:
    assert Now.of(pod()) == Now(0.2, 0.02, 512 * MiB, 64 * MiB)
    graphic = pod()
    graphic["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] = "2"
    assert Now.of(graphic) == Now(0.2, 0.02, 512 * MiB, 64 * MiB, 2)
    bare = pod()
    bare["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "1"}}
    assert Now.of(bare) is None


def test_what_is_asked_is_of_this_pod_alone_and_of_its_notebook() -> None:
    resources = {
        "limits": {"cpu": "0.2", "memory": str(512 * MiB)},
        "requests": {"cpu": "0.02", "memory": str(512 * MiB)},
    }
    assert resizing.patch(pod(), SIZES.cpu, SIZES.cpu_sure, SIZES.memory) == {
        "metadata": {"uid": "u-1"},
        "spec": {"containers": [{"name": "notebook", "resources": resources}]},
    }


PENDING = {
    "type": "PodResizePending",
    "reason": "Infeasible",
    "message": "Node didn't have enough capacity: memory, requested: 687194767360, capacity: 25276510208",
    "observedGeneration": 2,
}
ERROR = {
    "type": "PodResizeInProgress",
    "reason": "Error",
    "message": "cannot decrease memory limits: attempting to set container memory limit below current usage",
    "observedGeneration": 2,
}


def test_it_is_done_when_the_kubelet_says_so_and_not_when_it_was_only_asked() -> None:
    assert resizing.outcome(pod(), SIZES, 2) is False
    assert resizing.outcome(pod(None, {"type": "PodResizeInProgress", "observedGeneration": 2}), SIZES, 2) is False
    assert resizing.outcome(pod({"cpu": "200m", "memory": "512Mi"}), SIZES, 2) is True
    assert resizing.outcome(pod({"cpu": "200m", "memory": "256Mi"}), SIZES, 2) is False
    assert resizing.outcome(pod(containerStatuses=[]), SIZES, 2) is False


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        (PENDING, "the server's node has no room for it: Node didn't have enough capacity"),
        ({**PENDING, "reason": "Deferred"}, "the server's node has no room for it"),
        (ERROR, "the server's node refuses it: cannot decrease memory limits"),
    ],
)
def test_what_the_node_refuses_is_said_in_its_words_with_what_helps(condition: dict[str, Any], said: str) -> None:
    found = resizing.outcome(pod(None, condition), SIZES, 2)
    assert isinstance(found, Conflict)
    assert found.detail.startswith(said)
    assert found.remedy == resizing.AT_NEXT_START
    earlier = {**condition, "observedGeneration": 1}
    assert resizing.outcome(pod({"cpu": "200m", "memory": "512Mi"}, earlier), SIZES, 2) is True


@pytest.mark.parametrize(
    ("status", "said", "kind", "detail"),
    [
        (404, "the server could not find the requested resource", Conflict, "needs Kubernetes 1.33 or later"),
        (404, 'pods "notebook-ada" not found', Conflict, "the cluster refuses it"),
        (403, 'pods "notebook-ada" is forbidden: exceeded quota: team, requested: a, used: b', Conflict,
         "no room for it: team, requested"),
        (403, 'pods "notebook-ada" is forbidden: User "hub" cannot patch resource "pods/resize"', ClusterForbidden,
         "may not resize pods"),
        (422, "Invalid value: memory limits cannot be decreased", Conflict, "cannot be decreased"),
        (500, "etcdserver: request timed out", Unavailable, "request timed out"),
    ],
)  # fmt: skip
def test_what_the_api_server_refuses_says_what_helps(status: int, said: str, kind: type, detail: str) -> None:
    found = resizing.refused(status, said, "notebook-ada")
    assert type(found) is kind
    assert detail in found.detail
    assert found.remedy or kind is Unavailable


def test_memory_stays_above_what_is_used_and_above_shared_memory() -> None:
    now = Now(1.0, 0.1, 1024 * MiB, 64 * MiB)
    resizing.check(SIZES, now, used=300 * MiB)
    resizing.check(SIZES, now, used=None)
    with pytest.raises(InvalidChoice, match="512 MiB are too little for what the server uses, 500 MiB"):
        resizing.check(SIZES, now, used=500 * MiB)
    with pytest.raises(InvalidChoice, match="less than the server's shared memory, 600 MiB"):
        resizing.check(SIZES, Now(1.0, 0.1, 1024 * MiB, 600 * MiB), used=None)
    resizing.check(SIZES, Now(1.0, 0.1, 256 * MiB, 64 * MiB), used=500 * MiB)  # more is always better


PLAIN = {
    "name": "plain",
    "cpu": {"min": 1, "default": 1, "max": 8, "step": 1},
    "memory": {"min": "1Gi", "default": "1Gi", "max": "8Gi", "step": "1Gi"},
    "shm": "64Mi",
}


def test_what_other_servers_of_the_user_have_is_left_to_them() -> None:
    catalogue = Catalogue.model_validate({"profiles": [PLAIN], "quotas": [{"cpu": 6, "servers": 2}]})
    chooser = Chooser(catalogue, None)  # type: ignore[arg-type]  # nobody looks around
    user = SimpleNamespace(groups=[], spawners={})
    mine, other = (
        SimpleNamespace(user=user, user_options={"cpu": cpu}, sizes=None, active=True) for cpu in (2, 3)
    )  # its sizes are of before the hub's restart
    user.spawners.update({"": mine, "gpu": other})
    now = Now(2.0, 0.5, 1024 * MiB, 64 * MiB)
    sizes, options = chooser.again(mine, ResizeOrder(cpu=3), now)  # type: ignore[arg-type]
    assert (sizes.cpu, sizes.cpu_sure, options) == (3, 0.75, {"cpu": 3, "memory": 1024 * MiB})
    with pytest.raises(Conflict, match="cpu: your quota has 3 CPUs beside your other servers, asked for are 4 CPUs"):
        chooser.again(mine, ResizeOrder(cpu=4), now)  # type: ignore[arg-type]
    other.user_options = {"cpu": 6}  # the quota was made smaller since
    assert chooser.again(mine, ResizeOrder(cpu=1), now)[0].cpu == 1  # type: ignore[arg-type]
    assert chooser.again(mine, ResizeOrder(memory=2 << 30), now)[0].memory == 2 << 30  # type: ignore[arg-type]

"""The objects of a workload, compared with whole documents."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.observed_pods import small_server
from modelyard_api.errors import InvalidInput
from modelyard_api.models import Flavor
from modelyard_api.resources import MiB, Resources
from modelyard_hub.runtimes.base import Server
from modelyard_hub.runtimes.kubernetes import KubernetesOptions, Timing
from modelyard_hub.runtimes.kubernetes.manifests import MANAGER, objects, replicas
from modelyard_hub.runtimes.kubernetes.pods import cpu, pod_template
from modelyard_hub.runtimes.kubernetes.record import record

OPTIONS = KubernetesOptions(
    image="registry/server:1",
    image_pull_secrets=("pull",),
    artifacts="/artifacts",
    artifacts_claim="models",
    artifacts_secret="s3",
    priority_class="serving",
)


def made(server: Server, options: KubernetesOptions = OPTIONS, live: Any = None) -> dict[str, dict[str, Any]]:
    """All objects by kind, the record among them."""
    root = record(server, "yard")
    known = {**root, "metadata": {**root["metadata"], "uid": "1234"}}
    return {m["kind"]: m for m in [root, *(m for _, m in objects(server, known, live, options))]}


def test_a_workload_is_these_objects() -> None:
    server = small_server(environment={"GREETING": "hello $(USER)", "MODELYARD_SERVER_OPEN": "1"})
    expected = {d["kind"]: d for d in yaml.safe_load_all((Path(__file__).parent / "workload.yaml").read_text())}
    found = made(server)
    assert list(found) == ["Secret", "Service", "PodDisruptionBudget", "Deployment"]
    for kind, document in expected.items():
        assert found[kind] == document
    told = json.loads(base64.b64decode(found["Secret"]["data"]["server.json"]))
    assert told["environment"] == dict(server.environment)


def test_scaling_by_load_is_an_autoscaler() -> None:
    found = made(small_server(replicas=2, max_replicas=5))
    assert found["HorizontalPodAutoscaler"]["apiVersion"] == "autoscaling/v2"
    assert found["HorizontalPodAutoscaler"]["metadata"] == found["Service"]["metadata"]
    assert found["HorizontalPodAutoscaler"]["spec"] == {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "ada-churn-r1"},
        "minReplicas": 2,
        "maxReplicas": 5,
        "metrics": [
            {
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 160}},
            }
        ],
    }


def live(count: int, manager: str) -> dict[str, Any]:
    entry = {"manager": manager, "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    return {"metadata": {"managedFields": [entry]}, "spec": {"replicas": count}}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, 2),  # at first
        (live(3, MANAGER), 3),  # ours still: leaving it out would set it to 1
        (live(9, MANAGER), 5),
        (live(3, "kube-controller-manager"), None),  # the autoscaler's: not a word of it
    ],
)
def test_the_number_of_replicas_is_left_to_the_autoscaler_once_it_has_it(found: Any, said: int | None) -> None:
    scaled = small_server(replicas=2, max_replicas=5)
    assert replicas(scaled, found) == said
    assert ("replicas" in made(scaled, live=found)["Deployment"]["spec"]) == (said is not None)
    assert replicas(small_server(replicas=2), found) == 2


def test_a_gpu_is_a_limit_of_the_server_alone() -> None:
    server = small_server(resources=Resources(cpu=2, memory=1024 * MiB, gpu=1))
    spec = pod_template(server, replace(OPTIONS, gpu_resource="example.com/gpu"))["spec"]
    sizes = {"cpu": "2", "memory": str(1024 * MiB)}
    assert spec["containers"][0]["resources"]["limits"] == {**sizes, "example.com/gpu": "1"}
    assert spec["containers"][0]["resources"]["requests"] == {**sizes, "cpu": "1", "example.com/gpu": "1"}
    assert spec["initContainers"][0]["resources"] == {"limits": sizes, "requests": {**sizes, "cpu": "1"}}
    assert spec["tolerations"] == [{"key": "example.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]


def test_a_service_is_named_with_a_letter_first() -> None:
    found = made(small_server(name="3d-team-r1"))
    assert found["Service"]["metadata"]["name"] == "m3d-team-r1"
    assert found["Deployment"]["metadata"]["name"] == "3d-team-r1"


def test_shared_memory_leaves_room_for_the_rest() -> None:
    volumes = pod_template(small_server(resources=Resources(memory=64 * MiB)), OPTIONS)["spec"]["volumes"]
    assert volumes[2] == {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": str(32 * MiB)}}


def test_what_is_not_asked_for_is_not_there() -> None:
    spec = pod_template(small_server(), KubernetesOptions(image="i", timing=Timing(notice=0)))["spec"]
    assert {"imagePullSecrets", "priorityClassName", "tolerations"}.isdisjoint(spec)
    assert "lifecycle" not in spec["containers"][0]
    assert "envFrom" not in spec["initContainers"][0]
    assert [v["name"] for v in spec["volumes"]] == ["package", "tmp", "shm", "files"]


@pytest.mark.parametrize(
    ("flavor", "onnx_image", "image"),
    [(Flavor.onnx, "small", "small"), (Flavor.onnx, "", "all"), (Flavor.skops, "small", "all"), (None, "small", "all")],
)
def test_a_graph_has_the_smaller_image_where_there_is_one(flavor: Flavor | None, onnx_image: str, image: str) -> None:
    server = small_server()
    server = replace(server, package=replace(server.package, flavor=flavor))
    spec = pod_template(server, KubernetesOptions(image="all", onnx_image=onnx_image))["spec"]
    assert [c["image"] for c in (*spec["initContainers"], *spec["containers"])] == [image, image]


@pytest.mark.parametrize("change", [{"replicas": 3}, {"max_replicas": 9}, {"files": {"access.json": "{}"}}])
def test_what_needs_no_restart_is_not_in_the_template(change: dict[str, Any]) -> None:
    assert pod_template(small_server(**change), OPTIONS) == pod_template(small_server(), OPTIONS)


@pytest.mark.parametrize("name", ["../etc", "", "server.json"])
def test_a_file_has_a_plain_name(name: str) -> None:
    with pytest.raises(InvalidInput, match="plain file name"):
        record(small_server(files={name: ""}), "yard")


@pytest.mark.parametrize(("cores", "text"), [(1.0, "1"), (0.5, "500m"), (2.25, "2250m"), (0.0001, "1m")])
def test_cores_are_written_as_the_cluster_does(cores: float, text: str) -> None:
    assert cpu(cores) == text

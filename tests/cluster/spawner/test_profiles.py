"""A profile's pod and the page's figures, with a real API server: no image is needed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from kubernetes_asyncio.config import kube_config

from harness import pods
from harness.base_image import NAME
from harness.cluster import Cluster
from harness.pod_spawner import manifest, spawner
from harness.wait import eventually
from modelyard_hub.spawner.kubernetes import PodSpawner
from modelyard_hub.spawner.starts.starting import ExplainedSpawner

GPU = {
    "name": "gpu",
    "cpu": {"min": 1, "default": 2, "max": 4, "step": 1},
    "memory": {"min": "1Gi", "default": "2Gi", "max": "4Gi", "step": "1Gi"},
    "shm": {"min": "256Mi", "default": "512Mi", "max": "2Gi", "step": "256Mi"},
    "gpus": {"min": 0, "default": 1, "max": 2, "step": 1},
    "gpu_resource": "nvidia.com/mig-1g.10gb",
    "volume": {"min": "1Gi", "default": "2Gi", "max": "4Gi", "step": "1Gi"},
    "node_selector": {"accelerator": "a100"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
}


PLAIN = {
    "name": "plain",
    "cpu": {"min": 0.5, "default": 1, "max": 1, "step": 0.5},
    "cpu_share": 0.1,
    "memory": {"min": "256Mi", "default": "1Gi", "max": "1Gi", "step": "256Mi"},
    "shm": {"min": "32Mi", "default": "64Mi", "max": "256Mi", "step": "32Mi"},
}


@pytest.fixture
async def made(
    cluster: Cluster, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[PodSpawner]:
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(cluster.kubeconfig))
    (tmp_path / "profiles.json").write_text(json.dumps({"profiles": [GPU, PLAIN]}))
    monkeypatch.setattr(ExplainedSpawner, "_wide", None)  # one for all of a process: this test's alone
    found = spawner(tmp_path, namespace=namespace, profiles=tmp_path / "profiles.json")
    yield found
    await found.api.api_client.close()


async def test_the_api_server_takes_a_chosen_pod_as_it_is(cluster: Cluster, namespace: str, made: PodSpawner) -> None:
    cluster.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    await made._run_apply_user_options({"profile": "gpu", "cpu": 3, "memory": "3Gi", "shm": "1Gi", "volume": "4Gi"})
    for what in ("pod", "claim"):
        document = json.dumps(await manifest(made, what))
        said = cluster.kubectl(
            "create", "--namespace", namespace, "--dry-run=server", "--validate=strict", "--output=json",
            "--filename", "-", input=document,
        )  # fmt: skip
        spec = json.loads(said)["spec"]
        if what == "claim":
            assert spec["resources"]["requests"] == {"storage": "4Gi"}
            continue
        (container,) = spec["containers"]
        assert container["resources"] == {
            "limits": {"cpu": "3", "memory": str(3 << 30), "nvidia.com/mig-1g.10gb": "1"},
            "requests": {"cpu": "750m", "memory": str(3 << 30), "nvidia.com/mig-1g.10gb": "1"},
        }
        assert {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}} in spec["volumes"]
        assert spec["nodeSelector"] == {"accelerator": "a100"}
        assert GPU["tolerations"][0] in spec["tolerations"]  # type: ignore[index]


async def test_the_page_has_the_quota_and_the_home_that_is_there(
    cluster: Cluster, namespace: str, made: PodSpawner
) -> None:
    hard = "requests.memory=8Gi,limits.cpu=6,requests.nvidia.com/mig-1g.10gb=7"
    cluster.kubectl("--namespace", namespace, "create", "quota", "sizes", f"--hard={hard}")
    eventually(lambda: cluster.get("resourcequota", "sizes", namespace)["status"]["used"]["limits.cpu"], what="counted")
    page = await made.get_options_form()
    assert '"need": "memory", "free": 8589934592.0' in page
    assert '"resource": "nvidia.com/mig-1g.10gb"' in page
    assert 'name="volume"' in page
    claim = json.dumps(await manifest(made, "claim"))
    cluster.kubectl("--namespace", namespace, "create", "--filename", "-", input=claim)
    page = await made.get_options_form()
    assert "Your home is a volume of" in page
    assert 'name="volume"' not in page


async def test_shared_memory_is_as_big_as_was_chosen_and_ends_there(
    cluster: Cluster, namespace: str, made: PodSpawner
) -> None:
    """The pod with another program: what the kubelet makes of it, and what a data loader would meet."""
    made.cmd, made.args, made.image, made.image_pull_policy = pods.SLEEP, [], NAME, "IfNotPresent"
    chosen = {"profile": "plain", "memory": "512Mi", "shm": "96Mi", "cpu": 0.5}
    await made._run_apply_user_options(chosen)
    for what in ("claim", "pod"):
        document = await manifest(made, what)
        cluster.kubectl("--namespace", namespace, "create", "--filename", "-", input=json.dumps(document))
        if what == "claim":
            made.pvc_name = document["metadata"]["name"]
    pod = made.pod_name
    cluster.kubectl("--namespace", namespace, "wait", f"pod/{pod}", "--for=condition=Ready", "--timeout=120s")

    def inside(command: str) -> str:
        return cluster.kubectl("--namespace", namespace, "exec", pod, "--", "sh", "-c", command)

    assert inside("df --block-size=M --output=size /dev/shm").split()[-1] == "96M"
    full = inside("(head -c 200M /dev/zero > /dev/shm/full; stat -c %s /dev/shm/full; rm /dev/shm/full) 2>&1")
    assert "No space left on device" in full
    assert full.split()[-1] == str(96 << 20)
    assert "MODELYARD_PROFILE=plain\n" in inside("env")
    labels = cluster.get("pod", pod, namespace)["metadata"]["labels"]
    assert labels["modelyard.dev/profile"] == "plain"

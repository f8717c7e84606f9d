"""The pod and the volume that a user's notebook server is, as whole manifests, made by the real spawner."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from jupyterhub.spawner import SpawnException
from kubernetes_asyncio.config import kube_config

from harness.pod_spawner import manifest, spawner
from modelyard_api.names import owner_name
from modelyard_hub.spawner.kubernetes import PodSpawner
from modelyard_hub.spawner.starts.causes.held import Hold

KUBECONFIG = {
    "current-context": "none",
    "contexts": [{"name": "none", "context": {"cluster": "none", "user": "none"}}],
    "clusters": [{"name": "none", "cluster": {"server": "http://127.0.0.1:9"}}],
    "users": [{"name": "none", "user": {}}],
}


@pytest.fixture(autouse=True)
def _cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The spawner reads where its cluster is when it is made; nobody is asked there."""
    (tmp_path / "kubeconfig").write_text(json.dumps(KUBECONFIG))
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "kubeconfig"))


async def test_a_pod_is_restricted_and_knows_nothing_of_the_cluster(tmp_path: Path) -> None:
    pod = (await manifest(spawner(tmp_path)))["spec"]
    container = pod["containers"][0]
    assert pod["securityContext"] == {
        "fsGroup": 1000,
        "fsGroupChangePolicy": "OnRootMismatch",
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsGroup": 1000,
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert (pod["automountServiceAccountToken"], pod["enableServiceLinks"]) == (False, False)
    assert pod["terminationGracePeriodSeconds"] == 30
    assert pod["imagePullSecrets"] == [{"name": "registry"}]


async def test_shared_memory_is_sized_and_the_home_is_the_users(tmp_path: Path) -> None:
    made = spawner(tmp_path, notebook_shm=1 << 30, notebook_memory=4 << 30)
    pod = (await manifest(made))["spec"]
    assert pod["volumes"] == [
        {"name": "home", "persistentVolumeClaim": {"claimName": "home-ada"}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1073741824"}},
    ]
    container = pod["containers"][0]
    assert [m["mountPath"] for m in container["volumeMounts"]] == ["/home/jovyan", "/dev/shm"]
    assert container["resources"] == {
        "limits": {"cpu": 2.0, "memory": 4 << 30},
        "requests": {"cpu": 0.5, "memory": 4 << 30},
    }


async def test_the_volume_as_a_whole(tmp_path: Path) -> None:
    made = spawner(tmp_path, notebook_storage="20Gi", notebook_storage_class="rbd")
    claim = await manifest(made, "claim")
    assert claim["metadata"]["name"].startswith("home-ada-")
    labels = claim["metadata"]["labels"]
    assert (labels["modelyard.dev/owner"], labels["modelyard.dev/volume"]) == ("ada", "home")
    assert claim["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "20Gi"}},
        "storageClassName": "rbd",
    }
    assert (await manifest(spawner(tmp_path), "claim"))["spec"].get("storageClassName") is None


@pytest.mark.parametrize("user", ["ada", "Ada Lovelace", "ada@example.com", "a" * 80, "ünï", "x`) || y"])
async def test_names_and_labels_are_the_owners_whatever_the_user_is_called(tmp_path: Path, user: str) -> None:
    made = spawner(tmp_path, user)
    pod = await manifest(made)
    labels = pod["metadata"]["labels"]
    assert labels["modelyard.dev/owner"] == owner_name(user)
    assert made.pvc_name == f"home-{owner_name(user)}"
    assert (labels["app.kubernetes.io/component"], labels["app.kubernetes.io/part-of"]) == ("notebook", "modelyard")
    assert len(pod["metadata"]["name"]) <= 63


async def test_what_a_server_is_told(tmp_path: Path) -> None:
    container = (await manifest(spawner(tmp_path)))["spec"]["containers"][0]
    told = {e["name"]: e.get("value") for e in container["env"]}
    assert told["MODELYARD_URL"] == "https://yard.example.com"
    assert told["MODELYARD_INNER_URL"] == "http://modelyard-traefik"
    assert container["args"][0] == "jupyterhub-singleuser"
    assert "--LabApp.extension_manager=readonly" in container["args"]


GPU = {
    "name": "gpu",
    "cpu": {"min": 1, "default": 4, "max": 8, "step": 1},
    "cpu_share": 0.5,
    "memory": {"min": "4Gi", "default": "16Gi", "max": "32Gi", "step": "4Gi"},
    "shm": {"min": "1Gi", "default": "2Gi", "max": "16Gi", "step": "1Gi"},
    "gpus": {"min": 1, "default": 1, "max": 2, "step": 1},
    "gpu_resource": "nvidia.com/mig-1g.10gb",
    "images": [{"name": "torch", "image": "registry.example.com/torch:1"}],
    "volume": {"min": "10Gi", "default": "10Gi", "max": "100Gi", "step": "10Gi"},
    "node_selector": {"accelerator": "a100"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
    "runtime_class": "nvidia",
    "priority_class": "gpu",
}
PLAIN = {"name": "plain", "cpu": 2, "memory": "2Gi", "shm": "512Mi"}


def profiles(folder: Path) -> Path:
    path = folder / "profiles.json"
    path.write_text(json.dumps({"profiles": [PLAIN, GPU, {**PLAIN, "name": "theirs", "groups": ["others"]}]}))
    return path


async def chosen(home: Path, **options: Any) -> PodSpawner:
    made = spawner(
        home, profiles=profiles(home), notebook_node_selector={"pool": "users"},
        notebook_tolerations=({"key": "users", "operator": "Exists"},),
    )  # fmt: skip
    await made._run_apply_user_options(options)
    await made.load_user_options()
    return made


async def test_a_choice_as_a_whole_pod_and_volume(tmp_path: Path) -> None:
    made = await chosen(tmp_path, profile="gpu", cpu=6, memory="8Gi", shm="4Gi", gpus=2, volume="50Gi")
    document = await manifest(made)
    pod = document["spec"]
    container = pod["containers"][0]
    assert document["metadata"]["labels"]["modelyard.dev/profile"] == "gpu"
    assert container["resources"] == {
        "limits": {"cpu": 6.0, "memory": 8 << 30, "nvidia.com/mig-1g.10gb": "2"},
        "requests": {"cpu": 3.0, "memory": 8 << 30},
    }
    assert pod["volumes"][1] == {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "4Gi"}}
    assert pod["nodeSelector"] == {"pool": "users", "accelerator": "a100"}
    assert [t["key"] for t in pod["tolerations"]] == ["users", "nvidia.com/gpu"]
    assert (pod["runtimeClassName"], pod["priorityClassName"]) == ("nvidia", "gpu")
    assert container["image"] == "registry.example.com/torch:1"
    told = {e["name"]: e.get("value") for e in container["env"]}
    assert told["JUPYTER_IMAGE"] == "registry.example.com/torch:1"
    assert (told["MODELYARD_PROFILE"], told["CPU_LIMIT"], told["MEM_LIMIT"]) == ("gpu", "6.0", str(8 << 30))
    assert told["MODELYARD_SHM"] == str(4 << 30)
    assert (told["OMP_NUM_THREADS"], told["POLARS_MAX_THREADS"]) == ("6", "6")
    assert "NVIDIA_VISIBLE_DEVICES" not in told
    claim = await manifest(made, "claim")
    assert claim["spec"]["resources"] == {"requests": {"storage": "50Gi"}}


async def test_nothing_of_an_earlier_choice_is_left(tmp_path: Path) -> None:
    made = await chosen(tmp_path, profile="gpu")
    await manifest(made)
    await made._run_apply_user_options({})
    document = await manifest(made)
    pod = document["spec"]
    container = pod["containers"][0]
    assert document["metadata"]["labels"]["modelyard.dev/profile"] == "plain"
    assert container["resources"] == {
        "limits": {"cpu": 2.0, "memory": 2 << 30},
        "requests": {"cpu": 0.5, "memory": 2 << 30},
    }
    assert pod["volumes"][1]["emptyDir"]["sizeLimit"] == "512Mi"
    assert pod["nodeSelector"] == {"pool": "users"}
    assert [t["key"] for t in pod["tolerations"]] == ["users"]
    assert not {"runtimeClassName", "priorityClassName"} & set(pod)
    assert container["image"] == "registry.example.com/notebook:1"
    assert {e["name"]: e.get("value") for e in container["env"]}["NVIDIA_VISIBLE_DEVICES"] == "void"


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        ({"profile": "gpu", "shm": "16Gi", "memory": "8Gi"}, 400, "more than the memory, 8 GiB"),
        ({"profile": "gpu", "gpus": 8}, 400, "Choose 1 GPU to 2 GPUs"),
        ({"profile": "theirs"}, 403, "profile 'theirs' is for members of others"),
        ({"profile": "none"}, 400, "there is no profile 'none'"),
        ({"node_selector": {"pool": "hub"}}, 400, "there is no option 'node_selector'"),
    ],
    ids=str,
)
async def test_what_the_api_must_not_ask_for(tmp_path: Path, options: dict[str, Any], status: int, said: str) -> None:
    made = await chosen(tmp_path, profile="gpu")
    made.user_options = {"profile": "gpu"}
    made.user_options = options
    with pytest.raises(SpawnException) as refused:
        await made._run_apply_user_options(options)
    assert refused.value.status_code == status
    assert said in refused.value.message
    assert made.user_options == made.orm_spawner.user_options == {"profile": "gpu"}


async def test_the_built_in_small_one_is_the_pod_of_the_settings(tmp_path: Path) -> None:
    made = spawner(tmp_path)
    plain = (await manifest(made))["spec"]
    await made._run_apply_user_options({})
    small = (await manifest(made))["spec"]
    assert small["containers"][0]["resources"] == plain["containers"][0]["resources"]
    assert small["volumes"][1]["emptyDir"]["sizeLimit"] == "256Mi"
    assert plain["volumes"][1]["emptyDir"]["sizeLimit"] == "268435456"


async def test_the_page_of_a_cluster_that_does_not_answer_is_shown_without_figures(tmp_path: Path) -> None:
    text = await spawner(tmp_path).get_options_form()
    assert 'id="profile-large"' in text
    assert '"rooms": []' in text


async def test_a_server_is_placed_where_its_volume_is_in_use(tmp_path: Path) -> None:
    made = spawner(tmp_path)
    attachment = {
        "metadata": {"name": "csi-1"},
        "spec": {"nodeName": "node-7", "source": {"persistentVolumeName": "v"}},
    }
    made._hold = Hold(datetime.now(UTC), {"spec": {}}, attachment, ({"metadata": {"name": "notebook-ada--two"}},))
    (preferred,) = (await manifest(made))["spec"]["affinity"]["nodeAffinity"][
        "preferredDuringSchedulingIgnoredDuringExecution"
    ]
    assert preferred["preference"] == {
        "matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-7"]}]
    }
    made._hold = None
    assert "affinity" not in (await manifest(made))["spec"]


async def test_kueue_may_keep_a_pod_of_its_queue_for_long(tmp_path: Path) -> None:
    made = spawner(tmp_path, notebook_queue="team")
    pod = await manifest(made)
    assert pod["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team"
    assert pod["metadata"]["labels"]["modelyard.dev/owner"] == "ada"
    plain = spawner(tmp_path)
    assert made.start_timeout - made.queue_timeout == plain.start_timeout
    assert made.queue_timeout > plain.queue_timeout == 0
    assert "kueue.x-k8s.io/queue-name" not in (await manifest(plain))["metadata"]["labels"]


async def test_what_a_quota_counts_of_a_server(tmp_path: Path) -> None:
    made = spawner(tmp_path, notebook_cpu=0.5, notebook_cpu_limit=2.0, notebook_memory=4 << 30)
    made.extra_resource_limits = {"nvidia.com/gpu": "1"}
    assert made.needs() == {
        ("pods", ""): 1,
        ("cpu", ""): 2.0,
        ("cpu_sure", ""): 0.5,
        ("memory", ""): 4 << 30,
        ("gpus", "nvidia.com/gpu"): 1,
    }


async def test_jupyterhubs_own_limits_refuse_nobody(tmp_path: Path) -> None:
    made = spawner(tmp_path, concurrent_starts=7, active_servers=9, group_shares={"team": 2})
    assert (made.config.JupyterHub.concurrent_spawn_limit, made.config.JupyterHub.active_server_limit) == (0, 0)
    limits = made.queue.limits
    assert (limits.starting, limits.active, limits.shares) == (7, 9, {"team": 2})
    assert spawner(tmp_path).queue.limits.starting == 64

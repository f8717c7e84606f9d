"""The pod and the volume that a user's notebook server is, as whole manifests, made by the real spawner."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes_asyncio.client import ApiClient
from kubernetes_asyncio.config import kube_config
from traitlets.config import Config

from modelyard_api.names import owner_name
from modelyard_hub.settings import Settings
from modelyard_hub.spawner.kubernetes import PodSpawner, configure_pods

SETTINGS: dict[str, Any] = {
    "runtime": "kubernetes",
    "namespace": "yard",
    "public_url": "https://yard.example.com",
    "inner_url": "http://modelyard-traefik",
    "notebook_image": "registry.example.com/notebook:1",
    "image_pull_secrets": ("registry",),
}


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


def spawner(home: Path, user: str = "ada", **settings: Any) -> PodSpawner:
    config = Config()
    configure_pods(config, Settings(home=home, **{**SETTINGS, **settings}))
    hub = SimpleNamespace(
        public_host="", url="http://hub:8081/hub/", base_url="/hub/", api_url="http://hub:8081/hub/api"
    )
    made = PodSpawner(config=config, _mock=True, hub=hub, api_token="the-token")
    made.user.name = user
    for name in ("pod_name", "pvc_name"):
        setattr(made, name, made._expand_user_properties(getattr(made, f"{name}_template")))
    return made


async def manifest(made: PodSpawner, what: str = "pod") -> dict[str, Any]:
    built = await made.get_pod_manifest() if what == "pod" else made.get_pvc_manifest()
    async with ApiClient() as client:
        found: dict[str, Any] = json.loads(json.dumps(client.sanitize_for_serialization(built)))
    return found


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
    assert claim["metadata"]["name"] == "home-ada"
    assert claim["metadata"]["labels"]["modelyard.dev/owner"] == "ada"
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

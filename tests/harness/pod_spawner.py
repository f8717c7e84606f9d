"""The real spawner of notebook pods, without a JupyterHub around it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from jupyterhub import orm
from kubernetes_asyncio.client import ApiClient
from traitlets.config import Config

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


def spawner(home: Path, user: str = "ada", **settings: Any) -> PodSpawner:
    """Of a user in the group team. It reads where its cluster is from the default kubeconfig."""
    config = Config()
    configure_pods(config, Settings(home=home, **{**SETTINGS, **settings}))
    hub = SimpleNamespace(
        public_host="", url="http://hub:8081/hub/", base_url="/hub/", api_url="http://hub:8081/hub/api"
    )
    row = orm.Spawner(name="", user_options={"profile": "plain"})
    made = PodSpawner(config=config, _mock=True, hub=hub, api_token="the-token", orm_spawner=row)
    made.user.name, made.user.spawners = user, {"": made}
    made.user.groups = [SimpleNamespace(name="team")]
    for name in ("pod_name", "pvc_name"):
        setattr(made, name, made._expand_user_properties(getattr(made, f"{name}_template")))
    return made


async def manifest(made: PodSpawner, what: str = "pod") -> dict[str, Any]:
    """The pod, or the claim of its volume, as JSON."""
    built = await made.get_pod_manifest() if what == "pod" else made.get_pvc_manifest()
    async with ApiClient() as client:
        found: dict[str, Any] = json.loads(json.dumps(client.sanitize_for_serialization(built)))
    return found

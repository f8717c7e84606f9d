"""A real JupyterHub with our spawner of pods, on this machine beside the cluster, with the rights that the chart gives.

Instead of a notebook server its pods run a program of a few lines on the base image: starts take a second.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from harness import pods
from harness.cluster import Cluster
from harness.model_server import free_port
from harness.wait import eventually
from modelyard_hub.spawner.rbac import CLUSTER_RULES, RULES

NOWHERE = '''
from jupyterhub.proxy import Proxy

class Nowhere(Proxy):
    """Remembers routes; nobody asks for them here."""
    should_start = False
    table = {}
    async def add_route(self, routespec, target, data):
        self.table[routespec] = {"routespec": routespec, "target": target, "data": data}
    async def delete_route(self, routespec):
        self.table.pop(routespec, None)
    async def get_all_routes(self):
        return dict(self.table)
'''
"""A proxy class, as configuration."""
_CONFIG = f'''
import asyncio, json, os
from pathlib import Path
from modelyard_hub.settings import Settings
from modelyard_hub.spawner.kubernetes import configure_pods
{NOWHERE}
given = json.loads(Path(os.environ["POD_HUB"]).read_text())
configure_pods(c, Settings(**given["settings"]))
c.Spawner.server_token_scopes = ["users:activity!user", "access:servers!server"]
c.Spawner.oauth_client_allowed_scopes = []
c.JupyterHub.proxy_class = Nowhere
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.hub_bind_url = given["url"]
c.JupyterHub.bind_url = given["public"]
c.JupyterHub.db_url = "sqlite:///" + given["folder"] + "/hub.sqlite"
c.JupyterHub.cookie_secret_file = given["folder"] + "/cookie"
c.JupyterHub.cleanup_servers = False
c.JupyterHub.authenticate_prometheus = False
c.JupyterHub.custom_scopes = {{"custom:modelyard:admin": {{"description": "All servers"}}}}
scopes = ["admin:users", "admin:servers", "custom:modelyard:admin"]
c.JupyterHub.load_roles.append({{"name": "test", "scopes": scopes, "services": ["test"]}})
c.JupyterHub.services.append({{"name": "test", "api_token": given["token"]}})
c.PodSpawner.cmd, c.PodSpawner.args = given["command"], []
c.PodSpawner.http_timeout = given["http_timeout"]
c.PodSpawner.start_timeout = given["start_timeout"]
c.PodSpawner.consecutive_failure_limit = 2

def choose(spawner, options):
    """A server's options are the spawner's: what is asked for here no profile allows. `after`: a file that it waits
    for before its pod is made."""
    for name, value in options.items():
        setattr(spawner, name, value)

async def wait(spawner):
    while not Path(spawner.user_options.get("after", "/")).exists():
        await asyncio.sleep(0.05)

if not given["settings"].get("profiles"):
    c.Spawner.apply_user_options = choose
c.PodSpawner.pre_spawn_hook = wait
'''


@dataclass
class PodHub:
    """A JupyterHub whose state is in a folder."""

    url: str
    token: str
    folder: Path
    namespace: str = ""
    _process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """All that it printed."""
        return (self.folder / "hub.log").read_text()

    @property
    def running(self) -> bool:
        """Whether its process has not ended."""
        return self._process is not None and self._process.poll() is None

    def begin(self, kubeconfig: Path) -> None:
        """Start it; returns when it answers."""
        environment = {**os.environ, "POD_HUB": str(self.folder / "given.json"), "KUBECONFIG": str(kubeconfig)}
        command = [sys.executable, "-m", "jupyterhub", "--config", str(self.folder / "jupyterhub_config.py")]
        with (self.folder / "hub.log").open("ab") as out:
            self._process = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=out, stderr=out)
        with self.client() as client:
            eventually(
                lambda: client.get("/").is_success, timeout=150, what=f"JupyterHub answers: {self.folder}/hub.log"
            )

    def restart(self) -> None:
        """End it and start it anew; servers go on."""
        self.end()
        self.begin(self.folder / "kubeconfig")

    def end(self) -> None:
        """Stop it; servers go on."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(30)

    def revive(self) -> None:
        """Start it anew with what it knew."""
        self.begin(self.folder / "kubeconfig")

    def client(self, **options: Any) -> httpx.Client:
        """JupyterHub's API as a service that may start servers."""
        headers = {"Authorization": f"token {self.token}"}
        return httpx.Client(base_url=f"{self.url}/hub/api", headers=headers, timeout=30, trust_env=False, **options)

    def start(self, user: str, server: str = "", **options: Any) -> httpx.Response:
        """Ask for a user's server, with attributes of its spawner; `server`: the name of a further one."""
        with self.client() as client:
            client.post(f"/users/{user}")
            return client.post(f"/users/{user}/{f'servers/{server}' if server else 'server'}", json=options)

    def stop(self, user: str) -> None:
        """Stop it, and wait until it is gone."""
        with self.client() as client:
            client.delete(f"/users/{user}/server")
            eventually(
                lambda: not client.get(f"/users/{user}").json()["pending"], timeout=60, what=f"{user} is stopped"
            )

    def progress(
        self, user: str, enough: str = "", seconds: float = 60, server: str = "", says: str = ""
    ) -> list[dict[str, Any]]:
        """What the progress page is told, until the start ended or an event has the reason `enough`, and a message that
        begins as `says`, a regular expression."""
        path = f"/users/{user}/{f'servers/{server}' if server else 'server'}/progress"
        told: list[dict[str, Any]] = []
        with (
            self.client() as client,
            client.stream("GET", path, timeout=httpx.Timeout(seconds)) as answer,
        ):
            for line in answer.iter_lines():
                if line.startswith("data:"):
                    told.append(json.loads(line.removeprefix("data:")))
                    if enough and told[-1].get("reason") == enough and re.match(says, told[-1]["message"]):
                        break
        return told


def _access(cluster: Cluster, namespace: str, folder: Path, wide: bool) -> tuple[Path, str]:
    """A kubeconfig of a service account that may do what the chart's may, and the account's name."""
    name = f"hub-{secrets.token_hex(3)}"
    subjects = [{"kind": "ServiceAccount", "name": name, "namespace": namespace}]
    group = "rbac.authorization.k8s.io"
    made: list[dict[str, Any]] = [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}]
    for kind, rules in (("Role", RULES), *((("ClusterRole", CLUSTER_RULES),) if wide else ())):
        listed = [{"apiGroups": [g], "resources": [r], "verbs": list(verbs)} for g, r, verbs in rules]
        head = {"apiVersion": f"{group}/v1", "metadata": {"name": name}}
        made.append({**head, "kind": kind, "rules": listed})
        reference = {"apiGroup": group, "kind": kind, "name": name}
        made.append({**head, "kind": f"{kind}Binding", "roleRef": reference, "subjects": subjects})
    cluster.apply(*made, namespace=namespace)
    token = cluster.kubectl("create", "token", name, "--duration=2h", "--namespace", namespace).strip()
    known = yaml.safe_load(cluster.kubeconfig.read_text())
    known["users"] = [{"name": "hub", "user": {"token": token}}]
    known["contexts"] = [{"name": "hub", "context": {"cluster": known["clusters"][0]["name"], "user": "hub"}}]
    known["current-context"] = "hub"
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(known))
    return path, name


@contextmanager
def _access_of(cluster: Cluster, namespace: str, folder: Path, wide: bool) -> Iterator[Path]:
    """The same, without leaving anything that the namespace's end does not take along."""
    path, name = _access(cluster, namespace, folder, wide)
    try:
        yield path
    finally:
        if wide:
            cluster.kubectl("delete", f"clusterrole/{name}", f"clusterrolebinding/{name}")


@contextmanager
def running(
    cluster: Cluster,
    namespace: str,
    folder: Path,
    *,
    wide: bool = True,
    start_timeout: int = 90,
    http_timeout: int = 30,
    command: list[str] | None = None,
    **settings: Any,
) -> Iterator[PodHub]:
    """A JupyterHub whose pods are in this namespace, and run `command`; `wide`: it may see nodes and all pods. With
    further `settings`, of which `profiles` are what its servers' options choose from."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "jupyterhub_config.py").write_text(_CONFIG)
    url, token = f"http://127.0.0.1:{free_port()}", secrets.token_hex(16)
    serve = pods.serve("import os; answer = '{}'")
    serve[-1] = serve[-1].replace('("", 8080)', '("", 8888)')
    given = {
        "settings": {
            "home": str(folder), "runtime": "kubernetes", "namespace": namespace, "notebook_image": pods.NAME,
            "notebook_cpu": 0.01, "notebook_memory": 256 << 20, "notebook_shm": 16 << 20, "notebook_grace": 1,
            "notebook_storage": "1Gi", **settings,
        },
        "url": url, "public": f"http://127.0.0.1:{free_port()}", "token": token, "folder": str(folder),
        "command": command or serve, "start_timeout": start_timeout, "http_timeout": http_timeout,
    }  # fmt: skip
    (folder / "given.json").write_text(json.dumps(given))
    with _access_of(cluster, namespace, folder, wide) as kubeconfig:
        hub = PodHub(url, token, folder, namespace)
        hub.begin(kubeconfig)
        try:
            yield hub
        finally:
            hub.end()

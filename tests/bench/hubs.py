"""A real JupyterHub whose servers are pods on nodes that are not there: with our settings, or with stock ones."""

from __future__ import annotations

import json
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psutil
from jupyterhub import orm

from harness.cluster import Cluster
from harness.kwok import ACCELERATOR
from harness.model_server import free_port
from harness.pod_hub import NOWHERE, PodHub

MiB = 2**20
KINDS = ("stock", "ours")
_COMMON = f"""
import json, os
from pathlib import Path
{NOWHERE}
given = json.loads(Path(os.environ["POD_HUB"]).read_text())
c.JupyterHub.load_roles, c.JupyterHub.services = [], []
"""
_OURS = """
from modelyard_hub.settings import Settings
from modelyard_hub.spawner.kubernetes import configure_pods
configure_pods(c, Settings(home=given["folder"], runtime="kubernetes", namespace=given["namespace"],
                           notebook_image="not-there", notebook_cpu=0.01, notebook_memory=256 << 20))
c.Spawner.apply_user_options = lambda spawner, options: None
c.Spawner.server_token_scopes = ["users:activity!user", "access:servers!server"]
c.Spawner.oauth_client_allowed_scopes = []
"""
_STOCK = """
# As zero-to-jupyterhub sets them.
c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"
c.JupyterHub.concurrent_spawn_limit = 64
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0}
c.KubeSpawner.start_timeout = 300
c.KubeSpawner.namespace, c.KubeSpawner.image = given["namespace"], "not-there"
c.KubeSpawner.mem_guarantee, c.KubeSpawner.cpu_guarantee = 256 << 20, 0.01
"""
_POD = """
for pods in (c.KubeSpawner, c.PodSpawner):
    pods.cmd, pods.port = ["server"], 8080
    pods.extra_resource_limits = {given["accelerator"]: "1"}
    pods.tolerations = [{"key": given["accelerator"], "operator": "Exists"}]
    pods.storage_pvc_ensure, pods.volumes, pods.volume_mounts = False, [], []
c.JupyterHub.proxy_class = Nowhere
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.hub_bind_url, c.JupyterHub.bind_url = given["url"], given["public"]
c.JupyterHub.db_url = "sqlite:///" + given["folder"] + "/hub.sqlite"
c.JupyterHub.cookie_secret_file = given["folder"] + "/cookie"
c.JupyterHub.cleanup_servers = False
c.JupyterHub.authenticate_prometheus = False
c.JupyterHub.load_roles.append({"name": "bench", "scopes": ["admin:users", "admin:servers"], "services": ["bench"]})
c.JupyterHub.services.append({"name": "bench", "api_token": given["token"]})
"""


class BenchHub(PodHub):
    """Measured from outside."""

    def process(self) -> psutil.Process:
        """Its own process."""
        assert self._process is not None
        return psutil.Process(self._process.pid)

    def resident(self) -> float:
        """MiB."""
        return float(self.process().memory_info().rss) / MiB

    def cpu(self) -> float:
        """Seconds so far."""
        times = self.process().cpu_times()
        return float(times.user + times.system)

    def ready(self) -> int:
        """How many servers it says are ready."""
        accept = {"Accept": "application/jupyterhub-pagination+json"}
        with self.client() as client:
            answer = client.get("/users", params={"state": "ready", "limit": 1}, headers=accept)
            return int(answer.raise_for_status().json()["_pagination"]["total"])

    def add_users(self, count: int) -> None:
        """So many who never did anything, while it does not run."""
        session = orm.new_session_factory(f"sqlite:///{self.folder}/hub.sqlite")()
        now = datetime.now(UTC).replace(tzinfo=None)
        session.add_all([orm.User(name=f"idle{number}", created=now) for number in range(count)])
        session.commit()
        session.close()

    def timed_begin(self, kubeconfig: Path) -> float:
        """Start it; seconds until it answers."""
        began = time.monotonic()
        self.begin(kubeconfig)
        return time.monotonic() - began


@contextmanager
def bench_hub(kind: str, cluster: Cluster, namespace: str, folder: Path) -> Iterator[BenchHub]:
    """One of `KINDS`, in a folder of its own."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "jupyterhub_config.py").write_text(_COMMON + (_OURS if kind == "ours" else _STOCK) + _POD)
    url, token = f"http://127.0.0.1:{free_port()}", secrets.token_hex(16)
    public = f"http://127.0.0.1:{free_port()}"
    given = {"url": url, "public": public, "token": token, "folder": str(folder), "namespace": namespace}
    (folder / "given.json").write_text(json.dumps({**given, "accelerator": ACCELERATOR}))
    hub = BenchHub(url, token, folder, namespace)
    hub.begin(cluster.kubeconfig)
    try:
        yield hub
    finally:
        hub.end()

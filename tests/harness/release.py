"""A release of the Helm chart on a real cluster, and its users."""

from __future__ import annotations

import base64
import json
import random
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import yaml

from harness import images
from harness.chart import CHART
from harness.cluster import Cluster
from harness.database_image import TAG as DATABASE
from harness.database_image import database_image
from harness.wait import eventually

NAME = "modelyard"
_PARTS = ("hub", "service", "mlflow", "traefik", "postgresql")


@dataclass
class Release:
    """The chart installed in a namespace of its own, which enforces the restricted Pod Security."""

    cluster: Cluster
    namespace: str
    extra: dict[str, Any] = field(default_factory=dict)
    port: int = field(default_factory=lambda: random.randint(30000, 32767))

    @property
    def url(self) -> str:
        """Where users open it: the router's port of the node."""
        return f"http://{self.cluster.node_ip}:{self.port}"

    def values(self) -> dict[str, Any]:
        """Little of everything, the tests' images, two routers; `extra` above that."""
        little, calm = {"size": "1Gi"}, {"requests": {"cpu": "20m"}}
        return {
            "publicUrl": self.url,
            "images": {
                **{name: images.loaded(name) for name in ("hub", "notebook", "server")},
                "serverOnnx": images.loaded("server-onnx"),
                "traefik": images.loaded("hub"),
                "postgresql": DATABASE,
                "pullPolicy": "Never",
            },
            "prePull": False,
            # Replicas are added early: on a small machine that others use too, a model gets no more CPU than this.
            "settings": {"server_cpu_share": 0.05, "autoscale_cpu": 30},
            "traefik": {"service": {"type": "NodePort", "nodePort": self.port}, "resources": calm},
            **{part: {"resources": calm} for part in ("hub", "service", "mlflow")},
            "notebook": {"cpu": {"guarantee": 0.05, "limit": 2}, "memory": "1Gi", "shm": "128Mi", "storage": little},
            "artifacts": {"volume": little},
            "database": {"volume": little, "resources": calm},
            **self.extra,
        }

    def install(self, **changed: Any) -> None:
        """Install or upgrade, and wait until all is ready; AssertionError with what the cluster says."""
        values = json.dumps({**self.values(), **changed})
        self.helm("upgrade", "--install", NAME, str(CHART), "--values", "-", "--wait", "--timeout", "8m", input=values)

    def reached(self) -> bool:
        """Whether its router reaches the hub: a Service leads to a pod only a moment after that is ready."""
        return httpx.get(f"{self.url}/hub/health", verify=False, timeout=5).status_code < 500

    def helm(self, *arguments: str, input: str | None = None) -> str:
        """Run helm in the namespace."""
        command = [str(self.cluster.helm), "--kubeconfig", str(self.cluster.kubeconfig), "--namespace", self.namespace]
        done = subprocess.run([*command, *arguments], input=input, capture_output=True, text=True, timeout=540)
        assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{self.cluster.describe(self.namespace)}"
        return done.stdout

    def kubectl(self, *arguments: str, input: str | None = None) -> str:
        """Run kubectl in the namespace."""
        return self.cluster.kubectl("--namespace", self.namespace, *arguments, input=input)

    def secret(self, key: str, name: str = f"{NAME}-secrets") -> str:
        """One entry of a Secret."""
        data = self.cluster.get("secret", name, self.namespace)["data"]
        return base64.b64decode(data[key]).decode()

    def pods(self, component: str) -> list[dict[str, Any]]:
        """The pods of a part that are not on their way out."""
        listed = json.loads(
            self.kubectl("get", "pods", "--selector", f"app.kubernetes.io/component={component}", "--output=json")
        )
        return [pod for pod in listed["items"] if "deletionTimestamp" not in pod["metadata"]]

    def in_notebook(self, user: str, *command: str) -> str:
        """Run a command in a user's notebook pod; what it printed."""
        return self.kubectl("exec", self.notebook_pod(user), "--", *command)

    def notebooks(self, user: str) -> list[dict[str, Any]]:
        """A user's notebook pods."""
        return [pod for pod in self.pods("notebook") if pod["metadata"]["labels"]["modelyard.dev/owner"] == user]

    def notebook_pod(self, user: str) -> str:
        """The name of a user's only notebook pod."""
        (pod,) = self.notebooks(user)
        return str(pod["metadata"]["name"])

    def api(self, user: str) -> httpx.Client:
        """The REST API with the token of a user's notebook server."""
        token = self.in_notebook(user, "printenv", "JUPYTERHUB_API_TOKEN").strip()
        base = f"{self.url}/services/modelyard/api/v1"
        return httpx.Client(base_url=base, headers={"Authorization": f"Bearer {token}"}, timeout=30, trust_env=False)

    def hub(self) -> httpx.Client:
        """JupyterHub's API as the command line has it: users, their tokens and servers."""
        headers = {"Authorization": f"token {self.secret('cli_token')}"}
        return httpx.Client(base_url=f"{self.url}/hub/api", headers=headers, timeout=30, trust_env=False)

    def ready(self, component: str) -> bool:
        """Whether a part has pods, and all are ready."""
        pods = self.pods(component)
        return bool(pods) and all(_ready(pod) for pod in pods)

    def whole(self) -> bool:
        """Whether all its parts are ready, and the router has the way to them."""
        if not all(self.ready(component) for component in _PARTS):
            return False
        pages = ("/hub/login", "/services/modelyard/api/openapi.json")
        return all(httpx.get(f"{self.url}{page}", timeout=10, trust_env=False).is_success for page in pages)

    def kill(self, *components: str) -> None:
        """Delete the pods of parts without grace, all at once; returns when they are gone and others are ready."""
        before = {pod["metadata"]["uid"] for component in components for pod in self.pods(component)}
        chosen = f"app.kubernetes.io/component in ({','.join(components)})"
        self.kubectl("delete", "pods", "--selector", chosen, "--grace-period=0", "--force")

        def back() -> bool:
            now = {pod["metadata"]["uid"] for component in components for pod in self.pods(component)}
            return all(self.ready(component) for component in components) and before.isdisjoint(now)

        eventually(back, timeout=240, interval=0.5, what=f"{', '.join(components)} are back")

    @contextmanager
    def browser(self, user: str, password: str = "") -> Iterator[httpx.Client]:
        """A signed-in user's client with cookies, as a browser has it."""
        with httpx.Client(base_url=self.url, follow_redirects=True, timeout=30, trust_env=False) as client:
            sign_in(client, user, password or self.secret("user_password"))
            yield client

    def spawn(self, client: httpx.Client, user: str, **options: str) -> str:
        """Start the user's notebook server with a profile, as a link in a browser does; JupyterLab's page."""
        chosen = {"profile": "small"} | options
        client.get("/hub/spawn", params={f"opt-{name}": value for name, value in chosen.items()})

        def page() -> str | None:
            answer = client.get(f"/user/{user}/lab")
            return answer.text if answer.url.path.startswith(f"/user/{user}/lab") and answer.is_success else None

        return str(eventually(page, timeout=240, interval=0.3, what=f"JupyterLab of {user}"))


def sign_in(client: httpx.Client, user: str, password: str) -> None:
    """As the form does. `client` follows redirects."""
    answer = try_to_sign_in(client, user, password)
    assert answer.is_success, f"{answer.status_code} {answer.url}"
    assert answer.url.path != "/hub/login", "refused"


def try_to_sign_in(client: httpx.Client, user: str, password: str) -> httpx.Response:
    """JupyterHub's answer, whatever it is: the page it leads to, or the first that fails."""
    page = client.get("/hub/login")
    found = re.search(r'name="_xsrf" value="([^"]*)"', page.text)
    if found is None:
        return page
    return client.post("/hub/login", data={"_xsrf": found[1], "username": user, "password": password})


def _ready(pod: dict[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod.get("status", {}).get("conditions", ()))


def load_images(cluster: Cluster) -> None:
    """Have what the chart names on the node."""
    for archive in (*map(images.build, images.NAMES), database_image()):
        cluster.load_image(archive)


@contextmanager
def release(cluster: Cluster, namespace: str, *objects: dict[str, Any], **extra: Any) -> Iterator[Release]:
    """The chart, installed with these values; the namespace with all of it is gone at the end. `objects` are made
    there before."""
    load_images(cluster)
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}
    cluster.kubectl("apply", "--filename", "-", input=yaml.safe_dump(made))
    try:
        if objects:
            cluster.apply(*objects, namespace=namespace)
        installed = Release(cluster, namespace, extra)
        installed.install()
        eventually(installed.reached, timeout=30, what="the router reaches the hub")
        yield installed
    finally:
        cluster.kubectl("delete", "namespace", namespace, "--wait=false")

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


@dataclass
class Release:
    """The chart installed in a namespace of its own, which enforces the restricted Pod Security."""

    cluster: Cluster
    namespace: str
    port: int = field(default_factory=lambda: random.randint(30000, 32767))

    @property
    def url(self) -> str:
        """Where users open it: the router's port of the node."""
        return f"http://{self.cluster.node_ip}:{self.port}"

    def values(self) -> dict[str, Any]:
        """Little of everything, the tests' images, two routers."""
        little = {"size": "1Gi"}
        return {
            "publicUrl": self.url,
            "images": {
                **{name: images.tag(name) for name in ("hub", "notebook", "server")},
                "traefik": images.tag("hub"),
                "postgresql": DATABASE,
                "pullPolicy": "Never",
            },
            "prePull": False,
            "settings": {"server_cpu_share": 0.05},
            "traefik": {"service": {"type": "NodePort", "nodePort": self.port}},
            "notebook": {"cpu": {"guarantee": 0.05, "limit": 2}, "memory": "1Gi", "shm": "128Mi", "storage": little},
            "artifacts": {"volume": little},
            "database": {"volume": little},
        }

    def install(self, **changed: Any) -> None:
        """Install or upgrade, and wait until all is ready; AssertionError with what the cluster says."""
        values = json.dumps({**self.values(), **changed})
        self.helm("upgrade", "--install", NAME, str(CHART), "--values", "-", "--wait", "--timeout", "8m", input=values)

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
        (pod,) = (p for p in self.pods("notebook") if p["metadata"]["labels"]["modelyard.dev/owner"] == user)
        return self.kubectl("exec", pod["metadata"]["name"], "--", *command)

    def ready(self, component: str) -> bool:
        """Whether a part has pods, and all are ready."""
        pods = self.pods(component)
        return bool(pods) and all(_ready(pod) for pod in pods)

    def kill(self, component: str) -> None:
        """Delete a part's pods without grace; returns when they are gone and others are ready."""
        before = {pod["metadata"]["uid"] for pod in self.pods(component)}
        chosen = f"app.kubernetes.io/component={component}"
        self.kubectl("delete", "pods", "--selector", chosen, "--grace-period=0", "--force")
        eventually(
            lambda: self.ready(component) and before.isdisjoint(p["metadata"]["uid"] for p in self.pods(component)),
            timeout=240,
            interval=0.5,
            what=f"{component} is back",
        )

    @contextmanager
    def browser(self, user: str, password: str = "") -> Iterator[httpx.Client]:
        """A signed-in user's client with cookies, as a browser has it."""
        with httpx.Client(base_url=self.url, follow_redirects=True, timeout=30, trust_env=False) as client:
            page = client.get("/hub/login")
            found = re.search(r'name="_xsrf" value="([^"]*)"', page.text)
            assert found, page.text[:2000]
            form = {"_xsrf": found[1], "username": user, "password": password or self.secret("user_password")}
            answer = client.post("/hub/login", data=form)
            assert answer.is_success, answer.url
            assert answer.url.path != "/hub/login", "refused"
            yield client

    def spawn(self, client: httpx.Client, user: str, **options: str) -> str:
        """Start the user's notebook server with a profile, as a link in a browser does; JupyterLab's page."""
        chosen = {"profile": "small"} | options
        client.get("/hub/spawn", params={f"opt-{name}": value for name, value in chosen.items()})

        def page() -> str | None:
            answer = client.get(f"/user/{user}/lab")
            return answer.text if answer.url.path.startswith(f"/user/{user}/lab") and answer.is_success else None

        return str(eventually(page, timeout=240, interval=0.3, what=f"JupyterLab of {user}"))


def _ready(pod: dict[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod.get("status", {}).get("conditions", ()))


def load_images(cluster: Cluster) -> None:
    """Have what the chart names on the node."""
    for archive in (*(images.build(name) for name in ("hub", "notebook", "server")), database_image()):
        cluster.load_image(archive)


@contextmanager
def release(cluster: Cluster, namespace: str) -> Iterator[Release]:
    """The chart, installed; the namespace with all of it is gone at the end."""
    load_images(cluster)
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}
    cluster.kubectl("apply", "--filename", "-", input=yaml.safe_dump(made))
    try:
        installed = Release(cluster, namespace)
        installed.install()
        yield installed
    finally:
        cluster.kubectl("delete", "namespace", namespace, "--wait=false")

"""Who reaches whom in an installed release: the NetworkPolicies, seen from inside the pods."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from harness import pods
from harness.cluster import Cluster
from harness.metadata_service import metadata_service
from harness.release import Release
from harness.wait import eventually

pytestmark = pytest.mark.timeout(1200)
USER, OTHER, NAME = "ada", "grace", "apart"
PUBLISH = f"""
import modelyard as yard
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
X, y = load_iris(return_X_y=True, as_frame=True)
print(yard.publish(LogisticRegression(max_iter=1000).fit(X, y), {NAME!r}, example=X[:5]).url)
"""
REACHED = """
import json, socket, sys
found = []
for host, port in json.loads(sys.argv[1]):
    try:
        socket.create_connection((host, port), timeout=3).close()
        found.append([host, port])
    except OSError:
        pass
print(json.dumps(found))
"""
Address = tuple[str, int]


@dataclass
class Pods:
    """The addresses of a release's pods, and what each part listens on."""

    release: Release
    own: Address
    other: Address
    model: Address
    url: str

    def part(self, component: str, port: int) -> Address:
        (pod, *_) = self.release.pods(component)
        return pod["status"]["podIP"], port

    def inner(self) -> dict[str, Address]:
        """What users' code has no business with."""
        parts = {"service": 8082, "mlflow": 5000, "postgresql": 5432}
        return {name: self.part(name, port) for name, port in parts.items()}


@pytest.fixture(scope="module")
def placed(installed: Release) -> Iterator[Pods]:
    """Two users' notebook servers and a model server."""
    for user in (USER, OTHER):
        with installed.browser(user) as browser:
            installed.spawn(browser, user)
    url = installed.in_notebook(USER, "python", "-c", PUBLISH).split()[-1]
    addresses = {
        p["metadata"]["labels"]["modelyard.dev/owner"]: p["status"]["podIP"] for p in installed.pods("notebook")
    }
    (model,) = (p for p in installed.pods("model-server") if p["metadata"]["labels"]["modelyard.dev/endpoint"] == NAME)
    made = Pods(installed, (addresses[USER], 8888), (addresses[OTHER], 8888), (model["status"]["podIP"], 8080), url)
    yield made
    installed.in_notebook(USER, "python", "-c", f"import modelyard as yard; yard.endpoint({NAME!r}).delete()")


def reached(release: Release, pod: str, container: str, *addresses: Address) -> set[Address]:
    """Which of the addresses take a connection from inside a pod."""
    command = ["exec", pod, "--container", container, "--", "python", "-c", REACHED, json.dumps(addresses)]
    return {(host, port) for host, port in json.loads(release.kubectl(*command))}


def from_the_node(address: Address) -> bool:
    """Whether anybody listens there at all: a node reaches its pods whatever the policies say."""
    try:
        socket.create_connection(address, timeout=3).close()
    except OSError:
        return False
    return True


def pod_of(release: Release, component: str, owner: str) -> str:
    (pod, *_) = (p for p in release.pods(component) if p["metadata"]["labels"]["modelyard.dev/owner"] == owner)
    return str(pod["metadata"]["name"])


def test_a_notebook_server_reaches_the_hub_and_the_router_and_nothing_else(placed: Pods) -> None:
    release = placed.release
    forbidden = {**placed.inner(), "another user": placed.other, "a model server": placed.model}
    assert all(from_the_node(address) for address in forbidden.values()), "else closed says nothing"
    api = str(release.cluster.get("service", "kubernetes", "default")["spec"]["clusterIP"])
    forbidden["the API server"] = (api, 443)
    allowed = {placed.part("hub", 8081), placed.part("traefik", 8000)}
    pod = pod_of(release, "notebook", USER)

    def kept() -> bool:
        return reached(release, pod, "notebook", *allowed, *forbidden.values()) == allowed

    eventually(kept, timeout=60, interval=1, what=f"only the hub and the router are reached: {forbidden}")


def test_user_code_does_not_reach_a_clouds_metadata(placed: Pods, cluster: Cluster, namespace: str) -> None:
    """Whose answer would be the node's own credentials. A pod that no policy holds reaches it."""
    release = placed.release
    cluster.apply(pods.pod("free", pods.pod_spec(pods.SLEEP)), namespace=namespace)
    cluster.kubectl("--namespace", namespace, "wait", "pod/free", "--for=condition=Ready", "--timeout=60s")
    kept = {"notebook": pod_of(release, "notebook", USER), "server": pod_of(release, "model-server", USER)}
    uids = [cluster.get("pod", "free", namespace)["metadata"]["uid"]]
    uids += [cluster.get("pod", pod, release.namespace)["metadata"]["uid"] for pod in kept.values()]
    with metadata_service(*uids) as address:
        command = ("exec", "free", "--", "python3", "-c", REACHED, json.dumps([address]))
        free = lambda: json.loads(cluster.kubectl("--namespace", namespace, *command)) == [list(address)]  # noqa: E731
        eventually(free, timeout=30, interval=1, what="it answers whom nothing holds")
        for container, pod in kept.items():
            assert reached(release, pod, container, address) == set(), f"the {container} reaches it"


def test_a_model_server_reaches_no_part_of_the_release(placed: Pods) -> None:
    release = placed.release
    forbidden = {**placed.inner(), "hub": placed.part("hub", 8081), "its owner's notebook": placed.own}
    assert all(from_the_node(address) for address in forbidden.values()), "else closed says nothing"
    pod = pod_of(release, "model-server", USER)
    eventually(
        lambda: reached(release, pod, "server", *forbidden.values()) == set(),
        timeout=60,
        interval=1,
        what=f"nothing is reached: {forbidden}",
    )


def test_what_is_kept_apart_works_through_the_router(placed: Pods) -> None:
    answer = httpx.get(f"{placed.url}/v2/health/ready", timeout=10, trust_env=False)
    assert answer.status_code in (200, 401), answer.text
    called = placed.release.in_notebook(
        USER,
        "python",
        "-c",
        f"import modelyard as yard; print(yard.endpoint({NAME!r}).predict([[5.1, 3.5, 1.4, 0.2]]))",
    )
    assert "0" in called

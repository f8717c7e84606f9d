"""Why is it pending, through a real JupyterHub: each cause is made on the cluster, many at once, in one namespace."""

# ruff: noqa: E501  # sentences as they are said, in one piece each

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness import pod_hub, pods
from harness.cluster import Cluster
from harness.pod_hub import PodHub
from harness.wait import eventually

pytestmark = pytest.mark.timeout(400)
NAMESPACE = "pending"


@contextmanager
def space(cluster: Cluster, name: str) -> Iterator[str]:
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("wait", "serviceaccount/default", "--for=create", "--timeout=60s", "--namespace", name)
    # GPUs are what this quota is short of: nothing else here asks for any.
    hard = {"requests.nvidia.com/gpu": "0"}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"}, "spec": {"hard": hard}}
    cluster.apply(quota, namespace=name)
    try:
        yield name
    finally:
        cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def hub(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PodHub]:
    with space(cluster, f"{NAMESPACE}-{time.time_ns() % 10**6}") as name:
        folder = tmp_path_factory.mktemp("hub")
        with pod_hub.running(cluster, name, folder, start_timeout=80, http_timeout=20) as running:
            yield running


def python(code: str) -> list[str]:
    return ["python3", "-u", "-c", code]


SLEEP = "import time; time.sleep(600)"
CRASH = "import sys; print('reading the configuration'); sys.exit('ModuleNotFoundError: No module named jupyterhub')"
WAITING: dict[str, tuple[dict[str, Any], str, str]] = {
    "cpu": ({"cpu_guarantee": 64.0, "cpu_limit": 64.0}, "no-room",
            r"No node has 64 CPUs; the most is [\d.]+ CPUs? on \S+ \([\d.]+ free\)\. Choose a smaller size"),
    "memory": ({"mem_guarantee": 1 << 42, "mem_limit": 1 << 42}, "no-room",
               r"No node has 4 TiB of memory; the most is [\d.]+ GiB of memory on \S+ \([\d.]+ GiB free\)\."),
    "label": ({"node_selector": {"disk": "fast"}}, "no-node", r"No node has the label disk=fast\."),
    "class": ({"storage_class": "no-such-class"}, "storage-class",
              r"The volume home-class-\w+ cannot be made: there is no storage class no-such-class\."),
    "shared": ({"storage_access_modes": ["ReadWriteMany"]}, "provisioning",
               r"The volume home-shared-\w+ cannot be made: a volume is one node's"),
    "image": ({"image": "127.0.0.1:9/nowhere/notebook:1"}, "registry-away",
              r"The image 127.0.0.1:9/nowhere/notebook:1 cannot be pulled: the registry does not answer\."),
    "never": ({"image": "localhost/modelyard/nothing:1", "image_pull_policy": "Never"}, "image-missing",
              r"The image localhost/modelyard/nothing:1 is not on \S+, and may not be pulled\."),
    "mount": ({"volumes": [{"name": "s", "secret": {"secretName": "nothing"}}],
               "volume_mounts": [{"name": "s", "mountPath": "/s"}]}, "mount",
              r'The volume s cannot be mounted: secret "nothing" not found\.'),
    "environment": ({"environment": {"X": {"valueFrom": {"secretKeyRef": {"name": "nothing", "key": "x"}}}}}, "command",
                    r'The server cannot be started: secret "nothing" not found\.'),
}  # fmt: skip


def waited(hub: PodHub, user: str, options: dict[str, Any], reason: str, text: str = "") -> dict[str, Any]:
    """What is told once that is the reason. A busy kubelet first says something less."""
    hub.start(user, **options)
    told = hub.progress(user, enough=reason, says=text)
    return told[-1]


def servers(hub: PodHub) -> dict[str, dict[str, Any]]:
    """By owner, as the REST API gets them."""
    with hub.client() as client:
        found = client.get("/modelyard/servers").raise_for_status().json()["items"]
    return {one["owner"]: one for one in found}


def test_while_it_waits_the_page_says_why(hub: PodHub) -> None:
    """All at once, each in a page of its own."""
    with ThreadPoolExecutor(len(WAITING)) as pool:
        asked = {user: pool.submit(waited, hub, user, *case) for user, case in WAITING.items()}
        told = {user: future.result() for user, future in asked.items()}
        listed = servers(hub)
        list(pool.map(hub.stop, WAITING))
    for user in ("cpu", "label", "class", "mount"):  # images are tried again, and say so in between
        status = listed[user]["status"]
        assert (status["state"], status["reason"]) == ("starting", WAITING[user][1]), status
        assert re.match(WAITING[user][2], f"{status['cause']} {status['remedy']}"), status
        assert status["evidence"], user
    for user, (_, reason, text) in WAITING.items():
        event = told[user]
        assert event.get("reason") == reason, (user, event)
        assert re.match(text, event["message"]), (user, event["message"])
        assert event["capacity"] == (reason == "no-room")
        assert event["evidence"], user
        assert "<pre" in event["html_message"]
        assert event["waits"]


ENDING: dict[str, tuple[dict[str, Any], str]] = {
    "gpu": ({"extra_resource_limits": {"nvidia.com/gpu": "1"}},
            r"The quota team is used up: 0 of 0 GPUs \(nvidia.com/gpu\) in use, this asks for 1\. It is more than the whole"),
    "shm": ({"mem_limit": 8 << 20, "mem_guarantee": 8 << 20},
            r"Its shared memory \(/dev/shm\) of 16 MiB is part of its memory, which is only 8 MiB\."),
    "priority": ({"priority_class_name": "none-such"}, r"The cluster refuses the server: no PriorityClass with name none"),
    "name": ({"image": "Not A Name"}, r"'Not A Name' is no name of an image\."),
    "program": ({"cmd": ["/no/such/program"]}, r'The server cannot be started: exec: "/no/such/program"'),
    "crash": ({"cmd": python(CRASH)}, r"The server ended with exit code 1, 2 times so far\. The end of its log is below"),
    "greedy": ({"cmd": python("x = b'x' * (512 << 20); " + SLEEP)}, r"The server used more than its memory of 256 MiB"),
    "silent": ({"cmd": python("print('I am up to something'); " + SLEEP)},
               r"The server runs and has not answered for \d+ s\. The end of its log is below\."),
}  # fmt: skip


def failed(hub: PodHub, user: str, options: dict[str, Any]) -> dict[str, Any]:
    hub.start(user, **options)
    return hub.progress(user)[-1]


def test_when_it_fails_the_page_says_why_and_the_hub_goes_on(hub: PodHub) -> None:
    """More failures in a row than end this JupyterHub, were they its own."""
    with ThreadPoolExecutor(len(ENDING)) as pool:
        asked = {user: pool.submit(failed, hub, user, options) for user, (options, _) in ENDING.items()}
        told = {user: future.result() for user, future in asked.items()}
    listed = servers(hub)
    for user, (_, text) in ENDING.items():
        event = told[user]
        assert event.get("failed"), (user, event)
        status = listed[user]["status"]
        assert (status["state"], bool(re.match(text, f"{status['cause']} {status['remedy']}"))) == ("failed", True), (
            status
        )
        assert re.match("Spawn failed: " + text, event["message"]), (user, event["message"])
        assert f'href="/hub/spawn/{user}"' in event["html_message"]
    assert "ModuleNotFoundError: No module named jupyterhub" in told["crash"]["html_message"]
    assert "I am up to something" in told["silent"]["html_message"]
    metrics = httpx.get(f"{hub.url}/hub/metrics", trust_env=False).text
    assert re.search(r'server_spawn_duration_seconds_count\{reason="quota",status="failure"\} 1\.0', metrics)
    assert not re.search(r'server_spawn_duration_seconds_count\{[^}]*status="error"\} [1-9]', metrics)
    assert hub.running


def test_the_page_of_a_failed_start_shows_it(hub: PodHub) -> None:
    failed(hub, "lara", {"extra_resource_limits": {"nvidia.com/gpu": "1"}})
    with httpx.Client(base_url=hub.url, trust_env=False) as browser:
        form = {"username": "lara", "password": "x", "_xsrf": _xsrf(browser.get("/hub/login").text)}
        browser.post("/hub/login", data=form, headers={"Sec-Fetch-Site": "same-origin"})
        page = browser.get("/hub/spawn-pending/lara")
    assert page.status_code == 503
    assert "<strong>The quota team is used up: 0 of 0 GPUs" in page.text
    assert "choose a smaller size, or ask an administrator" in page.text


def _xsrf(page: str) -> str:
    found = re.search(r'name="_xsrf" value="([^"]*)"', page)
    assert found
    return found[1]


@contextmanager
def registry_that_never_answers() -> Iterator[str]:
    """On this machine, where the node's container runtime asks without TLS."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        kept: list[socket.socket] = []
        threading.Thread(target=_accept, args=(listener, kept), daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        for connection in kept:
            connection.close()


def _accept(listener: socket.socket, kept: list[socket.socket]) -> None:
    try:
        while True:
            kept.append(listener.accept()[0])
    except OSError:
        return


def test_an_image_that_is_being_pulled_is_nothing_wrong(hub: PodHub) -> None:
    with registry_that_never_answers() as registry:
        event = waited(hub, "puller", {"image": f"{registry}/big/notebook:1"}, "pulling")
    hub.stop("puller")  # a kubelet lets go of a pod when its pull has ended
    assert re.match(r"Its image is being pulled to \S+: \d+ s so far", event["message"])
    assert not event["waits"]


def test_a_start_is_measured_by_phase_and_the_next_one_has_an_estimate(hub: PodHub) -> None:
    assert failed(hub, "ada", {}).get("ready")
    metrics = httpx.get(f"{hub.url}/hub/metrics", trust_env=False).text
    for phase in ("queue", "schedule", "attach", "pull", "start", "ready"):
        assert re.search(rf'modelyard_spawn_phase_seconds_count\{{phase="{phase}"\}} [1-9]', metrics), phase
        assert f'modelyard_spawn_phase_quantile_seconds{{phase="{phase}",quantile="0.95"}}' in metrics
    serve = pods.serve("answer = '{}'")[-1].replace('("", 8080)', '("", 8888)')
    hub.start("grace", cmd=["python3", "-c", f"import time; time.sleep(3); {serve}"])  # else it runs before one can ask
    told = hub.progress("grace")
    assert told[-1].get("ready")
    assert any("Usually ready in" in event["message"] and event["seconds_left"] >= 0 for event in told[1:-1])
    hub.restart()
    metrics = httpx.get(f"{hub.url}/hub/metrics", trust_env=False).text
    assert 'modelyard_spawn_phase_quantile_seconds{phase="ready",quantile="0.5"}' in metrics, "taken up from who runs"
    hub.start("mary")
    assert any("seconds_left" in event for event in hub.progress("mary"))


EVENTS = 2000


def test_events_of_others_are_never_read(hub: PodHub, cluster: Cluster) -> None:
    """The watch of a start gets its own pod's alone, however many there are."""
    others = [
        {
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": f"noise-{n}"}, "reason": "Noise", "type": "Normal",
            "message": "noise " * 20, "source": {"component": "test"},
            "involvedObject": {"kind": "Pod", "name": f"other-{n}", "namespace": hub.namespace},
        }
        for n in range(EVENTS)
    ]  # fmt: skip
    document = json.dumps({"apiVersion": "v1", "kind": "List", "items": others})
    cluster.kubectl("create", "--namespace", hub.namespace, "-f", "-", input=document)
    event = waited(hub, "alone", {"cpu_guarantee": 64.0, "cpu_limit": 64.0}, "no-room")
    hub.stop("alone")
    assert "noise" not in json.dumps(event)


def test_without_the_view_of_the_cluster_it_says_so(cluster: Cluster, tmp_path: Path) -> None:
    with (
        space(cluster, f"{NAMESPACE}-narrow-{time.time_ns() % 10**6}") as name,
        pod_hub.running(cluster, name, tmp_path, wide=False) as narrow,
    ):
        event = waited(narrow, "ada", {"cpu_guarantee": 64.0, "cpu_limit": 64.0}, "no-room")
        narrow.stop("ada")
    assert event["message"].startswith("No node has 64 CPUs free. Choose a smaller size, or wait")
    assert event["evidence"][0] == "JupyterHub may not see the nodes: how much is free is not known."


def test_a_taint_is_named(hub: PodHub, cluster: Cluster) -> None:
    """With a node that is only an object, and closed for everybody else's pods."""
    name = f"zz-kept-{time.time_ns() % 10**6}"
    taint = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kept": name}}, "spec": {"taints": [taint]}}  # fmt: skip
    cluster.kubectl("create", "-f", "-", input=json.dumps(node))
    try:
        allocatable = {"cpu": "16", "memory": "64Gi", "pods": "110"}
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
        status = {"status": {"allocatable": allocatable, "capacity": allocatable, "conditions": [ready]}}
        cluster.kubectl("patch", "node", name, "--subresource=status", "--type=merge", "--patch", json.dumps(status))
        eventually(lambda: len(cluster.get("node", name)["spec"]["taints"]) == 1, timeout=20, what="it counts as ready")
        event = waited(hub, "tess", {"node_selector": {"kept": name}}, "taint")
        hub.stop("tess")
    finally:
        cluster.kubectl("delete", "node", name)
    assert f"{name} has the taint nvidia.com/gpu=present" in event["message"]

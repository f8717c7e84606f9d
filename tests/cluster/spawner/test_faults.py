"""What goes wrong while a notebook server starts, through a real JupyterHub: it ends running, or with the cause; and at
the end nothing is left that nobody owns."""

from __future__ import annotations

import html
import json
import re
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from harness import pod_hub, pods
from harness.cluster import Cluster
from harness.pod_hub import PodHub
from harness.wait import eventually
from modelyard_hub.volumes.claims import OWNER, TRASHED

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def hub(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PodHub]:
    """One for all; at its end a sweep: what is there belongs to a server that runs."""
    name = f"faults-{time.time_ns() % 10**6}"
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("wait", "serviceaccount/default", "--for=create", "--timeout=60s", "--namespace", name)
    try:
        folder = tmp_path_factory.mktemp("hub")
        with pod_hub.running(cluster, name, folder, start_timeout=65, http_timeout=20) as running:
            yield running
            sweep(cluster, running)
    finally:
        cluster.kubectl("delete", "namespace", name, "--wait=false")


def sweep(cluster: Cluster, hub: PodHub) -> None:
    """Each pod is of a server that runs, and the other way round; homes are users'; nothing is attached for nobody."""
    with hub.client() as client:
        people = client.get("/users").json()
    assert not [p["name"] for p in people if p["pending"]]
    running = {f"notebook-{p['name']}" for p in people if p["server"]}
    assert running, "or the sweep sees nothing"

    def of_notebooks() -> list[dict[str, Any]]:
        listed = cluster.get("pods", namespace=hub.namespace)["items"]
        return [p for p in listed if p["metadata"]["name"].startswith("notebook-")]

    def owned() -> bool:
        return {p["metadata"]["name"] for p in of_notebooks()} == running

    eventually(owned, timeout=60, what=f"the pods are {sorted(running)}")
    homes = cluster.get("pvc", namespace=hub.namespace)["items"]
    claims = {home["metadata"]["name"]: home["spec"].get("volumeName") for home in homes}
    owners = [home["metadata"]["labels"][OWNER] for home in homes if TRASHED not in home["metadata"]["labels"]]
    assert set(owners) <= {p["name"] for p in people}
    assert len(set(owners)) == len(owners), "one home each"
    used = {
        volume["persistentVolumeClaim"]["claimName"]
        for pod in of_notebooks() for volume in pod["spec"]["volumes"] if "persistentVolumeClaim" in volume
    }  # fmt: skip
    free = {volume for claim, volume in claims.items() if claim not in used}

    def attached() -> set[str]:
        found = cluster.get("volumeattachments")["items"]
        return free & {a["spec"]["source"].get("persistentVolumeName") for a in found}

    eventually(lambda: not attached(), timeout=60, what="what nobody uses is detached")
    with sqlite3.connect(hub.folder / "hub.sqlite") as database:
        (servers,) = database.execute("select count(*) from spawners where server_id is not null").fetchone()
    assert servers == len(running)


def model(hub: PodHub, user: str) -> dict[str, Any]:
    with hub.client() as client:
        found: dict[str, Any] = client.get(f"/users/{user}").json()
    return found


def runs(hub: PodHub, user: str) -> bool:
    found = model(hub, user)
    return bool(found["server"]) and not found["pending"]


def begin(hub: PodHub, user: str, **options: Any) -> None:
    assert hub.start(user, **options).status_code in (201, 202), user


def pod(cluster: Cluster, hub: PodHub, user: str) -> dict[str, Any] | None:
    found = cluster.get("pods", namespace=hub.namespace)["items"]
    return next((p for p in found if p["metadata"]["name"] == f"notebook-{user}"), None)


def phase(cluster: Cluster, hub: PodHub, user: str) -> str:
    found = pod(cluster, hub, user)
    return str(found["status"]["phase"]) if found else ""


SERVE = pods.serve("answer = '{}'")[-1].replace('("", 8080)', '("", 8888)')
SLOW = ["python3", "-c", f"import time; time.sleep(8); {SERVE}"]
SILENT = ["python3", "-u", "-c", "print('I am up to something'); import time; time.sleep(600)"]


def last(hub: PodHub, user: str) -> dict[str, Any]:
    """How a start ended, for a page that asks until it is told."""
    told = eventually(lambda: hub.progress(user, seconds=90), timeout=100, what=f"{user} is told")
    assert told
    return told[-1]


def seen(cluster: Cluster, hub: PodHub, user: str, wanted: str) -> str:
    """The uid of the user's pod, once it is in that phase."""
    eventually(lambda: phase(cluster, hub, user) == wanted, timeout=40, interval=0.05, what=f"the pod of {user}")
    found = pod(cluster, hub, user)
    assert found
    return str(found["metadata"]["uid"])


def test_a_hub_that_dies_while_servers_start_goes_on_with_them(hub: PodHub, cluster: Cluster) -> None:
    """Killed with a start in each phase; the next process goes on with what has a pod, and begins the others anew."""
    gate, mark = hub.folder / "gate", f"faults={hub.namespace}"
    begin(hub, "ready")
    assert last(hub, "ready").get("ready")
    begin(hub, "early", after=str(gate))
    begin(hub, "placed", node_selector={"faults": hub.namespace})
    begin(hub, "stuck", cpu_guarantee=64.0, cpu_limit=64.0)
    begin(hub, "slow", cmd=SLOW)
    begin(hub, "silent", cmd=SILENT)
    begin(hub, "quitter", cmd=SILENT)
    begin(hub, "late")
    running = ("ready", "slow", "silent", "quitter", "late")
    phases = dict.fromkeys(running, "Running") | dict.fromkeys(("placed", "stuck"), "Pending")
    before = {user: seen(cluster, hub, user, wanted) for user, wanted in phases.items()}
    hub.kill()
    hub.revive()
    assert model(hub, "silent")["pending"], "what goes on does not keep the hub from answering"
    with hub.client() as client:
        answer = client.delete("/users/quitter/server")
        assert answer.status_code in (202, 204), answer.text
    gate.touch()
    cluster.kubectl("label", "node", cluster.node, mark)
    try:
        with ThreadPoolExecutor(8) as pool:
            asked = {u: pool.submit(last, hub, u) for u in ("early", "placed", "stuck", "slow", "silent", "late")}
            told = {user: future.result() for user, future in asked.items()}
    finally:
        cluster.kubectl("label", "node", cluster.node, f"{mark.partition('=')[0]}-")
    for user in ("ready", "placed", "slow", "late", "early"):
        assert told.get(user, {"ready": True}).get("ready"), told[user]
        found = seen(cluster, hub, user, "Running")
        assert found == before.get(user, found), "it is the pod of before"
        assert runs(hub, user)
    for user, text in ENDS.items():
        assert told[user]["message"].startswith(f"Spawn failed: {text}"), told[user]
        over(hub, cluster, user)
    assert "I am up to something" in told["silent"]["html_message"]
    over(hub, cluster, "quitter")
    begin(hub, "quitter", cmd=SLOW)
    assert last(hub, "quitter").get("ready"), "who gave up may start again"


ENDS = {
    "stuck": "No node has 64 CPUs",
    "silent": "The server runs and has not answered for",
}


def over(hub: PodHub, cluster: Cluster, user: str) -> None:
    """Nothing is left of a server."""

    def gone() -> bool:
        return not model(hub, user)["pending"] and pod(cluster, hub, user) is None

    eventually(gone, timeout=60, what=f"nothing is left of the server of {user}")


def test_two_tabs_start_one_server(hub: PodHub, cluster: Cluster) -> None:
    with hub.client() as client:
        client.post("/users/twin")
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(hub.start, "twin") for _ in range(2)]
        codes = sorted(answer.result().status_code for answer in answers)
    assert codes[0] in (201, 202)
    assert codes[1] in (201, 202, 400)
    assert last(hub, "twin").get("ready")
    assert runs(hub, "twin")
    assert pod(cluster, hub, "twin")


def test_a_user_who_is_deleted_while_a_server_starts_leaves_none(hub: PodHub, cluster: Cluster) -> None:
    begin(hub, "leaver", cpu_guarantee=64.0, cpu_limit=64.0)
    seen(cluster, hub, "leaver", "Pending")
    with hub.client() as client:
        refused = client.delete("/users/leaver")
        assert refused.status_code == 400
        assert "leaver has servers that run or start: the default one. Stop them first." in refused.text
        hub.stop("leaver")
        assert client.delete("/users/leaver").status_code == 204
    eventually(lambda: pod(cluster, hub, "leaver") is None, timeout=60, what="its pod is gone")
    homes = cluster.kubectl(
        *("get", "pvc", "--namespace", hub.namespace, "--output=name"),
        *("--selector", f"{OWNER}=leaver,{TRASHED}!=true"),
    )
    assert not homes.strip(), "what the user had is in the trash"


def test_a_server_that_fills_its_shared_memory_says_so(hub: PodHub) -> None:
    fill = "open('/dev/shm/full', 'wb').write(b'x' * (64 << 20))"
    program = f"try:\n {fill}\nexcept OSError as error: raise SystemExit(f'{{error}}: /dev/shm/full')"
    begin(hub, "filler", cmd=["python3", "-c", program])
    told = last(hub, "filler")
    assert told.get("failed")
    assert "its shared memory (/dev/shm) is full. Choose more shared memory." in told["message"]


def test_while_the_api_server_is_away_a_start_waits_for_it(hub: PodHub, cluster: Cluster) -> None:
    """One that has its pod goes on, and one that was asked for meanwhile begins when it is back."""
    begin(hub, "sooner", cmd=SLOW)
    seen(cluster, hub, "sooner", "Running")
    cluster.stop_api_server()
    try:  # the scheduler may be half a minute late to see that the API server is back
        begin(hub, "later", cmd=SLOW, start_timeout=160)
    finally:
        cluster.start_api_server()
    told = last(hub, "sooner")
    assert told.get("ready"), told
    told = last(hub, "later")
    assert told.get("ready"), told
    assert runs(hub, "sooner")
    assert runs(hub, "later")


def test_while_the_kubelet_is_away_a_start_waits_for_it(hub: PodHub, cluster: Cluster) -> None:
    cluster.stop_kubelet()
    try:
        begin(hub, "patient")
        placed = lambda: (pod(cluster, hub, "patient") or {}).get("spec", {}).get("nodeName")  # noqa: E731
        eventually(placed, timeout=30, what="the pod is on the node that says nothing")
        told = hub.progress("patient", enough="preparing", seconds=30)
        assert not told[-1].get("failed"), told
    finally:
        cluster.start_kubelet()
    assert last(hub, "patient").get("ready")
    assert runs(hub, "patient")


@contextmanager
def silent_node(cluster: Cluster, driver: str) -> Iterator[str]:
    """A node that had volumes attached, and has given no answer for three minutes: as an object it needs no machine."""
    name = f"zz-gone-{time.time_ns() % 10**6}"
    then = (datetime.now(UTC) - timedelta(minutes=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
    attaches = {"volumes.kubernetes.io/controller-managed-attach-detach": "true"}
    taint = {"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"}
    node = {
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "annotations": attaches},
        "spec": {"taints": [taint]},
    }  # fmt: skip
    drivers = [{"name": driver, "nodeID": name, "topologyKeys": []}]
    csi = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSINode",
        "metadata": {"name": name},
        "spec": {"drivers": drivers},
    }
    cluster.kubectl("create", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": [node, csi]}))
    try:
        condition = {
            "type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "lastTransitionTime": then,
            "lastHeartbeatTime": then, "message": "Kubelet stopped posting node status.",
        }  # fmt: skip
        room = {"cpu": "4", "memory": "8Gi", "pods": "110"}
        status = {"status": {"allocatable": room, "capacity": room, "conditions": [condition]}}
        cluster.kubectl("patch", "node", name, "--subresource=status", "--type=merge", "--patch", json.dumps(status))
        yield name
    finally:
        cluster.kubectl("delete", f"node/{name}", f"csinode/{name}", "--ignore-not-found")


def test_a_volume_on_a_node_that_is_gone_is_seen_before_the_spawn(hub: PodHub, cluster: Cluster) -> None:
    kind = cluster.attached_class
    begin(hub, "mover", storage_class=kind)
    assert last(hub, "mover").get("ready")
    hub.stop("mover")
    (home,) = [
        c for c in cluster.get("pvc", namespace=hub.namespace)["items"] if c["metadata"]["labels"][OWNER] == "mover"
    ]
    claim = {"persistentVolumeClaim": {"claimName": home["metadata"]["name"]}}
    volume = home["spec"]["volumeName"]
    at = f"jsonpath={{.items[?(@.spec.source.persistentVolumeName=='{volume}')]}}"

    def attached() -> dict[str, Any]:
        said = cluster.kubectl("get", "volumeattachments", "--output", at)
        return json.loads(said) if said else {}

    eventually(lambda: not attached(), timeout=60, what="the volume is let go")
    with silent_node(cluster, cluster.get("storageclass", kind)["provisioner"]) as node:
        left = pods.pod("notebook-mover-left", pods.pod_spec(pods.SLEEP, volumes={"/home": claim}))
        left["spec"]["nodeName"] = node
        cluster.apply(left, namespace=hub.namespace)
        eventually(lambda: attached().get("status", {}).get("attached"), timeout=60, what="it is attached there")
        text = f"The home volume is attached to the node {node}, which has given no answer for"
        who = ": notebook-mover-left has it there. Try again when that node is back."
        with signed_in(hub, "mover") as browser:
            page = eventually(
                lambda: warned(browser, text), timeout=40, what="the page says it before anything is made"
            )
        assert page
        assert who in page
        hub.start("mover", storage_class=kind)
        told = last(hub, "mover")
        assert told.get("failed")
        assert told["message"].startswith(f"Spawn failed: {text}")
        assert who in told["message"]
        assert pod(cluster, hub, "mover") is None, "no pod was made"
        remedy = re.search(r"kubectl (taint nodes \S+ \S+)", told["message"])
        assert remedy
        cluster.kubectl(*remedy[1].split())
        eventually(lambda: not attached(), timeout=90, what="what is said to an administrator helps")
        forget = ("--force", "--grace-period=0", "--ignore-not-found", "--namespace", hub.namespace)
        cluster.kubectl("delete", "pod/notebook-mover-left", *forget)  # as Kubernetes does by itself, twice a minute
        begin(hub, "mover", storage_class=kind)
        assert last(hub, "mover").get("ready")


@contextmanager
def signed_in(hub: PodHub, user: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=hub.url, trust_env=False, timeout=30, follow_redirects=True) as browser:
        found = re.search(r'name="_xsrf" value="([^"]*)"', browser.get("/hub/login").text)
        assert found
        form = {"username": user, "password": "x", "_xsrf": found[1]}
        browser.post("/hub/login?next=/hub/home", data=form, headers={"Sec-Fetch-Site": "same-origin"})
        yield browser


def warned(browser: httpx.Client, text: str) -> str:
    """The spawn page, where it says this."""
    page = html.unescape(browser.get("/hub/spawn/mover").text)
    return page if text in page else ""

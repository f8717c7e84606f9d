"""Another size for a notebook server that runs, through a real JupyterHub: its process does not notice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness import pod_hub, pods
from harness.cluster import Cluster
from harness.pod_hub import PodHub
from harness.wait import eventually

pytestmark = pytest.mark.timeout(200)
MiB = 1 << 20
GiB = 1 << 30
PROFILE = {
    "name": "plain",
    "cpu": {"min": 0.1, "default": 0.2, "max": 2, "step": 0.1},
    "cpu_share": 0.1,
    "memory": {"min": "128Mi", "default": "256Mi", "max": "4Ti", "step": "128Mi"},
    "shm": {"min": "16Mi", "default": "16Mi", "max": "64Mi", "step": "16Mi"},
}
USES = 200 * MiB
ACTIVITY = {"now": 0.0, "started": 0.0, "last": 0.0, "use": {"memory": USES}}
LIMIT = "cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes"


def ask(hub: PodHub, **order: Any) -> httpx.Response:
    with hub.client() as client:
        return client.post("/modelyard/servers/ada", json=order) if order else client.get("/modelyard/servers/ada")


def has(hub: PodHub) -> tuple[float, int]:
    found = ask(hub).json()
    return found["cpu"], found["memory"]


def runs(hub: PodHub) -> bool:
    with hub.client() as client:
        found = client.get("/users/ada").json()
    return bool(found["server"]) and not found["pending"]


def test_a_server_gets_another_size_while_it_runs(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    profiles = tmp_path / "profiles.json"
    profiles.write_text(json.dumps({"profiles": [PROFILE], "quotas": [{"cpu": 0.8}]}))
    command = pods.serve(f"answer = {json.dumps(ACTIVITY)!r}")
    command[-1] = command[-1].replace('("", 8080)', '("", 8888)')
    with pod_hub.running(cluster, namespace, tmp_path / "hub", command=command, profiles=str(profiles)) as hub:
        assert hub.start("ada").status_code in (201, 202)
        eventually(lambda: runs(hub), timeout=60, what="it runs")
        before = cluster.get("pod", "notebook-ada", namespace)
        assert has(hub) == (0.2, 256 * MiB)

        answer = ask(hub, cpu=0.4, memory="512Mi")
        assert answer.status_code == 200, answer.text
        assert has(hub) == (0.4, 512 * MiB)
        after = cluster.get("pod", "notebook-ada", namespace)
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        assert (
            after["status"]["containerStatuses"][0]["containerID"]
            == before["status"]["containerStatuses"][0]["containerID"]
        )
        inside = cluster.kubectl("--namespace", namespace, "exec", "notebook-ada", "--", "sh", "-c", LIMIT)
        assert int(inside) == 512 * MiB, "it is what its kernels may use"

        for order, status, said in (
            ({"memory": "2Ti"}, 409, "the server's node has no room for it: "),
            ({"memory": "128Mi"}, 422, "memory: 128 MiB are too little for what the server uses, 200 MiB."),
            ({"cpu": 0.9}, 422, "cpu: 0.9 CPUs is more than your quota."),
            ({"cpu": 3}, 422, "cpu: 3 CPUs is not what profile 'plain' allows."),
        ):
            refused = ask(hub, **order)
            assert refused.status_code == status, refused.text
            assert refused.json()["detail"].startswith(said)
            assert refused.json()["remedy"]
        (container,) = cluster.get("pod", "notebook-ada", namespace)["spec"]["containers"]
        assert container["resources"]["limits"] == {"cpu": "400m", "memory": str(512 * MiB)}, (
            "what was refused is taken back"
        )

        hub.restart()
        eventually(lambda: runs(hub), timeout=60, what="it still runs")
        assert has(hub) == (0.4, 512 * MiB)
        hub.start("ada", server="more", cpu=0.5)
        told = hub.progress("ada", enough="quota", server="more")[-1]
        assert "your quota has 0.4 of 0.8 CPUs free, this asks for 0.5" in told["message"], "it counts as it is now"
        assert ask(hub, cpu=0.3).status_code == 200
        eventually(lambda: made(hub, "more"), timeout=60, what="who waited for that starts")
        with hub.client() as client:
            chosen = client.get("/users/ada").json()["servers"][""]["user_options"]
        assert chosen == {"cpu": 0.3, "memory": 512 * MiB}, "the next start asks for it"


def made(hub: PodHub, server: str) -> bool:
    with hub.client() as client:
        found = client.get("/users/ada").json()["servers"].get(server, {})
    return bool(found.get("ready"))

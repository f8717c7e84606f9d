"""A quota of the cluster that is used up: a server waits for room, and what never fits is refused at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness import pod_hub
from harness.cluster import Cluster
from harness.pod_hub import PodHub
from harness.wait import eventually

pytestmark = pytest.mark.timeout(300)
GiB = 1 << 30


@contextmanager
def space(cluster: Cluster) -> Iterator[str]:
    name = f"queue-{time.time_ns() % 10**6}"
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("wait", "serviceaccount/default", "--for=create", "--timeout=60s", "--namespace", name)
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "team"},
        "spec": {"hard": {"pods": "1", "limits.memory": "2Gi"}},
    }
    cluster.apply(quota, namespace=name)
    try:
        yield name
    finally:
        cluster.kubectl("delete", "namespace", name, "--wait=false")


def ready(hub: PodHub, user: str) -> bool:
    with hub.client() as client:
        return bool(client.get(f"/users/{user}").json()["server"])


def test_a_server_waits_for_room_in_the_quota_through_a_kill_and_starts_when_there_is_some(
    cluster: Cluster, tmp_path: Path
) -> None:
    with space(cluster) as name, pod_hub.running(cluster, name, tmp_path / "hub", notebook_queue="") as hub:
        small = {"mem_limit": GiB // 2, "mem_guarantee": GiB // 2}
        hub.start("ada", **small)
        eventually(lambda: ready(hub, "ada"), timeout=90, what=f"the first runs: {hub.folder}/hub.log")
        for user in ("bob", "cleo"):
            assert hub.start(user, **small).status_code == 202
        told = hub.progress("cleo", enough="quota")[-1]
        assert told["message"].startswith(
            "You are 2nd of 2 in the queue: the quota team has 0 of 1 server free, this asks for 1."
        ), told
        assert (told["place"], told["of"], told["capacity"]) == (2, 2, True)

        hub.start("greedy", mem_limit=3 * GiB, mem_guarantee=3 * GiB)
        refused = hub.progress("greedy")[-1]
        assert refused["failed"], refused
        assert "It is more than the whole quota" in refused["message"], refused

        hub.kill()
        hub.begin(hub.folder / "kubeconfig")
        told = eventually(lambda: hub.progress("bob", enough="quota")[-1], timeout=30, what="bob waits again")
        assert (told["place"], told["of"]) == (1, 2)
        hub.stop("ada")
        eventually(lambda: ready(hub, "bob"), timeout=90, what="there is room, and bob is first")
        assert not ready(hub, "cleo")
        hub.stop("bob")
        eventually(lambda: ready(hub, "cleo"), timeout=90, what="the last")
        assert "] 429 " not in hub.log

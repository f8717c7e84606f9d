"""The watch of pods by the real spawner, of a cluster that goes away for long."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from kubernetes_asyncio.client.exceptions import ApiException
from kubernetes_asyncio.config import kube_config
from kubespawner.clients import load_config

from harness.fake_cluster import FakeCluster, cut, fake_cluster, refuse
from harness.pod_spawner import spawner
from harness.wait import eventually_async
from modelyard_hub.backoff import Backoff
from modelyard_hub.spawner.kubernetes import COMPONENT, PodSpawner
from modelyard_hub.spawner.starts import away, watching


@pytest.fixture
async def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeCluster]:
    monkeypatch.setattr(watching, "BACKOFF", Backoff(first=0.01, cap=0.01))
    monkeypatch.setattr(PodSpawner, "reflectors", {})
    monkeypatch.setattr(away, "_last", {})  # one for all of a process
    async with fake_cluster() as made:
        monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(made.kubeconfig(tmp_path)))
        load_config.cache_clear()  # else it is the cluster of an earlier test
        yield made
        await PodSpawner._stop_all_reflectors()
    load_config.cache_clear()


async def put(cluster: FakeCluster, name: str) -> None:
    meta = {"name": name, "namespace": "yard", "labels": {"component": COMPONENT}}
    await cluster.put("pods", {"kind": "Pod", "metadata": meta})


async def test_a_cluster_that_was_away_for_long_is_watched_again(cluster: FakeCluster, tmp_path: Path) -> None:
    """KubeSpawner gives up at its ninth failure in a row."""
    made = spawner(tmp_path)
    await put(cluster, "before")
    await made._start_watching_pods()
    assert made.pod_reflector.pods.keys() == {"yard/before"}
    faults = [refuse(503, "it starts"), refuse(403, "it has not read its rules"), cut] * 5
    cluster.faults["GET pods"] = faults
    await put(cluster, "meanwhile")
    cluster.cut()

    async def sees(name: str) -> bool:
        return f"yard/{name}" in made.pod_reflector.pods and not faults

    await eventually_async(lambda: sees("meanwhile"), timeout=10, what="what came meanwhile is seen")
    await put(cluster, "after")
    await eventually_async(lambda: sees("after"), timeout=10, what="it is watched again")


async def test_one_that_refuses_from_the_start_says_so(cluster: FakeCluster, tmp_path: Path) -> None:
    cluster.faults["GET pods"] = [refuse(403, "pods is forbidden")]
    made = spawner(tmp_path)
    with pytest.raises(ApiException):
        await made._start_watching_pods()
    await put(cluster, "there")
    await made._start_watching_pods()
    assert made.pod_reflector.pods.keys() == {"yard/there"}, "the next one begins anew"


async def test_one_that_is_away_when_the_hub_starts_is_waited_for(cluster: FakeCluster, tmp_path: Path) -> None:
    cluster.faults["GET pods"] = [cut, refuse(503, "it starts")]
    made = spawner(tmp_path)
    await put(cluster, "there")
    await made._start_watching_pods()
    assert made.pod_reflector.pods.keys() == {"yard/there"}

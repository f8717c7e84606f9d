"""Following a cluster that does not make it easy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from harness.fake_cluster import FakeCluster, cut, expired_event, refuse
from harness.observed_pods import QUICK, ready_pod
from harness.wait import eventually_async
from modelyard_hub.backoff import Backoff
from modelyard_hub.runtimes.kubernetes import KubernetesOptions
from modelyard_hub.runtimes.kubernetes.cache import Cache
from modelyard_hub.runtimes.kubernetes.client import connect
from modelyard_hub.runtimes.kubernetes.kinds import POD
from modelyard_hub.runtimes.kubernetes.labels import SELECTOR
from modelyard_hub.runtimes.kubernetes.watch import Watcher


@asynccontextmanager
async def watching(options: KubernetesOptions) -> AsyncIterator[Watcher]:
    client = await connect(options)
    watcher = Watcher(client, POD, SELECTOR, lambda name: None, lambda found: None)
    task = asyncio.create_task(watcher.run(options.timing))
    try:
        yield watcher
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await client.close()


async def names(watcher: Watcher, *wanted: str) -> None:
    async def look() -> bool:
        return sorted(o["metadata"]["name"] for o in watcher.cache) == sorted(wanted)

    await eventually_async(look, timeout=10.0, interval=0.01, what=str(wanted))


async def asked(cluster: FakeCluster, what: str, times: int) -> None:
    async def look() -> bool:
        return cluster.requests.count(what) >= times

    await eventually_async(look, timeout=10.0, interval=0.01, what=f"{what} x {times}")


async def test_changes_come_in_and_the_watch_goes_on_where_it_ended(
    cluster: FakeCluster, options: KubernetesOptions
) -> None:
    await cluster.put("pods", ready_pod(0))
    async with watching(options) as watcher:
        await names(watcher, "ada-churn-r1-0")
        await cluster.put("pods", ready_pod(1))
        await names(watcher, "ada-churn-r1-0", "ada-churn-r1-1")
        await cluster.remove("pods", "ada-churn-r1-0")
        await names(watcher, "ada-churn-r1-1")
        await asked(cluster, "WATCH pods", 3)
        await cluster.put("pods", ready_pod(2))
        await names(watcher, "ada-churn-r1-1", "ada-churn-r1-2")
        assert cluster.requests.count("GET pods") == 1, "a watch that ended in peace needs no new list"


async def test_what_is_too_old_is_listed_again(cluster: FakeCluster, options: KubernetesOptions) -> None:
    async with watching(options) as watcher:
        await asked(cluster, "WATCH pods", 1)
        await cluster.put("pods", ready_pod(0))
        await names(watcher, "ada-churn-r1-0")
        await cluster.remove("pods", "ada-churn-r1-0")
        cluster.faults["WATCH pods"] = [refuse(410, "too old"), expired_event]
        await cluster.put("pods", ready_pod(1))
        await asked(cluster, "GET pods", 3)
        await names(watcher, "ada-churn-r1-1")


async def test_a_cut_connection_loses_nothing(cluster: FakeCluster, options: KubernetesOptions) -> None:
    cluster.faults["WATCH pods"] = [cut, cut, cut]
    async with watching(options) as watcher:
        await asked(cluster, "WATCH pods", 4)
        await cluster.put("pods", ready_pod(0))
        await names(watcher, "ada-churn-r1-0")
        assert watcher.away_since is None


async def test_a_busy_cluster_is_left_alone_as_long_as_it_asks(
    cluster: FakeCluster, options: KubernetesOptions
) -> None:
    clock = asyncio.get_running_loop().time
    cluster.faults["GET pods"] = [refuse(429, "busy", headers={"Retry-After": "1"})]
    began = clock()
    async with watching(options):
        await asked(cluster, "GET pods", 2)
        assert clock() - began >= 1.0


async def test_a_cluster_that_refuses_is_asked_again_and_says_why(
    cluster: FakeCluster, options: KubernetesOptions
) -> None:
    said = 'pods is forbidden: User "hub" cannot list resource "pods"'
    cluster.faults["GET pods"] = [refuse(403, said) for _ in range(3)]
    async with watching(options) as watcher:
        await asked(cluster, "GET pods", 3)

        async def well() -> bool:
            return watcher.trouble is None and "WATCH pods" in cluster.requests

        await eventually_async(well, timeout=5.0)


async def test_silence_is_noticed(cluster: FakeCluster, options: KubernetesOptions) -> None:
    """A partition: the connection stays open, and nothing comes any more."""

    async def silence(request: object) -> None:
        await asyncio.Event().wait()

    async with watching(options) as watcher:
        await asked(cluster, "WATCH pods", 1)
        cluster.faults["WATCH pods"] = [silence] * 2
        await asked(cluster, "WATCH pods", 2)

        async def away() -> bool:
            return watcher.away_since is not None

        await eventually_async(away, timeout=QUICK.watch + QUICK.silence + 5.0, interval=0.01)
        await cluster.put("pods", ready_pod(0))
        await names(watcher, "ada-churn-r1-0")


async def test_a_cluster_is_back_before_anything_changes(cluster: FakeCluster, options: KubernetesOptions) -> None:
    """It agrees to a watch at once, and may then have nothing to say for a minute."""
    quiet = replace(options, timing=replace(options.timing, watch=30.0))
    async with watching(quiet) as watcher:
        await asked(cluster, "WATCH pods", 1)
        cluster.faults["WATCH pods"] = [refuse(503, "starting")] * 3
        cluster.cut()

        async def away() -> bool:
            return watcher.away_since is not None

        async def back() -> bool:
            return watcher.away_since is None and not cluster.faults["WATCH pods"]

        await eventually_async(away, timeout=5.0, interval=0.005)
        await eventually_async(back, timeout=5.0, interval=0.01)


async def test_a_cluster_that_was_seen_elsewhere_is_asked_at_once(
    cluster: FakeCluster, options: KubernetesOptions
) -> None:
    patient = replace(options, timing=replace(options.timing, backoff=Backoff(first=60.0, cap=60.0)))
    cluster.faults["GET pods"] = [refuse(503, "starting")]
    async with watching(patient) as watcher:
        await asked(cluster, "GET pods", 1)

        async def away() -> bool:
            return watcher.away_since is not None

        await eventually_async(away, timeout=5.0, interval=0.005)
        watcher.hurry()
        await asked(cluster, "WATCH pods", 1)


def test_a_late_answer_undoes_nothing() -> None:
    cache = Cache()
    new, old = ready_pod(0), ready_pod(0)
    new["metadata"]["resourceVersion"], old["metadata"]["resourceVersion"] = "20", "19"
    assert cache.put(new)
    assert not cache.put(old)
    assert not cache.replace([old], "19")
    assert cache.remove(new)
    assert not cache.put(new), "it is gone for good"
    assert list(cache) == []


def test_a_cluster_from_a_backup_is_believed() -> None:
    cache = Cache()
    cache.replace([ready_pod(0)], "500")
    cache.put({**ready_pod(1), "metadata": {**ready_pod(1)["metadata"], "resourceVersion": "600"}})
    assert cache.replace([ready_pod(1)], "90") == {"ada-churn-r1"}
    assert [o["metadata"]["resourceVersion"] for o in cache.of("ada-churn-r1")] == ["1"]


def test_a_list_takes_away_what_it_does_not_have_but_not_what_is_newer() -> None:
    cache = Cache()
    for number, version in ((0, "10"), (1, "30")):
        found = ready_pod(number)
        found["metadata"]["resourceVersion"] = version
        cache.put(found)
    assert cache.replace([], "20") == {"ada-churn-r1"}
    assert [o["metadata"]["name"] for o in cache] == ["ada-churn-r1-1"]

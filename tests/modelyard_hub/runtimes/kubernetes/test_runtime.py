"""The runtime against a cluster that answers, refuses, and is changed by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from harness.fake_cluster import FakeCluster, refuse
from harness.observed_pods import crashed_pod, pod, ready_pod, small_server
from harness.wait import eventually_async
from modelyard_api.errors import ClusterForbidden, Conflict, InvalidInput, NotFound, QuotaExceeded, Unavailable
from modelyard_hub.runtimes.base import ObservedServer, Phase
from modelyard_hub.runtimes.kubernetes import KubernetesOptions, KubernetesRuntime
from modelyard_hub.runtimes.kubernetes.labels import FILES
from modelyard_hub.runtimes.kubernetes.rbac import RULES

SERVER = small_server()
KINDS = ("secrets", "services", "poddisruptionbudgets", "deployments")


async def until(around: Any, holds: Callable[[ObservedServer], object]) -> ObservedServer:
    async def look() -> ObservedServer:
        found = (await around.runtime.observe())[SERVER.name]
        assert holds(found), found
        return found

    return await eventually_async(look, timeout=10.0, interval=0.01)


async def there(cluster: FakeCluster, plural: str, holds: Callable[[dict[str, Any]], object]) -> None:
    async def look() -> object:
        return holds(cluster.objects[plural, SERVER.name])

    await eventually_async(look, timeout=10.0, interval=0.01, what=plural)


async def test_a_workload_is_made_and_seen_without_asking(around: Any) -> None:
    await around.runtime.apply(SERVER)
    assert all((kind, SERVER.name) in around.cluster.objects for kind in KINDS)
    await around.cluster.put("pods", ready_pod(0))
    found = await until(around, lambda o: o.replicas)
    assert found.digest == SERVER.digest()
    assert found.labels == SERVER.labels
    assert [(r.phase, r.address) for r in found.replicas] == [(Phase.ready, "http://10.0.0.1:8080")]
    asked = len(around.cluster.requests)
    await around.runtime.observe()
    assert len(around.cluster.requests) == asked


async def test_applying_the_same_again_writes_nothing(around: Any) -> None:
    await around.runtime.apply(SERVER)
    writes = [r for r in around.cluster.requests if r.startswith("PATCH")]
    await around.runtime.apply(SERVER)
    assert [r for r in around.cluster.requests if r.startswith("PATCH")] == writes


async def test_what_was_changed_by_hand_is_put_back_and_told(around: Any) -> None:
    await around.runtime.apply(SERVER)

    def break_it(found: dict[str, Any]) -> None:
        found["spec"]["template"]["spec"]["containers"][0]["image"] = "other:2"
        found["spec"]["replicas"] = 7

    await around.cluster.change("deployments", SERVER.name, break_it)
    await there(around.cluster, "deployments", lambda o: o["spec"]["replicas"] == 1)

    async def told() -> dict[str, Any]:
        (event,) = around.cluster.events()
        return event  # type: ignore[no-any-return]

    event = await eventually_async(told, timeout=5.0)
    assert event["reason"] == "DriftCorrected"
    assert event["involvedObject"]["uid"] == around.cluster.objects["secrets", SERVER.name]["metadata"]["uid"]
    assert "spec.replicas" in event["message"]
    assert "spec.template.spec.containers[server].image" in event["message"]


async def test_what_was_deleted_by_hand_is_made_again(around: Any) -> None:
    await around.runtime.apply(SERVER)
    await around.cluster.remove("services", SERVER.name)
    await there(around.cluster, "services", lambda o: o["spec"]["ports"])


async def test_a_half_made_workload_is_finished_by_the_next_process(around: Any, options: KubernetesOptions) -> None:
    around.cluster.faults["PATCH services"] = [refuse(500, "etcd is away")]
    with pytest.raises(Unavailable, match="etcd is away"):
        await around.runtime.apply(SERVER)
    await there(around.cluster, "deployments", lambda o: o["spec"])
    await around.runtime.close()
    del around.cluster.objects["deployments", SERVER.name]
    second = KubernetesRuntime(options)
    await second.open()
    try:
        assert (await second.observe())[SERVER.name].digest == SERVER.digest()
        await there(around.cluster, "deployments", lambda o: o["spec"])
    finally:
        await second.close()


async def test_the_next_process_finds_nothing_to_put_right(around: Any, options: KubernetesOptions) -> None:
    await around.runtime.apply(replace(SERVER, max_replicas=3))
    await around.runtime.close()
    writes = [r for r in around.cluster.requests if r.startswith("PATCH")]
    second = KubernetesRuntime(options)
    await second.open()
    try:
        await around.cluster.put("pods", ready_pod(0))

        async def seen() -> object:
            return (await second.observe())[SERVER.name].replicas

        await eventually_async(seen, timeout=5.0)
    finally:
        await second.close()
    assert [r for r in around.cluster.requests if r.startswith("PATCH")] == writes
    assert around.cluster.events() == []


async def test_changed_files_are_brought_to_the_pods_by_name(around: Any) -> None:
    await around.runtime.apply(SERVER)
    await around.cluster.put("pods", ready_pod(0))
    await until(around, lambda o: o.replicas)
    template = around.cluster.objects["deployments", SERVER.name]["spec"]["template"]
    await around.runtime.apply(replace(SERVER, files={"access.json": "{}"}))
    assert FILES in around.cluster.objects["pods", "ada-churn-r1-0"]["metadata"]["annotations"]
    assert around.cluster.objects["deployments", SERVER.name]["spec"]["template"] == template


async def test_the_autoscaler_comes_and_goes_with_its_range(around: Any) -> None:
    scaled = replace(SERVER, max_replicas=4)
    await around.runtime.apply(scaled)
    assert ("horizontalpodautoscalers", SERVER.name) in around.cluster.objects
    assert (await around.runtime.observe())[SERVER.name].scaled_to == 1

    def scale(found: dict[str, Any]) -> None:
        found["metadata"]["managedFields"] = []
        found["spec"]["replicas"] = 3

    await around.cluster.change("deployments", SERVER.name, scale)
    await until(around, lambda o: o.scaled_to == 3)
    await around.runtime.apply(replace(scaled, environment={"A": "1"}))
    assert around.cluster.objects["deployments", SERVER.name]["spec"]["replicas"] == 3
    await around.runtime.apply(SERVER)
    assert ("horizontalpodautoscalers", SERVER.name) not in around.cluster.objects
    assert around.cluster.objects["deployments", SERVER.name]["spec"]["replicas"] == 1


async def test_deleting_takes_the_record_and_waits_for_the_rest(around: Any) -> None:
    await around.runtime.apply(SERVER)
    await around.cluster.put("pods", ready_pod(0))
    await until(around, lambda o: o.replicas)
    await around.runtime.delete(SERVER.name)
    leaving = (await around.runtime.observe())[SERVER.name]
    assert {r.phase for r in leaving.replicas} == {Phase.stopping}
    with pytest.raises(Unavailable, match="still being deleted"):
        await around.runtime.apply(SERVER)
    await around.runtime.delete(SERVER.name)
    assert around.cluster.requests.count("DELETE secrets") == 1
    for plural, name in (("pods", "ada-churn-r1-0"), *((k, SERVER.name) for k in reversed(KINDS))):
        await around.cluster.remove(plural, name)

    async def gone() -> bool:
        return not await around.runtime.observe()

    await eventually_async(gone, timeout=5.0)
    await around.runtime.delete(SERVER.name)
    assert not [r for r in around.cluster.requests if r == "DELETE deployments"]


async def test_pods_that_ended_for_good_are_removed_once_others_stand_in(around: Any) -> None:
    await around.runtime.apply(SERVER)
    await around.cluster.put("pods", pod(0, phase="Failed", reason="Evicted", message="low on memory"))
    await until(around, lambda o: o.replicas and o.replicas[0].reason == "Evicted")
    await around.cluster.put("pods", ready_pod(1))
    await until(around, lambda o: [r.phase for r in o.replicas] == [Phase.ready])
    assert ("pods", "ada-churn-r1-0") not in around.cluster.objects


async def test_logs_are_those_of_the_crash_and_of_now(around: Any) -> None:
    await around.runtime.apply(SERVER)
    await around.cluster.put("pods", crashed_pod(3))
    await until(around, lambda o: o.replicas)
    around.cluster.logs["ada-churn-r1-0", "server", True] = "one\ntwo\n"
    (entry,) = await around.runtime.logs(SERVER.name, lines=5)
    assert entry.lines == ("one", "two")
    around.cluster.logs["ada-churn-r1-0", "server", False] = "three\n"
    (entry,) = await around.runtime.logs(SERVER.name, lines=2)
    assert entry.lines == ("two", "three")
    around.cluster.logs.clear()
    around.cluster.logs["ada-churn-r1-0", "fetch", False] = "fetching\n"
    (entry,) = await around.runtime.logs(SERVER.name, lines=2)
    assert entry.lines == ("fetching",)
    with pytest.raises(NotFound):
        await around.runtime.logs("nobody", lines=1)


RBAC = 'secrets is forbidden: User "hub" cannot patch resource "secrets" in API group ""'
QUOTA = 'secrets "a" is forbidden: exceeded quota: team, requested: secrets=1, used: secrets=5, limited: secrets=5'


@pytest.mark.parametrize(
    ("status", "message", "kind", "words"),
    [
        (403, RBAC, ClusterForbidden, 'cannot patch resource "secrets"'),
        (403, QUOTA, QuotaExceeded, "used: secrets=5"),
        (404, 'namespaces "yard" not found', Unavailable, "Create the namespace"),
        (422, "Secret is invalid: too long", InvalidInput, "too long"),
        (429, "busy", Unavailable, "busy"),
    ],
)
async def test_a_refusal_is_the_callers_to_see(
    around: Any, status: int, message: str, kind: type[Exception], words: str
) -> None:
    around.cluster.faults["PATCH secrets"] = [refuse(status, message)]
    with pytest.raises(kind, match=words.replace("(", r"\(")):
        await around.runtime.apply(SERVER)
    await around.runtime.apply(SERVER)


async def test_what_the_cluster_does_not_take_is_said_until_it_does(around: Any) -> None:
    """The record is there by then, so that nobody would ask again; the runtime does."""
    quota = refuse(403, QUOTA.replace("secrets", "count/deployments.apps"))
    around.cluster.faults["PATCH deployments"] = [quota] * 2
    with pytest.raises(QuotaExceeded):
        await around.runtime.apply(SERVER)
    said = await until(around, lambda o: o.replicas)
    assert said.digest == SERVER.digest()
    assert (said.replicas[0].phase, said.replicas[0].reason) == (Phase.backoff, "QuotaExceeded")
    assert "used: count/deployments.apps=5" in said.replicas[0].message
    await there(around.cluster, "deployments", lambda o: o["spec"])
    await until(around, lambda o: not o.replicas)


async def test_a_conflict_is_tried_again(around: Any) -> None:
    around.cluster.faults["PATCH deployments"] = [refuse(409, "modified") for _ in range(2)]
    await around.runtime.apply(SERVER)
    around.cluster.faults["PATCH secrets"] = [refuse(409, "modified") for _ in range(3)]
    with pytest.raises(Conflict):
        await around.runtime.apply(replace(SERVER, replicas=2))


async def test_somebody_elses_secret_is_left_alone(around: Any) -> None:
    theirs = {"metadata": {"name": SERVER.name, "namespace": "yard"}, "type": "Opaque", "data": {"a": "Yg=="}}
    await around.cluster.put("secrets", theirs)
    with pytest.raises(Conflict, match="not Modelyard's"):
        await around.runtime.apply(SERVER)
    assert around.cluster.objects["secrets", SERVER.name]["type"] == "Opaque"


async def test_a_cluster_that_is_away_is_said_to_be_and_what_was_seen_stays(
    around: Any, options: KubernetesOptions
) -> None:
    await around.runtime.apply(SERVER)
    await around.cluster.put("pods", ready_pod(0))
    await until(around, lambda o: o.replicas)
    changes = around.runtime.changes()
    down = [refuse(503, "the server is shutting down")]
    for plural in ("secrets", "deployments", "pods"):
        around.cluster.faults[f"WATCH {plural}"] = down * 1000
    around.cluster.faults["PATCH secrets"] = down * 10
    gone = await until(around, lambda o: o.unseen_since is not None)
    assert [r.phase for r in gone.replicas] == [Phase.ready]
    assert await asyncio.wait_for(anext(changes), 5) == SERVER.name
    with pytest.raises(Unavailable, match="it is away since"):
        await around.runtime.apply(replace(SERVER, replicas=2))
    around.cluster.faults.clear()
    await until(around, lambda o: o.unseen_since is None)


async def test_what_could_not_be_done_is_told_when_the_cluster_is_back(around: Any) -> None:
    """Though nothing of it changed, and it was never seen: somebody waits to try it again."""
    changes = around.runtime.changes()
    down = [refuse(503, "the server is shutting down")] * 3
    around.cluster.faults = {f"WATCH {plural}": list(down) for plural in ("secrets", "deployments", "pods")}
    around.cluster.faults["GET secrets"] = [refuse(503, "the server is shutting down")]
    around.cluster.cut()
    with pytest.raises(Unavailable):
        await around.runtime.apply(SERVER)
    assert await asyncio.wait_for(anext(changes), 5) == SERVER.name


async def test_a_cluster_that_does_not_answer_cannot_be_opened(options: KubernetesOptions, cluster: Any) -> None:
    cluster.faults["GET pods"] = [refuse(503, "starting")]
    with pytest.raises(Unavailable, match="starting"):
        await KubernetesRuntime(options).open()


async def test_no_cluster_at_all_says_what_to_set() -> None:
    with pytest.raises(Unavailable, match="MODELYARD_KUBECONFIG"):
        await KubernetesRuntime(KubernetesOptions(namespace="yard")).open()


def test_the_rules_grant_no_more_than_is_used() -> None:
    """That they grant enough is checked after every test here."""
    granted = {(rule.resource, verb) for rule in RULES for verb in rule.verbs}
    assert not {("deployments", "delete"), ("services", "delete"), ("secrets", "deletecollection")} & granted
    assert all(verb != "*" for _, verb in granted)

"""What the runtime promises beyond the contract, on a real cluster."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import httpx
import pytest

from contracts.runtime import ask, gone, ready, until
from harness.cluster_yard import ClusterYard
from harness.wait import eventually, eventually_async
from modelyard_api.errors import ClusterForbidden, Unavailable
from modelyard_api.resources import MiB, Resources
from modelyard_hub.runtimes.base import Phase
from modelyard_hub.runtimes.kubernetes import KubernetesRuntime
from modelyard_hub.runtimes.kubernetes.rbac import RULES

NAME = "ada-churn-1"


def events(yard: ClusterYard, reason: str) -> list[dict[str, Any]]:
    return [e for e in yard.objects("events") if e["reason"] == reason]


async def test_pods_fit_a_namespace_with_the_restricted_standard(yard: ClusterYard) -> None:
    yard.cluster.kubectl(
        "label", "namespace", yard.namespace, "pod-security.kubernetes.io/enforce=restricted", "--overwrite"
    )
    await yard.runtime.apply(yard.server())
    await until(yard, NAME, ready(1))


async def test_the_cluster_keeps_every_field_so_that_nothing_drifts(yard: ClusterYard) -> None:
    await yard.runtime.apply(yard.server(max_replicas=2, resources=Resources(cpu=0.25, memory=100 * MiB)))
    await until(yard, NAME, ready(1))
    generations = {k: yard.objects(k)[0]["metadata"].get("generation") for k in ("deployments", "hpa", "pdb")}
    await yard.reopen()
    await until(yard, NAME, ready(1))
    assert events(yard, "DriftCorrected") == []
    assert {k: yard.objects(k)[0]["metadata"].get("generation") for k in generations} == generations


async def test_what_is_changed_by_hand_is_put_back_with_an_event(yard: ClusterYard) -> None:
    await yard.runtime.apply(yard.server())
    await until(yard, NAME, ready(1))
    yard.kubectl("scale", "deployment", NAME, "--replicas=2")
    yard.kubectl("delete", "service", NAME)

    async def both() -> list[dict[str, Any]]:
        found = events(yard, "DriftCorrected")
        return found if len(found) == 2 else []

    told = await eventually_async(both, timeout=30)
    messages = " ".join(e["message"] for e in told)
    assert "spec.replicas" in messages
    assert "Service was missing" in messages
    assert {e["involvedObject"]["name"] for e in told} == {NAME}
    await until(yard, NAME, ready(1))
    assert yard.objects("services")


@asynccontextmanager
async def calls(yard: ClusterYard, lost: list[str]) -> AsyncIterator[list[int]]:
    """Calls go to the ready replicas all the time, as the router would send them: by what was observed half a second
    ago. `lost` gets each that was not answered."""
    count = [0]

    async def call() -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            while True:
                observed = (await yard.runtime.observe())[NAME]
                addresses = [r.address for r in observed.replicas if r.phase is Phase.ready]
                await asyncio.sleep(0.5)
                for address in addresses:
                    try:
                        await client.get(f"{address}/echo")
                        count[0] += 1
                    except httpx.HTTPError as error:
                        lost.append(f"{address}: {error!r}")

    tasks = [asyncio.create_task(call()) for _ in range(4)]
    try:
        yield count
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def test_a_rolling_change_loses_no_call(yard: ClusterYard) -> None:
    # Callers on a busy machine are late: a call may go where it was observed seconds ago.
    patient = replace(yard.options, timing=replace(yard.options.timing, notice=6.0))
    await yard.runtime.close()
    yard.runtime = KubernetesRuntime(patient)
    await yard.runtime.open()
    server = yard.server(replicas=2)
    await yard.runtime.apply(server)
    old = {r.address for r in (await until(yard, NAME, ready(2))).replicas}
    lost: list[str] = []
    async with calls(yard, lost) as count:
        await yard.runtime.apply(replace(server, environment={"COLOUR": "blue"}))
        await until(yard, NAME, lambda o: ready(2)(o) and not {r.address for r in o.replicas} & old)
        before = count[0]

        async def more() -> bool:
            return count[0] > before + 10

        await eventually_async(more)
    assert lost == []


async def test_the_api_server_restarts_and_nothing_is_lost(yard: ClusterYard, cluster: Any) -> None:
    server = yard.server()
    await yard.runtime.apply(server)
    first = (await until(yard, NAME, ready(1))).replicas[0]
    cluster.stop_api_server()
    try:
        with pytest.raises(Unavailable):
            await yard.runtime.apply(replace(server, replicas=2))
        kept = await until(yard, NAME, lambda o: o.unseen_since is not None)
        assert kept.replicas == (first,), "what was seen last stays, marked"
        assert (await ask(first))["path"] == "/echo"
    finally:
        cluster.start_api_server()
    await until(yard, NAME, lambda o: o.unseen_since is None)
    await yard.runtime.apply(replace(server, replicas=2))
    two = await until(yard, NAME, ready(2))
    assert first.address in {r.address for r in two.replicas}


async def test_an_image_that_is_not_there(yard: ClusterYard) -> None:
    runtime = KubernetesRuntime(replace(yard.options, image="localhost/modelyard/nobody:test"))
    await yard.runtime.close()
    yard.runtime = runtime
    await runtime.open()
    await runtime.apply(yard.server())
    found = await until(yard, NAME, lambda o: o.replicas and o.replicas[0].reason)
    assert found.replicas[0].phase is Phase.backoff
    assert found.replicas[0].reason in ("ErrImageNeverPull", "ErrImagePull", "ImagePullBackOff")
    assert "image" in found.replicas[0].message


async def test_a_command_that_is_not_there(yard: ClusterYard) -> None:
    await yard.runtime.close()
    yard.runtime = KubernetesRuntime(replace(yard.options, command=("/no/such/program",)))
    await yard.runtime.open()
    await yard.runtime.apply(yard.server())
    found = await until(yard, NAME, lambda o: o.replicas and o.replicas[0].phase is Phase.backoff)
    assert found.replicas[0].reason in ("StartError", "RunContainerError", "CreateContainerError")
    assert "/no/such/program" in found.replicas[0].message


async def test_a_package_that_cannot_be_fetched_says_its_last_line(yard: ClusterYard) -> None:
    await yard.runtime.close()
    # On one stream: the node reads two of them side by side.
    fetch = ("sh", "-c", 'echo looking for "$0" >&2; echo no such package >&2; exit 3')
    yard.runtime = KubernetesRuntime(replace(yard.options, fetch=fetch))
    await yard.runtime.open()
    await yard.runtime.apply(yard.server())
    found = await until(yard, NAME, lambda o: o.replicas and o.replicas[0].reason == "FetchFailed")
    assert "(exit code 3): no such package" in found.replicas[0].message
    (entry,) = await yard.runtime.logs(NAME, lines=5)
    assert "looking for /nowhere" in entry.lines


async def test_a_replica_that_fits_nowhere(yard: ClusterYard) -> None:
    await yard.runtime.apply(yard.server(resources=Resources(cpu=200, memory=128 * MiB)))
    found = await until(yard, NAME, lambda o: o.replicas and o.replicas[0].reason == "Unschedulable")
    assert "nsufficient cpu" in found.replicas[0].message


async def test_a_quota_that_is_used_up(yard: ClusterYard) -> None:
    yard.kubectl("create", "quota", "team", "--hard=pods=1")
    eventually(lambda: yard.objects("resourcequotas")[0]["status"].get("used"), what="the quota counts")
    await yard.runtime.apply(yard.server(replicas=2))
    found = await until(yard, NAME, lambda o: any(r.reason == "QuotaExceeded" for r in o.replicas))
    refused = next(r for r in found.replicas if r.reason == "QuotaExceeded")
    assert "requested: pods=1, used: pods=1, limited: pods=1" in refused.message


async def test_the_account_of_the_rules_can_do_all_and_one_without_them_is_told(
    yard: ClusterYard, tmp_path: Any
) -> None:
    await yard.runtime.close()
    rules = [{"apiGroups": [r.group], "resources": [r.resource], "verbs": list(r.verbs)} for r in RULES]
    config = account(yard, "hub", rules, tmp_path)
    yard.runtime = KubernetesRuntime(replace(yard.options, kubeconfig=config))
    await yard.runtime.open()
    server = yard.server(max_replicas=2, files={"access.json": "{}"})
    await yard.runtime.apply(server)
    await until(yard, NAME, ready(1))
    await yard.runtime.apply(replace(server, max_replicas=0, files={"access.json": "[]"}))
    await yard.runtime.logs(NAME, lines=1)
    await yard.runtime.delete(NAME)
    await gone(yard, NAME)
    await yard.runtime.close()
    less = [r for r in rules if r["resources"] != ["pods"]]
    yard.runtime = KubernetesRuntime(replace(yard.options, kubeconfig=account(yard, "less", less, tmp_path)))
    with pytest.raises(ClusterForbidden, match='cannot list resource "pods"'):
        await yard.runtime.open()


def account(yard: ClusterYard, name: str, rules: list[dict[str, Any]], folder: Any) -> Any:
    """The kubeconfig of a service account with these rules."""
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": name},
        "rules": rules,
    }
    yard.kubectl("create", "--filename=-", input=json.dumps(role))
    yard.kubectl("create", "serviceaccount", name)
    yard.kubectl("create", "rolebinding", name, f"--role={name}", f"--serviceaccount={yard.namespace}:{name}")
    token = yard.kubectl("create", "token", name).strip()
    told = json.loads(yard.cluster.kubectl("config", "view", "--raw", "--flatten", "--minify", "--output=json"))
    told["users"] = [{"name": told["users"][0]["name"], "user": {"token": token}}]
    path = folder / f"{name}.kubeconfig"
    path.write_text(json.dumps(told))
    return path


async def test_deleting_leaves_nothing_behind(yard: ClusterYard) -> None:
    await yard.runtime.apply(yard.server(max_replicas=3))
    await until(yard, NAME, ready(1))
    await yard.runtime.delete(NAME)
    await gone(yard, NAME)
    for kind in ("deployments", "replicasets", "services", "pdb", "hpa", "pods"):
        assert not yard.objects(kind), kind


async def test_an_autoscaled_number_is_left_as_it_is(yard: ClusterYard) -> None:
    server = yard.server(replicas=1, max_replicas=3)
    await yard.runtime.apply(replace(server, max_replicas=0, replicas=2))
    await until(yard, NAME, ready(2))
    await yard.runtime.apply(server)
    assert (await until(yard, NAME, ready(2))).scaled_to == 2, "leaving the field out must not set it to 1"
    # As the autoscaler does it.
    yard.kubectl("scale", "deployment", NAME, "--replicas=3")
    await until(yard, NAME, lambda o: o.scaled_to == 3)
    await yard.runtime.apply(replace(server, environment={"A": "1"}))
    assert (await until(yard, NAME, lambda o: o.digest != server.digest())).scaled_to == 3
    assert events(yard, "DriftCorrected") == []

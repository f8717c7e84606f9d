"""The real spawner against a cluster of claims: which home it makes or takes, and what goes to the trash when."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from kubernetes_asyncio.client.exceptions import ApiException
from kubernetes_asyncio.config import kube_config
from kubespawner.clients import load_config
from tornado.web import HTTPError

from harness.fake_cluster import FakeCluster, fake_cluster, refuse
from harness.pod_spawner import manifest, spawner
from modelyard_api.errors import Conflict
from modelyard_hub.spawner.kubernetes import PodSpawner
from modelyard_hub.spawner.rbac import RULES
from modelyard_hub.spawner.starts import away
from modelyard_hub.spawner.starts.telling import NotStarted
from modelyard_hub.volumes import claims

EARLY, LATE = datetime(2020, 1, 1), datetime(2026, 1, 1)


@pytest.fixture
async def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeCluster]:
    async with fake_cluster() as made:
        monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(made.kubeconfig(tmp_path)))
        load_config.cache_clear()  # else it is the cluster of an earlier test
        yield made
    load_config.cache_clear()
    allowed = {(resource, verb) for _, resource, verbs in RULES for verb in verbs}
    assert made.verbs <= allowed, "the chart's Role does not grant it"


def of(home: Path, user: str = "ada", server: str = "", created: datetime = LATE, **settings: Any) -> PodSpawner:
    made = spawner(home, user, **settings)
    made.user.orm_user = SimpleNamespace(created=created)
    made.orm_spawner.name = server
    made.k8s_api_request_retry_timeout = 2
    return made


def claim(cluster: FakeCluster, name: str) -> dict[str, Any]:
    return cluster.objects["persistentvolumeclaims", name]


def names(cluster: FakeCluster) -> list[str]:
    return [name for kind, name in cluster.objects if kind == "persistentvolumeclaims"]


async def test_each_user_and_server_has_one_of_its_own(cluster: FakeCluster, tmp_path: Path) -> None:
    first, gpu, other = of(tmp_path), of(tmp_path, server="gpu"), of(tmp_path, "ada-gpu")
    for made in (first, gpu, other, first, gpu):
        await made.prepare_volumes()
    assert len(names(cluster)) == 3
    assert first.pvc_name.startswith("home-ada-")
    assert gpu.pvc_name.startswith("home-ada-gpu-")
    assert len({first.pvc_name, gpu.pvc_name, other.pvc_name}) == 3
    pod = (await manifest(gpu))["spec"]
    assert pod["volumes"][0] == {"name": "home", "persistentVolumeClaim": {"claimName": gpu.pvc_name}}
    made_for = claim(cluster, gpu.pvc_name)["metadata"]
    assert made_for["labels"].items() >= {claims.OWNER: "ada", claims.VOLUME: "home-gpu"}.items()
    assert made_for["annotations"][claims.USER] == LATE.isoformat()


async def test_it_is_found_again_by_what_it_says(cluster: FakeCluster, tmp_path: Path) -> None:
    before = of(tmp_path)
    await before.prepare_volumes()
    after = of(tmp_path)  # of a JupyterHub that was killed before it wrote anything down
    await after.prepare_volumes()
    assert after.pvc_name == before.pvc_name
    assert after.get_state()["pvc_name"] == before.pvc_name


async def test_one_of_an_earlier_version_is_taken_over(cluster: FakeCluster, tmp_path: Path) -> None:
    old = {"metadata": {"name": "home-ada", "labels": {claims.OWNER: "ada"}}, "spec": {}}
    await cluster.put("persistentvolumeclaims", old)
    made = of(tmp_path)
    await made.prepare_volumes()
    assert (made.pvc_name, names(cluster)) == ("home-ada", ["home-ada"])
    taken = claim(cluster, "home-ada")["metadata"]
    assert (taken["labels"][claims.VOLUME], taken["annotations"][claims.USER]) == ("home", LATE.isoformat())


async def test_a_deleted_user_leaves_all_in_the_trash_and_the_next_of_that_name_gets_none(
    cluster: FakeCluster, tmp_path: Path
) -> None:
    earlier, gpu, bob = of(tmp_path, created=EARLY), of(tmp_path, server="gpu", created=EARLY), of(tmp_path, "bob")
    for made in (earlier, gpu, bob):
        await made.prepare_volumes()
    data = {"metadata": {"name": "ada-data-x", "labels": claims.labels_of("ada", "data")}, "spec": {}}
    await cluster.put("persistentvolumeclaims", data)
    await earlier.delete_forever()
    put = {name for name in names(cluster) if claims.is_trashed(claim(cluster, name))}
    assert put == {earlier.pvc_name, gpu.pvc_name, "ada-data-x"}
    note = claims.trashed(claim(cluster, earlier.pvc_name))
    assert note is not None
    assert (note.gone, (note.until - note.at).days, note.by) == (True, 30, "deleted with its user")
    later = of(tmp_path)
    await later.prepare_volumes()
    assert later.pvc_name not in put
    await later.delete_forever()
    assert claims.trashed(claim(cluster, earlier.pvc_name)) == note


async def test_nothing_of_a_user_is_in_the_trash_while_a_further_server_runs(
    cluster: FakeCluster, tmp_path: Path
) -> None:
    default, gpu = of(tmp_path), of(tmp_path, server="gpu")
    for made in (default, gpu):
        await made.prepare_volumes()
    gpu._spawn_pending = True
    default.user.spawners["gpu"] = gpu
    with pytest.raises(RuntimeError, match="ada has servers that run or start: gpu"):
        await default.delete_forever()
    assert not [name for name in names(cluster) if claims.is_trashed(claim(cluster, name))]
    gpu._spawn_pending = False
    await default.delete_forever()
    assert all(claims.is_trashed(claim(cluster, name)) for name in names(cluster))


async def test_a_server_with_a_home_keeps_its_name(cluster: FakeCluster, tmp_path: Path) -> None:
    """JupyterHub lets its user rename it, and asks this."""
    with pytest.raises(HTTPError, match="A server with a home volume keeps its name") as refused:
        await of(tmp_path).rename("", "gpu")
    assert refused.value.status_code == 400


async def test_a_deleted_server_takes_its_own_home_alone(cluster: FakeCluster, tmp_path: Path) -> None:
    default, gpu = of(tmp_path, volume_trash_days=7), of(tmp_path, server="gpu", volume_trash_days=7)
    for made in (default, gpu):
        await made.prepare_volumes()
    await gpu.delete_forever()
    note = claims.trashed(claim(cluster, gpu.pvc_name))
    assert note is not None
    assert (note.gone, (note.until - note.at).days) == (False, 7)
    assert not claims.is_trashed(claim(cluster, default.pvc_name))


async def test_a_cluster_that_is_busy_is_asked_again(cluster: FakeCluster, tmp_path: Path) -> None:
    made = of(tmp_path)
    await made.prepare_volumes()
    cluster.faults["GET persistentvolumeclaims"] = [refuse(503, "not now")]
    cluster.faults["PATCH persistentvolumeclaims"] = [refuse(409, "the object has been modified")]
    await made.delete_forever()
    assert claims.is_trashed(claim(cluster, made.pvc_name))


async def test_what_an_earlier_account_left_is_refused_in_words(cluster: FakeCluster, tmp_path: Path) -> None:
    """Where JupyterHub could not put it into the trash."""
    earlier = of(tmp_path, created=EARLY)
    await earlier.prepare_volumes()
    later = of(tmp_path)
    with pytest.raises(Conflict, match="earlier account named 'ada'"):
        await later.prepare_volumes()
    later.user.escaped_name = "ada"
    with pytest.raises(NotStarted) as told:
        await later._unless_hopeless(later.prepare_volumes(), 5)
    assert told.value.diagnosis.reason == "volume"
    assert "An administrator decides" in told.value.diagnosis.remedy
    await later.delete_forever()
    assert not claims.is_trashed(claim(cluster, earlier.pvc_name))


async def test_further_and_shared_volumes_are_in_the_pod(cluster: FakeCluster, tmp_path: Path) -> None:
    for name, server in (("data", ""), ("theirs", "gpu")):
        found = {
            "name": f"ada-{name}-x",
            "labels": claims.labels_of("ada", name),
            "annotations": {claims.SERVER: server},
        }
        await cluster.put("persistentvolumeclaims", {"metadata": found, "spec": {}})
    shared = (
        {"name": "pictures", "claim": "pictures", "groups": ["team"]},
        {"name": "x", "claim": "x", "groups": ["y"]},
    )
    made = of(tmp_path, shared_volumes=shared)
    await made.prepare_volumes()
    pod = (await manifest(made))["spec"]
    assert [v["name"] for v in pod["volumes"]] == ["home", "shm", "volume-0", "shared-pictures"]
    assert pod["volumes"][2]["persistentVolumeClaim"] == {"claimName": "ada-data-x"}
    assert pod["volumes"][3]["persistentVolumeClaim"] == {"claimName": "pictures", "readOnly": True}
    assert pod["containers"][0]["volumeMounts"][2:] == [
        {"name": "volume-0", "mountPath": "/home/jovyan/volumes/data"},
        {"name": "shared-pictures", "mountPath": "/home/jovyan/shared/pictures", "readOnly": True},
    ]


async def test_a_cluster_that_does_not_answer_is_asked_again_for_a_while(
    cluster: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = of(tmp_path)
    made.user.escaped_name = "ada"

    async def hang_up(request: web.Request) -> web.StreamResponse:
        """It does what it is told, and ends the connection before it answers."""
        answer = await cluster.handle(request)
        assert request.transport is not None
        request.transport.abort()
        return answer

    cluster.faults["GET persistentvolumeclaims"] = [refuse(503, "etcd is away")]
    cluster.faults["POST persistentvolumeclaims"] = [hang_up]
    await made._when_it_answers(made.prepare_volumes)
    assert names(cluster) == [made.pvc_name], "and one home is made"
    cluster.faults["GET persistentvolumeclaims"] = [refuse(403, "no")]
    monkeypatch.setattr(away, "_last", {})  # it has been there for long
    with pytest.raises(ApiException):  # what it refuses it refuses
        await made._when_it_answers(made.prepare_volumes)
    made.k8s_api_request_retry_timeout = 0
    cluster.faults["GET persistentvolumeclaims"] = [refuse(503, "etcd is away")] * 3
    with pytest.raises(NotStarted, match=r"The cluster does not answer\. Try again in a minute\."):
        await made._when_it_answers(made.prepare_volumes)

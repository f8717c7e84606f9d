"""What only claims can do: races, foreign pods, folders out of snapshots."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web

from contracts.disks import LATER, NOW, GiB, again, made
from harness.claims import Claims, pod
from harness.fake_cluster import refuse
from modelyard_api.errors import Conflict, ModelyardError, QuotaExceeded
from modelyard_api.volumes import Restoring, VolumeSpec
from modelyard_hub.volumes import claims as meaning
from modelyard_hub.volumes.keeper import Keeper
from modelyard_hub.volumes.shelf import Bounds, Shelf
from modelyard_hub.volumes.snapshots import PLANNED


async def test_a_claim_is_named_by_chance_and_says_what_it_is(claims: Claims) -> None:
    first = claims.claim(await made(claims))["metadata"]
    second = claims.claim(await made(claims, "more"))["metadata"]
    assert first["name"].startswith("ada-data-")
    assert first["name"].rpartition("-")[2] != second["name"].rpartition("-")[2]
    assert first["labels"].items() >= {"modelyard.dev/owner": "ada", "modelyard.dev/volume": "data"}.items()


async def test_a_claim_that_is_taken_out_of_the_trash_before_its_deletion_begins_stays_with_its_snapshots(
    claims: Claims,
) -> None:
    volume = await made(claims)
    kept = await claims.disks.snapshot(volume)
    put = await claims.disks.trash(volume, NOW, LATER, "ada")
    name = claims.claim(put)["metadata"]["name"]

    async def meanwhile(request: web.Request) -> web.StreamResponse:
        await claims.disks.recover(put, "ada", "data")
        return await claims.cluster.handle(request)

    claims.cluster.faults["PATCH persistentvolumeclaims"] = [meanwhile]
    with pytest.raises(Conflict):
        await claims.disks.purge(put)
    assert ("persistentvolumeclaims", name) in claims.cluster.objects
    assert [one.name for one in await claims.disks.snapshots(["ada"])] == [kept.name]
    assert (await again(claims, put)).status.trashed is None


async def test_nobody_takes_out_of_the_trash_what_is_being_deleted(claims: Claims) -> None:
    volume = await made(claims)
    await claims.disks.snapshot(volume)
    put = await claims.disks.trash(volume, NOW, LATER, "ada")
    refused: list[Conflict] = []

    async def meanwhile(request: web.Request) -> web.StreamResponse:
        with pytest.raises(Conflict, match="being deleted already") as caught:
            await claims.disks.recover(put, "ada", "data")
        refused.append(caught.value)
        return await claims.cluster.handle(request)

    claims.cluster.faults["DELETE volumesnapshots"] = [meanwhile]
    await claims.disks.purge(put)
    assert len(refused) == 1
    assert await claims.disks.volumes(["ada"]) == []


async def test_a_deletion_that_was_cut_off_is_ended_by_the_clock(claims: Claims) -> None:
    volume = await made(claims)
    await claims.disks.snapshot(volume)
    put = await claims.disks.trash(volume, NOW, datetime.now(UTC) + timedelta(days=30), "ada")
    claims.cluster.faults["DELETE volumesnapshots"] = [refuse(500, "etcd is away")]
    with pytest.raises(ModelyardError):
        await claims.disks.purge(put)
    left = (await again(claims, put)).status.trashed
    assert left is not None
    assert left.until <= datetime.now(UTC)

    async def told(action: str, subject: str) -> None:
        assert (action, subject) == ("volume.purge", "volume/ada/data")

    await Keeper(Shelf(claims.disks, Bounds(largest=1 << 40, most=3, days=30)), told).look()
    assert await claims.disks.volumes(["ada"]) == []


@pytest.mark.parametrize(("phase", "deleted"), [("Pending", False), ("Running", False), ("Succeeded", True)])
async def test_nothing_is_deleted_while_any_pod_has_it(claims: Claims, phase: str, deleted: bool) -> None:
    put = await claims.disks.trash(await made(claims), NOW, LATER, "ada")
    foreign = pod("somebodys", claims.claim(put)["metadata"]["name"], phase)
    del foreign["metadata"]["labels"]
    await claims.cluster.put("pods", foreign)
    if deleted:
        await claims.disks.purge(put)
        assert await claims.disks.volumes(["ada"]) == []
    else:
        with pytest.raises(Conflict, match="somebodys on one"):
            await claims.disks.purge(put)
        assert await again(claims, put) == put


async def test_its_snapshots_go_with_it_and_no_others(claims: Claims) -> None:
    volume, other = await made(claims), await made(claims, "more")
    await claims.disks.snapshot(volume)
    kept = await claims.disks.snapshot(other)
    await claims.disks.purge(await claims.disks.trash(volume, NOW, LATER, "ada"))
    assert [s.name for s in await claims.disks.snapshots(["ada"])] == [kept.name]


async def test_the_status_that_the_cluster_writes_is_no_change_of_others(claims: Claims) -> None:
    volume = await made(claims)

    async def meanwhile(request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        await claims.cluster.change("persistentvolumeclaims", name, lambda o: o["status"].update(seen=True))
        return await claims.cluster.handle(request)

    claims.cluster.faults["PATCH persistentvolumeclaims"] = [meanwhile]
    grown = await claims.disks.write(volume, volume.spec.model_copy(update={"size": 2 * GiB}))
    assert grown.spec.size == 2 * GiB
    assert (grown.status.state, grown.status.size) == ("growing", GiB)


async def test_a_class_that_does_not_let_volumes_grow_is_said(claims: Claims) -> None:
    volume = await made(claims)
    said = (
        'persistentvolumeclaims "x" is forbidden: only dynamically provisioned pvc can be resized and the storageclass '
        "that provisions the pvc must support resize"
    )
    claims.cluster.faults["PATCH persistentvolumeclaims"] = [refuse(403, said)]
    with pytest.raises(Conflict, match="does not let volumes grow"):
        await claims.disks.write(volume, volume.spec.model_copy(update={"size": 2 * GiB}))


async def test_a_folder_comes_by_a_job_that_owns_the_snapshots_claim(claims: Claims) -> None:
    volume = await made(claims)
    snapshot = await claims.disks.snapshot(volume)
    order = Restoring(snapshot=snapshot.name, folder="work", into="restored", state="running")
    await claims.disks.copy(snapshot, volume, order)
    ((_, name), job), *more = [(k, o) for k, o in claims.cluster.objects.items() if k[0] == "jobs"]
    assert more == []
    spec = job["spec"]["template"]["spec"]
    claim = claims.cluster.objects["persistentvolumeclaims", name]
    assert claim["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]
    assert claim["spec"]["dataSource"]["name"] == snapshot.name
    assert {v["name"]: v["persistentVolumeClaim"]["claimName"] for v in spec["volumes"]} == {
        "from": name, "to": claims.claim(volume)["metadata"]["name"],
    }  # fmt: skip
    assert spec["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"
    assert (await again(claims, volume)).status.restoring == (order,)
    assert len(await claims.disks.volumes(None)) == 1  # the snapshot's claim is nobody's volume
    ended = {"conditions": [{"type": "Failed", "status": "True", "message": "BackoffLimitExceeded"}]}
    await claims.cluster.change("jobs", name, lambda o: o.update(status=ended))
    volume = await again(claims, volume)
    assert volume.status.restoring[0].state == "failed"
    await claims.disks.purge(await claims.disks.trash(volume, NOW, LATER, "ada"))
    assert claims.cluster.objects["jobs", name]["metadata"]["deletionTimestamp"]


async def test_a_snapshot_is_restored_by_the_storage_that_it_is_of(claims: Claims) -> None:
    volume = await made(claims)
    name = claims.claim(volume)["metadata"]["name"]
    await claims.cluster.change("persistentvolumeclaims", name, lambda o: o["spec"].update(storageClassName="old"))
    snapshot = await claims.disks.snapshot(volume)
    whole = await claims.disks.create("ada", "before", VolumeSpec(size=GiB), snapshot)
    assert claims.claim(whole)["spec"]["storageClassName"] == "old"
    assert "storageClassName" not in claims.claim(await made(claims, "more"))["spec"]


async def test_a_job_without_room_for_its_claim_is_not_left(claims: Claims) -> None:
    volume = await made(claims)
    snapshot = await claims.disks.snapshot(volume)
    order = Restoring(snapshot=snapshot.name, folder="work", into="restored", state="running")
    said = 'persistentvolumeclaims "x" is forbidden: exceeded quota: all, requested: a, used: b, limited: c'
    claims.cluster.faults["POST persistentvolumeclaims"] = [refuse(403, said)]
    with pytest.raises(QuotaExceeded):
        await claims.disks.copy(snapshot, volume, order)
    (job,) = [o for k, o in claims.cluster.objects.items() if k[0] == "jobs"]
    assert job["metadata"]["deletionTimestamp"]


async def test_who_has_a_volume_is_not_copied_into(claims: Claims) -> None:
    volume = await made(claims)
    snapshot = await claims.disks.snapshot(volume)
    await claims.hold(volume)
    order = Restoring(snapshot=snapshot.name, folder="work", into="restored", state="running")
    with pytest.raises(Conflict, match="notebook-ada on one"):
        await claims.disks.copy(snapshot, volume, order)


async def test_a_home_of_an_earlier_version_is_one(claims: Claims) -> None:
    old = {
        "metadata": {"name": "home-ada", "labels": {"modelyard.dev/owner": "ada"}},
        "spec": {"resources": {"requests": {"storage": "1Gi"}}},
        "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}},
    }
    await claims.cluster.put("persistentvolumeclaims", old)
    (home,) = await claims.disks.volumes(["ada"])
    assert (home.kind, home.name, home.status.size) == ("home", "home", GiB)


def test_what_says_no_time_is_kept_for_ever() -> None:
    claim = {"metadata": {"name": "x", "labels": {meaning.TRASHED: "true"}, "annotations": {meaning.UNTIL: "soon"}}}
    found = meaning.trashed(claim)
    assert found is not None
    assert found.until > datetime.now(UTC) + timedelta(days=365_000)


async def test_a_snapshot_says_who_asked_for_it(claims: Claims) -> None:
    await claims.disks.snapshot(await made(claims), planned=True)
    (found,) = [o for k, o in claims.cluster.objects.items() if k[0] == "volumesnapshots"]
    assert found["metadata"]["labels"][PLANNED] == "true"


async def test_who_has_what_is_looked_up_once_for_all_who_look(claims: Claims) -> None:
    volume = await made(claims)
    claims.disks._options = replace(claims.disks._options, fresh=60)
    before = claims.cluster.requests.count("GET pods")
    for _ in range(5):
        await claims.disks.volumes(["ada"])
    assert claims.cluster.requests.count("GET pods") == before
    await claims.hold(volume)
    with pytest.raises(Conflict):  # never to put one away
        await claims.disks.trash(volume, NOW, LATER, "ada")


async def test_the_snapshots_of_a_volume_that_changed_its_owner_go_with_it(claims: Claims) -> None:
    volume = await made(claims)
    await claims.disks.snapshot(volume)
    put = await claims.disks.trash(volume, NOW, LATER, "root")
    bobs = await claims.disks.recover(put, "bob", "data")
    await claims.disks.purge(await claims.disks.trash(bobs, NOW, LATER, "bob"))
    left = [o for (kind, _), o in claims.cluster.objects.items() if kind == "volumesnapshots"]
    assert all(found["metadata"].get("deletionTimestamp") for found in left), left

"""The API of volumes over claims and over folders, with the page's buttons."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from harness import api
from harness.api import API, Yard, problem
from harness.claims import Claims

GiB = 1 << 30


@pytest.fixture
async def there(tmp_path: Path, claims: Claims) -> AsyncIterator[Yard]:
    shared = ({"name": "pictures", "claim": "pictures", "groups": ["team"]},)
    async with api.yard(
        tmp_path,
        disks=claims.disks,
        volume_max=10 * GiB,
        volume_count=2,
        volume_snapshot_count=1,
        shared_volumes=shared,
    ) as yard:
        yield yard


async def make(yard: Yard, token: str = "ada", **order: Any) -> dict[str, Any]:
    async with yard.client(token) as client:
        answer = await client.post(f"{API}/volumes", json={"name": "data", "size": "1Gi", **order})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_one_is_made_seen_and_grown(there: Yard, claims: Claims) -> None:
    made = await make(there)
    assert made["spec"]["size"] == GiB
    async with there.client("ada") as ada, there.client("eve") as eve:
        listed = (await ada.get(f"{API}/volumes")).json()
        assert [v["name"] for v in listed["items"]] == ["data", "pictures"]
        assert listed["snapshots_missing"] == ""
        assert (await eve.get(f"{API}/volumes")).json()["items"] == []
        problem(await eve.get(f"{API}/volumes/ada/data"), 404, "NotFound")
        place = f"{API}/volumes/ada/data"
        grow = {"spec": {"size": "2Gi"}}
        problem(await ada.patch(place, json=grow), 428, "PreconditionRequired")
        problem(await ada.patch(place, json=grow, headers={"If-Match": '"x"'}), 412, "StaleWrite")
        answer = await ada.patch(place, json=grow, headers={"If-Match": made["etag"]})
        assert answer.status_code == 200
        assert answer.json()["spec"]["size"] == 2 * GiB
        assert answer.headers["etag"] == answer.json()["etag"] != made["etag"]
        match = {"If-Match": answer.headers["etag"]}
        smaller = problem(await ada.patch(place, json={"spec": {"size": "1Gi"}}, headers=match), 422, "InvalidInput")
        assert "cannot shrink: it has 2 GiB" in smaller["detail"]
        too_much = problem(await ada.patch(place, json={"spec": {"size": "1Ti"}}, headers=match), 422, "InvalidInput")
        assert "10 GiB" in too_much["detail"]
        problem(await ada.patch(place, json={"spec": {"sizes": 1}}, headers=match), 422, "InvalidInput")
        audit = (await ada.get(f"{API}/audit", params={"subject": "volume/ada/data"})).json()["items"]
        assert [entry["action"] for entry in audit] == ["volume.write", "volume.create"]
    async with there.client("root") as root:
        assert (await root.patch(place, json={"spec": {"size": "1Ti"}}, headers=match)).status_code == 200


async def test_a_server_says_how_full_it_is(there: Yard) -> None:
    made = await make(there)
    place = f"{API}/volumes/ada/data"
    async with there.client("ada") as ada, there.client("eve") as eve:
        problem(await eve.put(f"{place}/usage", json={"used": 1}), 403, "Forbidden")
        assert (await ada.put(f"{place}/usage", json={"used": 5000})).status_code == 204
        assert (await ada.get(place)).json()["status"]["used"] == 5000
        (listed, _) = (await ada.get(f"{API}/volumes")).json()["items"]
        assert listed["status"]["used"] == 5000
        await ada.delete(place, headers={"If-Match": made["etag"]})
        (put,) = (await ada.get(f"{API}/trash")).json()["items"]
        assert put["status"]["used"] is None  # it was said of a name


async def test_what_cannot_be_made(there: Yard) -> None:
    await make(there)
    async with there.client("ada") as ada, there.client("ada-reads") as reads:
        taken = {"name": "data", "size": "1Gi"}
        problem(await ada.post(f"{API}/volumes", json=taken), 409, "Conflict")
        problem(await reads.post(f"{API}/volumes", json={"name": "more"}), 403, "Forbidden")
        problem(await ada.post(f"{API}/volumes", json={"name": "home-gpu"}), 422, "InvalidName")
        problem(await ada.post(f"{API}/volumes", json={"name": "x", "owner": "bob"}), 403, "Forbidden")
        await make(there, name="second")
        of_group = problem(await ada.post(f"{API}/volumes", json={"name": "x", "owner": "team"}), 422, "InvalidInput")
        assert "'team' is a group" in of_group["detail"]
        most = problem(await ada.post(f"{API}/volumes", json={"name": "third"}), 409, "Conflict")
        assert "2 volumes already" in most["detail"]


async def test_through_the_trash_and_back(there: Yard, claims: Claims) -> None:
    made = await make(there)
    async with there.client("ada") as ada, there.client("eve") as eve:
        place, match = f"{API}/volumes/ada/data", {"If-Match": made["etag"]}
        put = (await ada.delete(place, headers=match)).json()
        assert put["status"]["trashed"]["by"] == "ada"
        problem(await ada.get(place), 404, "NotFound")
        (listed,) = (await ada.get(f"{API}/trash")).json()["items"]
        assert listed["id"] == made["id"]
        assert (await eve.get(f"{API}/trash")).json()["items"] == []
        problem(await eve.post(f"{API}/trash/{made['id']}/recover", json={}), 404, "NotFound")
        await make(there)
        problem(await ada.post(f"{API}/trash/{made['id']}/recover", json={}), 409, "Conflict")
        back = await ada.post(f"{API}/trash/{made['id']}/recover", json={"name": "old"})
        assert (back.json()["name"], back.json()["spec"]["attached"]) == ("old", True)
        again = await ada.delete(f"{API}/volumes/ada/old", headers={"If-Match": "*"})
        assert again.status_code == 200
        assert (await ada.delete(f"{API}/trash/{made['id']}")).status_code == 204
        assert (await ada.get(f"{API}/trash")).json()["items"] == []


async def test_what_a_deleted_account_had_is_the_administrators_to_give(there: Yard, claims: Claims) -> None:
    made = await make(there)
    async with there.client("ada") as ada, there.client("root") as root:
        await ada.delete(f"{API}/volumes/ada/data", headers={"If-Match": made["etag"]})
        name = next(name for kind, name in claims.cluster.objects if kind == "persistentvolumeclaims")
        gone = {"modelyard.dev/trashed-gone": "true"}
        await claims.cluster.change("persistentvolumeclaims", name, lambda o: o["metadata"]["annotations"].update(gone))
        assert (await ada.get(f"{API}/trash")).json()["items"] == []
        problem(await ada.post(f"{API}/trash/{made['id']}/recover", json={}), 404, "NotFound")
        (seen,) = (await root.get(f"{API}/trash")).json()["items"]
        assert seen["status"]["trashed"]["gone"]
        given = await root.post(f"{API}/trash/{made['id']}/recover", json={"owner": "bob"})
        assert (given.json()["owner"], given.json()["status"]["trashed"]) == ("bob", None)


async def test_snapshots_and_what_comes_out_of_them(there: Yard, claims: Claims) -> None:
    made = await make(there)
    place = f"{API}/volumes/ada/data"
    async with there.client("ada") as ada, there.client("eve") as eve:
        problem(await ada.post(f"{place}/snapshots"), 409, "Conflict")
        for volume in await claims.disks.volumes(["ada"]):
            await claims.bind(volume)
        taken = (await ada.post(f"{place}/snapshots")).json()
        assert (taken["volume_id"], taken["ready"]) == (made["id"], False)
        most = problem(await ada.post(f"{place}/snapshots"), 409, "Conflict")
        assert "1 snapshots already" in most["detail"]
        order = {"snapshot": taken["name"], "volume": "before"}
        problem(await ada.post(f"{place}/restore", json=order), 409, "Conflict")
        status = {"readyToUse": True, "restoreSize": "1Gi", "creationTime": "2026-11-01T00:00:00Z"}
        await claims.cluster.change("volumesnapshots", taken["name"], lambda o: o.update(status=status))
        problem(await eve.post(f"{API}/volumes", json={"name": "x", "snapshot": taken["name"]}), 404, "NotFound")
        restored = await ada.post(f"{place}/restore", json=order)
        assert (restored.status_code, restored.json()["name"]) == (202, "before")
        found = next(v for v in await claims.disks.volumes(["ada"]) if v.name == "before")
        assert claims.claim(found)["spec"]["dataSource"]["name"] == taken["name"]
        folder = {"snapshot": taken["name"], "volume": "data", "folder": "work/churn"}
        copied = (await ada.post(f"{place}/restore", json=folder)).json()
        assert copied["status"]["restoring"][0]["folder"] == "work/churn"
        for bad in ("/etc", "../x"):
            problem(await ada.post(f"{place}/restore", json={**folder, "folder": bad}), 422, "InvalidInput")
        assert (await ada.delete(f"{place}/snapshots/{taken['name']}")).status_code == 204
        assert (await ada.get(f"{place}/snapshots")).json()["items"] == []


async def test_the_next_volume_of_a_name_does_not_show_the_earlier_ones_snapshots(there: Yard, claims: Claims) -> None:
    made = await make(there)
    for volume in await claims.disks.volumes(["ada"]):
        await claims.bind(volume)
    async with there.client("ada") as ada:
        await ada.post(f"{API}/volumes/ada/data/snapshots")
        await ada.delete(f"{API}/volumes/ada/data", headers={"If-Match": made["etag"]})
        await make(there)
        assert (await ada.get(f"{API}/volumes/ada/data/snapshots")).json()["items"] == []


async def test_on_one_machine_they_are_folders(yard: Yard, tmp_path: Path) -> None:
    home = tmp_path / "users" / "ada"
    home.mkdir(parents=True)
    (home / "a.bin").write_bytes(b"x" * 100_000)
    async with yard.client("ada") as ada:
        (found,) = (await ada.get(f"{API}/volumes")).json()["items"]
        assert (found["name"], found["status"]["path"]) == ("home", str(home))
        match = {"If-Match": found["etag"]}
        place = f"{API}/volumes/ada/home"
        said = problem(await ada.patch(place, json={"spec": {"size": "1Gi"}}, headers=match), 409, "Conflict")
        assert "nothing bounds its size" in said["detail"]
        problem(await ada.post(f"{place}/snapshots"), 503, "Unavailable")
        await ada.delete(place, headers=match)
        assert not home.exists()
        (put,) = (await ada.get(f"{API}/trash")).json()["items"]
        await ada.post(f"{API}/trash/{put['id']}/recover", json={})
        assert (home / "a.bin").stat().st_size == 100_000

"""The API with its store on a full disk: a problem document, nothing lost, and it goes on when there is room."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from harness.api import API, body, problem, yard
from harness.disk import small_disk
from modelyard_api.errors import StorageFull, Unavailable
from modelyard_api.resources import MiB
from modelyard_hub.store.store import Store

URL = f"{API}/endpoints/ada/churn"


async def test_a_full_disk_is_a_problem_document_and_loses_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 4 * MiB) as disk:
        async with yard(tmp_path, store_url=f"sqlite:///{disk.path}/store.sqlite") as made, made.client("ada") as ada:
            (await ada.put(URL, json=body({1: 100}), headers={"If-None-Match": "*"})).raise_for_status()
            disk.fill()
            generation = 1
            while True:  # the write-ahead log has room for a few more
                etag = {"If-Match": f'"{generation}"'}
                change = {"spec": {"description": f"{generation} " + "x" * 1900}}
                answer = await ada.patch(URL, json=change, headers=etag)
                if answer.status_code != 200:
                    break
                generation += 1
            document = problem(answer, 507, "StorageFull")
            assert "disk" in document["detail"]
            problem(await ada.post(f"{URL}/keys", json={"name": "billing"}), 507, "StorageFull")

            kept = await ada.get(URL)
            assert kept.headers["etag"] == f'"{generation}"'
            assert (await ada.get(f"{API}/endpoints")).json()["items"][0]["name"] == "churn"

            disk.free()
            after = await ada.patch(URL, json=change, headers=etag)
            assert after.json()["generation"] == generation + 1
            assert (await ada.post(f"{URL}/keys", json={"name": "billing"})).status_code == 201


async def test_it_opens_on_a_full_disk_or_says_why_and_opens_later(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 4 * MiB) as disk:
        url = f"sqlite:///{disk.path}/store.sqlite"
        async with yard(tmp_path / "one", store_url=url) as made, made.client("ada") as ada:
            (await ada.put(URL, json=body({1: 100}), headers={"If-None-Match": "*"})).raise_for_status()
        disk.fill()
        store = Store(url)
        with suppress(StorageFull, Unavailable):
            await store.open()
        await store.close()
        disk.free()
        async with yard(tmp_path / "two", store_url=url) as made, made.client("ada") as ada:
            assert (await ada.get(URL)).json()["generation"] == 1


async def test_jupyterhub_knows_nobody_while_its_disk_is_full_but_we_do(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 4 * MiB) as disk:
        async with yard(disk.path, identity_cache=0) as made, made.client("ada") as ada, made.client("bob") as bob:
            assert (await ada.get(f"{API}/me")).status_code == 200
            disk.fill()
            made.hub.users.clear()
            assert (await ada.get(f"{API}/me")).json()["username"] == "ada"
            problem(await bob.get(f"{API}/me"), 507, "StorageFull")
            disk.free()
            problem(await ada.get(f"{API}/me"), 401, "Unauthenticated")

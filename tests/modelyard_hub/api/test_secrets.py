"""Secrets over the API: they go in, and nothing of them comes out."""

from __future__ import annotations

import logging

import httpx
import pytest

from harness.api import API, Yard, problem
from harness.runs import notebook, snapshot, spec

DB = f"{API}/secrets/ada/db"
VALUE = "postgresql://ada:hunter22@db/warehouse"


async def test_a_secret_through_its_life(yard: Yard, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with yard.client("ada") as ada:
        made = await ada.put(DB, json={"value": VALUE, "description": "the warehouse"})
        assert made.status_code == 201
        document = made.json()
        assert (document["owner"], document["name"], document["version"]) == ("ada", "db", 1)
        assert set(document) == {
            *("owner", "name", "description", "version", "created_by", "created_at", "updated_by", "updated_at")
        }
        again = await ada.put(DB, json={"value": VALUE + "2"})
        assert (again.status_code, again.json()["version"]) == (200, 2)
        answers = [made.text, again.text, (await ada.get(DB)).text, (await ada.get(f"{API}/secrets")).text]
        answers += [(await ada.get(f"{API}/audit")).text, caplog.text]
        assert all("hunter22" not in text for text in answers)
        sealed = await yard.parts.store.secrets.sealed("ada", "db")
        assert "hunter22" not in sealed
        assert yard.parts.vault().open("ada", "db", sealed) == VALUE + "2"
        assert (await ada.delete(DB)).status_code == 204
        problem(await ada.get(DB), 404, "NotFound")
        problem(await ada.delete(DB), 404, "NotFound")


async def test_whose_they_are(yard: Yard) -> None:
    team = f"{API}/secrets/team/s3"
    async with yard.client("ada") as ada, yard.client("bob") as bob, yard.client("eve") as eve:
        await ada.put(DB, json={"value": VALUE})
        assert (await ada.put(team, json={"value": "shared-one"})).status_code == 201
        assert [s["name"] for s in (await bob.get(f"{API}/secrets")).json()["items"]] == ["s3"]
        assert (await eve.get(f"{API}/secrets")).json() == {"items": []}
        problem(await bob.get(DB), 404, "NotFound")
        for refused in (
            bob.put(DB, json={"value": "mine now"}),
            eve.put(team, json={"value": "mine now"}),
            bob.delete(DB),
        ):
            problem(await refused, 403, "Forbidden")
        assert (await bob.put(team, json={"value": "another one"})).json()["version"] == 2
    async with yard.client("root") as root, yard.client("ada-reads") as reads:
        assert [s["owner"] for s in (await root.get(f"{API}/secrets")).json()["items"]] == ["ada", "team"]
        assert (await reads.get(DB)).status_code == 200
        problem(await reads.put(DB, json={"value": "mine now"}), 403, "Forbidden")


async def test_only_those_of_ones_own_are_given_to_runs(yard: Yard) -> None:
    digest, content = snapshot(train__ipynb=notebook("1"))
    async with yard.client("ada") as ada, yard.client("root") as root:
        await ada.put(f"{API}/snapshots/{digest}", content=content)
        await ada.put(DB, json={"value": VALUE})
        await ada.put(f"{API}/secrets/team/s3", json={"value": "shared-one"})

        async def submitted(client: httpx.AsyncClient, secret: str, **members: str) -> httpx.Response:
            wanted = spec(digest, secrets=[{"secret": secret, "env": "DB_URL"}]).model_dump(mode="json")
            return await client.post(f"{API}/runs", json={"spec": wanted, **members})

        made = await submitted(ada, "db")
        assert (made.status_code, (await submitted(ada, "team/s3")).status_code) == (201, 201)
        assert "hunter22" not in made.text
        for refused in (
            await submitted(ada, "none"),
            await submitted(ada, "eve/db"),
            await submitted(root, "ada/db", owner="ada"),
            await submitted(root, "db", owner="ada"),
        ):
            said = problem(refused, 422, "InvalidInput")
            assert said["detail"].startswith("spec.secrets: there is no secret")


@pytest.mark.parametrize("value", ["abc", "x" * 40_000, "hunter22\0", 17_171_717, None, ["hunter22"]])
async def test_a_value_that_is_refused_is_not_said_again(yard: Yard, value: object) -> None:
    async with yard.client("ada") as ada:
        answer = await ada.put(DB, json={"value": value})
    said = problem(answer, 422, "InvalidInput")
    assert "value" in said["errors"][0]["field"]
    assert not any(part in answer.text for part in ("hunter22", "xxxx", "17171717", "abc"))


async def test_no_keys(yard: Yard) -> None:
    path = yard.parts.settings.home / "secrets" / "vault.keys"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("not a key\n")
    async with yard.client("ada") as ada:
        said = problem(await ada.put(DB, json={"value": VALUE}), 500, "ModelyardError")
    assert "keys of secrets" in said["detail"]
    assert "hunter22" not in str(said)

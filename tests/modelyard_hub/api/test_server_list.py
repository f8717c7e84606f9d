"""Notebook servers as the caller may see them."""

from __future__ import annotations

from harness.api import API, Yard, problem
from modelyard.client import AsyncClient

WAITS = {"state": "starting", "cause": "You are 2nd of 3 in the queue.", "place": 2, "of": 3, "phase": "queue"}
SPEC = {"profile": "small", "cpu": 2, "memory": 4 << 30, "gpus": 0}


async def test_ones_own_and_everybodys_for_administrators(yard: Yard) -> None:
    yard.hub.servers = [
        {"owner": "ada", "name": "", "status": {"state": "running", "url": "/user/ada/"}},
        {"owner": "ada", "name": "gpu", "spec": SPEC, "status": WAITS},
        {"owner": "bob", "name": "", "status": {"state": "failed", "cause": "No node has room."}},
    ]
    async with yard.client("ada") as ada, yard.client("root") as root, yard.client("bob") as bob:
        items = (await ada.get(f"{API}/servers")).json()["items"]
        assert [one["name"] for one in items] == ["", "gpu"]
        assert items[1]["status"]["place"] == 2
        assert len((await root.get(f"{API}/servers")).json()["items"]) == 3
        assert len((await root.get(f"{API}/servers", params={"owner": "ada"})).json()["items"]) == 2
        mine = await bob.get(f"{API}/servers", params={"owner": "ada"})
        assert mine.json()["items"] == [], "in the same group"
    async with AsyncClient("http://yard.test", "ada", patience=0) as client:
        client._http = yard.client("ada")
        found = await client.servers()
    assert repr(found[1]) == ("Server(ada/gpu · starting · small: 2 CPUs, 4 GiB · You are 2nd of 3 in the queue.)")


async def test_while_jupyterhub_is_away(yard: Yard) -> None:
    async with yard.client("ada") as ada:
        assert (await ada.get(f"{API}/me")).status_code == 200
        yard.hub.broken = True
        problem(await ada.get(f"{API}/servers"), 503, "Unavailable")

"""Sizes of notebook servers: what the hub service asks of JupyterHub, and from the library."""

from __future__ import annotations

from typing import Any

import pytest

from harness.api import API, Yard, problem
from modelyard.client import AsyncClient
from modelyard.errors import Conflict

GiB = 1 << 30
SIZE: dict[str, Any] = {
    "user": "ada", "server": "", "profile": "small", "cpu": 2.0, "memory": 4 * GiB, "shm": 1 << 26, "gpus": 0,
}  # fmt: skip


async def test_jupyterhub_is_asked_with_the_callers_own_token(yard: Yard) -> None:
    yard.hub.sizes["ada"] = (200, SIZE)
    async with yard.client("ada") as ada, yard.client("ada-reads") as reads:
        assert (await ada.get(f"{API}/servers/ada")).json() == SIZE
        answer = await ada.post(f"{API}/servers/ada/resize?server=gpu", json={"memory": "4Gi"})
        assert answer.json() == SIZE
        assert yard.hub.resized == [("ada", "", None), ("ada", "gpu", {"memory": 4 * GiB})]
        problem(await reads.post(f"{API}/servers/ada/resize", json={"cpu": 1}), 403, "Forbidden")
        assert len(yard.hub.resized) == 2, "who may only read asks for nothing"
        (entry,) = (await ada.get(f"{API}/audit")).json()["items"]
        assert (entry["action"], entry["subject"]) == ("server.resize", "server/ada/gpu")


async def test_what_jupyterhub_refuses_is_passed_on_with_what_helps(yard: Yard) -> None:
    async with yard.client("ada") as ada:
        refused = Conflict("the server's node has no room for it", remedy="Choose it at the next start.").problem()
        yard.hub.sizes["ada"] = (409, refused.model_dump())
        said = problem(await ada.post(f"{API}/servers/ada/resize", json={"cpu": 64}), 409, "Conflict")
        assert said["remedy"] == "Choose it at the next start."
        problem(await ada.get(f"{API}/servers/nobody"), 404, "NotFound")
        problem(await ada.post(f"{API}/servers/ada/resize", json={"cpu": -1}), 422, "InvalidInput")
        found = (await ada.get(f"{API}/audit")).json()["items"]
        assert [(one["action"], one["subject"]) for one in found] == [("server.resize", "server/ada/-")], "it was asked"
        yard.hub.sizes["ada"] = (200, {"neither": "this"})
        problem(await ada.get(f"{API}/servers/ada"), 503, "Unavailable")


async def test_the_library_asks_for_its_own_server_unless_told_another(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    yard.hub.sizes["ada"] = (200, SIZE)
    monkeypatch.setenv("JUPYTERHUB_SERVER_NAME", "gpu")
    async with AsyncClient("http://yard.test", "ada", patience=0) as client:
        client._http = yard.client("ada")
        assert (await client.server_size()).memory == 4 * GiB
        assert (await client.resize(memory="4Gi")).cpu == 2.0
        await client.resize(cpu=1, server="")
    asked = [(server, body) for _, server, body in yard.hub.resized]
    assert asked == [("gpu", None), ("gpu", {"memory": 4 * GiB}), ("", {"cpu": 1.0})]

"""Folders as volumes under a real JupyterHub: linked into the home, held by a server, kept when a user is deleted."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from harness.stack import Stack
from harness.wait import eventually

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


def administrator(stack: Stack) -> httpx.Client:
    """The REST API as the command line has it."""
    with stack.hub() as hub:
        token = hub.headers["Authorization"]
    return httpx.Client(base_url=f"{stack.url}/services/modelyard/api/v1", headers={"Authorization": token}, timeout=30)


@pytest.fixture
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    running = Stack(tmp_path_factory.mktemp("volumes") / "home").wait_ready()
    yield running
    running.stop()


def started(hub: httpx.Client, user: str) -> None:
    hub.post(f"/users/{user}/server")
    eventually(lambda: hub.get(f"/users/{user}").json()["servers"][""]["ready"], timeout=60, what=f"{user}'s server")


def test_a_users_folders(stack: Stack) -> None:
    with stack.client("dora") as dora, stack.hub() as hub:
        assert dora.post("/volumes", json={"name": "data"}).status_code == 201
        token = hub.post("/users/dora/tokens", json={}).json()["token"]
        with httpx.Client(base_url=f"{stack.url}/hub/api", headers={"Authorization": f"token {token}"}) as mine:
            started(mine, "dora")
        home = stack.home / "users" / "dora"
        (home / "volumes" / "data" / "a.txt").write_text("a")
        items = {v["name"]: v for v in dora.get("/volumes").json()["items"]}
        assert set(items) == {"home", "data"}
        (holder,) = items["home"]["status"]["mounted_by"]
        assert holder["pod"].startswith("process ")
        said = dora.delete("/volumes/dora/data", headers={"If-Match": items["data"]["etag"]})
        assert said.status_code == 409
        assert "mounted by" in said.json()["detail"]
        eventually(
            lambda: dora.get("/volumes/dora/home").json()["status"]["used"], timeout=30, what="the home is counted"
        )

        assert hub.delete("/users/dora").status_code == 204
    assert not home.exists()
    with administrator(stack) as admin:
        put = {v["name"]: v for v in admin.get("/trash").json()["items"]}
        assert set(put) == {"home", "data"}
        assert all(v["owner"] == "dora" and v["status"]["trashed"]["gone"] for v in put.values())
    with stack.client("dora") as later:
        assert later.get("/trash").json()["items"] == []
        assert later.get("/volumes").json()["items"] == []
    with administrator(stack) as admin:
        given = admin.post(f"/trash/{put['data']['id']}/recover", json={"owner": "ada"})
        assert given.json()["owner"] == "ada"
    (file,) = (stack.home / "volumes").glob("dora-data-*/data/a.txt")
    assert file.read_text() == "a"
    with stack.hub() as hub:  # who asked for a token above has an account again
        assert hub.get("/users/ada").status_code == 404
    doctor = stack.command("doctor", "--json")
    assert [one["subject"] for one in json.loads(doctor.stdout)] == ["volume ada/data"], doctor.stdout + doctor.stderr
    with stack.client("dora") as dora:
        said = dora.post("/servers/dora/resize", json={"memory": "1Gi"})
    assert said.status_code == 404, "there is no server"

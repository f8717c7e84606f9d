"""The queue in a real JupyterHub that starts one server at a time: places, giving up, kill -9."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness import local_hub
from harness.local_hub import LocalHub
from harness.wait import eventually

KEPT = "You may close this page: your place is kept."
USERS = ("ada", "bob", "cleo", "dan")


def place(hub: LocalHub, user: str) -> tuple[int, int]:
    """The first that is told of it."""
    told = hub.progress(user, enough="turn")[-1]
    return told["place"], told["of"]


def user(hub: LocalHub, name: str) -> dict[str, Any]:
    with hub.client() as client:
        found: dict[str, Any] = client.get(f"/users/{name}").json()
    return found


def ready(hub: LocalHub, name: str) -> bool:
    return bool(user(hub, name)["server"])


def servers(hub: LocalHub, **query: str) -> list[dict[str, Any]]:
    """As the REST API gets them."""
    with hub.client() as client:
        found: list[dict[str, Any]] = client.get("/modelyard/servers", params=query).raise_for_status().json()["items"]
    return found


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LocalHub]:
    with local_hub.running(tmp_path / "hub", concurrent_starts=1) as running:
        yield running


def test_servers_wait_for_their_turn_give_up_and_outlive_a_kill(hub: LocalHub) -> None:
    for name in USERS:
        assert hub.start(name).status_code == 202
    assert hub.started == ["ada"]
    assert [place(hub, name) for name in USERS[1:]] == [(1, 3), (2, 3), (3, 3)]
    told = hub.progress("cleo", enough="turn")[-1]
    assert told["message"].startswith(f"You are 2nd of 3 in the queue: 1 server may start at once. {KEPT}")
    assert (told["phase"], told["capacity"]) == ("queue", False)
    assert told["waits"], "the page's button says so"
    metrics = httpx.get(f"{hub.url}/hub/metrics", trust_env=False).text
    assert "modelyard_spawn_queue_length 3.0" in metrics
    assert "modelyard_spawn_starting 1.0" in metrics

    hub.stop("bob")
    assert place(hub, "cleo") == (1, 2)
    assert place(hub, "dan") == (2, 2)

    hub.kill()
    hub.begin(Path("/dev/null"))
    eventually(lambda: hub.started == ["ada", "cleo"], timeout=30, what=f"the first goes on: {hub.folder}/hub.log")
    assert place(hub, "dan") == (1, 1)
    hub.may_answer()
    for name in ("ada", "cleo", "dan"):
        eventually(lambda name=name: ready(hub, name), timeout=60, what=f"{name}'s server runs")  # type: ignore[misc]
    assert hub.started == ["ada", "cleo", "dan"], "each once, and in order"
    assert not user(hub, "bob")["servers"], "who gave up is not started"
    assert "] 429 " not in hub.log

    hub.kill()  # nobody waits any more
    hub.begin(Path("/dev/null"))
    assert all(eventually(lambda name=name: ready(hub, name), what=name) for name in ("ada", "cleo", "dan"))  # type: ignore[misc]
    assert hub.started == ["ada", "cleo", "dan"]
    assert hub.log.count("waited for their turn") == 1


def test_a_start_that_fails_makes_room_and_does_not_come_back(tmp_path: Path) -> None:
    with local_hub.running(tmp_path / "hub", http_timeout=4, concurrent_starts=1) as hub:
        for name in ("ada", "bob"):
            hub.start(name)
        hub.may_answer("bob")
        eventually(lambda: ready(hub, "bob"), timeout=60, what="the next one starts when the first has failed")
        by_owner = {one["owner"]: one["status"] for one in servers(hub)}
        assert by_owner["ada"]["state"] == "failed"
        assert "didn't respond in 4 seconds" in by_owner["ada"]["cause"]
        assert by_owner["bob"]["state"] == "running"
        hub.kill()
        hub.begin(Path("/dev/null"))
        eventually(lambda: ready(hub, "bob"), timeout=60, what="bob's server still runs")
        assert hub.started == ["ada", "bob"]
        assert "waited for their turn" not in hub.log


def test_who_has_used_up_the_own_quota_waits_until_another_server_stops(tmp_path: Path) -> None:
    file = tmp_path / "profiles.toml"
    file.write_text("[[quotas]]\nservers = 1\n")
    with local_hub.running(tmp_path / "hub", profiles=str(file)) as hub:
        hub.may_answer()
        hub.start("ada")
        eventually(lambda: ready(hub, "ada"), timeout=60, what="the first runs")
        hub.kill()
        hub.begin(Path("/dev/null"))
        hub.start("ada", server="more")
        hub.start("bob")
        told = hub.progress("ada", enough="quota", server="more")[-1]
        assert "your quota has 0 of 1 server free, this asks for 1." in told["message"]
        assert "Your servers</a>" in told["html_message"]
        default, further = servers(hub, user="ada")
        assert (default["name"], default["status"]["state"]) == ("", "running")
        assert default["status"]["url"] == "/user/ada/"
        assert further["status"]["cause"] in told["message"]
        assert [further["status"][word] for word in ("state", "place", "of")] == ["starting", told["place"], told["of"]]
        eventually(lambda: ready(hub, "bob"), timeout=60, what="others do not wait for it")
        hub.stop("ada")
        more = lambda: user(hub, "ada")["servers"].get("more", {}).get("ready")  # noqa: E731
        eventually(more, timeout=60, what="the second runs then")


def test_servers_are_for_whose_scopes_reach_them(hub: LocalHub) -> None:
    hub.start("ada")
    hub.start("bob")
    with hub.client() as client:
        token = client.post("/users/ada/tokens", json={"scopes": ["read:servers!user=ada"]}).json()["token"]
        nothing = client.post("/users/ada/tokens", json={"scopes": ["read:users:name!user=ada"]}).json()["token"]
    url = f"{hub.url}/hub/api/modelyard/servers"

    def get(token: str, **query: str) -> httpx.Response:
        return httpx.get(url, params=query, headers={"Authorization": f"token {token}"}, trust_env=False)

    assert [one["owner"] for one in servers(hub)] == ["ada", "bob"]
    assert [one["owner"] for one in get(token).json()["items"]] == ["ada"]
    assert get(token, user="bob").json()["items"] == []
    assert get(token, user="nobody").json()["items"] == []
    assert get(nothing).status_code == 403
    assert httpx.get(url, trust_env=False).status_code == 403


def test_as_many_run_as_may(tmp_path: Path) -> None:
    with local_hub.running(tmp_path / "hub", active_servers=1) as hub:
        hub.may_answer()
        hub.start("ada")
        eventually(lambda: ready(hub, "ada"), timeout=60, what="the first runs")
        hub.kill()
        hub.begin(Path("/dev/null"))
        hub.start("bob")
        told = hub.progress("bob", enough="full")[-1]
        assert told["message"].startswith("You are 1st of 1 in the queue: 1 server may run at once, and so many do.")
        assert "Your servers</a>" in told["html_message"]
        hub.stop("ada")
        eventually(lambda: ready(hub, "bob"), timeout=60, what="the second runs then")


def test_what_a_server_used_is_kept_beyond_its_stop_and_a_kill(tmp_path: Path) -> None:
    file = tmp_path / "profiles.toml"
    file.write_text(
        '[[profiles]]\nname = "a"\ncpu = 1\nmemory = "1Gi"\n[[profiles]]\nname = "b"\ncpu = 1\nmemory = "512Mi"\n'
    )
    with local_hub.running(tmp_path / "hub", profiles=str(file)) as hub:
        hub.may_answer()
        with hub.client() as client:
            url, peaks = "/modelyard/peaks/ada/", {"cpu": 0.2, "memory": 100 << 20}
            client.post("/users/ada")
            assert client.put(url, json=peaks).status_code == 409, "it does not run"
            hub.start("ada", profile="a")
            eventually(lambda: ready(hub, "ada"), timeout=60, what="it runs")
            assert client.put(url, json={"memory": -1}).status_code == 400
            assert client.put("/modelyard/peaks/ada/gpu", json=peaks).status_code == 404
            assert client.put("/modelyard/peaks/nobody/", json=peaks).status_code == 404
            assert client.put(url, json=peaks).status_code == 204
            assert client.put(url, json={**peaks, "memory": 200 << 20}).status_code == 204
            token = client.post("/users/bob", json={}) and client.post("/users/bob/tokens", json={}).json()["token"]
        bob = {"Authorization": f"token {token}"}
        assert httpx.put(f"{hub.url}/hub/api{url}", json=peaks, headers=bob, trust_env=False).status_code in (403, 404)
        hub.kill()
        hub.begin(Path("/dev/null"))
        eventually(lambda: ready(hub, "ada"), timeout=60, what="it still runs")
        with hub.client() as client:
            assert client.put(url, json={**peaks, "memory": 300 << 20}).status_code == 204
        hub.stop("ada")
        (session,) = kept(hub, "ada")
        assert (session["profile"], session["memory"], session["peaks"]["memory"]) == ("a", 1 << 30, 300 << 20)


def kept(hub: LocalHub, name: str) -> list[dict[str, Any]]:
    """The sessions in JupyterHub's database."""
    with sqlite3.connect(hub.folder / "hub.sqlite") as database:
        query = "select spawners.state from spawners join users on users.id = user_id where users.name = ?"
        found: list[dict[str, Any]] = json.loads(database.execute(query, (name,)).fetchone()[0])["used"]
    return found

"""Deleting users of a real JupyterHub whose servers run or start. Its sign-in is none of ours."""

from __future__ import annotations

from pathlib import Path

from harness import local_hub
from harness.wait import eventually


def test_who_has_servers_that_start_or_run_by_name_is_not_deleted(tmp_path: Path) -> None:
    with local_hub.running(tmp_path / "hub") as hub, hub.client() as client:

        def ready(server: str) -> bool:
            return bool(client.get("/users/ada").json()["servers"].get(server, {}).get("ready"))

        def refused(servers: str) -> bool:
            answer = client.delete("/users/ada")
            said = f"ada has servers that run or start: {servers}. Stop them first."
            return (answer.status_code, answer.json()["message"]) == (400, said)

        hub.start("ada")
        assert refused("the default one")
        hub.may_answer()
        eventually(lambda: ready(""), timeout=60, what="it starts all the same")
        hub.start("ada", server="gpu")
        eventually(lambda: ready("gpu"), timeout=60, what="so does a further one")
        # JupyterHub stops the default one by itself, and would fail on the other.
        assert refused("gpu")
        assert client.delete("/users/ada/servers/gpu").status_code in (202, 204)
        eventually(lambda: client.delete("/users/ada").status_code == 204, timeout=30, what="then she may go")
        assert client.get("/users/ada").status_code == 404
        assert " 500 " not in hub.log

"""JupyterHub's part of resizing, in a real one whose servers are processes: who may, and what cannot be done there."""

from __future__ import annotations

from pathlib import Path

import httpx

from harness import local_hub
from harness.wait import eventually


def test_who_may_and_that_one_machine_cannot(tmp_path: Path) -> None:
    with local_hub.running(tmp_path / "hub") as hub, hub.client() as client:
        hub.may_answer()
        hub.start("ada")
        eventually(lambda: client.get("/users/ada").json()["server"], timeout=60, what="it runs")
        answer = client.post("/modelyard/servers/ada", json={"memory": "4Gi"})
        assert (answer.status_code, answer.headers["content-type"]) == (409, "application/problem+json")
        said = answer.json()
        assert said["code"] == "Conflict"
        assert said["detail"] == "the size of a server on one machine does not change while it runs"
        assert said["remedy"].startswith("Choose it at the next start")
        assert client.get("/modelyard/servers/ada").status_code == 409
        assert client.get("/modelyard/servers/nobody").json()["detail"] == "there is no notebook server nobody"
        assert client.get("/modelyard/servers/ada?server=gpu").status_code == 404
        assert client.post("/modelyard/servers/ada", json={"memory": "much"}).status_code == 422
        assert client.get("/modelyard/accounts").json() == {"names": ["ada"]}
        token = client.post("/users/ada/tokens", json={"scopes": ["read:users!user=ada"]}).json()["token"]
        other = {"Authorization": f"token {token}"}
        for method in ("GET", "POST"):
            refused = httpx.request(method, f"{hub.url}/hub/api/modelyard/servers/ada", headers=other, content="{}")
            assert refused.status_code == 403, refused.text
        assert httpx.get(f"{hub.url}/hub/api/modelyard/accounts", headers=other).status_code == 403

"""A notebook server that JupyterHub really spawned: what its kernel may do, and what its token may not."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from harness.publishing import TESTS, Publisher
from harness.stack import Stack
from harness.wait import eventually
from modelyard_hub.hub_env import HubEnv
from modelyard_hub.panel import starts

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]
USER = "dora"
MLFLOW = "{}/mlflow/api/2.0/mlflow/experiments"
NEEDED = {
    f"users:activity!user={USER}",
    f"read:users:activity!user={USER}",  # implied by the one before
    f"access:servers!server={USER}/",
    f"read:users:name!user={USER}",
    f"read:users:groups!user={USER}",
    f"custom:modelyard:read!user={USER}",
    f"custom:modelyard:write!user={USER}",
}
REFUSED: tuple[tuple[str, str, dict[str, Any] | None], ...] = (
    ("GET", "/users", None),
    ("GET", "/users/ada", None),
    ("GET", "/users/ada/tokens", None),
    ("POST", "/users/ada/tokens", {}),
    ("POST", "/users/ada/server", None),
    ("POST", "/users/ada/activity", {"last_activity": "2026-01-01T00:00:00Z"}),
    ("GET", f"/users/{USER}/tokens", None),
    ("POST", f"/users/{USER}/tokens", {"scopes": ["self"]}),
    ("POST", f"/users/{USER}/server", None),
    ("DELETE", f"/users/{USER}/server", None),
    ("GET", "/groups", None),
    ("GET", "/services", None),
    ("GET", "/proxy", None),
    ("POST", "/shutdown", {}),
)


class Notebook:
    """A user's running notebook server; code runs in a kernel of it, as in a cell."""

    def __init__(self, stack: Stack, token: str) -> None:
        self.url = f"{stack.url}/user/{USER}"
        self.headers = {"Authorization": f"token {token}"}
        answer = httpx.post(f"{self.url}/api/kernels", headers=self.headers, json={}, timeout=60)
        self.kernel = answer.raise_for_status().json()["id"]

    def run(self, code: str) -> str:
        """What the code prints; AssertionError with the traceback when it raises."""
        message = {
            "header": {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "session": "test", "username": USER},
            "parent_header": {},
            "metadata": {},
            "content": {"code": code, "silent": False, "store_history": False},
            "channel": "shell",
            "buffers": [],
        }
        url = f"{self.url.replace('http', 'ws', 1)}/api/kernels/{self.kernel}/channels"
        printed = ""
        with connect(url, additional_headers=self.headers, max_size=None) as socket:
            socket.send(json.dumps(message))
            while True:
                answer = json.loads(socket.recv(timeout=120))
                if answer["parent_header"].get("msg_id") != message["header"]["msg_id"]:
                    continue
                content = answer["content"]
                assert answer["msg_type"] != "error", "\n".join(content.get("traceback", ()))
                if answer["msg_type"] == "stream" and content["name"] == "stdout":
                    printed += content["text"]
                if answer["msg_type"] == "status" and content["execution_state"] == "idle":
                    return printed


@pytest.fixture(scope="module")
def notebook(stack: Stack) -> Iterator[Notebook]:
    user = f"/users/{USER}"
    with stack.hub() as hub:
        hub.post(user)
        scopes = [f"{scope}!user={USER}" for scope in ("servers", "read:servers", "access:servers")]
        token = hub.post(f"{user}/tokens", json={"scopes": scopes}).raise_for_status().json()["token"]
        hub.headers["Authorization"] = f"token {token}"
        hub.post(f"{user}/server").raise_for_status()
        eventually(lambda: hub.get(user).json()["servers"][""]["ready"], timeout=90, what="it is spawned")
        yield Notebook(stack, token)
        hub.delete(f"{user}/server").raise_for_status()
        eventually(lambda: not hub.get(user).json()["servers"], timeout=60, what="it is stopped")


def environment(notebook: Notebook) -> dict[str, str]:
    found: dict[str, str] = json.loads(notebook.run("import json, os; print(json.dumps(dict(os.environ)))"))
    return found


def test_the_library_works_in_a_cell_without_settings(stack: Stack, notebook: Notebook) -> None:
    code = """
from harness.packages import pipeline, table
import modelyard as yard
endpoint = yard.publish(pipeline(), "cell", example=table()[:5])
print(list(endpoint.predict(table()[:2])))
endpoint.delete()
"""
    path = f"import sys; sys.path.insert(0, {str(TESTS)!r})"
    assert "no" in notebook.run(path + code)


def test_the_token_carries_only_what_the_library_needs(stack: Stack, notebook: Notebook) -> None:
    token = environment(notebook)["JUPYTERHUB_API_TOKEN"]
    with httpx.Client(base_url=f"{stack.url}/hub/api", headers={"Authorization": f"token {token}"}) as hub:
        me = hub.get("/user").raise_for_status().json()
        assert me["name"] == USER
        assert set(me["scopes"]) == NEEDED
        for method, path, body in REFUSED:
            answer = hub.request(method, path, json=body)
            # JupyterHub says 404 of a user whom the token may not see.
            assert answer.status_code in (403, 404), (method, path, answer.text)


def test_the_token_reaches_nothing_of_others(stack: Stack, notebook: Notebook) -> None:
    Publisher(stack).publish("foreign")
    headers = {"Authorization": f"Bearer {environment(notebook)['JUPYTERHUB_API_TOKEN']}"}
    with httpx.Client(base_url=f"{stack.url}/services/modelyard/api/v1", headers=headers) as api:
        etag = api.get("/endpoints/ada/foreign").raise_for_status().headers["etag"]  # shared with the group: readable
        for method, path in (("DELETE", ""), ("POST", "/rollback"), ("POST", "/keys")):
            answer = api.request(
                method, f"/endpoints/ada/foreign{path}", headers={"If-Match": etag}, json={"name": "k"}
            )
            assert answer.status_code == 403, (method, path, answer.text)
    body = {"name": "ada/foreign"}
    assert httpx.post(f"{MLFLOW.format(stack.url)}/create", json=body, headers=headers).status_code == 403


def test_the_environment_holds_no_other_secret(stack: Stack, notebook: Notebook) -> None:
    given = environment(notebook)
    secrets = json.loads((stack.home / "secrets" / "secrets.json").read_text())
    for name, secret in secrets.items():
        assert secret not in given.values(), name
    tokens = {name for name in given if "TOKEN" in name or "PASSWORD" in name or "SECRET" in name}
    assert tokens <= {"JUPYTERHUB_API_TOKEN", "JPY_API_TOKEN", "JUPYTERHUB_CLIENT_SECRET"}, tokens


async def test_its_start_was_measured_by_phase_for_the_administrators_page(stack: Stack, notebook: Notebook) -> None:
    secrets = json.loads((stack.home / "secrets" / "secrets.json").read_text())
    hub = HubEnv(api_token=secrets["service_token"], api_url=f"{stack.url}/hub/api")
    async with httpx.AsyncClient(trust_env=False) as http:
        found = await starts.read(http, hub)
    assert found is not None
    assert list(found.phases) == ["queue", "start", "ready", "route"]
    measured = (found.phases[name] for name in ("start", "ready", "route"))
    assert all(phase.count >= 1 and 0 < phase.seconds["0.99"] < 90 for phase in measured), found


def test_it_is_listed_in_a_cell_and_on_the_command_line(stack: Stack, notebook: Notebook) -> None:
    said = notebook.run("import modelyard as yard; print(yard.servers())")
    assert said.startswith("[Server(dora · running · machine: "), said
    done = stack.command("servers", "--json")
    assert done.returncode == 0, done.stderr
    (row,) = [row for row in json.loads(done.stdout) if row["server"] == USER]
    assert (row["state"], row["profile"]) == ("running", "machine")
    assert row["since"]

"""A user's notebook server of the real stack: kernels, terminals, and what is at work in it."""

from __future__ import annotations

import json
import uuid
from typing import Any, Protocol

import httpx
from websockets.sync.client import connect

from harness.wait import eventually
from modelyard_api.activity import Activity


class Yard(Protocol):
    """Where it is: a `Stack`, or a `Release`."""

    @property
    def url(self) -> str:
        """Where users open it."""

    def hub(self) -> httpx.Client:
        """JupyterHub's API, for who may make users and their tokens."""


class UserServer:
    """Started as by JupyterHub's API. All its calls carry a token of the user."""

    def __init__(self, stack: Yard, user: str, timeout: float = 90) -> None:
        self.stack, self.user, self.url = stack, user, f"{stack.url}/user/{user}"
        with stack.hub() as hub:
            hub.post(f"/users/{user}")
            scopes = [f"{scope}!user={user}" for scope in ("servers", "read:servers", "access:servers")]
            token = hub.post(f"/users/{user}/tokens", json={"scopes": scopes}).raise_for_status().json()["token"]
        self.headers = {"Authorization": f"token {token}"}
        self.hub = httpx.Client(base_url=f"{stack.url}/hub/api", headers=self.headers, timeout=30)
        self.http = httpx.Client(base_url=self.url, headers=self.headers, timeout=60)
        self.hub.post(f"/users/{user}/server").raise_for_status()
        eventually(self.runs, timeout=timeout, what=f"the server of {user} is spawned")

    def runs(self) -> bool:
        """Whether it is ready, as JupyterHub says."""
        servers = self.hub.get(f"/users/{self.user}").raise_for_status().json()["servers"]
        return bool(servers and servers[""]["ready"])

    def activity(self, path: str = "", **told: Any) -> Activity:
        """What it says is at work; with `path`, what it is told before."""
        where = f"/modelyard/activity{path}"
        answer = self.http.post(where, json=told) if path else self.http.get(where)
        return Activity.model_validate_json(answer.raise_for_status().content)

    def execute(self, code: str) -> str:
        """Begin to run code in a new kernel; returns the kernel's id when it computes."""
        kernel = str(self.http.post("/api/kernels", json={}).raise_for_status().json()["id"])
        header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "session": "t", "username": self.user}
        content = {"code": code, "silent": False, "store_history": False}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell",
                   "buffers": []}  # fmt: skip
        url = f"{self.url.replace('http', 'ws', 1)}/api/kernels/{kernel}/channels"
        with connect(url, additional_headers=self.headers, max_size=None) as socket:
            socket.send(json.dumps(message))
            while True:
                answer = json.loads(socket.recv(timeout=60))
                ours = answer["parent_header"].get("msg_id") == header["msg_id"]
                if ours and answer["msg_type"] == "execute_input":
                    return kernel

    def terminal(self, command: str) -> str:
        """Type a command into a new terminal, and close the page; the terminal's name."""
        name = str(self.http.post("/api/terminals").raise_for_status().json()["name"])
        url = f"{self.url.replace('http', 'ws', 1)}/terminals/websocket/{name}"
        with connect(url, additional_headers=self.headers) as socket:
            socket.send(json.dumps(["stdin", f"{command}\r"]))
            while "began" not in socket.recv(timeout=30):
                pass
        return name

    def stop(self) -> None:
        """Stop it, if it runs."""
        self.hub.delete(f"/users/{self.user}/server")
        eventually(
            lambda: not self.hub.get(f"/users/{self.user}").json()["servers"],
            timeout=60,
            what=f"{self.user} is stopped",
        )
        self.hub.close()
        self.http.close()

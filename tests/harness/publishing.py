"""Publishing and calling on a stack, as users do: the library in a process of its own, HTTP through the router."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from harness.stack import Stack

TESTS = Path(__file__).parents[1]
_PUBLISH = """
import json
import sys
import modelyard as yard
from harness.packages import pipeline, table
name, options = sys.argv[1], json.loads(sys.argv[2])
yard.publish(pipeline(), name, example=table()[:5], **options)
"""


@dataclass
class Publisher:
    """Publishes the tests' pipeline as a user does: with the library, in a process of its own."""

    stack: Stack
    _environments: dict[str, dict[str, str]] = field(default_factory=dict)

    def start(self, name: str, user: str = "ada", **options: int) -> subprocess.Popen[str]:
        """A publish under way; `options` are those of `yard.publish`."""
        if user not in self._environments:
            self._environments[user] = self.stack.library(user) | {"PYTHONPATH": str(TESTS)}
        return subprocess.Popen(
            [sys.executable, "-c", _PUBLISH, name, json.dumps(options)],
            env=self._environments[user],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def publish(self, name: str, user: str = "ada", **options: int) -> str:
        """A finished publish; its output."""
        process = self.start(name, user, **options)
        output, _ = process.communicate(timeout=180)
        assert process.returncode == 0, output
        return output


ROW = {"inputs": [
    {"name": "weight", "datatype": "FP64", "shape": [1], "data": [1.0]},
    {"name": "age", "datatype": "INT64", "shape": [1], "data": [3]},
    {"name": "island", "datatype": "BYTES", "shape": [1], "data": ["north"]},
]}  # fmt: skip


@dataclass
class Caller:
    """Calls one endpoint through the router, as a user of the API token's owner."""

    url: str
    token: str

    def __call__(self, **headers: str) -> httpx.Response:
        """One prediction."""
        known = {"authorization": f"Bearer {self.token}", "content-type": "application/json"}
        return httpx.post(self.url, content=json.dumps(ROW), headers=known | headers, timeout=30)


def make_caller(stack: Stack, owner: str, name: str, user: str = "ada") -> Caller:
    """A caller with a fresh call token."""
    with stack.client(user) as client:
        token = client.post("/tokens/call").raise_for_status().json()["token"]
    return Caller(f"{stack.url}/serve/{owner}/{name}/v2/models/{name}/infer", token)

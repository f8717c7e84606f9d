"""The real embedded stack for the tests: `modelyard up` in a folder and on a port of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
import psutil

from harness.model_server import free_port
from harness.wait import eventually

BIN = Path(sys.executable).parent


class Stack:
    """A running Modelyard. `home` may be that of an earlier one, which is then taken up. `settings`: by variable."""

    def __init__(self, home: Path, port: int | None = None, **settings: str) -> None:
        self.home = home
        self.port = port or free_port()
        self.log = Path(tempfile.mkstemp(prefix="modelyard-up-", suffix=".log")[1])
        self.environment = {
            **os.environ,
            "MODELYARD_HOME": str(home),
            "MODELYARD_PORT": str(self.port),
            "MODELYARD_DRAIN_TIMEOUT": "3",
            **settings,
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(BIN / "modelyard"), "up"], env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def wait_ready(self, timeout: float = 180) -> Stack:
        """Wait for the announcement; AssertionError with the output when it ends first."""

        def announced() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(self.output())
            return "Ctrl-C stops everything" in self.output()

        eventually(announced, timeout=timeout, interval=0.1, what=f"modelyard up announces itself: {self.log}")
        return self

    def output(self) -> str:
        """All that it printed."""
        return self.log.read_text()

    @property
    def sign_in(self) -> dict[str, str]:
        """What it wrote to sign-in.json."""
        found: dict[str, str] = json.loads((self.home / "sign-in.json").read_text())
        return found

    @property
    def url(self) -> str:
        return self.sign_in["url"]

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `modelyard …` against this stack."""
        return subprocess.run(
            [str(BIN / "modelyard"), *arguments], env=self.environment, capture_output=True, text=True, timeout=60
        )

    def token(self, user: str) -> str:
        """A new API token, by `modelyard token`."""
        done = self.command("token", "--user", user)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def hub(self) -> httpx.Client:
        """JupyterHub's API as the command line has it: users, their tokens and servers."""
        secrets = json.loads((self.home / "secrets" / "secrets.json").read_text())
        headers = {"Authorization": f"token {secrets['cli_token']}"}
        return httpx.Client(base_url=f"{self.url}/hub/api", headers=headers, timeout=30)

    def client(self, user: str) -> httpx.Client:
        """The REST API as a user."""
        headers = {"Authorization": f"Bearer {self.token(user)}"}
        return httpx.Client(base_url=f"{self.url}/services/modelyard/api/v1", headers=headers, timeout=30)

    def library(self, user: str) -> dict[str, str]:
        """The environment in which the library is that user."""
        return {**os.environ, "MODELYARD_URL": self.url, "MODELYARD_TOKEN": self.token(user)}

    def pid(self, name: str) -> int:
        """Of traefik, jupyterhub, service or mlflow, as recorded."""
        found: dict[str, Any] = json.loads((self.home / "processes.json").read_text())
        return int(found[name]["pid"])

    def kill(self, name: str) -> int:
        """kill -9 a sibling; its pid."""
        pid = self.pid(name)
        os.kill(pid, signal.SIGKILL)
        return pid

    def descendants(self) -> list[psutil.Process]:
        """All processes that run on behalf of this stack: its parts, notebook servers and model servers."""
        mine = {f"MODELYARD_HOME={self.home}", f"MODELYARD_WORKLOADS={self.home / 'workloads'}"}
        found = []
        for process in psutil.process_iter():
            try:
                if process.pid != os.getpid() and mine & {f"{k}={v}" for k, v in process.environ().items()}:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def model_servers(self, endpoint: str | None = None) -> list[psutil.Process]:
        """The running replicas, of all endpoints or of one."""
        found = []
        for process in psutil.process_iter():
            try:
                environment = process.environ()
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
            name = environment.get("MODELYARD_SERVER_ENDPOINT")
            if environment.get("MODELYARD_WORKLOADS") == str(self.home / "workloads") and endpoint in (None, name):
                found.append(process)
        return found

    def stop(self) -> None:
        """Ctrl-C, and wait until it ended."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise

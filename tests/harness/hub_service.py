"""The hub service as a process of its own on a cluster, with a real Traefik, and doubles of JupyterHub and MLflow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from harness.fake_hub import FakeHub
from harness.fake_mlflow import FakeMlflow
from harness.model_server import free_port
from harness.packages import write_onnx
from harness.traefik import ENVIRONMENT
from harness.wait import eventually
from harness.web import serving
from modelyard_hub.embedded.home import Ports, Secrets, prepare
from modelyard_hub.embedded.siblings import SERVICE_PREFIX, traefik_static
from modelyard_hub.settings import Settings

MODEL = "ada.churn"
_ADMIN = ["custom:modelyard:admin"]


@dataclass
class HubService:
    """The running parts. `url` is the router's, for callers; `api` the REST API's own address."""

    home: Path
    url: str
    api: str
    traefik_api: str
    process: psutil.Process
    traefik: psutil.Process

    def client(self) -> httpx.AsyncClient:
        """The REST API as ada, who administers."""
        limits = httpx.Limits(max_connections=16)
        headers = {"Authorization": "Bearer ada"}
        return httpx.AsyncClient(base_url=self.api, headers=headers, timeout=60, trust_env=False, limits=limits)

    def log(self) -> str:
        """What the hub service said."""
        return (self.home / "service.log").read_text()


@contextmanager
def hub_service(home: Path, environment: dict[str, str]) -> Iterator[HubService]:
    """Start it with these settings; it is stopped at the end, and what it runs on the cluster runs on.

    `ada.churn` has the versions 1 to 3."""
    prepare(home)
    hub, mlflow = FakeHub(), FakeMlflow()
    hub.add("ada", "ada", ["team"], _ADMIN)
    package = home / "mlflow" / "artifacts" / "churn"
    if not package.exists():
        write_onnx(package)
    mlflow.versions = {(MODEL, str(version)): str(package) for version in (1, 2, 3)}
    ports = Ports(hub=free_port(), service=free_port(), mlflow=free_port(), traefik_api=free_port())
    web = free_port()
    with ExitStack() as stack:
        hub_url = stack.enter_context(serving(hub.app()))
        mlflow_url = stack.enter_context(serving(mlflow.app()))
        settings = Settings(home=home, port=web, start_timeout=30)
        static = home / "traefik.json"
        static.write_text(json.dumps(traefik_static(settings, ports, Secrets("", "", "", "", "traefik", ""))))
        service = f"http://127.0.0.1:{ports.service}"
        traefik_api = f"http://127.0.0.1:{ports.traefik_api}"
        told = {
            "MODELYARD_HOME": str(home),
            "MODELYARD_PORT": str(web),
            "MODELYARD_RUNTIME": "kubernetes",
            "MODELYARD_TRAEFIK_API_URL": traefik_api,
            "MODELYARD_ROUTING_TOKEN": "traefik",
            "MODELYARD_MLFLOW_URL": f"{mlflow_url}/mlflow",
            "MODELYARD_ARTIFACTS": str(home / "mlflow" / "artifacts"),
            "JUPYTERHUB_API_TOKEN": hub.secret,
            "JUPYTERHUB_API_URL": f"{hub_url}/hub/api",
            "JUPYTERHUB_SERVICE_URL": service,
            **environment,
        }
        traefik = stack.enter_context(
            _process(home / "traefik.log", [ENVIRONMENT / "traefik", f"--configFile={static}"])
        )
        process = stack.enter_context(_process(home / "service.log", [sys.executable, "-m", "modelyard_hub"], told))
        root = service + SERVICE_PREFIX.rstrip("/")
        running = HubService(
            home,
            f"http://127.0.0.1:{web}",
            f"{root}/api/v1",
            traefik_api,
            psutil.Process(process),
            psutil.Process(traefik),
        )
        _wait(running, f"{root}/health")
        yield running


def _wait(running: HubService, health: str) -> None:
    try:
        eventually(lambda: httpx.get(health, trust_env=False).is_success, timeout=60, what="the hub service answers")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{running.log()[-3000:]}") from error


@contextmanager
def _process(log: Path, command: list[str | Path], environment: dict[str, str] | None = None) -> Iterator[int]:
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(part) for part in command], stdout=output, stderr=output, env={**os.environ, **(environment or {})}
        )
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

"""MLflow as it runs beside the hub service: a process of its own, behind the guard."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from harness.model_server import free_port
from harness.wait import eventually
from modelyard_hub.mlflow_app import PUBLIC_KEY_VARIABLE
from modelyard_hub.signing import Signer


@contextmanager
def mlflow_process(home: Path, signer: Signer) -> Iterator[str]:
    """Its URL with the prefix; it takes what `signer` signs."""
    (home / "mlflow").mkdir(parents=True)
    key = home / "signing.pub"
    key.write_text(signer.public_pem)
    port = free_port()
    url = f"http://127.0.0.1:{port}/mlflow"
    told = {**os.environ, "MODELYARD_HOME": str(home), "MODELYARD_MLFLOW_URL": url, PUBLIC_KEY_VARIABLE: str(key)}
    command = [sys.executable, "-W", "ignore", "-m", "modelyard_hub.mlflow_app", str(port)]
    with (home / "mlflow.log").open("ab") as output:
        process = subprocess.Popen(command, env=told, stdout=output, stderr=output)
    try:
        eventually(lambda: _answers(url), timeout=90, what="MLflow answers")
        yield url
    finally:
        process.terminate()
        process.wait(20)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", trust_env=False).is_success
    except httpx.HTTPError:
        return False

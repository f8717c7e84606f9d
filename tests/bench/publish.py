"""From a fitted pipeline to the first 200: `yard.publish` through Traefik against MLflow's own way, in one run.

    python tests/bench/publish.py        needs MODELYARD_URL and MODELYARD_TOKEN of a running `make up`

The peer is `mlflow.sklearn.log_model` into a store of its own plus `mlflow models serve --env-manager local`. They
take turns after one warm-up of each, and the ratio is that of the medians.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import httpx
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import modelyard as yard


def fitted() -> tuple[object, pd.DataFrame]:
    """A pipeline over 30 numbers and one category, and its frame."""
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    X["site"] = pd.cut(X["mean radius"], 3, labels=["small", "middle", "large"]).astype(str)
    numbers = [column for column in X if column != "site"]
    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), numbers),
            ("site", OneHotEncoder(handle_unknown="ignore"), ["site"]),
        ]
    )
    return make_pipeline(columns, LogisticRegression(max_iter=500)).fit(X, y), X


def ours(model: object, X: pd.DataFrame) -> float:
    """Seconds of publish and first answer; the endpoint is deleted afterwards."""
    name = f"bench-{uuid.uuid4().hex[:8]}"
    start = time.perf_counter()
    endpoint = yard.publish(model, name, example=X[:5])
    endpoint.predict(X[:1])
    seconds = time.perf_counter() - start
    endpoint.delete()
    return seconds


def peer(model: object, X: pd.DataFrame) -> float:
    """Seconds of log_model, `mlflow models serve` and its first 200."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        # `mlflow models serve` calls uvicorn by name.
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        env = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.sqlite", "PATH": path}
        start = time.perf_counter()
        import mlflow

        mlflow.set_tracking_uri(env["MLFLOW_TRACKING_URI"])
        mlflow.create_experiment("bench", artifact_location=str(Path(folder) / "artifacts"))
        mlflow.set_experiment("bench")
        with mlflow.start_run():
            info = mlflow.sklearn.log_model(
                model, name="model", input_example=X[:5], serialization_format="cloudpickle"
            )
        command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", info.model_uri]
        command += ["--env-manager", "local", "-p", str(port)]
        with Path(folder, "serve.log").open("wb") as log:
            server = subprocess.Popen(command, env=env, start_new_session=True, stdout=log, stderr=log)
        try:
            _first_200(f"http://127.0.0.1:{port}/invocations", X, server, Path(folder, "serve.log"))
            return time.perf_counter() - start
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(30)


def _first_200(url: str, X: pd.DataFrame, server: subprocess.Popen[bytes], log: Path, timeout: float = 180) -> None:
    body = json.loads(X[:1].to_json(orient="split"))
    deadline = time.monotonic() + timeout
    said = "no answer"
    while time.monotonic() < deadline and server.poll() is None:
        try:
            answer = httpx.post(url, json={"dataframe_split": body}, timeout=10)
        except httpx.TransportError:
            time.sleep(0.05)
            continue
        if answer.status_code == 200:
            return
        said = f"{answer.status_code} {answer.text[:500]}"
        break
    raise RuntimeError(f"{url}: {said}; exit status {server.poll()}\n{log.read_text()[-2000:]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    model, X = fitted()
    ours(model, X), peer(model, X)
    pairs = [(ours(model, X), peer(model, X)) for _ in range(runs)]
    mine, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(
        f"publish to first 200, medians of {runs}: ours {mine:.1f} s, MLflow {theirs:.1f} s, ratio {mine / theirs:.2f}"
    )


if __name__ == "__main__":
    main()

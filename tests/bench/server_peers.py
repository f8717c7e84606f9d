"""The peers of `server_speed.py`, each as its own documentation starts it, with one worker.

`DIR` holds a folder with an environment for each (`python -m venv` and pip, or uv):
  base: scikit-learn onnxruntime uvicorn[standard] granian orjson
  mlserver: mlserver==1.7.1 mlserver-sklearn==1.7.1     kserve: kserve==0.21.0 scikit-learn
  bentoml: bentoml==1.4.40 scikit-learn                 litserve: litserve==0.2.19 scikit-learn
  mlflow: mlflow==3.18.0                                ray: ray[serve]==2.60.0 scikit-learn
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

from server_load import HERE, Server, free_port

_SAVE = """
import sys, joblib, mlflow.sklearn
tree = "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"
mlflow.sklearn.save_model(joblib.load(sys.argv[1]), sys.argv[2], skops_trusted_types=[tree])
"""


def peers(folder: Path, model: str, environments: Path) -> Iterator[Server]:
    """Those that have an environment there."""
    pickle = folder / f"{model}.joblib"
    for name, make in (
        ("mlserver", _mlserver),
        ("kserve", _kserve),
        ("bentoml", _bentoml),
        ("litserve", _litserve),
        ("mlflow", _mlflow),
        ("ray", _ray),
    ):
        if (environments / name / "bin/python").exists():
            yield make(environments / name / "bin", folder, pickle)


def _mlserver(programs: Path, folder: Path, pickle: Path) -> Server:
    """With adaptive batching and without workers, its fastest for one core."""
    home = folder / f"mlserver-{pickle.stem}"
    home.mkdir(exist_ok=True)
    port = free_port()
    ports = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
    quiet = {"host": "127.0.0.1", "debug": False, "gzip_enabled": False, "parallel_workers": 0}
    (home / "settings.json").write_text(json.dumps(ports | quiet))
    said = {"name": "m", "implementation": "mlserver_sklearn.SKLearnModel"}
    batch = {"max_batch_size": 64, "max_batch_time": 0.002}
    where = {"parameters": {"uri": str(pickle), "version": "v1"}}
    (home / "model-settings.json").write_text(json.dumps(said | where | batch))
    return Server("MLServer", [str(programs / "mlserver"), "start", str(home)], payload="peer", port=port)


def _kserve(programs: Path, folder: Path, pickle: Path) -> Server:
    """By V1, which is its faster protocol."""
    port = free_port()
    flags = ["--model_name", "m", "--http_port", str(port), "--workers", "1", "--enable_grpc", "false"]
    flags += ["--enable_latency_logging", "false", "--model_dir", str(pickle)]
    command = [str(programs / "python"), str(HERE / "server_kserve.py"), *flags]
    return Server("KServe", command, path="/v1/models/m:predict", payload="v1", port=port)


def _bentoml(programs: Path, folder: Path, pickle: Path) -> Server:
    """With its adaptive batching."""
    port = free_port()
    told = {"PICKLE": str(pickle), "BENTOML_DO_NOT_TRACK": "true", "BENTOML_HOME": str(folder / "bento")}
    flags = ["--host", "127.0.0.1", "-p", str(port), "--working-dir", str(HERE)]
    command = [str(programs / "bentoml"), "serve", "server_bentoml:Served", *flags]
    return Server("BentoML", command, path="/predict", payload="rows", environment=told, port=port)


def _litserve(programs: Path, folder: Path, pickle: Path) -> Server:
    """With its fast queue and batching."""
    port = free_port()
    command = [str(programs / "python"), str(HERE / "server_litserve.py"), str(pickle), str(port)]
    return Server("LitServe", command, path="/predict", payload="input", port=port)


def _mlflow(programs: Path, folder: Path, pickle: Path) -> Server:
    saved = folder / f"mlflow-{pickle.stem}"
    if not saved.exists():
        subprocess.run([str(programs / "python"), "-c", _SAVE, str(pickle), str(saved)], check=True)
    port = free_port()
    told = {"MLFLOW_DISABLE_TELEMETRY": "true", "PATH": f"{programs}:/usr/bin:/bin"}
    flags = ["-m", str(saved), "--env-manager", "local", "-h", "127.0.0.1", "-p", str(port), "-w", "1"]
    command = [str(programs / "mlflow"), "models", "serve", *flags]
    return Server("MLflow", command, path="/invocations", payload="inputs", environment=told, port=port)


def _ray(programs: Path, folder: Path, pickle: Path) -> Server:
    """Optimised for throughput, with batching."""
    port = free_port()
    told = {"RAY_SERVE_THROUGHPUT_OPTIMIZED": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    command = [str(programs / "python"), str(HERE / "server_ray.py"), str(pickle), str(port)]
    return Server("Ray Serve", command, path="/predict", payload="input", environment=told, port=port)

"""What is kept of a run for MLflow while it trains: where it came from, its parameters, how it ended. Plain files, so
that the training process need not import a client; `finish.py` sends them."""

from __future__ import annotations

import json
import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from modelyard.training.journal import write
from modelyard.training.spec import TrainSpec

RECORD, ENDED = "record.json", "ended.json"
MODEL, EXAMPLE = "model.pkl", "example.pkl"
_PACKAGES = ("scikit-learn", "torch", "optuna", "xgboost", "lightgbm", "numpy", "pandas", "scipy", "modelyard")
_SESSION = "JPY_SESSION_NAME"


def begin(folder: Path, spec: TrainSpec, digest: str, rows: int) -> None:
    """Training begins on these data."""
    found = {"begun": time.time(), "params": {}, "tags": tags(digest, rows) | {"modelyard.seed": str(spec.seed)}}
    write(folder / RECORD, json.dumps(found).encode())


def params(folder: Path, values: dict[str, str]) -> None:
    """The parameters that were used, as text."""
    found = load(folder)
    found["params"] = values
    write(folder / RECORD, json.dumps(found).encode())


def took(folder: Path, seconds: float, rows: int) -> None:
    """How long the fit took, for the estimates of later ones."""
    found = load(folder)
    found["fit"] = {"seconds": seconds, "rows": rows}
    write(folder / RECORD, json.dumps(found).encode())


def model(folder: Path, value: Any, example: Any) -> None:
    """The model, and rows as an example for publishing; both whole or not at all, without a copy in memory."""
    import cloudpickle

    write(folder / EXAMPLE, cloudpickle.dumps(example))
    write(folder / MODEL, lambda file: cloudpickle.dump(value, file, protocol=5))


def load(folder: Path) -> dict[str, Any]:
    """What is kept: begun, params, tags. Empty members when training never began."""
    try:
        found: dict[str, Any] = json.loads((folder / RECORD).read_text())
    except FileNotFoundError:
        found = {"begun": time.time(), "params": {}, "tags": {}}
    return found


def parameters(estimator: Any) -> dict[str, str]:
    """The estimator's parameters as text, those of its parts included, but not the parts themselves."""
    if not hasattr(estimator, "get_params"):
        return {}
    found = estimator.get_params(deep=True)
    return {name: repr(value) for name, value in found.items() if not _is_part(value)}


def _is_part(value: Any) -> bool:
    if hasattr(value, "get_params"):
        return True
    return isinstance(value, (list, tuple)) and any(_is_part(v) for v in value if not isinstance(v, str))


def tags(digest: str, rows: int) -> dict[str, str]:
    """Where the run came from: the data's digest, the notebook, the versions."""
    found = {
        "modelyard.data.sha256": digest,
        "modelyard.data.rows": str(rows),
        "modelyard.python": platform.python_version(),
    }
    notebook = os.environ.get(_SESSION)
    if notebook:
        name = Path(notebook).name
        found |= {"modelyard.notebook": name, "mlflow.source.name": name, "mlflow.source.type": "NOTEBOOK"}
    for package in _PACKAGES:
        try:
            found[f"modelyard.version.{package}"] = version(package)
        except PackageNotFoundError:
            continue
    return found

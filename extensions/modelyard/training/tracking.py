"""What is recorded of a run in MLflow, from the child process."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from modelyard.client import AsyncClient
from modelyard.loop import run as run_blocking
from modelyard.tracking import Finished, Tracking
from modelyard.training import data
from modelyard.training.runlog import RunLog

_PACKAGES = ("scikit-learn", "numpy", "pandas", "modelyard")


def record(folder: Path, job: Mapping[str, Any], model: Any, metrics: Mapping[str, float], started: float) -> None:
    """A finished run with its params, metrics and tags. Nothing without MODELYARD_URL. Raises ModelyardError."""
    if not job.get("tracked"):
        return
    finished = Finished(
        name=job["name"],
        started=started,
        ended=time.time(),
        params=params(model, job),
        metrics=dict(metrics),
        tags=tags(folder, job),
    )

    async def write() -> tuple[str, str]:
        async with AsyncClient() as client:
            tracking = Tracking(client)
            run = await tracking.record(f"{(await client.me()).owner}/{job['name']}", finished)
            return run.id, tracking.link(run)

    run_id, url = run_blocking(write())
    RunLog(folder).write("mlflow", run_id=run_id, url=url)


def params(model: Any, job: Mapping[str, Any]) -> dict[str, str]:
    """The estimator's parameters that are plain values, and the run's options, as text."""
    found = {"estimator": type(model).__name__, **job["options"]}
    own = model.get_params(deep=True) if hasattr(model, "get_params") else {}
    plain = {k: str(v) for k, v in own.items() if isinstance(v, (str, int, float, bool, type(None)))}
    return plain | found


def tags(folder: Path, job: Mapping[str, Any]) -> dict[str, str]:
    """Where the run came from: data digest, notebook, versions, its id here."""
    found = {
        "modelyard.run": folder.name,
        "modelyard.data.sha256": data.digest(folder),
        "modelyard.python": ".".join(map(str, sys.version_info[:3])),
        "mlflow.source.name": job.get("notebook") or "modelyard",
    }
    for package in _PACKAGES:
        try:
            found[f"modelyard.version.{package}"] = version(package)
        except PackageNotFoundError:
            continue
    return found

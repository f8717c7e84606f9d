"""What is recorded of a run in MLflow, from the child process."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from modelyard.training import data
from modelyard.training.runlog import RunLog

_PACKAGES = ("scikit-learn", "numpy", "pandas", "modelyard")
_LONGEST_PARAM = 500


def record(folder: Path, job: Mapping[str, Any], model: Any, metrics: Mapping[str, float], started: float) -> None:
    """A finished run with its params, metrics and tags. Without MODELYARD_URL: nothing. Errors of modelyard_api.errors."""
    if not job.get("tracked"):
        return
    from modelyard import model_registry, sync
    from modelyard.client import AsyncClient

    client = AsyncClient()

    async def whose() -> str:
        async with client:
            return (await client.me()).owner

    experiment = f"{sync.run(whose())}.{job['experiment']}"
    with model_registry.tracking(client.connection) as tracking:
        from mlflow.entities import Metric, Param, RunTag

        number = model_registry.experiment_id(tracking, experiment)
        run = tracking.create_run(number, start_time=int(started * 1000), run_name=job["name"])
        run_id = run.info.run_id
        at = int(started * 1000)
        tracking.log_batch(
            run_id,
            metrics=[Metric(name, value, at, 0) for name, value in metrics.items()],
            params=[Param(name, value) for name, value in params(model, job).items()],
            tags=[RunTag(name, value) for name, value in tags(folder, job).items()],
        )
        tracking.set_terminated(run_id)
    url = f"{client.url}/mlflow/#/experiments/{number}/runs/{run_id}"
    RunLog(folder).write("mlflow", run_id=run_id, url=url)


def params(model: Any, job: Mapping[str, Any]) -> dict[str, str]:
    """The estimator's parameters as text, at most 90 of them (MLflow takes 100 in one request), and the run's."""
    found = {"estimator": type(model).__name__, **{k: str(v) for k, v in job["options"].items()}}
    own = model.get_params(deep=True) if hasattr(model, "get_params") else {}
    plain = {k: v for k, v in own.items() if isinstance(v, (str, int, float, bool, type(None)))}
    return found | {k: str(v)[:_LONGEST_PARAM] for k, v in list(plain.items())[:90] if k not in found}


def tags(folder: Path, job: Mapping[str, Any]) -> dict[str, str]:
    """Where the run came from: data digest, notebook, versions, its id here."""
    found = {
        "modelyard.run": folder.name,
        "modelyard.data.sha256": data.digest(folder),
        "modelyard.notebook": job.get("notebook") or "",
        "modelyard.python": ".".join(map(str, sys.version_info[:3])),
        "mlflow.source.name": job.get("notebook") or "modelyard",
    }
    for package in _PACKAGES:
        try:
            found[f"modelyard.version.{package}"] = version(package)
        except PackageNotFoundError:
            continue
    return found

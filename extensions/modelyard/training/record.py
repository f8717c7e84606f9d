"""A finished run, told to MLflow. Whatever goes wrong here is a warning: the run log keeps everything."""

from __future__ import annotations

import asyncio
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from modelyard.client import AsyncClient
from modelyard.errors import ModelyardError
from modelyard.tracking import Finished, TrackedRun, Tracking
from modelyard.training import runlog

_PACKAGES = ("scikit-learn", "numpy", "pandas", "scipy", "modelyard")
_SESSION = "JPY_SESSION_NAME"


def to_mlflow(folder: Path, experiment: str, finished: Finished) -> None:
    """Log to the experiment `<owner>/<experiment>`; a warning in the run log when MLflow cannot be reached."""
    try:
        run, url = asyncio.run(_send(experiment, finished))
    except ModelyardError as error:
        runlog.append(folder, "warning", text=f"not logged to MLflow: {error}")
    except Exception as error:  # an answer of MLflow's that nobody expected must not cost the user the model
        runlog.append(folder, "warning", text=f"not logged to MLflow: {type(error).__name__}: {error}")
    else:
        runlog.append(folder, "tracked", run_id=run.id, url=url)


async def _send(experiment: str, finished: Finished) -> tuple[TrackedRun, str]:
    async with AsyncClient(patience=5.0) as client:
        tracking = Tracking(client)
        run = await tracking.record(f"{(await client.me()).owner}/{experiment}", finished)
        return run, tracking.link(run)


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

"""`yard.train`: write the job, start the child, show it."""

from __future__ import annotations

import datetime
import json
import os
import secrets
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from modelyard.training import data, display
from modelyard.training.run import TrainingRun
from modelyard.training.runlog import ESTIMATOR, JOB, OUTPUT, PROCESS, runs_folder
from modelyard.training.sklearn import Options
from modelyard_api.errors import InvalidInput


def train(
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    test_size: float = 0.2,
    seed: int = 0,
    stratify: bool = True,
    name: str | None = None,
) -> TrainingRun:
    """Fit a clone of `estimator` in a process of its own, and return at once with a live panel.

    `X`: n rows, a DataFrame or an array; `y`: n targets, or None. `test_size`: the share of rows held out for the
    metrics; the model does not see them. `seed`: of the split. `name`: of the run in MLflow. In a papermill run or a
    script it prints lines and waits instead, and raises TrainingFailed. The run goes on without this kernel;
    `yard.attach(run.id)` finds it again. Raises InvalidInput.
    """
    if not hasattr(estimator, "fit"):
        raise InvalidInput(f"{type(estimator).__name__} has no fit", remedy="Give a scikit-learn estimator.")
    if not 0 <= test_size < 1:
        raise InvalidInput(f"test_size is {test_size}", remedy="Give a share from 0 (none held out) to below 1.")
    if y is not None and len(X) != len(y):
        raise InvalidInput(f"X has {len(X)} rows, y has {len(y)}", remedy="Give one target per row.")
    folder = _folder(type(estimator).__name__)
    options = Options(test_size=test_size, seed=seed, stratify=stratify)
    _write(folder, estimator, X, y)
    (folder / JOB).write_text(json.dumps(_job(folder, options, name), indent=1))
    run = TrainingRun(folder, _spawn(folder))
    display.show(run)
    return run


def _folder(kind: str) -> Path:
    at = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
    folder = runs_folder() / f"{at}-{kind.lower()}-{secrets.token_hex(3)}"
    folder.mkdir(parents=True, mode=0o700)
    return folder


def _write(folder: Path, estimator: Any, X: Any, y: Any) -> None:
    import cloudpickle
    from sklearn.base import clone

    try:
        with (folder / ESTIMATOR).open("wb") as file:
            cloudpickle.dump(clone(estimator), file)
    except TypeError as error:
        raise InvalidInput(
            f"the estimator cannot be copied to a process of its own: {error}",
            remedy="It holds something tied to this process, such as a file or a lock; create that in fit().",
        ) from error
    data.write(folder, X, y)


def _job(folder: Path, options: Options, name: str | None) -> dict[str, Any]:
    notebook = display.notebook()
    return {
        "options": asdict(options),
        "name": name or folder.name,
        "notebook": notebook,
        "experiment": Path(notebook).stem if notebook else "training",
        "path": [entry for entry in sys.path if entry],
        "tracked": bool(os.environ.get("MODELYARD_URL")),
    }


def _spawn(folder: Path) -> subprocess.Popen[bytes]:
    """In a session of its own: Ctrl-C in the notebook and the kernel's end do not reach it."""
    import psutil

    with (folder / OUTPUT).open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "modelyard.training", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        known = {"pid": process.pid, "create_time": psutil.Process(process.pid).create_time()}
        (folder / PROCESS).write_text(json.dumps(known))
    except psutil.Error:  # it is over already; the log says how
        pass
    return process

"""Write a run's folder and start its child process."""

from __future__ import annotations

import datetime
import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

from modelyard import config
from modelyard.errors import InvalidInput
from modelyard.training import data
from modelyard.training.runlog import ESTIMATOR, JOB, OUTPUT, PROCESS
from modelyard.training.spec import TrainSpec


def launch(
    spec: TrainSpec, estimator: Any, rows: tuple[Any, Any], validation: tuple[Any, Any] | None
) -> tuple[Path, subprocess.Popen[bytes]]:
    """The run's folder, and the child that trains. Raises InvalidInput."""
    for X, y in filter(None, (rows, validation)):
        if y is not None and _length(X) != _length(y):
            raise InvalidInput(f"X has {_length(X)} rows, y has {_length(y)}", remedy="Give one target per row.")
    at = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
    folder = config.runs_folder() / f"{at}-{secrets.token_hex(3)}"
    folder.mkdir(parents=True, mode=0o700)
    _write_estimator(folder, estimator, spec)
    data.write(folder, rows, validation)
    (folder / JOB).write_text(json.dumps(_job(spec), indent=1))
    return folder, _spawn(folder)


def _length(values: Any) -> int:
    return int(values.shape[0]) if hasattr(values, "shape") else len(values)


def _write_estimator(folder: Path, estimator: Any, spec: TrainSpec) -> None:
    import cloudpickle
    from sklearn.base import clone

    try:
        with (folder / ESTIMATOR).open("wb") as file:
            cloudpickle.dump((spec, clone(estimator, safe=False)), file)
    except (TypeError, AttributeError) as error:
        raise InvalidInput(
            f"the estimator cannot be copied to a process of its own: {error}",
            remedy="It holds something tied to this process, such as a file or a lock; create that in fit().",
        ) from error


def _job(spec: TrainSpec) -> dict[str, Any]:
    notebook = Path(os.environ.get("JPY_SESSION_NAME", "")).name
    return {
        "name": spec.name,
        "notebook": notebook if notebook.endswith(".ipynb") else "",
        "path": [entry for entry in sys.path if entry],
        "tracked": bool(os.environ.get(config.URL)),
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

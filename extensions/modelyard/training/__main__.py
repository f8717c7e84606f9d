"""The child process: `python -m modelyard.training <folder of the run>`. Its exit status is 0 also when the fit fails:
the log says so, with the traceback."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from modelyard.training import data
from modelyard.training.runlog import ESTIMATOR, JOB, MODEL, RunLog


def main(folder: Path) -> None:
    """Fit, measure, save, record in MLflow; each outcome is an event."""
    log = RunLog(folder)
    job = json.loads((folder / JOB).read_text())
    log.write("started", pid=os.getpid())
    sys.path.extend(entry for entry in job["path"] if entry not in sys.path)
    started = time.time()
    try:
        model, metrics = _fit(folder, job)
        _save(folder, model)
        log.write("metrics", values=metrics)
        log.write("fitted", seconds=round(time.time() - started, 3))
    except BaseException as error:
        _failed(log, error)
        if not isinstance(error, Exception):
            raise
        return
    try:
        from modelyard.training import tracking

        tracking.record(folder, job, model, metrics, started)
    except Exception as error:  # the model is there; what MLflow could not take is said, not raised
        log.write("warning", text=f"not recorded in MLflow: {error}")
    log.write("finished")


def _fit(folder: Path, job: dict[str, Any]) -> tuple[Any, dict[str, float]]:
    import cloudpickle

    from modelyard.training.sklearn import Options, fit

    with (folder / ESTIMATOR).open("rb") as file:
        estimator = cloudpickle.load(file)
    options = Options(**job["options"])
    # Without rows held out there is no copy, and some estimators write to what they are given.
    X, y = data.read(folder, mapped=options.test_size > 0)
    return fit(estimator, X, y, options, folder)


def _save(folder: Path, model: Any) -> None:
    """In one step: a reader finds no file or a whole one."""
    import cloudpickle

    part = folder / f"{MODEL}.part"
    with part.open("wb") as file:
        cloudpickle.dump(model, file)
    part.replace(folder / MODEL)


def _failed(log: RunLog, error: BaseException) -> None:
    lines = traceback.format_exception(error)
    log.write("failed", type=type(error).__name__, message=str(error), traceback="".join(lines))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

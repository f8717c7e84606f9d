"""`python -m modelyard.training FOLDER`: the process that trains, and tells the run log what happens."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from modelyard.tracking import Finished
from modelyard.training import runlog
from modelyard.training.spec import TrainSpec

JOB, DATA, MODEL, EXAMPLE, PATHS = "job.pkl", "data.pkl", "model.pkl", "example.pkl", "paths.json"
_EXAMPLE_ROWS = 5


class Stop(BaseException):
    """Raised by SIGTERM. No Exception: an estimator that swallows those must not swallow this."""


def _on_term(_signal: int, _frame: FrameType | None) -> None:
    raise Stop


def main(folder: Path) -> int:
    """Train, and tell how it ended; the exit status is 0 when there is a model."""
    signal.signal(signal.SIGTERM, _on_term)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever waits; they decide
    try:
        _train(folder)
    except Stop:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        runlog.append(folder, "ended", state="stopped")
        return 1
    except BaseException as error:
        text = "".join(traceback.format_exception(error)) if not isinstance(error, SystemExit) else ""
        said = f"{type(error).__name__}: {error}".rstrip(": ")
        runlog.append(folder, "ended", state="failed", error=said, traceback=text)
        return 1
    runlog.append(folder, "ended", state="succeeded")
    return 0


def _train(folder: Path) -> None:
    import cloudpickle

    from modelyard.training import data, progress, record, sklearn

    def say(event: str, **fields: Any) -> None:
        runlog.append(folder, event, **fields)

    begun = time.time()
    say("step", text="Reading the data")
    sys.path[:] = [p for p in json.loads((folder / PATHS).read_text()) if p not in sys.path] + sys.path
    spec = TrainSpec.load(folder)
    estimator, functions = cloudpickle.loads(_take(folder / JOB))
    X, y, held = cloudpickle.loads(_take(folder / DATA))
    tags = record.tags(data.digest(X, y), data.check(X, y))
    estimator = sklearn.prepare(estimator, spec.seed)
    if held is None and spec.test_size:
        X, y, *held = data.split(X, y, spec.test_size, spec.seed, sklearn.task(estimator) == "classification")
    reports = progress.reports(estimator)
    how = "reports its progress" if reports else "does not report its progress; only the time that passed is known"
    say("source", text=f"{spec.estimator} {how}", reports=reports)
    say("step", text=f"Fitting {spec.estimator}")
    params = record.parameters(estimator) | {"seed": str(spec.seed), "test_size": str(spec.test_size)}
    finished = Finished(name=folder.name, started=begun, ended=begun, params=params, tags=tags)
    try:
        model = sklearn.fit(estimator, X, y, progress.FitProgress(folder))
    except Exception:
        record.to_mlflow(folder, spec.name, replace(finished, ended=time.time(), status="FAILED"))
        raise
    metrics: dict[str, float] = {}
    if held is not None:
        say("step", text="Scoring the held-out rows")
        metrics = sklearn.score(model, (held[0], held[1]), spec.scorers, functions, say)
        say("metrics", values=metrics)
    say("step", text="Saving the model")
    _write(folder / EXAMPLE, cloudpickle.dumps(X[:_EXAMPLE_ROWS]))
    _write(folder / MODEL, cloudpickle.dumps(model, protocol=5))
    say("step", text="Logging to MLflow")
    record.to_mlflow(folder, spec.name, replace(finished, ended=time.time(), metrics=metrics))


def _take(path: Path) -> bytes:
    """The content of a file that is not needed any more."""
    content = path.read_bytes()
    path.unlink()
    return content


def _write(path: Path, content: bytes) -> None:
    """All of it or nothing."""
    part = path.with_suffix(".part")
    part.write_bytes(content)
    os.replace(part, path)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

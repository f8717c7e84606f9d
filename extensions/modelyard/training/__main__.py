"""`python -m modelyard.training FOLDER`: the process that trains, and tells the run log what happens.

When there is a model it becomes the process that tells MLflow (`finish.py`): what that imports does not add to
the memory of a training. Nothing here or below imports the client, pydantic or asyncio.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

from modelyard.errors import ModelyardError
from modelyard.training import data, handover, record
from modelyard.training.control import Control, Stop
from modelyard.training.job import TRAINERS, Job, Result
from modelyard.training.journal import Journal, write
from modelyard.training.spec import TrainSpec

JOB, DATA, MODEL, EXAMPLE, PATHS = "job", "data", "model.pkl", "example.pkl", "paths.json"


def main(folder: Path) -> None:
    """Train, keep the model, and go on as `finish`, which says how it ended."""
    journal, control = Journal(folder), Control()
    control.listen()
    ended: dict[str, Any] = {"state": "succeeded", "model": True}
    try:
        result = _train(folder, journal, control)
        control.deafen()
        ended["state"] = "stopped" if control.stopping else "succeeded"
        _keep(folder, result, journal)
    except Stop:
        control.deafen()
        ended = {"state": "stopped", "model": False}
    except BaseException as error:
        control.deafen()
        ended = {"state": "failed", "model": (folder / MODEL).exists()} | _said(error)
    journal.flush()
    write(folder / record.ENDED, json.dumps(ended).encode())
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "modelyard.training.finish", str(folder)])


def _train(folder: Path, journal: Journal, control: Control) -> Result:
    journal.step("Reading the data")
    sys.path[:] = [p for p in json.loads((folder / PATHS).read_text()) if p not in sys.path] + sys.path
    spec = TrainSpec.load(folder)
    model, options, functions = handover.take(folder, JOB)
    X, y, held = handover.take(folder, DATA)
    record.begin(folder, spec, data.digest(X, y), data.check(X, y))
    job = Job(folder, spec, model, (X, y), held, options, functions, journal, control)
    trainer = import_module(TRAINERS[spec.kind])
    result: Result = trainer.run(job)
    return result


def _keep(folder: Path, result: Result, journal: Journal) -> None:
    import cloudpickle

    journal.step("Saving the model")
    if result.metrics:
        journal.say("metrics", values=result.metrics)
    write(folder / EXAMPLE, cloudpickle.dumps(result.example))
    write(folder / MODEL, cloudpickle.dumps(result.model, protocol=5))
    record.params(folder, result.params)
    handover.drop(folder, DATA)
    handover.drop(folder, JOB)


def _said(error: BaseException) -> dict[str, str]:
    """What the log tells of an error: the sentence, what would be right, the traceback."""
    text = "".join(traceback.format_exception(error)) if not isinstance(error, SystemExit) else ""
    if isinstance(error, ModelyardError):
        return {"error": error.detail, "remedy": error.remedy, "traceback": text}
    return {"error": f"{type(error).__name__}: {error}".rstrip(": "), "traceback": text}


if __name__ == "__main__":
    main(Path(sys.argv[1]))

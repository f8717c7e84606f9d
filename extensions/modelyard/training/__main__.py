"""`python -m modelyard.training FOLDER`: the process that trains, and tells the run log what happens.

When there is a model it becomes the process that tells MLflow (`finish.py`): what that imports does not add to
the memory of a training. Nothing here or below imports the client, pydantic or asyncio.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from modelyard.training import data, faults, handover, record, workers
from modelyard.training.control import Control, Stop
from modelyard.training.job import TRAINERS, Job, Result
from modelyard.training.journal import Journal, write
from modelyard.training.spec import TrainSpec
from modelyard.training.usage import Sampler

JOB, DATA, PATHS = "job", "data", "paths.json"


def main(folder: Path) -> None:
    """Train, keep the model, and go on as `finish`, which says how it ended."""
    journal, control = Journal(folder), Control()
    control.listen()
    sampler = Sampler(journal)
    sampler.start()
    ended: dict[str, Any] = {"state": "succeeded", "model": True}
    try:
        _keep(folder, _train(folder, journal, control), journal, control)
        ended["state"] = "stopped" if control.stopping else "succeeded"
    except Stop:
        ended = {"state": "stopped", "model": (folder / record.MODEL).exists()}
    except BaseException as error:
        ended = {"state": "failed", "model": (folder / record.MODEL).exists()} | faults.told(error)
    control.deafen()
    sampler.stop()
    workers.end()
    journal.flush()
    write(folder / record.ENDED, json.dumps(ended).encode())
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "modelyard.training.finish", str(folder)])


def _train(folder: Path, journal: Journal, control: Control) -> tuple[Job, Result]:
    journal.step("Reading the data")
    sys.path[:] = [p for p in json.loads((folder / PATHS).read_text()) if p not in sys.path] + sys.path
    job = _job(folder, journal, control)
    return job, import_module(TRAINERS[job.spec.kind]).run(job)


def _job(folder: Path, journal: Journal, control: Control) -> Job:
    spec = TrainSpec.load(folder)
    model, options, functions = handover.take(folder, JOB)
    X, y, held = handover.take(folder, DATA)
    record.begin(folder, spec, data.digest(X, y), data.check(X, y))
    return Job(folder, spec, model, (X, y), held, options, functions, journal, control)


def _keep(folder: Path, trained: tuple[Job, Result], journal: Journal, control: Control) -> None:
    job, result = trained
    control.deafen()
    if job.kept is not result.model:
        journal.step("Saving the model")
        job.keep(result.model, result.example)
    if result.metrics:
        journal.say("metrics", values=result.metrics)
    record.params(folder, result.params)
    handover.drop(folder, DATA)
    handover.drop(folder, JOB)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

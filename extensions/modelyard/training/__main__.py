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
from modelyard.training.job import CHECKPOINT, TRAINERS, Diverged, Job, Result
from modelyard.training.journal import Journal, write
from modelyard.training.launch import RESUMED
from modelyard.training.spec import TrainSpec
from modelyard.training.usage import Sampler

JOB, DATA, PATHS = "job", "data", "paths.json"


def main(folder: Path, resumed: bool = False) -> None:
    """Train, keep the model, and go on as `finish`, which says how it ended. `resumed`: from the last checkpoint."""
    journal, control = Journal(folder), Control()
    control.listen()
    sampler = Sampler(journal)
    sampler.start()
    ended: dict[str, Any] = {"state": "succeeded", "model": True}
    try:
        _keep(folder, _train(folder, journal, control, resumed), journal, control)
        ended["state"] = "stopped" if control.stopping else "succeeded"
        _tidy(folder, ended["state"])
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


def _train(folder: Path, journal: Journal, control: Control, resumed: bool) -> tuple[Job, Result]:
    journal.step("Loading libraries and data")
    sys.path[:] = [p for p in json.loads((folder / PATHS).read_text()) if p not in sys.path] + sys.path
    job = _job(folder, journal, control)
    job.resumed = resumed
    try:
        return job, import_module(TRAINERS[job.spec.kind]).run(job)
    except Diverged as error:
        if error.result is not None:
            _keep(folder, (job, error.result), journal, control)
        raise


def _job(folder: Path, journal: Journal, control: Control) -> Job:
    spec = TrainSpec.load(folder)
    model, options, functions = handover.take(folder, JOB)
    X, y, held = handover.take(folder, DATA)
    digest = handover.digest(folder, DATA) if data.is_dataset(X) else data.digest(X, y)
    record.begin(folder, spec, digest, data.check(X, y))
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


def _tidy(folder: Path, state: str) -> None:
    """The rows do not stay behind, unless the run can be resumed."""
    checkpoint = folder / CHECKPOINT
    if state == "succeeded":
        checkpoint.unlink(missing_ok=True)
    if not checkpoint.exists():
        handover.drop(folder, DATA)
        handover.drop(folder, JOB)


if __name__ == "__main__":
    main(Path(sys.argv[1]), RESUMED in sys.argv[2:])

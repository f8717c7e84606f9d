"""`python -m modelyard.training.finish FOLDER`: what the training process becomes. Tells MLflow, then that it ended.

Whatever goes wrong with MLflow is a warning: the run log keeps everything.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
import time
from pathlib import Path

from modelyard.client import AsyncClient
from modelyard.errors import ModelyardError
from modelyard.tracking import Finished, TrackedRun, Tracking
from modelyard.training import record, runlog
from modelyard.training.code import FILE as CODE
from modelyard.training.progress import Progress, Reader
from modelyard.training.spec import TrainSpec

_STATUS = {"succeeded": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


def main(folder: Path) -> None:
    """Send what was recorded; the last line of the log is how the run ended."""
    ended = json.loads((folder / record.ENDED).read_text())
    runlog.append(folder, "step", text="Logging to MLflow")
    try:
        run, url = asyncio.run(_send(folder, ended["state"]))
    except ModelyardError as error:
        runlog.append(folder, "warning", text=f"not logged to MLflow: {error}")
    except Exception as error:  # an answer of MLflow's that nobody expected must not cost the user the model
        runlog.append(folder, "warning", text=f"not logged to MLflow: {type(error).__name__}: {error}")
    else:
        runlog.append(folder, "tracked", run_id=run.id, url=url)
    runlog.append(folder, "ended", **ended)


async def _send(folder: Path, state: str) -> tuple[TrackedRun, str]:
    spec = TrainSpec.load(folder)
    async with AsyncClient(patience=5.0) as client:
        tracking = Tracking(client)
        experiment = f"{(await client.me()).owner}/{spec.name}"
        run = await tracking.record(experiment, _finished(folder, state, Reader(folder).read()))
        return run, tracking.link(run)


def _finished(folder: Path, state: str, told: Progress) -> Finished:
    kept = record.load(folder)
    return Finished(
        name=folder.name,
        started=kept["begun"],
        ended=time.time(),
        status=_STATUS[state],
        params=kept["params"],
        metrics=told.metrics,
        curves={name: _finite(*curve.points()) for name, curve in told.curves.items()},
        files=[file for file in (folder / CODE, *sorted(folder.glob("report-*.json"))) if file.exists()],
        tags=kept["tags"],
    )


def _finite(steps: list[float], values: list[float]) -> list[tuple[float, float]]:
    return [(step, value) for step, value in zip(steps, values, strict=True) if math.isfinite(value)]


if __name__ == "__main__":
    main(Path(sys.argv[1]))

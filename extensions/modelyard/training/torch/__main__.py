"""`python -m modelyard.training.torch FOLDER NUMBER COUNT`: a further process of a training; see `ranks`."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelyard.training import handover
from modelyard.training.control import Control
from modelyard.training.job import Job
from modelyard.training.journal import Journal
from modelyard.training.launch import RESUMED
from modelyard.training.spec import TrainSpec
from modelyard.training.torch import trainer
from modelyard.training.torch.batches import Share


class Mute(Journal):
    """Tells nothing: process 0 does."""

    def say(self, event: str, **fields: Any) -> None: ...

    def point(self, step: float, values: Mapping[str, float]) -> None: ...


def main(folder: Path, share: Share, resumed: bool) -> None:
    """Train along."""
    for number in (signal.SIGINT, signal.SIGTERM):  # process 0 hears of a stop, and all agree on it
        signal.signal(number, signal.SIG_IGN)
    sys.path[:] = [p for p in json.loads((folder / "paths.json").read_text()) if p not in sys.path] + sys.path
    model, options, functions = handover.take(folder, "job")
    X, y, held = handover.take(folder, "data")
    job = Job(folder, TrainSpec.load(folder), model, (X, y), held, options, functions, Mute(folder), Control(), resumed)
    trainer.follow(job, share)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Share(int(sys.argv[2]), int(sys.argv[3])), RESUMED in sys.argv[4:])

"""What the training process is given and what it gives back; every trainer has this shape.

A trainer is a module with `run(job) -> Result`. It tells the journal what happens, looks at `job.control.stopping`
after each iteration where there are any (and says so by `control.gentle = True`), and gives back the best state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelyard.errors import ModelyardError
from modelyard.training import record
from modelyard.training.control import Control
from modelyard.training.journal import Journal
from modelyard.training.spec import TrainSpec

TRAINERS = {
    "sklearn": "modelyard.training.sklearn",
    "torch": "modelyard.training.torch.trainer",
    "search": "modelyard.training.search.trainer",
}
"""Module by `TrainSpec.kind`."""
CHECKPOINT = "checkpoint"
"""What a run is resumed from, in its trainer's own form. While it is there and the run has not succeeded, its data are
kept too."""


@dataclass
class Job:
    """`model` as it was given, `rows` (X, y), `held` (X, y) given as validation or None, `options` those of
    the trainer (see `options.py`), `functions` the user's own metrics. `resumed`: the run goes on from its last
    checkpoint."""

    folder: Path
    spec: TrainSpec
    model: Any
    rows: tuple[Any, Any]
    held: tuple[Any, Any] | None
    options: Any
    functions: Mapping[str, Any]
    journal: Journal
    control: Control
    resumed: bool = False
    kept: Any = None
    """The model that is on disk."""

    def take(self) -> tuple[Any, Any]:
        """The rows (X, y), once: the memory that they are in is free again when the caller drops them."""
        taken, self.rows = self.rows, (None, None)
        return taken

    def keep(self, model: Any, example: Any) -> None:
        """Write the model to disk; from now on whatever happens costs the user no model."""
        record.model(self.folder, model, example)
        self.kept = model


@dataclass
class Result:
    """A trained model, a few rows as an example for publishing, metrics on the held-out rows, and the parameters as
    text for MLflow."""

    model: Any
    example: Any
    metrics: dict[str, float] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)


class Diverged(ModelyardError):
    """The training failed, and yet there is a state worth keeping: `result` holds it."""

    def __init__(self, detail: str, *, remedy: str, result: Result | None = None) -> None:
        super().__init__(detail, remedy=remedy)
        self.result = result

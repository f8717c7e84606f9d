"""What the training process is given and what it gives back; every trainer has this shape.

A trainer is a module with `run(job) -> Result`. It tells the journal what happens, looks at `job.control.stopping`
after each iteration where there are any (and says so by `control.gentle = True`), and gives back the best state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelyard.training.control import Control
from modelyard.training.journal import Journal
from modelyard.training.spec import TrainSpec

TRAINERS = {
    "sklearn": "modelyard.training.sklearn",
    "torch": "modelyard.training.torch",
    "search": "modelyard.training.search",
}
"""Module by `TrainSpec.kind`."""


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


@dataclass
class Result:
    """A trained model, a few rows as an example for publishing, metrics on the held-out rows, and the parameters as
    text for MLflow."""

    model: Any
    example: Any
    metrics: dict[str, float] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)

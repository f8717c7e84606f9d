"""What a run's process was told: `run.json` in the folder `$MODELYARD_FILES`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelyard.errors import InvalidInput
from modelyard_api.runs import Run

FILES, OUTPUT = "MODELYARD_FILES", "MODELYARD_OUTPUT"


@dataclass(frozen=True)
class Order:
    """One attempt. `output`: the folder of its results; `expected` seconds, from earlier runs; `parameters` include the
    results of other runs."""

    run: Run
    attempt: int
    output: Path
    parameters: Mapping[str, Any] = field(default_factory=dict)
    expected: float | None = None

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> Order:
        """InvalidInput outside of a run."""
        if not environ.get(FILES) or not environ.get(OUTPUT):
            raise InvalidInput("this is the process of a run; the hub service starts it", remedy="See yard.submit.")
        told = json.loads((Path(environ[FILES]) / "run.json").read_text())
        run = Run.model_validate(told["run"])
        return cls(run, told["attempt"], Path(environ[OUTPUT]), told["parameters"], told["expected"])

"""Tables to score and the real process that scores them, for the tests of offline scoring."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from harness.packages import table
from modelyard.batch.scoring.engine import Order, score
from modelyard_api.scoring import ScoreOptions, ScoreReport


def many(rows: int) -> pd.DataFrame:
    """The table of `harness.packages`, again and again, with an `id`."""
    whole = pd.concat([table()] * (rows // 8 + 1), ignore_index=True)[:rows]
    return whole.assign(id=range(rows))


def scored(data: Path | str, output: Path | str, package: Path, **given: Any) -> ScoreReport:
    """All of it, in this process. `given`: options, and fields of the order."""
    order = {name: given.pop(name) for name in ("run", "shard", "stopped", "tell", "threads") if name in given}
    report = score(Order(str(data), str(output), package, "ada.penguins", options=ScoreOptions(**given), **order))
    assert report is not None
    return report


def answers(output: Path) -> pd.DataFrame:
    """What readers of the folder see."""
    return pq.read_table(output).to_pandas()


def spawn(data: Path | str, output: Path | str, package: Path, options: ScoreOptions) -> subprocess.Popen[bytes]:
    """`python -m modelyard.batch.scoring`."""
    command = [sys.executable, "-m", "modelyard.batch.scoring", str(data), str(output)]
    command += ["--package", str(package), "--model", "ada.penguins"]
    command += ["--options", options.model_dump_json()]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

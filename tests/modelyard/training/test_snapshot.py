"""What panels are sent: small whatever happens, and the truth."""

from __future__ import annotations

import json
import math
from array import array
from pathlib import Path
from typing import Any

import pytest

from modelyard.errors import NotFound
from modelyard.training import runlog
from modelyard.training.run import TrainingRun
from modelyard.training.snapshot import LIMIT, packed, part, snapshot, thinned
from modelyard.training.spec import TrainSpec


@pytest.fixture
def run(tmp_path: Path) -> TrainingRun:
    folder = tmp_path / "a-20260101-000000-aaaaaa"
    folder.mkdir()
    TrainSpec("a", "Pipeline").save(folder)
    return TrainingRun(folder)


def say(run: TrainingRun, event: str, **fields: Any) -> None:
    runlog.append(run.folder, event, **fields)


def test_thinning_keeps_the_ends_the_spikes_and_the_order() -> None:
    steps = [float(i) for i in range(10_000)]
    values = [1.0] * 10_000
    values[1_234], values[7_777], values[5_000] = 99.0, -99.0, math.nan
    x, y = thinned(steps, values, 60)
    assert len(x) <= 60
    assert (x[0], x[-1]) == (0.0, 9_999.0)
    assert x == sorted(x)
    assert {99.0, -99.0} <= set(y)
    assert thinned(steps[:3], values[:3], 60) == (steps[:3], values[:3])
    assert thinned(steps, values, 2) == ([9_999.0], [1.0])


def test_short_curves_leave_their_room_to_long_ones() -> None:
    long, short = [float(i) for i in range(1_000)], [1.0, 2.0]
    lengths, data = packed({"a": (long, long), "b": (short, short)}, 200)
    assert lengths[1] == 2
    assert 90 <= lengths[0] <= 98
    numbers = array("f", data)
    assert len(numbers) == 2 * sum(lengths)
    assert list(numbers[2 * lengths[0] :]) == [1.0, 2.0, 1.0, 2.0]


def test_a_snapshot_is_small_even_of_the_worst_run(run: TrainingRun) -> None:
    steps = [float(i) for i in range(1_500)]
    for name in range(20):
        say(run, "points", series={f"val_a_rather_long_name_{name}": [steps, steps]})
    say(run, "metrics", values={f"a_metric_of_some_length_{i}": i / 3 for i in range(40)})
    for _ in range(30):
        say(run, "warning", text="w" * 5_000)
    say(run, "usage", cpu=1.5, memory=1e9, shm=1e6, gpu=50, gpu_memory=1e9, rows=1234.5678)
    for i in range(30):
        say(run, "report", name=f"report_{i}")
    say(run, "step", text="s" * 5_000)
    say(run, "ended", state="failed", error="e" * 9_000, remedy="r" * 9_000, traceback="t" * 90_000)
    view, data = snapshot(run)
    assert len(json.dumps(view)) + len(data) <= LIMIT
    assert view["curves"]["of"] == 20
    assert len(view["curves"]["names"]) == 8
    assert view["error"].startswith("eee")
    json.dumps(view, allow_nan=False)


def test_parts_are_fetched_by_name_and_nothing_else(run: TrainingRun) -> None:
    (run.folder / "output.log").write_text("x" * 10_000 + "the end")
    assert part(run, "log").endswith("the end")
    assert len(part(run, "log")) == 4_000
    (run.folder / "report-roc.json").write_text('{"classes": []}')
    say(run, "report", name="roc")
    assert part(run, "report-roc") == {"classes": []}
    for name in ("report-pr", "report-../../spec", "spec.json", "../spec", ""):
        with pytest.raises(NotFound):
            part(run, name)


def test_an_address_that_is_no_web_page_is_no_link(run: TrainingRun) -> None:
    say(run, "tracked", run_id="1", url="javascript:alert(1)")
    assert "mlflow" not in snapshot(run)[0]
    say(run, "tracked", run_id="1", url="http://127.0.0.1/mlflow/1")
    assert snapshot(run)[0]["mlflow"] == "http://127.0.0.1/mlflow/1"

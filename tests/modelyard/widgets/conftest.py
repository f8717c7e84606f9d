"""Runs in a folder of the test's own, and panels that somebody looks at."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.fake_browser import looked_at
from modelyard.training import runlog
from modelyard.training.run import TrainingRun
from modelyard.training.spec import TrainSpec

Told = Callable[..., TrainingRun]


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "runs"
    monkeypatch.setenv("MODELYARD_RUNS", str(folder))
    for variable in ("MODELYARD_URL", "MODELYARD_TOKEN", "JUPYTERHUB_API_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    return folder


@pytest.fixture
def browser() -> Iterator[None]:
    with looked_at():
        yield


@pytest.fixture
def told(runs: Path) -> Told:
    """A run whose log holds these events; with `pid`, that process does it."""

    def make(*events: tuple[str, dict[str, Any]], name: str = "churn", number: int = 1, **params: str) -> TrainingRun:
        folder = runs / f"{name}-20260101-{number:06d}-abc{number:03d}"
        folder.mkdir(parents=True)
        TrainSpec(name, "Pipeline", estimator="RandomForestClassifier").save(folder)
        kept = {"begun": 0.0, "params": params, "tags": {"modelyard.data.rows": "300"}}
        (folder / "record.json").write_text(json.dumps(kept))
        (folder / "code.py").write_text("import modelyard as yard\n")
        for event, fields in events:
            runlog.append(folder, event, **fields)
        return TrainingRun(folder)

    return make

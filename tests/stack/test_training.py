"""A training in the real MLflow: curves as histories, reports and code as artifacts, where it came from as tags."""

from __future__ import annotations

from pathlib import Path

import httpx
import numpy as np
import pytest
from lightgbm import LGBMClassifier

import modelyard as yard
from harness.stack import Stack
from modelyard.training.options import SklearnOptions
from modelyard.training.order import Order, start
from modelyard.training.spec import TrainSpec

pytestmark = [pytest.mark.stack]


def test_curves_reports_and_code_are_in_mlflow(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in stack.library("ada").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MODELYARD_RUNS", str(tmp_path))
    X = np.random.default_rng(0).normal(size=(200, 3))
    model = LGBMClassifier(n_estimators=700, n_jobs=1, verbose=-1)  # two curves: more than one batch of MLflow's
    order = Order(TrainSpec.of(model, name="told", seed=4), model, (X, X[:, 0] > 0), None, SklearnOptions(cv=2))
    run = start(order).wait(120)
    assert run.warnings == []
    assert yard.attach(run.id).mlflow_run == run.mlflow_run
    with httpx.Client(base_url=f"{stack.url}/mlflow/api/2.0", timeout=30) as mlflow:
        mlflow.headers["Authorization"] = f"Bearer {stack.token('ada')}"

        def asked(what: str, **query: str) -> dict[str, list[dict[str, object]]]:
            found: dict[str, list[dict[str, object]]] = mlflow.get(f"/mlflow/{what}", params=query).json()
            return found

        assert run.mlflow_run is not None
        for name in ("train_binary_logloss", "val_binary_logloss"):
            history = asked("metrics/get-history", run_id=run.mlflow_run, metric_key=name)["metrics"]
            assert [point["step"] for point in history] == list(range(1, 701))
        kept = mlflow.get("/mlflow/runs/get", params={"run_id": run.mlflow_run}).json()["run"]["data"]
        tags = {tag["key"]: tag["value"] for tag in kept["tags"]}
        assert tags["modelyard.seed"] == "4"
        assert tags["modelyard.version.lightgbm"]
        assert len(tags["modelyard.data.sha256"]) == 64
        assert {"accuracy", "cv_accuracy_mean", "cv_accuracy_std"} <= {m["key"] for m in kept["metrics"]}
        files = {str(f["path"]) for f in asked("artifacts/list", run_id=run.mlflow_run)["files"]}
        assert {"code.py", "report-roc.json", "report-confusion.json", "report-importance.json"} <= files

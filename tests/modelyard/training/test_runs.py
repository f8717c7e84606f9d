"""Training with real child processes."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import psutil
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import modelyard as yard
from harness.wait import eventually
from modelyard.errors import InvalidInput, NotFound, TimedOut, TrainingFailed, TrainingStopped
from modelyard.training.options import SklearnOptions
from modelyard.training.order import Order, start
from modelyard.training.progress import ProgressKind, RunState
from modelyard.training.spec import TrainSpec


class Stuck(ClassifierMixin, BaseEstimator):
    """Says that it began, and never ends."""

    def __init__(self, began: str = "") -> None:
        self.began = began

    def fit(self, X: Any, y: Any) -> Any:
        import threading
        from pathlib import Path

        Path(self.began).touch()
        threading.Event().wait()
        return self

    def predict(self, X: Any) -> Any:
        return np.zeros(len(X))


class Broken(BaseEstimator):
    """Raises in fit."""

    def fit(self, X: Any, y: Any) -> Any:
        raise ValueError("column 'age' is no number")


def rows() -> tuple[pd.DataFrame, Any]:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(300, 3)), columns=list("abc"))
    return X, np.where(X["a"] > 0, "yes", "no")


def begin(estimator: Any) -> Any:
    """A run that nobody waits for yet."""
    return start(Order(TrainSpec.of(estimator), estimator, rows(), None, SklearnOptions()))


@pytest.fixture
def stuck(tmp_path: Path) -> Any:
    run = begin(Stuck(str(tmp_path / "began")))
    eventually((tmp_path / "began").exists)
    yield run
    run.stop()


def test_a_search_reports_its_progress_also_from_worker_processes(capsys: pytest.CaptureFixture[str]) -> None:
    X, y = rows()
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    run = yard.train(
        GridSearchCV(pipeline, {"logisticregression__C": [0.1, 1, 10]}, cv=2, n_jobs=2), X, y, name="Search"
    )
    assert run.state is RunState.succeeded
    assert run.metrics["accuracy"] > 0.9
    assert set(run.metrics) == {"accuracy", "roc_auc", "log_loss"}
    assert set(run.model.predict(X)) == {"yes", "no"}
    assert b"FitProgress" not in cloudpickle.dumps(run.model)
    assert run.example.columns.tolist() == ["a", "b", "c"]
    told = [json.loads(line) for line in (run.folder / "run.jsonl").read_text().splitlines()]
    fits = {tuple(e["path"]) for e in told if e["event"] == "task" and e["end"] and e["path"][:2] == [0, 0]}
    assert {path for path in fits if len(path) == 3} == {(0, 0, i) for i in range(6)}  # three candidates by two folds
    printed = capsys.readouterr().out
    assert "GridSearchCV reports its progress" in printed
    assert "Training search" in printed
    assert not list(run.folder.glob("data.pkl"))  # the rows do not stay behind


def test_an_estimator_that_does_not_report_is_said_to() -> None:
    X, _ = rows()
    run = yard.train(LinearRegression(), X, 2 * X["a"])
    assert run.metrics["r2"] == pytest.approx(1)
    assert set(run.metrics) == {"r2", "mae", "rmse"}
    assert run.progress.kind is ProgressKind.elapsed
    assert "only the time" in run.progress.source
    assert run.warnings
    assert "MODELYARD_URL" in run.warnings[0]


def test_the_seed_makes_it_repeatable_and_the_estimator_stays_as_it_was() -> None:
    X, y = rows()
    forest = RandomForestClassifier(n_estimators=5)
    first, second = (yard.train(forest, X, y, seed=3, metrics=["f1_macro"]) for _ in range(2))
    assert first.metrics == second.metrics
    assert first.model.random_state == 3
    assert forest.random_state is None
    np.testing.assert_array_equal(first.model.predict_proba(X), second.model.predict_proba(X))


def test_own_metrics_and_own_validation_rows() -> None:
    X, y = rows()
    own = {"share": lambda model, X, y: (model.predict(X) == y).mean(), "wrong": lambda model, X, y: 1 / 0}
    run = yard.train(LogisticRegression(), X[:200], y[:200], validation=(X[200:], y[200:]), metrics=own)
    assert run.metrics == {"share": pytest.approx((run.model.predict(X[200:]) == y[200:]).mean())}
    assert any("'wrong': ZeroDivisionError" in warning for warning in run.warnings)


def test_an_exception_shows_at_wait_with_its_traceback() -> None:
    run = begin(Broken())
    with pytest.raises(TrainingFailed, match="column 'age' is no number") as raised:
        run.wait(60)
    assert "in fit" in raised.value.traceback
    assert run.state is RunState.failed


def test_a_killed_process_has_failed_with_a_reason(stuck: Any) -> None:
    assert stuck.state is RunState.running
    os.kill(stuck.progress.pid, signal.SIGKILL)
    with pytest.raises(TrainingFailed, match="SIGKILL"):
        stuck.wait(30)
    assert stuck.state is RunState.failed


def test_a_process_that_is_not_ours_and_gone_has_failed(stuck: Any) -> None:
    attached = yard.attach(stuck.id)
    assert attached.state is RunState.running
    process = psutil.Process(stuck.progress.pid)
    process.kill()
    stuck._process.wait(30)
    with pytest.raises(TrainingFailed, match="gone"):
        attached.wait(30)


def test_stop_ends_the_process_and_another_kernel_sees_it(stuck: Any) -> None:
    attached = yard.attach(stuck.id)
    with pytest.raises(TimedOut, match="still runs"):
        attached.wait(0.01)
    attached.stop()
    assert (stuck.state, attached.state) == (RunState.stopped, RunState.stopped)
    eventually(lambda: not stuck._alive(stuck.progress))
    with pytest.raises(TrainingStopped):
        attached.wait(30)


def test_what_cannot_be_trained_is_refused_at_once() -> None:
    X, y = rows()
    with pytest.raises(InvalidInput, match="300 rows, y has 299"):
        yard.train(LinearRegression(), X, y[1:])
    with pytest.raises(InvalidInput, match="no fit"):
        yard.train("forest", X, y)
    with pytest.raises(InvalidInput, match="is a class"):
        yard.train(LinearRegression, X, y)
    with pytest.raises(InvalidInput, match="cannot be sent"):
        yard.train(Stuck(began=threading.Lock()), X, y)
    with pytest.raises(NotFound, match="The latest: none"):
        yard.attach("nothing")


def test_mlflow_away_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELYARD_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("MODELYARD_TOKEN", "secret-of-mine")
    X, y = rows()
    run = yard.train(LogisticRegression(), X, y)
    assert run.state is RunState.succeeded
    assert "http://127.0.0.1:9" in run.warnings[0]
    assert "secret-of-mine" not in (run.folder / "run.jsonl").read_text()

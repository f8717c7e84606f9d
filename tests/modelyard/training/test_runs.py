"""Training with real child processes."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import modelyard as yard
from harness.wait import eventually
from modelyard.errors import InvalidInput, NotFound, TrainingFailed, TrainingStopped
from modelyard.training.run import State


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


@pytest.fixture(autouse=True)
def _runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    import cloudpickle

    monkeypatch.setenv("MODELYARD_RUNS", str(tmp_path / "runs"))
    monkeypatch.delenv("MODELYARD_URL", raising=False)
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # as a class of a notebook's __main__ goes


def rows() -> tuple[pd.DataFrame, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(300, 3)), columns=list("abc"))
    return X, np.where(X["a"] > 0, "yes", "no")


def begin(estimator: Any) -> Any:
    """A run that nobody waits for yet."""
    from modelyard.training.run import start
    from modelyard.training.spec import TrainSpec

    return start(TrainSpec.of(estimator, name=None, test_size=0.2, seed=0), estimator, rows())


def test_a_pipeline_is_fitted_measured_and_says_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    X, y = rows()
    run = yard.train(make_pipeline(StandardScaler(), LogisticRegression()), X, y)
    assert run.state is State.finished
    assert run.metrics["accuracy"] > 0.9
    assert set(run.metrics) == {"accuracy", "roc_auc", "log_loss"}
    assert set(run.model.predict(X)) == {"yes", "no"}
    assert not hasattr(run.model, "_skl_callbacks")
    assert (run.observed.done, run.observed.total) == (2, 2)
    assert "finished" in capsys.readouterr().out


def test_a_regressor_has_its_own_metrics() -> None:
    X, _ = rows()
    run = yard.train(LinearRegression(), X, 2 * X["a"])
    assert run.metrics["r2"] == pytest.approx(1)
    assert set(run.metrics) == {"r2", "mae", "rmse"}


def test_an_exception_shows_at_wait_with_its_traceback() -> None:
    run = begin(Broken())
    with pytest.raises(TrainingFailed, match="column 'age' is no number") as raised:
        run.wait(60)
    assert "in fit" in raised.value.traceback
    assert run.state is State.failed


def test_a_killed_child_has_failed_with_a_reason(tmp_path: Path) -> None:
    run = begin(Stuck(str(tmp_path / "began")))
    eventually((tmp_path / "began").exists)
    assert run.state is State.running
    os.kill(run._process.pid, signal.SIGKILL)
    with pytest.raises(TrainingFailed, match="SIGKILL"):
        run.wait(30)
    assert run.state is State.failed


def test_stop_ends_the_process_and_another_kernel_sees_it(tmp_path: Path) -> None:
    run = begin(Stuck(str(tmp_path / "began")))
    eventually((tmp_path / "began").exists)
    attached = yard.attach(run.id)
    assert attached.state is State.running
    run.stop()
    assert (run.state, attached.state) == (State.stopped, State.stopped)
    with pytest.raises(TrainingStopped):
        attached.wait(30)


def test_what_cannot_be_trained_is_refused_at_once() -> None:
    X, y = rows()
    with pytest.raises(InvalidInput, match="300 rows, y has 299"):
        yard.train(LinearRegression(), X, y[1:])
    with pytest.raises(InvalidInput, match="no estimator"):
        yard.train("forest", X, y)
    with pytest.raises(NotFound):
        yard.attach("nothing")


def test_mlflow_away_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELYARD_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("MODELYARD_TOKEN", "secret")
    X, y = rows()
    run = yard.train(LogisticRegression(), X, y)
    assert run.state is State.finished
    assert "http://127.0.0.1:9" in run.observed.warnings[0]
    assert "secret" not in (run.folder / "run.jsonl").read_text()

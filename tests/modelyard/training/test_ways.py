"""Whichever way an estimator is fitted, the model is that of its own `fit`; a stop keeps the iterations so far."""

from __future__ import annotations

import copy
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.base import clone, is_classifier
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import Lasso, LogisticRegression, Perceptron, SGDClassifier, SGDRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier, XGBRegressor

from modelyard.training import ways
from modelyard.training.control import Control
from modelyard.training.journal import Journal
from modelyard.training.progress import Progress, ProgressKind, Reader
from modelyard.training.watch import Watch

QUIET = {"n_jobs": 1, "verbose": -1}

WATCHED = [
    RandomForestClassifier(12, oob_score=True, max_samples=0.5, class_weight="balanced", random_state=0),
    RandomForestRegressor(12, n_jobs=2, random_state=0),
    ExtraTreesClassifier(12, random_state=0),
    ExtraTreesRegressor(12, bootstrap=True, random_state=0),
    BaggingClassifier(n_estimators=12, max_features=0.5, random_state=0),
    BaggingRegressor(n_estimators=12, max_samples=0.5, random_state=0),
    GradientBoostingClassifier(n_estimators=12, subsample=0.5, max_features=0.5, random_state=0),
    GradientBoostingRegressor(n_estimators=30, n_iter_no_change=2, random_state=0),
    HistGradientBoostingClassifier(max_iter=12, max_features=0.5, random_state=0),
    HistGradientBoostingRegressor(max_iter=30, early_stopping=True, n_iter_no_change=2, random_state=0),
    MLPClassifier([8], max_iter=12, random_state=0),
    MLPRegressor(hidden_layer_sizes=[8], max_iter=12, early_stopping=True, random_state=0),
    SGDClassifier(max_iter=12, random_state=0),
    SGDRegressor(max_iter=12, early_stopping=True, random_state=0),
    Perceptron(max_iter=12, random_state=0),
    LogisticRegression(C=10),
    XGBClassifier(n_estimators=12, subsample=0.5, random_state=0, n_jobs=1),
    XGBRegressor(n_estimators=12, random_state=0, n_jobs=1),
    LGBMClassifier(n_estimators=12, subsample=0.5, subsample_freq=1, random_state=0, **QUIET),
    LGBMRegressor(n_estimators=12, random_state=0, **QUIET),
]


class Impatient(Control):
    """Somebody presses Stop when the third iteration is asked about."""

    asked = 0

    @property
    def stopping(self) -> bool:  # type: ignore[override]
        self.asked += 1
        return self.asked >= 3

    @stopping.setter
    def stopping(self, value: bool) -> None:
        pass


def rows(estimator: Any) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 5))
    y = X[:, 0] + X[:, 1] * X[:, 2] + 0.1 * rng.normal(size=300)
    return X, (y > 0).astype(int) if is_classifier(estimator) else y


def watched(estimator: Any, folder: Path, control: Control | None = None) -> tuple[Any, Progress]:
    X, y = rows(estimator)
    folder.mkdir(exist_ok=True)
    journal = Journal(folder)
    watch = Watch(journal, control or Control(), 200, lambda: (X[200:], y[200:]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = ways.of(estimator).fit(estimator, X[:200], y[:200], {}, watch)
    watch.end()
    journal.flush()
    return model, Reader(folder).read()


def answers(model: Any) -> Any:
    X, _ = rows(model)
    model = copy.deepcopy(model)  # one job: several add up a forest's answers in any order
    model.set_params(**{name: 1 for name in model.get_params() if name.split("__")[-1] == "n_jobs"})
    return model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)


def plain(estimator: Any) -> Any:
    X, y = rows(estimator)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return clone(estimator).fit(X[:200], y[:200])


@pytest.mark.parametrize("estimator", WATCHED, ids=lambda e: type(e).__name__)
def test_the_model_is_that_of_a_plain_fit(estimator: Any, tmp_path: Path) -> None:
    model, told = watched(clone(estimator), tmp_path)
    expected = plain(estimator)
    np.testing.assert_array_equal(answers(model), answers(expected))
    assert getattr(model, "oob_score_", None) == getattr(expected, "oob_score_", None)
    assert model.get_params() == estimator.get_params()
    assert type(getattr(model, "estimators_", [0])[0]) is type(getattr(expected, "estimators_", [0])[0])
    assert ways.of(estimator).kind is not ProgressKind.elapsed
    assert told.done >= 1
    assert told.unit
    assert told.of is None or told.done <= told.of


@pytest.mark.parametrize("estimator", WATCHED, ids=lambda e: type(e).__name__)
def test_in_a_pipeline_it_is_the_same(estimator: Any, tmp_path: Path) -> None:
    pipeline = make_pipeline(StandardScaler(), clone(estimator))
    model, told = watched(pipeline, tmp_path)
    np.testing.assert_array_equal(answers(model), answers(plain(make_pipeline(StandardScaler(), estimator))))
    assert type(model[-1]) is type(estimator)
    validation = next((curve for name, curve in told.curves.items() if name.startswith("val_")), None)
    if validation is not None:
        assert told.best is not None
        assert told.best["value"] == min(validation.values)
    assert told.done >= 1


STOPPABLE = [e for e in WATCHED if not isinstance(e, (SGDClassifier, SGDRegressor, Perceptron))]


@pytest.mark.parametrize("estimator", STOPPABLE, ids=lambda e: type(e).__name__)
def test_a_stop_keeps_the_iterations_so_far(estimator: Any, tmp_path: Path) -> None:
    control = Impatient()
    model, told = watched(clone(estimator), tmp_path, control)
    assert control.gentle
    assert 0 < told.done <= 12
    assert np.isfinite(answers(model).astype(float)).all()
    if hasattr(model, "estimators_") and hasattr(model, "oob_score"):
        assert len(model.estimators_) == told.done == model.n_estimators


def test_a_validation_curve_says_which_iteration_a_stop_keeps(tmp_path: Path) -> None:
    _, told = watched(XGBClassifier(n_estimators=40, learning_rate=1.0, random_state=0, n_jobs=1), tmp_path)
    steps, values = told.curves["val_logloss"].points()
    assert told.best == {"step": steps[int(np.argmin(values))], "name": "val_logloss", "value": min(values)}
    assert told.best["step"] < 40
    assert set(told.curves) == {"train_logloss", "val_logloss"}


def test_a_greater_area_under_the_curve_is_better(tmp_path: Path) -> None:
    _, told = watched(XGBClassifier(n_estimators=8, eval_metric="auc", random_state=0, n_jobs=1), tmp_path)
    assert told.best is not None
    assert told.best["value"] == max(told.curves["val_auc"].values)


@pytest.mark.parametrize(
    "estimator",
    [
        Lasso(),
        BaggingRegressor(random_state=np.random.RandomState(0)),
        BaggingClassifier(oob_score=True, random_state=0),
        BaggingClassifier(n_jobs=2, random_state=0),
        MLPClassifier(solver="lbfgs", random_state=0),
    ],
    ids=["no way to see them", "a generator that goes on", "out-of-bag scores", "two jobs", "lbfgs"],
)
def test_where_iterations_would_change_the_model_there_are_none(estimator: Any) -> None:
    assert ways.of(estimator).kind is ProgressKind.elapsed
    assert "only the time" in ways.of(estimator).text


class Forest(RandomForestClassifier):
    """A user's own, of which nobody knows whether growing it is fitting it."""


def test_a_subclass_is_fitted_as_it_is() -> None:
    assert ways.of(Forest(random_state=0)).kind is ProgressKind.elapsed


def test_what_the_user_asked_to_be_printed_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    watched(MLPClassifier([4], max_iter=3, random_state=0), tmp_path / "quiet")
    assert capsys.readouterr().out == ""
    watched(MLPClassifier([4], max_iter=3, random_state=0, verbose=True), tmp_path / "loud")
    assert capsys.readouterr().out.count("Iteration") == 3


def test_thousands_of_iterations_make_few_lines(tmp_path: Path) -> None:
    _, told = watched(SGDRegressor(max_iter=2000, tol=None, random_state=0), tmp_path)
    assert told.done == 2000
    assert len(told.curves["train_loss"].points()[0]) >= 1000
    lines = [json.loads(line) for line in (tmp_path / "run.jsonl").read_text().splitlines()]
    assert len(lines) < 200


def test_a_stop_keeps_the_last_tree_where_only_the_first_was_scored_before(tmp_path: Path) -> None:
    class Late(Impatient):
        @property
        def stopping(self) -> bool:  # type: ignore[override]
            self.asked += 1
            return self.asked >= 40

        @stopping.setter
        def stopping(self, value: bool) -> None:
            pass

    model, told = watched(HistGradientBoostingClassifier(max_iter=100, random_state=0), tmp_path, Late())
    assert told.curves["val_log_loss"].steps[-1] == told.done
    assert told.best is not None
    assert model.n_iter_ == told.best["step"] > 10

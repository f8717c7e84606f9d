"""Every classifier and regressor of scikit-learn that fits a plain table publishes and answers as in the notebook."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils import all_estimators

from modelyard.packaging import build
from modelyard.packaging.answers import ask, compare, observe
from modelyard.packaging.rows import columns_of
from modelyard_server.dataplane import load

ROWS = 60
NEITHER = {
    "IsotonicRegression": "takes one column as a 1-dimensional array, not a table",
}
"""Estimators that do not fit a plain table, and why."""

LOGIT, TREE = LogisticRegression(), DecisionTreeClassifier(max_depth=3, random_state=0)
RIDGE, STUMP = Ridge(), DecisionTreeRegressor(max_depth=3, random_state=0)
ARGUMENTS: dict[str, dict[str, Any]] = {
    "ClassifierChain": {"estimator": LOGIT},
    "FixedThresholdClassifier": {"estimator": LOGIT},
    "MultiOutputClassifier": {"estimator": LOGIT},
    "OneVsOneClassifier": {"estimator": LOGIT},
    "OneVsRestClassifier": {"estimator": LOGIT},
    "OutputCodeClassifier": {"estimator": LOGIT, "random_state": 0},
    "RadiusNeighborsClassifier": {"radius": 100.0},
    "RadiusNeighborsRegressor": {"radius": 100.0},
    "SelfTrainingClassifier": {"estimator": LOGIT},
    "StackingClassifier": {"estimators": [("a", LOGIT), ("b", TREE)], "cv": 2},
    "TunedThresholdClassifierCV": {"estimator": LOGIT, "cv": 2},
    "VotingClassifier": {"estimators": [("a", LOGIT), ("b", TREE)], "voting": "soft"},
    "MultiOutputRegressor": {"estimator": RIDGE},
    "RegressorChain": {"estimator": RIDGE},
    "StackingRegressor": {"estimators": [("a", RIDGE), ("b", STUMP)], "cv": 2},
    "VotingRegressor": {"estimators": [("a", RIDGE), ("b", STUMP)]},
    "CCA": {"n_components": 1},
    "PLSCanonical": {"n_components": 1},
    "MLPClassifier": {"hidden_layer_sizes": (5,), "max_iter": 50},
    "MLPRegressor": {"hidden_layer_sizes": (5,), "max_iter": 50},
}
SMALLER = {"n_estimators": 5, "max_iter": 20}
SEVERAL_TARGETS = {
    "ClassifierChain",
    "MultiOutputClassifier",
    "MultiOutputRegressor",
    "RegressorChain",
    "MultiTaskElasticNet",
    "MultiTaskElasticNetCV",
    "MultiTaskLasso",
    "MultiTaskLassoCV",
}
WITH_ENSEMBLE_SIZE = ("Forest", "Boost", "Bagging", "ExtraTrees", "HistGradient")


def _kinds() -> list[tuple[str, str]]:
    return [(kind, name) for kind in ("classifier", "regressor") for name, _ in all_estimators(type_filter=kind)]


def _make(name: str) -> Any:
    kind = dict(all_estimators())[name]
    arguments = dict(ARGUMENTS.get(name, {}))
    known = kind().get_params() if name not in ARGUMENTS else {}
    if any(part in name for part in WITH_ENSEMBLE_SIZE):
        arguments |= {k: v for k, v in SMALLER.items() if k in known}
    if "random_state" in known:
        arguments["random_state"] = 0
    return kind(**arguments)


def _data(name: str, kind: str) -> tuple[pd.DataFrame, Any]:
    rng = np.random.default_rng(7)
    counts = rng.integers(0, 4, size=(ROWS, 4))
    X = pd.DataFrame(counts + (0.0 if "NB" in name else 1.0) * rng.random((ROWS, 4)), columns=list("abcd"))
    if name == "CategoricalNB":
        X = X.astype("int64")
    score = X["a"] + 2 * X["b"] - X["c"] + rng.normal(0, 0.1, ROWS)
    if kind == "classifier":
        y: Any = np.where(score > score.median(), "stay", "leave").astype(object)
        return X, (np.column_stack([score > 2, X["d"] > 2]).astype(int) if name in SEVERAL_TARGETS else y)
    y = score.to_numpy() + 10
    return X, (np.column_stack([y, -y]) if name in SEVERAL_TARGETS else y)


@pytest.mark.parametrize(("kind", "name"), [k for k in _kinds() if k[1] not in NEITHER])
def test_it_publishes_and_answers_as_in_the_notebook(kind: str, name: str, tmp_path: Path) -> None:
    X, y = _data(name, kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = _make(name).fit(X, y)
    manifest = build(model, X[:5], directory=tmp_path / "package", training=X, trial=False)
    contract, expected = observe(model, X)
    got = load(tmp_path / "package").predict(columns_of(X, manifest.signature.inputs))
    assert not compare(expected, got, 1e-5).problem
    assert manifest.task == (
        "other" if name in SEVERAL_TARGETS else {"classifier": "classification"}.get(kind, "regression")
    )
    assert ask(model, X[:2], contract).keys() == {output.name for output in manifest.signature.outputs}


def test_what_does_not_fit_a_plain_table_is_still_an_estimator() -> None:
    assert set(NEITHER) <= {name for _, name in _kinds()}

"""The trainer of scikit-learn's estimators, called as the training process calls it, without the process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

from modelyard.errors import InvalidInput
from modelyard.training import evaluate, record, sklearn
from modelyard.training.control import Control
from modelyard.training.job import Job, Result
from modelyard.training.journal import Journal
from modelyard.training.options import SklearnOptions
from modelyard.training.progress import Progress, Reader
from modelyard.training.spec import TrainSpec

RNG = np.random.default_rng(0)
X = pd.DataFrame(RNG.normal(size=(400, 3)), columns=["age", "pay", "noise"]).assign(
    city=np.array(["Bonn", "Kiel"])[RNG.integers(0, 2, 400)]
)
SCORE = X["age"] + 2 * X["pay"] * (X["city"] == "Bonn") + RNG.normal(0, 0.5, 400)
TWO = np.where(SCORE > 0, "yes", "no")
MANY = pd.qcut(SCORE, 10, labels=[f"decile {i}" for i in range(10)]).astype(str)
ENCODE = make_column_transformer((OneHotEncoder(), ["city"]), remainder=StandardScaler())


def job(folder: Path, estimator: Any, rows: tuple[Any, Any], held: Any = None, **options: Any) -> Job:
    folder.mkdir(exist_ok=True, parents=True)
    spec = TrainSpec.of(estimator)
    spec.save(folder)
    record.begin(folder, spec, "0", len(rows[1]))
    return Job(folder, spec, estimator, rows, held, SklearnOptions(**options), {}, Journal(folder), Control())


def train(folder: Path, estimator: Any, rows: tuple[Any, Any], **options: Any) -> tuple[Result, Progress]:
    result = sklearn.run(job(folder, estimator, rows, **options))
    return result, Reader(folder).read()


def report(folder: Path, name: str) -> Any:
    text = (folder / f"report-{name}.json").read_text()
    assert len(text) <= evaluate.LIMIT
    return json.loads(text)


def test_two_classes(tmp_path: Path) -> None:
    model = make_pipeline(ENCODE, RandomForestClassifier(20))
    result, told = train(tmp_path, model, (X, TWO), cv=3, learning_curve=True)
    assert told.warnings == []
    assert told.reports == ["roc", "pr", "confusion", "calibration", "importance", "learning_curve"]
    assert [fold["number"] for fold in told.folds] == [1, 2, 3]
    accuracies = [fold["metrics"]["accuracy"] for fold in told.folds]
    assert result.metrics["cv_accuracy_mean"] == pytest.approx(np.mean(accuracies))
    assert result.metrics["cv_accuracy_std"] == pytest.approx(np.std(accuracies))
    assert {"accuracy", "roc_auc", "log_loss"} < set(result.metrics)
    (curve,) = report(tmp_path, "roc")["classes"]
    assert curve["label"] == "yes"
    assert curve["auc"] == pytest.approx(result.metrics["roc_auc"], abs=1e-3)
    assert (curve["fpr"][0], curve["tpr"][-1]) == (0, 1)
    assert len(report(tmp_path, "pr")["classes"]) == 1
    assert np.sum(report(tmp_path, "confusion")["counts"]) == 80
    calibration = report(tmp_path, "calibration")
    assert sum(calibration["rows"]) == 80
    importance = report(tmp_path, "importance")
    assert set(importance["columns"][:2]) <= {"pay", "age", "city"}
    assert sorted(importance["columns"]) == ["age", "city", "noise", "pay"]
    learning = report(tmp_path, "learning_curve")
    assert learning["rows"] == [32, 104, 176, 248, 320]
    assert learning["score"] == "roc_auc"


def test_many_classes_are_judged_each_against_the_rest(tmp_path: Path) -> None:
    _, told = train(tmp_path, make_pipeline(ENCODE, RandomForestClassifier(20)), (X, MANY))
    assert len(report(tmp_path, "roc")["classes"]) == 10
    assert len(report(tmp_path, "pr")["classes"]) == 10
    assert report(tmp_path, "confusion")["labels"][0] == "decile 0"
    assert "calibration" not in told.reports


def test_numbers(tmp_path: Path) -> None:
    result, told = train(tmp_path, make_pipeline(ENCODE, LinearRegression()), (X, pd.DataFrame({"score": SCORE})))
    assert told.reports == ["residuals", "importance"]
    residuals = report(tmp_path, "residuals")
    assert len(residuals["edges"]) == len(residuals["counts"]) + 1
    assert sum(residuals["counts"]) == 80
    assert len(residuals["true"]) == len(residuals["predicted"]) == 80
    assert result.model.predict(X).shape == (400,)


def test_an_estimator_without_probabilities_and_sparse_rows(tmp_path: Path) -> None:
    rows = sparse.csr_array(X[["age", "pay"]].to_numpy())
    _, told = train(tmp_path, LinearSVC(), (rows, TWO))
    assert told.reports == ["roc", "pr", "confusion", "importance"]
    assert sorted(report(tmp_path, "importance")["columns"]) == ["column 0", "column 1"]
    assert set(told.metrics) == {"accuracy", "roc_auc"}


class Moody(GaussianNB):
    """Gives probabilities only while it is in the mood."""

    def predict_proba(self, X: Any) -> Any:
        raise RuntimeError("not today")


def test_a_report_that_fails_costs_nothing_but_a_warning(tmp_path: Path) -> None:
    result, told = train(tmp_path, Moody(), (X[["age", "pay"]], TWO))
    assert result.metrics["accuracy"] > 0.5
    assert (tmp_path / record.MODEL).exists()
    assert any("report roc: RuntimeError: not today" in text for text in told.warnings)


def test_class_weights_as_parameter_or_as_weights_of_the_rows(tmp_path: Path) -> None:
    rare = (X[["age", "pay"]], np.where(SCORE > 3, "yes", "no"))
    for estimator in (LogisticRegression(), make_pipeline(StandardScaler(), GaussianNB())):
        name = type(estimator).__name__
        plain, _ = train(tmp_path / name, estimator, rare, cv=2)
        weighted, _ = train(tmp_path / f"{name}-weighted", estimator, rare, cv=2, class_weight="balanced")
        said = [(model.model.predict(rare[0]) == "yes").sum() for model in (plain, weighted)]
        assert said[1] > said[0]
    with pytest.raises(InvalidInput, match="KNeighbors"):
        train(tmp_path / "none", KNeighborsClassifier(), rare, class_weight="balanced")


def test_a_stop_while_it_scores_leaves_the_model(tmp_path: Path) -> None:
    asked = job(tmp_path, LogisticRegression(), (X[["age", "pay"]], TWO))

    def slow(model: Any, X: Any, y: Any) -> float:
        asked.control._on_term(15, None)  # Stop, and again
        asked.control._on_term(15, None)
        return 0.0

    asked.functions = {"slow": slow}
    result = sklearn.run(asked)
    assert (tmp_path / record.MODEL).exists()
    told = Reader(tmp_path).read()
    assert told.reports == []
    assert any("stopped before all metrics" in text for text in told.warnings)
    assert result.model.coef_.shape == (1, 2)


def test_a_fit_without_progress_is_estimated_by_an_earlier_one(tmp_path: Path) -> None:
    rows = (X[["age", "pay"]], TWO)
    _, first = train(tmp_path / "first", KNeighborsClassifier(), rows)
    assert first.expected is None
    train(tmp_path / "other", KNeighborsClassifier(7), rows)
    took = record.load(tmp_path / "first")["fit"]
    _, told = train(tmp_path / "second", KNeighborsClassifier(), (rows[0][:200], TWO[:200]))
    assert told.expected is not None
    assert told.expected[0] == pytest.approx(took["seconds"] / 2)
    log = (tmp_path / "second" / "run.jsonl").read_text()
    assert "as first took" in log


def test_importance_names_the_thirty_columns_that_matter_most() -> None:
    wide = np.random.default_rng(7).normal(size=(50, 200))
    target = np.arange(50) % 2 == 0
    wide[:, 7] += np.where(target, 10, -10)  # the one that tells them apart
    found = evaluate.importance(GaussianNB().fit(wide, target), wide, target, 0)
    assert len(found["columns"]) == len(found["mean"]) == 30
    assert found["columns"][0] == "column 7"
    assert found["mean"] == sorted(found["mean"], reverse=True)

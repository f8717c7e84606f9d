"""Fit and measure a scikit-learn estimator in the child process."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelyard.training import progress
from modelyard.training.runlog import RunLog


@dataclass(frozen=True)
class Options:
    """`test_size`: share of rows held out for the metrics, 0 for none. `seed`: of the split and of numpy's and Python's
    global generators. `stratify`: keep the classes' shares in both parts, where each class has two rows."""

    test_size: float = 0.2
    seed: int = 0
    stratify: bool = True


def fit(estimator: Any, X: Any, y: Any, options: Options, folder: Path) -> tuple[Any, dict[str, float]]:
    """The fitted estimator, and its metrics on the rows held out (none without such rows)."""
    log = RunLog(folder)
    random.seed(options.seed)
    np.random.seed(options.seed)
    train_X, test_X, train_y, test_y = _split(estimator, X, y, options)
    if not progress.attach(estimator, folder):
        log.write("progress", text="this estimator does not report its progress; shown is the time elapsed")
    try:
        estimator.fit(train_X) if train_y is None else estimator.fit(train_X, train_y)
    finally:
        progress.detach(estimator)
    if test_X is None:
        return estimator, {}
    log.write("progress", text=f"measuring on {len(test_y)} rows held out")
    return estimator, measure(estimator, test_X, test_y)


def _split(estimator: Any, X: Any, y: Any, options: Options) -> tuple[Any, Any, Any, Any]:
    if y is None or options.test_size <= 0 or not hasattr(estimator, "predict"):
        return X, None, y, None
    from sklearn.base import is_classifier
    from sklearn.model_selection import train_test_split

    stratify = None
    if options.stratify and is_classifier(estimator):
        _, counts = np.unique(np.asarray(y), return_counts=True)
        held_out = int(np.ceil(options.test_size * len(y)))
        if counts.min() >= 2 and min(held_out, len(y) - held_out) >= len(counts):
            stratify = y
    parts = train_test_split(X, y, test_size=options.test_size, random_state=options.seed, stratify=stratify)
    return parts[0], parts[1], parts[2], parts[3]


def measure(model: Any, X: Any, y: Any) -> dict[str, float]:
    """accuracy, roc_auc and log_loss for a classifier (the latter two where it gives probabilities and the rows have
    every class), r2, mae and rmse for a regressor, else none."""
    from sklearn import metrics
    from sklearn.base import is_classifier, is_regressor

    if is_classifier(model):
        found = {"accuracy": metrics.accuracy_score(y, model.predict(X))}
        if hasattr(model, "predict_proba") and np.ndim(y) == 1:
            found |= _of_probabilities(model, X, y)
    elif is_regressor(model):
        predicted = model.predict(X)
        found = {
            "r2": metrics.r2_score(y, predicted),
            "mae": metrics.mean_absolute_error(y, predicted),
            "rmse": metrics.root_mean_squared_error(y, predicted),
        }
    else:
        found = {}
    return {name: float(value) for name, value in found.items()}


def _of_probabilities(model: Any, X: Any, y: Any) -> dict[str, float]:
    from sklearn import metrics

    classes = list(model.classes_)
    if len(np.unique(np.asarray(y))) != len(classes):
        return {}
    probabilities = model.predict_proba(X)
    found = {"log_loss": metrics.log_loss(y, probabilities, labels=classes)}
    if len(classes) == 2:
        found["roc_auc"] = metrics.roc_auc_score(np.asarray(y) == classes[1], probabilities[:, 1])
    else:
        found["roc_auc"] = metrics.roc_auc_score(y, probabilities, multi_class="ovr", labels=classes)
    return found

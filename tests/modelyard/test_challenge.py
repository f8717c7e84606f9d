"""When a new model is better: the metrics as scikit-learn has them, the margin, and what is no number."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from sklearn import metrics
from sklearn.linear_model import LogisticRegression

from modelyard.challenge import METRICS, Rules, of_predictions, of_probabilities
from modelyard.errors import InvalidInput

CHANCE = np.random.default_rng(3)
X = CHANCE.normal(size=(300, 4))


@pytest.mark.parametrize("classes", [["stay", "leave"], ["a", "b", "c"], [0, 1], [1, 0]])
def test_metrics_of_probabilities_whatever_the_order_of_the_classes(classes: list[Any]) -> None:
    y = np.array(classes)[np.clip(1 * (X[:, 0] + CHANCE.normal(size=300) > 0) + (X[:, 1] > 1), 0, len(classes) - 1)]
    model = LogisticRegression().fit(X, y)
    given = model.predict_proba(X)
    order = [list(model.classes_).index(c) for c in reversed(model.classes_)]
    auc = metrics.roc_auc_score(y, given if len(classes) > 2 else given[:, 1], multi_class="ovr")
    for probabilities, names in ((given, model.classes_), (given[:, order], model.classes_[order])):
        told = tuple(names.tolist())
        assert of_probabilities("roc_auc", y, probabilities, told) == pytest.approx(auc)
        assert of_probabilities("log_loss", y, probabilities, told) == pytest.approx(metrics.log_loss(y, given))


def test_metrics_of_predictions() -> None:
    y, predicted = np.array([1.0, 2.0, 4.0]), np.array([[1.0], [2.0], [1.0]])
    assert of_predictions("rmse", y, predicted) == pytest.approx(math.sqrt(3))
    assert of_predictions("mae", y, predicted) == pytest.approx(1)
    assert of_predictions(lambda a, b: -float(np.max(np.abs(a - b))), y, predicted) == -3
    assert of_predictions("accuracy", ["a", "b"], np.array(["a", "c"], dtype=object)) == 0.5


@pytest.mark.parametrize(
    ("metric", "margin", "score", "champion", "better"),
    [
        ("accuracy", 0.0, 0.9, 0.9, False),
        ("accuracy", 0.0, 0.91, 0.9, True),
        ("accuracy", 0.02, 0.91, 0.9, False),
        ("accuracy", 0.01, 0.8, 0.9, False),
        ("rmse", 0.1, 1.0, 1.2, True),
        ("rmse", 0.1, 1.2, 1.0, False),
        ("log_loss", 0.0, math.nan, 0.5, False),
        ("r2", 0.0, 0.5, math.nan, False),
        (max, 0.0, 2.0, 1.0, True),
    ],
)
def test_when_it_is_better(metric: Any, margin: float, score: float, champion: float, better: bool) -> None:
    assert Rules(metric, margin).better(score, champion) is better


def test_rules_that_are_none() -> None:
    with pytest.raises(InvalidInput, match="no metric 'acuracy'"):
        Rules("acuracy").check()
    for margin in (-1.0, math.nan):
        with pytest.raises(InvalidInput, match="margin"):
            Rules(margin=margin).check()
    for metric in METRICS:
        Rules(metric).check()

"""Metrics by name."""

from __future__ import annotations

import numpy as np
from sklearn.svm import SVC

from modelyard.training import scores


def test_a_metric_that_the_model_cannot_answer_does_not_cost_the_others() -> None:
    X = np.random.default_rng(0).normal(size=(60, 2))
    y = (X[:, 0] > 0).astype(int)
    model, told = SVC().fit(X, y), list[dict[str, object]]()
    assert set(scores.score(model, (X, y), None, {}, lambda event, **fields: told.append(fields))) == {
        "accuracy",
        "roc_auc",
    }
    assert not told
    found = scores.score(model, (X, y), ("f1", "log_loss"), {}, lambda event, **fields: told.append(fields))
    assert set(found) == {"f1"}
    assert "predict_proba" in str(told[0]["text"])

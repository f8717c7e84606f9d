"""The retraining loop on the real thing: a better model becomes a canary, a worse one only leaves a note."""

from __future__ import annotations

import httpx
import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression

import modelyard as yard
from harness.stack import Stack

pytestmark = [pytest.mark.stack]


def test_a_new_model_serves_only_as_far_as_it_is_better(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in stack.library("ada").items():
        monkeypatch.setenv(name, value)
    chance = np.random.default_rng(0)
    X = chance.normal(size=(400, 3))
    y = np.where(X[:, 0] + 0.3 * chance.normal(size=400) > 0, "leave", "stay")
    holdout = (X[200:], y[200:])
    poor, good = DummyClassifier().fit(X[:200], y[:200]), LogisticRegression().fit(X[:200], y[:200])

    def retrain(model: object, metric: str = "accuracy") -> yard.Verdict:
        return yard.retrain(model, "retrained", holdout, metric=metric, margin=0.05, percent=20, example=X[:5])

    first = retrain(poor)
    assert (first.decision, first.version, first.champion) == ("first", "1", None)
    assert first.score == pytest.approx(poor.score(*holdout))

    better = retrain(good)
    assert (better.decision, better.champion) == ("canary", "1")
    assert better.score == pytest.approx(good.score(*holdout))
    endpoint = yard.endpoint("retrained")
    assert endpoint.traffic == {1: 80, 2: 20}
    endpoint.promote()

    same = retrain(good, "roc_auc")
    assert (same.decision, same.champion, same.version) == ("kept", "2", "3")
    assert same.score == same.champion_score
    assert endpoint.traffic == {2: 100}
    assert [r.version for r in endpoint.revisions] == ["1", "2"]
    with httpx.Client(base_url=f"{stack.url}/mlflow/api/2.0/mlflow", timeout=30) as mlflow:
        mlflow.headers["Authorization"] = f"Bearer {stack.token('ada')}"
        asked = {"name": "ada.retrained", "version": "3"}
        version = mlflow.get("/model-versions/get", params=asked).raise_for_status().json()["model_version"]
    assert version["description"] == same.note
    assert "not better by 0.05: nothing changes" in same.note

    with pytest.raises(yard.errors.InvalidInput):
        yard.retrain(good, "retrained", (X[200:, :2], y[200:]), example=X[:5])
    assert [r.version for r in endpoint.revisions] == ["1", "2"], "what could not be compared is not left there"
    endpoint.delete()

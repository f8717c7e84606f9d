"""The retraining loop: a new model against the one that serves, on rows that neither has seen.

Both are asked as callers ask them, over the endpoint: what is compared is what is served.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from modelyard import changes
from modelyard.errors import InvalidInput, NotFound
from modelyard.tracking import Tracking

if TYPE_CHECKING:
    from modelyard.client import AsyncClient
    from modelyard.publishing import PublishOptions
    from modelyard.remote import AsyncEndpoint

_LARGER = ("accuracy", "balanced_accuracy", "f1", "roc_auc", "r2")
_SMALLER = ("log_loss", "mae", "rmse")
METRICS = _LARGER + _SMALLER
Metric = str | Callable[[Any, Any], float]


@dataclass(frozen=True)
class Rules:
    """`metric`: one of METRICS, or a function of the true and the predicted values of which more is better. `margin`:
    by how much the new one must be better. `percent` of the calls that it then gets."""

    metric: Metric = "accuracy"
    margin: float = 0.0
    percent: int = 10

    def check(self) -> None:
        """InvalidInput for a metric that there is not, or a margin below zero."""
        if isinstance(self.metric, str) and self.metric not in METRICS:
            raise InvalidInput(
                f"there is no metric {self.metric!r}",
                remedy=f"There are: {', '.join(METRICS)}; or give a function (y, predictions) -> float.",
            )
        if not (math.isfinite(self.margin) and self.margin >= 0):
            raise InvalidInput(f"margin={self.margin!r} is no number from 0 on")

    @property
    def named(self) -> str:
        """The metric's name."""
        return self.metric if isinstance(self.metric, str) else getattr(self.metric, "__name__", "metric")

    def gain(self, score: float, champion: float) -> float:
        """By how much `score` is better; below zero where it is worse."""
        return champion - score if self.metric in _SMALLER else score - champion

    def better(self, score: float, champion: float) -> bool:
        """Whether it is better, and by the margin. A score that is no number is never better."""
        gain = self.gain(score, champion)
        return gain > 0 and gain >= self.margin


@dataclass(frozen=True)
class Verdict:
    """What came of it. `decision`: `first` (there was no endpoint: it has all calls), `canary` (better: it gets
    `percent` of the calls), `kept` (not better: all stays as it was). `note` says it in words."""

    decision: str
    metric: str
    score: float
    champion_score: float | None
    version: str
    champion: str | None
    note: str


async def challenge(
    client: AsyncClient, model: Any, name: str, holdout: tuple[Any, Any], rules: Rules, options: PublishOptions
) -> Verdict:
    """See `modelyard.sync_batch.retrain`."""
    rules.check()
    X, y = holdout
    if len(y) == 0:
        raise InvalidInput("the held-out rows are none", remedy="Give at least some hundred, unseen by both models.")
    try:
        before = await client.endpoint(name, options.owner)
        known = {revision.number for revision in (await before.read()).spec.revisions}
    except NotFound:
        endpoint = await client.publish(model, name, options)
        spec = (await endpoint.read()).spec
        first = spec.revisions[-1]
        score = await _score(endpoint, first.number, X, y, rules.metric)
        note = f"version {first.version} is the first: {rules.named} {score:.6g}"
        return Verdict("first", rules.named, score, None, first.version, None, note)
    endpoint = await client.publish(model, name, replace(options, traffic=None))
    spec = (await endpoint.read()).spec
    added = min(number for number in (r.number for r in spec.revisions) if number not in known)
    try:
        verdict = await _judge(endpoint, added, (X, y), rules)
    except BaseException:
        await endpoint.update(lambda now: changes.removed(now, added))
        raise
    if verdict.decision == "canary":
        await endpoint.canary(verdict.version, rules.percent)
    else:
        await endpoint.update(lambda now: changes.removed(now, added))
    revision = spec.revision(added)
    assert revision is not None, "it was found there"
    await Tracking(client).note(revision.model, revision.version, verdict.note)
    return verdict


async def _judge(endpoint: AsyncEndpoint, added: int, holdout: tuple[Any, Any], rules: Rules) -> Verdict:
    spec = (await endpoint.read()).spec
    champion, new = spec.revision(changes.stable(spec)), spec.revision(added)
    if champion is None or new is None:
        raise NotFound(f"somebody changed {endpoint.owner}/{endpoint.name} meanwhile", remedy="Try it again.")
    score = await _score(endpoint, new.number, *holdout, rules.metric)
    before = await _score(endpoint, champion.number, *holdout, rules.metric)
    better = rules.better(score, before)
    against = f"{before:.6g} of version {champion.version}"
    said = f"{rules.named} {score:.6g} against {against}, on {len(holdout[1])} held-out rows"
    end = (
        f"better by {rules.gain(score, before):.3g}: it gets {rules.percent} % of the calls"
        if better
        else f"not better by {rules.margin:g}: nothing changes"
    )
    return Verdict(
        "canary" if better else "kept",
        rules.named,
        score,
        before,
        new.version,
        champion.version,
        f"version {new.version}: {said}; {end}",
    )


async def _score(endpoint: AsyncEndpoint, revision: int, X: Any, y: Any, metric: Metric) -> float:
    if metric in ("roc_auc", "log_loss"):
        classes = (await endpoint.metadata(revision)).classes
        found = await endpoint.predict_proba(X, revision=revision)
        return of_probabilities(str(metric), y, found, classes)
    return of_predictions(metric, y, await endpoint.predict(X, revision=revision))


def of_predictions(metric: Metric, y: Any, predicted: Any) -> float:
    """A metric of what `predict` answers."""
    import numpy as np
    from sklearn import metrics

    true = np.asarray(y)
    known: dict[str, Callable[[Any, Any], float]] = {
        "accuracy": metrics.accuracy_score,
        "balanced_accuracy": metrics.balanced_accuracy_score,
        "f1": lambda a, b: metrics.f1_score(a, b, average="macro"),
        "r2": metrics.r2_score,
        "mae": metrics.mean_absolute_error,
        "rmse": metrics.root_mean_squared_error,
    }
    function = known[metric] if isinstance(metric, str) else metric
    return float(function(true, np.asarray(predicted).reshape(true.shape)))


def of_probabilities(metric: str, y: Any, probabilities: Any, classes: tuple[Any, ...]) -> float:
    """A metric of what `predict_proba` answers, whose columns are the `classes`."""
    import numpy as np
    from sklearn import metrics

    true, order = np.asarray(y), np.argsort(np.asarray(classes))
    labels = np.asarray(classes)[order]
    given = np.asarray(probabilities, dtype=float)[:, order]
    if metric == "log_loss":
        return float(metrics.log_loss(true, given, labels=labels))
    if len(labels) == 2:
        return float(metrics.roc_auc_score(true == labels[1], given[:, 1]))
    return float(metrics.roc_auc_score(true, given, multi_class="ovr", labels=labels))

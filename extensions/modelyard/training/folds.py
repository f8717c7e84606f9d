"""Cross-validation before the final fit: the same estimator on each part of the training rows."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from modelyard.training import scores, weights
from modelyard.training.job import Job


def cross_validate(job: Job, estimator: Any, rows: tuple[Any, Any], extra: Mapping[str, Any]) -> dict[str, float]:
    """Fit a clone on all folds but one, score it on that one, tell each; mean and standard deviation (of the folds, not
    of the mean) of each metric as `cv_<name>_mean` and `cv_<name>_std`. A classifier's folds keep the proportions of
    the classes."""
    from sklearn.base import clone
    from sklearn.utils import _safe_indexing as take

    X, y = rows
    of, journal, name = job.options.cv, job.journal, job.spec.model
    journal.total(of, "fold")
    found: list[dict[str, float]] = []
    for number, (inside, outside) in enumerate(_parts(estimator, X, y, of, job.spec.seed), start=1):
        journal.step(f"Cross-validation: fitting {name} on fold {number} of {of}")
        given = {key: value[inside] for key, value in extra.items()}
        model = clone(estimator).fit(take(X, inside), take(y, inside), **weights.routed(estimator, given))
        part = (take(X, outside), take(y, outside))
        found.append(scores.score(model, part, job.spec.scorers, job.functions, journal.say))
        journal.say("fold", number=number, of=of, metrics=found[-1])
    told: dict[str, float] = {}
    for metric in found[0]:
        values = [fold[metric] for fold in found if metric in fold]
        if len(values) == of:
            told[f"cv_{metric}_mean"] = statistics.fmean(values)
            told[f"cv_{metric}_std"] = statistics.pstdev(values)
    journal.say("metrics", values=told)
    return told


def _parts(estimator: Any, X: Any, y: Any, of: int, seed: int) -> Any:
    from sklearn.model_selection import KFold, StratifiedKFold

    stratified = scores.task(estimator) == "classification"
    kind = StratifiedKFold if stratified else KFold
    return kind(of, shuffle=True, random_state=seed).split(X, y)

"""One fold of one trial: fit with these parameters, score on the fold's rows. The same in the training process and in
its workers, which read the data from the run's folder as it does."""

from __future__ import annotations

import math
import time
import traceback
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard.errors import InvalidInput
from modelyard.training import data, handover, sklearn
from modelyard.training.options import SearchOptions
from modelyard.training.scores import task
from modelyard.training.spec import Metric, TrainSpec

LOSSES = {"mae": "neg_mean_absolute_error", "mse": "neg_mean_squared_error", "rmse": "neg_root_mean_squared_error"}
"""Short names of losses, and scikit-learn's scorer of each."""


@dataclass(frozen=True)
class Objective:
    """What a search makes as good as it can: `name`, whether more is better, and how it is computed."""

    name: str
    maximize: bool
    compute: Metric


@dataclass(frozen=True)
class Outcome:
    """The score of a fold, or why there is none; and the seconds it took."""

    score: float | None
    seconds: float
    reason: str = ""


def objective(options: SearchOptions, estimator: Any) -> Objective:
    """By default accuracy or r2. A loss, such as "log_loss", "mae" or a function with direction="minimize", is made
    small. InvalidInput for a name that scikit-learn does not know."""
    metric = options.metric
    if metric is None:
        metric = "accuracy" if task(estimator) == "classification" else "r2"
    if not isinstance(metric, str):
        return Objective(getattr(metric, "__name__", "metric"), options.direction != "minimize", metric)
    from sklearn.metrics import get_scorer, get_scorer_names

    known = set(get_scorer_names())
    negated = LOSSES.get(metric, f"neg_{metric}")
    if metric not in known and negated not in known:
        short = sorted(n for n in known if not n.startswith("neg_"))
        raise InvalidInput(f"there is no metric {metric!r}", remedy=f"There are: {', '.join(short)}, or a function.")
    if metric in known:
        return Objective(metric, True, get_scorer(metric))
    scorer = get_scorer(negated)
    return Objective(metric, False, lambda model, X, y: -scorer(model, X, y))


class Folds:
    """The training rows of a run, in folds that are the same for every trial."""

    def __init__(
        self, spec: TrainSpec, estimator: Any, rows: tuple[Any, Any], options: SearchOptions, *, split: bool
    ) -> None:
        """`split`: the held-out rows are to be taken off first, as the last fit does it."""
        self._estimator = sklearn.prepare(estimator, spec.seed)
        self._rows = rows = (rows[0], data.column(rows[1]))
        self._space = options.space
        self._objective = objective(options, estimator)
        classes = task(estimator) == "classification"
        self._splits = _splits(rows, spec, options.cv, classes=classes, split=split)

    @classmethod
    def load(cls, folder: Path) -> Folds:
        """From a run's folder."""
        estimator, options, _ = handover.take(folder, "job")
        X, y, held = handover.take(folder, "data")
        spec = TrainSpec.load(folder)
        return cls(spec, estimator, (X, y), options, split=held is None)

    def __len__(self) -> int:
        return len(self._splits)

    def single(self) -> None:
        """Let estimators use one core each: as many as there are cores work beside each other."""
        inner = [name for name in self._estimator.get_params(deep=True) if name.rpartition("__")[2] == "n_jobs"]
        self._estimator.set_params(**dict.fromkeys(inner, 1))

    def fit(self, drawn: Mapping[str, Any], number: int) -> Outcome:
        """Fold `number`, from 0, with the parameters that were drawn."""
        from sklearn.base import clone
        from sklearn.utils import _safe_indexing as take

        X, y = self._rows
        fitted, scored = self._splits[number]
        begun = time.monotonic()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a combination that does not converge has its score to say so
                model = clone(self._estimator).set_params(**self.values(drawn))
                model.fit(take(X, fitted), take(y, fitted))
                score = float(self._objective.compute(model, take(X, scored), take(y, scored)))
        except Exception as error:  # whatever an estimator raises for a combination is the end of that trial only
            traceback.print_exc()
            return Outcome(None, time.monotonic() - begun, f"{type(error).__name__}: {error}".rstrip(": "))
        spent = time.monotonic() - begun
        if not math.isfinite(score):
            return Outcome(None, spent, f"{self._objective.name} is {score}")
        return Outcome(score, spent)

    def values(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """What the estimator gets for what was drawn."""
        return {name: self._space[name].value(value) for name, value in drawn.items()}


def _splits(rows: tuple[Any, Any], spec: TrainSpec, cv: Any, *, classes: bool, split: bool) -> list[tuple[Any, Any]]:
    """Row numbers to fit and to score on, by fold. InvalidInput when the rows do not make that many folds."""
    import numpy as np
    from sklearn.utils import _safe_indexing as take

    X, y = rows
    kept = np.arange(data.check(X, y))
    if split and spec.test_size:
        kept = data.split(kept, y, spec.test_size, spec.seed, classes)[0]
    target = take(y, kept)
    try:
        splits = list(_splitter(cv, target, spec.seed, classes).split(kept, target))
    except ValueError as error:
        raise InvalidInput(
            f"cv={cv!r} does not fit {len(kept)} training rows: {error}", remedy="Give fewer folds."
        ) from error
    return [(kept[fitted], kept[scored]) for fitted, scored in splits]


def _splitter(cv: Any, target: Any, seed: int, classes: bool) -> Any:
    if not isinstance(cv, int):
        return cv
    from sklearn.model_selection import KFold, StratifiedKFold
    from sklearn.utils.multiclass import type_of_target

    stratified = classes and type_of_target(target) in ("binary", "multiclass")
    return (StratifiedKFold if stratified else KFold)(cv, shuffle=True, random_state=seed)

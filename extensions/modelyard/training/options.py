"""What may be said about a training beyond the data and the model: one dataclass per trainer, checked when it is made.

They are the keyword arguments of `yard.train`, and the fields of the panel's form. Light: the notebook's process
imports this, and no modelling library with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from modelyard.errors import InvalidInput
from modelyard.training.search.space import Space
from modelyard.training.spec import Metric


@dataclass(frozen=True)
class SklearnOptions:
    """`cv`: folds of a cross-validation on the training rows before the final fit (0: none). `class_weight`:
    "balanced", or {class: weight}, where the estimator takes it. `importance`: permutation importance on the held-out
    rows. `learning_curve`: scores over growing shares of the rows, which costs several fits."""

    cv: int = 0
    class_weight: str | Mapping[Any, float] | None = None
    importance: bool = True
    learning_curve: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.cv, bool) or not isinstance(self.cv, int) or self.cv == 1 or not 0 <= self.cv <= 100:
            raise InvalidInput(f"cv={self.cv!r} is not a number of folds", remedy="0 for none, or from 2 to 100.")
        weight = self.class_weight
        if weight is not None and weight != "balanced" and not isinstance(weight, Mapping):
            raise InvalidInput(f"class_weight={weight!r} is no weighting", remedy='"balanced", or {class: weight}.')


@dataclass(frozen=True)
class SearchOptions:
    """`space`: what is tried, by parameter. `trials` at most, begun within `timeout` seconds. `metric`: a name of
    scikit-learn's, a loss such as "log_loss", "mae" or "rmse", or a function (model, X, y) -> float with its
    `direction` ("maximize" or "minimize"); by default accuracy or r2. `cv`: folds, or a splitter of scikit-learn's.
    `parallel`: trials at a time; by default one per core once a trial takes long enough. `pruning`: end a trial
    whose first folds are worse than those of most others."""

    space: Space
    trials: int = 30
    metric: str | Metric | None = None
    direction: str | None = None
    cv: Any = 3
    timeout: float | None = None
    parallel: int | None = None
    pruning: bool = True

    def __post_init__(self) -> None:
        whole = {"trials": self.trials, "parallel": 1 if self.parallel is None else self.parallel}
        for name, value in whole.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InvalidInput(f"{name}={value!r} is no number from 1 on", remedy=f"Such as {name}=2.")
        folds = not isinstance(self.cv, bool) and isinstance(self.cv, int) and 2 <= self.cv <= 100
        if not folds and not hasattr(self.cv, "split"):
            raise InvalidInput(f"cv={self.cv!r} is no number of folds", remedy="From 2 to 100, or a splitter.")
        if self.timeout is not None and not self.timeout > 0:
            raise InvalidInput(f"timeout={self.timeout!r} is no time", remedy="Seconds above 0, or None.")
        if self.metric is not None and not isinstance(self.metric, str) and not callable(self.metric):
            raise InvalidInput(f"metric={self.metric!r} is no metric", remedy='Such as "f1_macro", or a function.')
        if self.direction is not None and (self.direction not in DIRECTIONS or not callable(self.metric)):
            raise InvalidInput(
                f"direction={self.direction!r} does not go with metric={self.metric!r}",
                remedy='"maximize" or "minimize", for a metric that is a function; a name has its own.',
            )


DIRECTIONS = ("maximize", "minimize")
KINDS: dict[str, type[Any]] = {"sklearn": SklearnOptions, "search": SearchOptions}
"""By `TrainSpec.kind`."""


def options_of(kind: str, given: Mapping[str, Any]) -> Any:
    """The options of that kind of training; InvalidInput names those that there are."""
    known = [f.name for f in fields(KINDS[kind])]
    unknown = [name for name in given if name not in known]
    if unknown:
        raise InvalidInput(
            f"unknown option{'s' * (len(unknown) > 1)} of a {kind} training: {', '.join(unknown)}",
            remedy=f"There are: {', '.join(known)}.",
        )
    return KINDS[kind](**given)

"""What may be said about a training beyond the data and the model: one dataclass per trainer, checked when it is made.

They are the keyword arguments of `yard.train`, and the fields of the panel's form. Light: the notebook's process
imports this, and no modelling library with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from modelyard.errors import InvalidInput


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


KINDS: dict[str, type[Any]] = {"sklearn": SklearnOptions}
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

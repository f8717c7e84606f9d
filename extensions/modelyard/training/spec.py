"""What a training run is asked to do, as it is kept beside its log."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from modelyard.errors import InvalidInput

FILE = "spec.json"
Metric = Callable[[Any, Any, Any], float]


@dataclass(frozen=True)
class TrainSpec:
    """`name` of the run and its experiment (a DNS label), `estimator` its class, `test_size` a share of the rows,
    `scorers` scikit-learn's names; `functions` are the user's own metrics and are kept apart, in the job."""

    name: str
    estimator: str
    test_size: float = 0.2
    seed: int = 0
    scorers: tuple[str, ...] | None = None
    functions: Mapping[str, Metric] = field(default_factory=dict, compare=False)

    @classmethod
    def of(
        cls,
        estimator: Any,
        *,
        name: str | None,
        test_size: float,
        seed: int,
        metrics: Sequence[str] | Mapping[str, Metric] | None,
    ) -> TrainSpec:
        """Checked; InvalidInput says what is wrong."""
        if isinstance(estimator, type):
            raise InvalidInput(f"{estimator.__name__} is a class", remedy=f"Give an instance: {estimator.__name__}().")
        if not hasattr(estimator, "fit"):
            raise InvalidInput(f"{type(estimator).__name__} has no fit(X, y)", remedy="Give a scikit-learn estimator.")
        if isinstance(test_size, bool) or not 0 <= test_size < 1:
            raise InvalidInput(f"test_size={test_size!r} is not a share from 0 to below 1", remedy="Such as 0.2.")
        functions = dict(metrics) if isinstance(metrics, Mapping) else {}
        scorers = None if metrics is None or isinstance(metrics, Mapping) else _names(metrics)
        return cls(
            _label(name or _final(estimator)), type(estimator).__name__, test_size, int(seed), scorers, functions
        )

    def save(self, folder: Path) -> None:
        """Write it into a run's folder."""
        plain = {k: v for k, v in asdict(self).items() if k != "functions"}
        (folder / FILE).write_text(json.dumps(plain))

    @classmethod
    def load(cls, folder: Path) -> TrainSpec:
        """From a run's folder; without the functions."""
        plain = json.loads((folder / FILE).read_text())
        scorers = plain.pop("scorers")
        return cls(**plain, scorers=None if scorers is None else tuple(scorers))


def _names(metrics: Sequence[str]) -> tuple[str, ...]:
    if isinstance(metrics, str) or not all(isinstance(m, str) for m in metrics):
        raise InvalidInput(
            f"metrics={metrics!r} is not a list of names", remedy='Such as ["f1_macro"], or {"mine": function}.'
        )
    return tuple(metrics)


def _final(estimator: Any) -> str:
    """The class that does the work: of a pipeline its last step's."""
    steps = getattr(estimator, "steps", None)
    inner = steps[-1][1] if steps else getattr(estimator, "estimator", None)
    return _final(inner) if hasattr(inner, "fit") else type(estimator).__name__


def _label(name: str) -> str:
    label = re.sub(r"[^a-z0-9]+", "-", re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()).strip("-")[:40].strip("-")
    if not label:
        raise InvalidInput(f"the name {name!r} has no letter or digit", remedy="Such as name='churn'.")
    return label

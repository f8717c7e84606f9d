"""What a training run is asked to do, as it is kept beside its log."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from modelyard.errors import InvalidInput
from modelyard.networks import Network

FILE = "spec.json"
Metric = Callable[[Any, Any, Any], float]
Metrics = Sequence[str] | Mapping[str, Metric] | None


@dataclass(frozen=True)
class TrainSpec:
    """`name` of the run and its experiment (a DNS label), `model` its class, `estimator` the one that does the work in
    it, `kind` the trainer (see `job.TRAINERS`), `test_size` a share of the rows, `scorers` scikit-learn's names,
    `options` those of the trainer as text. The options themselves and the user's own metrics are kept apart, in the
    job."""

    name: str
    model: str
    kind: str = "sklearn"
    test_size: float = 0.2
    seed: int = 0
    scorers: tuple[str, ...] | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    estimator: str = ""

    @classmethod
    def of(
        cls, model: Any, *, name: str | None = None, test_size: float = 0.2, seed: int = 0, metrics: Metrics = None
    ) -> TrainSpec:
        """Checked; InvalidInput says what is wrong."""
        kind = kind_of(model)
        if isinstance(test_size, bool) or not 0 <= test_size < 1:
            raise InvalidInput(f"test_size={test_size!r} is not a share from 0 to below 1", remedy="Such as 0.2.")
        scorers = None if metrics is None or isinstance(metrics, Mapping) else _names(metrics)
        final = _final(model)
        label = _label(name or final)
        return cls(label, type(model).__name__, kind, test_size, int(seed), scorers, estimator=final)

    def save(self, folder: Path) -> None:
        """Write it into a run's folder."""
        (folder / FILE).write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, folder: Path) -> TrainSpec:
        """From a run's folder."""
        plain = json.loads((folder / FILE).read_text())
        scorers = plain.pop("scorers")
        return cls(**plain, scorers=None if scorers is None else tuple(scorers))


def kind_of(model: Any) -> str:
    """Which trainer takes `model`; InvalidInput when none does. Imports no library that the caller has not."""
    if isinstance(model, type):
        raise InvalidInput(f"{model.__name__} is a class", remedy=f"Give an instance: {model.__name__}().")
    if isinstance(model, Network):
        if find_spec("torch") is None:
            raise InvalidInput("a network needs PyTorch, which is not installed here", remedy=_INSTALL)
        return "torch"
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(model, torch.nn.Module):
        return "torch"
    if hasattr(model, "fit"):
        return "sklearn"
    raise InvalidInput(
        f"{type(model).__name__} has no fit(X, y)", remedy="Give a scikit-learn estimator or a PyTorch module."
    )


_INSTALL = "Install it: pip install 'modelyard[torch]'; on your own machine `make up` does so, unless told TORCH=no."


def searchable(model: Any) -> Any:
    """`model`, when its parameters can be searched; else InvalidInput."""
    if kind_of(model) != "sklearn" or not hasattr(model, "get_params"):
        raise InvalidInput(
            f"the parameters of {type(model).__name__} are not known",
            remedy="Give an estimator with get_params and set_params, as scikit-learn's have them.",
        )
    return model


def _names(metrics: Sequence[str]) -> tuple[str, ...]:
    if isinstance(metrics, str) or not all(isinstance(m, str) for m in metrics):
        raise InvalidInput(
            f"metrics={metrics!r} is not a list of names", remedy='Such as ["f1_macro"], or {"mine": function}.'
        )
    return tuple(metrics)


def _final(estimator: Any) -> str:
    """The class that does the work: of a pipeline its last step's."""
    steps = getattr(estimator, "steps", None)
    wraps = hasattr(estimator, "get_params") and "estimator" in estimator.get_params(deep=False)
    inner = steps[-1][1] if steps else estimator.estimator if wraps else None
    return _final(inner) if hasattr(inner, "fit") else type(estimator).__name__


def _label(name: str) -> str:
    label = re.sub(r"[^a-z0-9]+", "-", re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()).strip("-")[:40].strip("-")
    if not label:
        raise InvalidInput(f"the name {name!r} has no letter or digit", remedy="Such as name='churn'.")
    return label

"""What may be said about a training beyond the data and the model: one dataclass per trainer, checked when it is made.

They are the keyword arguments of `yard.train`, and the fields of the panel's form. Light: the notebook's process
imports this, and no modelling library with it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
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
        _check_weight(self.class_weight)


def _check_weight(weight: Any) -> None:
    if weight is not None and weight != "balanced" and not isinstance(weight, Mapping):
        raise InvalidInput(f"class_weight={weight!r} is no weighting", remedy='"balanced", or {class: weight}.')


DIRECTIONS = ("maximize", "minimize")


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


LOSSES = ("cross_entropy", "bce_with_logits", "mse", "l1", "huber")
OPTIMIZERS = ("adamw", "adam", "sgd", "rmsprop", "adagrad", "nadam", "radam")
SCHEDULERS = ("cosine", "onecycle", "plateau", "step")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class TorchOptions:
    """Of a PyTorch training.

    `epochs` at most, in batches of `batch_size` rows (over all processes together). `loss`: one of LOSSES, or a
    function or module (output, target) -> scalar that is a mean over the batch; by default what suits y. `optimizer`:
    one of OPTIMIZERS with `lr` and `weight_decay` (None: as PyTorch has it), or a function of the parameters.
    `scheduler`: one of SCHEDULERS ("step": a tenth of the rate after each third of the epochs), or a function of the
    optimizer, whose scheduler is stepped once an epoch. `clip_norm`: greatest norm of the gradient. `precision`: one of
    PRECISIONS; "auto" is bf16, else fp16 with a scaled loss, on a GPU, and fp32 on a CPU. `patience`: epochs without a
    lower validation loss after which it ends (0: none). `workers`: processes that read a Dataset; "auto" asks the
    cores and /dev/shm. `checkpoint_every`: epochs (0: never), or a time such as "30s", "5min". `class_weight`: as in
    scikit-learn, for the named losses. `device`: "auto", "cpu", "cuda", "cuda:1", …. `processes`: "auto" is one for
    each visible GPU. `compile`: use torch.compile.
    """

    epochs: int = 20
    batch_size: int = 64
    loss: str | Callable[..., Any] | None = None
    optimizer: str | Callable[..., Any] = "adamw"
    lr: float = 1e-3
    weight_decay: float | None = None
    scheduler: str | Callable[..., Any] | None = None
    clip_norm: float | None = None
    precision: str = "auto"
    patience: int = 0
    workers: int | str = "auto"
    checkpoint_every: int | str = "30s"
    class_weight: str | Mapping[Any, float] | None = None
    device: str = "auto"
    processes: int | str = "auto"
    compile: bool = False

    def __post_init__(self) -> None:
        _whole("epochs", self.epochs, 1)
        _whole("batch_size", self.batch_size, 1)
        _whole("patience", self.patience, 0)
        _number("lr", self.lr, above=0)
        for name in ("weight_decay", "clip_norm"):
            if getattr(self, name) is not None:
                _number(name, getattr(self, name), above=0 if name == "clip_norm" else None)
        _named("loss", self.loss, (*LOSSES, None))
        _named("optimizer", self.optimizer, OPTIMIZERS)
        _named("scheduler", self.scheduler, (*SCHEDULERS, None))
        if self.precision not in PRECISIONS:
            raise InvalidInput(f"precision={self.precision!r} is none", remedy=f"One of {', '.join(PRECISIONS)}.")
        for name, least in (("workers", 0), ("processes", 1)):
            if getattr(self, name) != "auto":
                _whole(name, getattr(self, name), least, 'or "auto"')
        self.checkpoint_interval()
        if not isinstance(self.device, str) or not re.fullmatch(r"auto|[a-z]+(:\d+)?", self.device):
            raise InvalidInput(f"device={self.device!r} is no device", remedy='"auto", "cpu", "cuda" or "cuda:1".')
        _check_weight(self.class_weight)
        if self.class_weight is not None and callable(self.loss):
            raise InvalidInput("class_weight goes with a loss by name", remedy="Give your own loss its weights itself.")

    def checkpoint_interval(self) -> tuple[int, float | None]:
        """`checkpoint_every` as (epochs, None) or (0, seconds)."""
        every = self.checkpoint_every
        if isinstance(every, str):
            found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|h)", every.strip())
            if found is not None:
                return 0, float(found[1]) * _UNITS[found[2]]
            raise InvalidInput(f"checkpoint_every={every!r} is no time", remedy='Such as "30s", "5min", or epochs: 1.')
        return _whole("checkpoint_every", every, 0, 'epochs, or a time such as "30s"'), None


def _whole(name: str, value: Any, least: int, more: str = "") -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        said = f"A whole number from {least}" + (f", {more}." if more else ".")
        raise InvalidInput(f"{name}={value!r} is not a whole number from {least}", remedy=said)
    return value


def _number(name: str, value: Any, above: float | None) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value < 0 or (above is not None and value <= above):
        raise InvalidInput(
            f"{name}={value!r} is not a number {'above' if above is not None else 'from'} 0", remedy="Such as 0.001."
        )


def _named(name: str, value: Any, known: tuple[str | None, ...]) -> None:
    if value not in known and not (callable(value) and not isinstance(value, type)):
        names = ", ".join(k for k in known if k is not None)
        given = f"the class {value.__name__}" if isinstance(value, type) else repr(value)
        raise InvalidInput(f"{name}={given} is not known", remedy=f"One of {names}, or a function.")


KINDS: dict[str, type[Any]] = {"sklearn": SklearnOptions, "search": SearchOptions, "torch": TorchOptions}
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

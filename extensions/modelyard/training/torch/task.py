"""What is predicted: classes, a number, or something else; the loss that suits it, and how outputs are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from modelyard.errors import InvalidInput
from modelyard.training.options import TorchOptions
from modelyard.training.torch.rows import Take, as_array, rows_of

Kind = Literal["classification", "regression", "other"]
Loss = Callable[[Any, torch.Tensor], torch.Tensor]
MOST_CLASSES = 100
"""Distinct whole numbers up to which they are taken for classes, unless the loss says otherwise."""
_EACH_CLASS = ("cross_entropy", "CrossEntropyLoss", "NLLLoss")
_SECOND_CLASS = ("bce_with_logits", "BCEWithLogitsLoss")
_NUMBERS = ("MSELoss", "L1Loss", "HuberLoss", "SmoothL1Loss")


@dataclass(frozen=True)
class Task:
    """`kind`; `loss` of outputs and targets, a mean over the rows; `classes` in the order of a classifier's outputs;
    `binary`: its only output is the logit of the second class."""

    kind: Kind
    loss: Loss
    said: str
    classes: NDArray[Any] | None = None
    binary: bool = False

    def loss_of(self, output: Any, target: torch.Tensor) -> torch.Tensor:
        """The loss of a batch, in float32 whatever the precision of the forward pass."""
        return self.loss(output.float() if isinstance(output, torch.Tensor) else output, target)


def probabilities(output: torch.Tensor, binary: bool) -> torch.Tensor:
    """(n, classes) of a classifier's outputs."""
    if not binary:
        return functional.softmax(output, dim=-1)
    second = torch.sigmoid(output.reshape(-1))
    return torch.stack([1 - second, second], dim=1)


def width_of(output: Any) -> int | None:
    """Values for each row that a module answers; None when that is no plain number of values."""
    if not isinstance(output, torch.Tensor) or output.ndim not in (1, 2):
        return None
    return output.shape[1] if output.ndim == 2 else 1


def kind_of(targets: NDArray[Any], loss: Any, width: int | None) -> Kind:
    """What `targets` (n, …) are, by their type, the loss, and the module's `width`."""
    named = loss if isinstance(loss, str) else type(loss).__name__
    if targets.ndim > 1:
        return "other"
    if named in (*_EACH_CLASS, *_SECOND_CLASS):
        return "classification"
    if named in ("mse", "l1", "huber", *_NUMBERS):
        return "regression"
    if targets.dtype.kind in "iu":
        distinct = len(np.unique(targets))
        return "regression" if distinct > MOST_CLASSES or (width == 1 and distinct > 2) else "classification"
    return "regression" if targets.dtype.kind == "f" else "classification"


def classes_of(targets: NDArray[Any]) -> NDArray[Any]:
    """The distinct labels in order."""
    try:
        found = np.unique(targets)
    except TypeError as error:
        kinds = ", ".join(sorted({type(v).__name__ for v in targets}))
        raise InvalidInput(f"y mixes {kinds}", remedy="Give labels of one type, and none that is missing.") from error
    return found.astype(str) if found.dtype.kind == "O" and all(isinstance(v, str) for v in found) else found


def column(y: Any) -> NDArray[Any]:
    """Targets as an array, (n, 1) as (n,). InvalidInput for missing numbers."""
    array = as_array(y, "y")
    array = array.reshape(-1) if array.ndim == 2 and array.shape[1] == 1 else array
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise InvalidInput(f"y has {int(np.isnan(array).sum())} missing values", remedy="Leave those rows out.")
    return array


def targets(y: NDArray[Any], classes: NDArray[Any] | None) -> Take:
    """Reads targets: the numbers of classes, else the values."""
    if classes is None:
        dtype = "float32" if y.dtype.kind == "f" else "int64"
        return lambda index: (torch.from_numpy(np.require(rows_of(y, index), dtype, ["C", "W"])),)
    unknown = np.setdiff1d(y, classes)
    if len(unknown):
        raise InvalidInput(
            f"the validation rows have the class {unknown.tolist()[0]!r}", remedy="Every class needs rows to train on."
        )
    if y.dtype.kind == "O":
        codes = np.searchsorted(classes, y.astype(classes.dtype))
        return lambda index: (torch.from_numpy(np.require(codes[index], "int64", ["C", "W"])),)
    if y.dtype == np.int64 and np.array_equal(classes, np.arange(len(classes))):  # they are their numbers
        return targets(y, None)
    return lambda index: (torch.from_numpy(np.searchsorted(classes, rows_of(y, index))),)


@dataclass(frozen=True)
class Seen:
    """What decides on the task: the first outputs and targets, and the labels where they are known: those of an
    array's column; a Dataset's are the numbers of its classes."""

    output: Any
    target: torch.Tensor
    kind: Kind
    labels: NDArray[Any] | None
    counts: NDArray[Any] | None = None


def decide(seen: Seen, options: TorchOptions) -> Task:
    """The task. InvalidInput when the module's outputs, the loss and the targets do not fit together."""
    output = seen.output
    width = width_of(output)
    if seen.kind == "classification" and width is not None:
        return _classifier(seen, width, options)
    one = seen.kind == "regression" and width == 1
    if callable(options.loss):
        return Task("regression" if one else "other", _own(options.loss, output), _name(options.loss))
    if not isinstance(output, torch.Tensor):
        raise InvalidInput(f"the module answers a {type(output).__name__}", remedy="Give loss=, a function of it.")
    name = options.loss or ("mse" if seen.kind == "regression" or seen.target.is_floating_point() else "cross_entropy")
    if name in ("cross_entropy", "bce_with_logits"):
        if options.class_weight is not None:
            raise InvalidInput("class_weight needs one label for each row", remedy="Give a loss of your own.")
        plain = _cross_entropy if name == "cross_entropy" else _bce
        return Task("other", plain, name)
    if output.numel() != seen.target.numel():
        raise InvalidInput(
            f"the module answers {_shape(output)}, y has {_shape(seen.target)}", remedy="One value for each target."
        )
    return Task("regression" if one else "other", _shaped(_REGRESSION[name]), name)


def _classifier(seen: Seen, width: int, options: TorchOptions) -> Task:
    name = options.loss or ("bce_with_logits" if width == 1 else "cross_entropy")
    binary = width == 1
    kind = name if isinstance(name, str) else type(name).__name__
    if kind in (_EACH_CLASS if binary else _SECOND_CLASS):
        raise InvalidInput(
            f"the module answers {_shape(seen.output)}, which does not go with {_name(name)}",
            remedy='One value for each class with "cross_entropy", or a single one with "bce_with_logits".',
        )
    classes = _classes(seen.labels, 2 if binary else width)
    if callable(name):
        return Task("classification", _own(name, seen.output, binary), _name(name), classes, binary)
    weight = _weight(options.class_weight, classes, seen)
    if binary:
        ratio = None if weight is None else weight[1] / weight[0]
        return Task("classification", lambda output, target: _bce(output, target, ratio), name, classes, True)
    return Task("classification", lambda output, target: _cross_entropy(output, target, weight), name, classes)


def _classes(labels: NDArray[Any] | None, width: int) -> NDArray[Any]:
    """The labels of the outputs; more outputs than labels only where the labels number them."""
    if labels is None:
        return np.arange(width)
    if len(labels) == width:
        return labels
    if labels.dtype.kind in "iu" and len(labels) < width and labels.min() >= 0 and labels.max() < width:
        return np.arange(width)
    raise InvalidInput(
        f"the module answers {width} values for each row, y has {len(labels)} classes",
        remedy=f"Give it {len(labels)} outputs.",
    )


def _weight(asked: Any, classes: NDArray[Any], seen: Seen) -> torch.Tensor | None:
    """One weight for each class, as scikit-learn has them."""
    if asked is None:
        return None
    if isinstance(asked, Mapping):
        unknown = [label for label in asked if label not in classes.tolist()]
        if unknown:
            raise InvalidInput(f"class_weight names {unknown[0]!r}, which y does not have")
        return torch.tensor([float(asked.get(label, 1.0)) for label in classes.tolist()])
    if seen.counts is None or len(seen.counts) != len(classes):
        raise InvalidInput(
            'class_weight="balanced" needs y as an array with all classes', remedy="Give {class: weight}."
        )
    return torch.tensor(seen.counts.sum() / (len(classes) * np.maximum(seen.counts, 1)), dtype=torch.float32)


def _cross_entropy(output: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    return functional.cross_entropy(output, target, None if weight is None else weight.to(output.device))


def _bce(output: torch.Tensor, target: torch.Tensor, ratio: torch.Tensor | None = None) -> torch.Tensor:
    weight = None if ratio is None else ratio.to(output.device)
    return functional.binary_cross_entropy_with_logits(
        output, target.to(output.dtype).view_as(output), pos_weight=weight
    )


_REGRESSION: dict[str, Loss] = {"mse": functional.mse_loss, "l1": functional.l1_loss, "huber": functional.huber_loss}


def _shaped(loss: Loss) -> Loss:
    """`loss` of targets in the outputs' shape: (n,) against (n, 1) would be n times n differences."""
    return lambda output, target: loss(output, target.to(output.dtype).view_as(output))


def _own(loss: Any, output: Any, binary: bool = False) -> Loss:
    """The user's loss; PyTorch's own modules get targets in the shape and type that they need."""
    if isinstance(output, torch.Tensor) and (binary or type(loss).__name__ in (*_NUMBERS, "BCEWithLogitsLoss")):
        return _shaped(loss)
    return lambda output, target: loss(output, target)


def _name(loss: Any) -> str:
    return loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)


def _shape(tensor: torch.Tensor) -> str:
    return f"shape (n, {', '.join(map(str, tensor.shape[1:]))})" if tensor.ndim > 1 else "shape (n,)"

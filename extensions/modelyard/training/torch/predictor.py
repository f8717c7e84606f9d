"""What a run gives back: the module with what is needed to ask it as a scikit-learn estimator is asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from modelyard.training.torch.rows import ArrayReader, Reader
from modelyard.training.torch.task import Task, probabilities

_ROWS = 1024
"""Rows that are asked at once."""


class Predictor(nn.Module):
    """`module`, as it was given, on the CPU, in eval mode. Called with tensors it answers what `module` answers;
    `predict` takes rows as they were trained on (a DataFrame, an array, a tensor) and answers an array of as many."""

    estimator_type: str | None = None
    """scikit-learn's word for what it is."""

    def __init__(self, module: nn.Module, reader: Reader) -> None:
        super().__init__()
        self.module = module
        self.reader = reader

    def forward(self, *inputs: torch.Tensor) -> Any:
        """What the module answers."""
        return self.module(*inputs)

    def answers(self, output: Any) -> dict[str, torch.Tensor]:
        """The outputs by name: what is published. One is called `output`; several as the module names them."""
        if isinstance(output, dict):
            return {str(name): value for name, value in output.items()}
        if isinstance(output, (tuple, list)):
            return {f"output_{number}": value for number, value in enumerate(output)}
        return {"output": output}

    def predict(self, X: Any) -> Any:
        """The module's outputs as arrays: one, or a dict of those."""
        found = self._ask(X)
        return found["output"] if list(found) == ["output"] else found

    def _ask(self, X: Any) -> dict[str, NDArray[Any]]:
        take, rows = self.reader.bind(X), len(X)
        device = next((p.device for p in self.parameters()), torch.device("cpu"))
        parts: list[dict[str, torch.Tensor]] = []
        with self._answering():
            for start in range(0, rows, _ROWS):
                inputs = [tensor.to(device) for tensor in take(slice(start, start + _ROWS))]
                parts.append({name: value.cpu() for name, value in self.answers(self(*inputs)).items()})
        return {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """In eval mode, without gradients; afterwards as it was, since the module may be in training."""
        training = [part for part in self.modules() if part.training]
        self.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            for part in training:
                part.training = True

    def __sklearn_tags__(self) -> Any:
        """For scikit-learn's scorers."""
        from sklearn.utils import ClassifierTags, InputTags, RegressorTags, Tags, TargetTags

        return Tags(
            estimator_type=self.estimator_type,
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags() if self.estimator_type == "classifier" else None,
            regressor_tags=RegressorTags() if self.estimator_type == "regressor" else None,
            input_tags=InputTags(),
        )


class Classifier(Predictor):
    """A module whose outputs are logits: one for each of `classes_`, or (`binary`) one for the second class."""

    estimator_type = "classifier"

    def __init__(self, module: nn.Module, reader: Reader, classes: NDArray[Any], binary: bool) -> None:
        super().__init__(module, reader)
        self.classes_ = classes
        self.binary = binary

    def answers(self, output: Any) -> dict[str, torch.Tensor]:
        """The probabilities."""
        return {"probabilities": probabilities(output.float(), self.binary)}

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """(n, classes) in the order of `classes_`."""
        return self._ask(X)["probabilities"].astype(np.float64)

    def predict(self, X: Any) -> NDArray[Any]:
        """The most probable labels (n,)."""
        return np.asarray(self.classes_[self._ask(X)["probabilities"].argmax(axis=1)])


class Regressor(Predictor):
    """A module that answers one number for each row."""

    estimator_type = "regressor"

    def answers(self, output: Any) -> dict[str, torch.Tensor]:
        """The numbers (n,)."""
        return {"prediction": output.float().reshape(-1)}

    def predict(self, X: Any) -> NDArray[np.float64]:
        """The numbers (n,)."""
        return self._ask(X)["prediction"].astype(np.float64)


def predictor(module: nn.Module, reader: Reader, task: Task) -> Predictor:
    """The trained `module`, on the CPU and in eval mode, as what it was trained for."""
    module = module.cpu().eval()
    module.zero_grad(set_to_none=True)
    if task.classes is not None:
        made: Predictor = Classifier(module, reader, task.classes, task.binary)
    else:
        made = (Regressor if task.kind == "regression" else Predictor)(module, reader)
    return made.eval()


def adopted(module: nn.Module) -> Predictor:
    """A module that was not trained here, as what answers tensors."""
    return module if isinstance(module, Predictor) else Predictor(module, ArrayReader.of(module))

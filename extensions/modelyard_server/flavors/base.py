"""What a flavor gives the data plane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Columns = Mapping[str, NDArray[Any]]
"""Arrays by name: for a table one of shape (n,) per column, text as objects (str or None); for a tensor `input`."""


Outputs = dict[str, NDArray[Any]]
"""By the signature's names, each with n as its first dimension."""


class Model(Protocol):
    """A loaded model. Called from one thread at a time."""

    def predict(self, columns: Columns) -> dict[str, NDArray[Any]]:
        """Outputs by the signature's names, each with n as its first dimension. Raises what the model raises."""


def labels(raw: NDArray[Any], classes: tuple[Any, ...] | None) -> NDArray[Any]:
    """Labels with the type that the notebook's model answers: ONNX has no boolean labels."""
    if classes and all(isinstance(c, bool) for c in classes) and raw.dtype != np.bool_:
        return raw.astype(np.int64).astype(np.bool_)
    return raw

"""A plain Python class with `load(folder)` and `predict(columns)`: the owner's own code, without MLflow and pandas.

`folder` is that of its files; where it was published without any, there is none.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelyard_api.errors import InvalidInput
from modelyard_api.models import PYTHON_FILES, PackageManifest
from modelyard_server.block import writable
from modelyard_server.flavors.base import Columns


class PythonModel:
    """What the class's `predict` answers to a dict of arrays: an array, or a dict of some by the signature's names."""

    def __init__(self, manifest: PackageManifest, model: Any) -> None:
        self._names = [output.name for output in manifest.signature.outputs]
        self._model = model

    def predict(self, columns: Columns) -> dict[str, NDArray[Any]]:
        answer = self._model.predict({name: writable(array) for name, array in columns.items()})
        if isinstance(answer, Mapping):
            return {str(name): np.asarray(values) for name, values in answer.items()}
        return {self._names[0]: np.asarray(answer)}


def load(manifest: PackageManifest, directory: Path, threads: int) -> PythonModel:
    code = directory / "code"
    if code.is_dir() and str(code) not in sys.path:
        sys.path.insert(0, str(code))
    with (directory / manifest.path).open("rb") as file:
        model = pickle.load(file)
    files = directory / PYTHON_FILES
    if not callable(getattr(model, "load", None)) or not callable(getattr(model, "predict", None)):
        raise InvalidInput(f"a {type(model).__name__} has no load and predict", remedy="Publish it with yard.publish.")
    model.load(files)
    return PythonModel(manifest, model)

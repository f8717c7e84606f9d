"""MLflow's pyfunc: everything else. Runs the owner's own code, in the owner's own workload."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from modelyard_api.models import PackageManifest
from modelyard_server.flavors.base import Columns, Model
from modelyard_server.flavors.frame import frame


class PyfuncModel:
    """The model's `predict` on a frame or an array; a frame that it answers becomes one output per column."""

    def __init__(self, manifest: PackageManifest, model: Any) -> None:
        self._signature = manifest.signature
        self._model = model

    def predict(self, columns: Columns) -> dict[str, NDArray[Any]]:
        answer = self._model.predict(frame(self._signature, columns))
        names = [output.name for output in self._signature.outputs]
        if hasattr(answer, "columns"):
            return {str(name): answer[name].to_numpy() for name in answer.columns}
        if isinstance(answer, dict):
            return {str(name): np.asarray(value) for name, value in answer.items()}
        return {names[0]: np.asarray(answer)}


def load(manifest: PackageManifest, directory: Path, threads: int) -> Model:
    flavors = yaml.safe_load((directory / "MLmodel").read_text())["flavors"]
    if "sklearn" in flavors:
        from mlflow.sklearn import load_model

        from modelyard_server.flavors.estimator import EstimatorModel  # with all of scikit-learn

        return EstimatorModel(manifest, load_model(str(directory)))
    from mlflow.pyfunc import load_model as load_pyfunc

    return PyfuncModel(manifest, load_pyfunc(str(directory)))

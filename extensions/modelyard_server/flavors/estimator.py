"""A scikit-learn estimator called as in the notebook; shared by the flavors that hold one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelyard_api.models import PackageManifest
from modelyard_server.flavors.base import Columns
from modelyard_server.flavors.frame import frame


class EstimatorModel:
    """`predict`, and `predict_proba` where the signature has probabilities."""

    def __init__(self, manifest: PackageManifest, estimator: Any) -> None:
        self._signature = manifest.signature
        self._estimator = estimator
        self._outputs = [output.name for output in manifest.signature.outputs]

    def predict(self, columns: Columns) -> dict[str, NDArray[Any]]:
        table = frame(self._signature, columns)
        outputs = {self._outputs[0]: np.asarray(self._estimator.predict(table))}
        if "probabilities" in self._outputs:
            outputs["probabilities"] = np.asarray(self._estimator.predict_proba(table))
        return outputs

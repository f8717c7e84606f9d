"""A scikit-learn estimator called as in the notebook; shared by the flavors that hold one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelyard_api.models import PackageManifest
from modelyard_server.flavors.base import Columns, Wanted
from modelyard_server.flavors.frame import frame


class EstimatorModel:
    """`predict`, and `predict_proba` where the signature has probabilities."""

    def __init__(self, manifest: PackageManifest, estimator: Any) -> None:
        self._signature = manifest.signature
        self._estimator = estimator
        self._outputs = [output.name for output in manifest.signature.outputs]

    def predict(self, columns: Columns) -> dict[str, NDArray[Any]]:
        return self.predict_only(columns, None)

    def predict_only(self, columns: Columns, wanted: Wanted) -> dict[str, NDArray[Any]]:
        """As `predict`, but for outputs that nobody asked for: each is a call of the estimator."""
        table = frame(self._signature, columns)
        outputs: dict[str, NDArray[Any]] = {}
        if wanted is None or self._outputs[0] in wanted:
            outputs[self._outputs[0]] = np.asarray(self._estimator.predict(table))
        if "probabilities" in self._outputs and (wanted is None or "probabilities" in wanted):
            outputs["probabilities"] = np.asarray(self._estimator.predict_proba(table))
        return outputs

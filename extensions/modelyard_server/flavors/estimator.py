"""A scikit-learn estimator called as in the notebook; shared by the flavors that hold one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import get_config
from sklearn.pipeline import Pipeline

from modelyard_api.models import PackageManifest, Signature
from modelyard_server.flavors.bare import forget_names
from modelyard_server.flavors.base import Columns, Wanted
from modelyard_server.flavors.by_column import by_column
from modelyard_server.flavors.frame import array, frame


class EstimatorModel:
    """`predict`, and `predict_proba` where the signature has probabilities."""

    def __init__(self, manifest: PackageManifest, estimator: Any) -> None:
        self._signature = manifest.signature
        self._table: Callable[[Signature, Columns], Any] = (
            array if forget_names(estimator, manifest.signature) else frame
        )
        self._transformers, self._last = _divided(estimator)
        if self._transformers and (columned := by_column(self._transformers[0], manifest)) is not None:
            self._table = columned
            self._transformers = self._transformers[1:]
        self._outputs = [output.name for output in manifest.signature.outputs]

    def predict(self, columns: Columns) -> dict[str, NDArray[Any]]:
        return self.predict_only(columns, None)

    def predict_only(self, columns: Columns, wanted: Wanted) -> dict[str, NDArray[Any]]:
        """As `predict`, but for outputs that nobody asked for: each is a call of the estimator."""
        table = self._table(self._signature, columns)
        for transformer in self._transformers:
            table = transformer.transform(table)
        outputs: dict[str, NDArray[Any]] = {}
        if wanted is None or self._outputs[0] in wanted:
            outputs[self._outputs[0]] = np.asarray(self._last.predict(table))
        if "probabilities" in self._outputs and (wanted is None or "probabilities" in wanted):
            outputs["probabilities"] = np.asarray(self._last.predict_proba(table))
        return outputs


def _divided(estimator: Any) -> tuple[list[Any], Any]:
    """What prepares the rows, once for labels and probabilities, and what answers: no more does a pipeline's `predict`.
    What is not scikit-learn's own, or holds other estimators, might change the rows when it is asked, so it gets them
    prepared for each output."""
    if type(estimator) is not Pipeline or get_config()["enable_metadata_routing"]:
        return [], estimator
    *first, last = [step for _, step in estimator.steps]
    nested = last.get_params(deep=True).keys() != last.get_params(deep=False).keys()
    if nested or not type(last).__module__.startswith("sklearn."):
        return [], estimator
    return [step for step in first if step is not None and step != "passthrough"], last

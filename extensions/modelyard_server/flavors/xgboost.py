"""XGBoost's own file (UBJSON): trees without scikit-learn, and without pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray

from modelyard_api.models import PackageManifest
from modelyard_server.flavors.base import Columns
from modelyard_server.flavors.boosting import Answering, matrix


class XgboostModel:
    """A booster asked for its values; labels and probabilities are made of them as XGBoost's own classifier does."""

    def __init__(self, manifest: PackageManifest, directory: Path, threads: int) -> None:
        self._booster = xgboost.Booster({"nthread": threads, "device": "cpu"})
        self._booster.load_model(directory / manifest.path)
        self._signature = manifest.signature
        self._answering = Answering(manifest)
        missing = manifest.parameters.get("missing")
        self._missing = np.nan if missing is None else float(missing)
        self._linear = manifest.parameters.get("booster") == "gblinear"

    def predict(self, columns: Columns) -> dict[str, NDArray[Any]]:
        rows = matrix(self._signature, columns, unseen=False)
        return self._answering.named(self._values(rows))

    def _values(self, rows: NDArray[Any]) -> NDArray[Any]:
        if self._linear:  # it has no prediction in place
            data = xgboost.DMatrix(rows, missing=self._missing)
            return np.asarray(self._booster.predict(data, validate_features=False))
        values = self._booster.inplace_predict(rows, missing=self._missing, validate_features=False)
        return np.asarray(values)


def load(manifest: PackageManifest, directory: Path, threads: int) -> XgboostModel:
    return XgboostModel(manifest, directory, threads)

"""LightGBM's own file (text): trees without scikit-learn, and without pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray

from modelyard_api.models import PackageManifest
from modelyard_server.flavors.base import Columns
from modelyard_server.flavors.boosting import Answering, matrix


class LightgbmModel:
    """A booster asked for its values; labels and probabilities are made of them as LightGBM's own classifier does."""

    def __init__(self, manifest: PackageManifest, directory: Path, threads: int) -> None:
        self._booster = lightgbm.Booster(model_file=directory / manifest.path)
        self._threads = threads
        self._signature = manifest.signature
        self._answering = Answering(manifest)

    def predict(self, columns: Columns) -> dict[str, NDArray[Any]]:
        rows = matrix(self._signature, columns, unseen=True)
        values = np.asarray(self._booster.predict(rows, num_threads=self._threads))
        return self._answering.named(values)


def load(manifest: PackageManifest, directory: Path, threads: int) -> LightgbmModel:
    return LightgbmModel(manifest, directory, threads)

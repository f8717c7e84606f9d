"""skops: scikit-learn without pickle; only the types that the owner's trial named are trusted."""

from __future__ import annotations

from pathlib import Path

import skops.io

from modelyard_api.models import PackageManifest
from modelyard_server.flavors.estimator import EstimatorModel


def load(manifest: PackageManifest, directory: Path, threads: int) -> EstimatorModel:
    estimator = skops.io.load(directory / manifest.path, trusted=list(manifest.trusted))
    return EstimatorModel(manifest, estimator)

"""skops: scikit-learn without pickle; only the types that the owner's trial named are trusted."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modelyard_api.models import PackageManifest
from modelyard_server.flavors.estimator import EstimatorModel

_BRIDGE = "sklearn.externals.array_api_compat.torch"


@contextmanager
def _without_torch() -> Iterator[None]:
    """skops imports every module of scikit-learn, and one of them all of PyTorch where that is installed: some 500 MB
    that no scikit-learn model needs. Afterwards that module can be imported as ever."""
    if _BRIDGE in sys.modules:
        yield
        return
    sys.modules[_BRIDGE] = None  # type: ignore[assignment]  # an import of it fails, which the walk passes over
    try:
        yield
    finally:
        del sys.modules[_BRIDGE]


with _without_torch():
    import skops.io as io

__all__ = ["io", "load"]


def load(manifest: PackageManifest, directory: Path, threads: int) -> EstimatorModel:
    estimator = io.load(directory / manifest.path, trusted=list(manifest.trusted))
    return EstimatorModel(manifest, estimator)

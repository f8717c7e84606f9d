"""The data plane: a package loaded, inputs checked, predictions made. Every transport calls this and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelyard_api.errors import InvalidInput, ModelFailed
from modelyard_api.models import Flavor, PackageManifest
from modelyard_server.block import Block
from modelyard_server.columns import check
from modelyard_server.device import Device, no_cuda
from modelyard_server.flavors.base import Columns, Model, Outputs, Wanted
from modelyard_server.manifest import read_manifest

_FOLDERS = re.compile(r"(?<![\w.:/~-])~?/(?:[^/\s'\"]+/)+")
"""The folders of an absolute path in a sentence; URLs are left alone."""


_EXTRAS = {
    **dict.fromkeys(("skops", "sklearn", "scipy", "joblib", "pandas", "mlflow", "cloudpickle"), "serving-python"),
    **dict.fromkeys(("xgboost", "lightgbm"), "boosting"),
    **dict.fromkeys(("transformers", "tokenizers", "safetensors", "huggingface_hub"), "huggingface"),
    "torch": "torch",
}
"""The extra that has a library which the image `server-onnx` leaves out."""
_IN_SERVER = ("serving-python", "boosting")
"""Extras of the image `server`, unless it is made with others."""
_ON_GPU = (Flavor.onnx, Flavor.torch, Flavor.transformers)
IN_PROCESS = (Flavor.onnx,)
"""Flavors that are no Python while they predict: a server runs them itself, all others in processes of their own."""


class Contract:
    """What a package promises, without its model."""

    concurrent = False
    """Whether the model may run in several threads at once."""
    device = "cpu"
    """Where the model computes: cpu or cuda."""

    def __init__(self, manifest: PackageManifest) -> None:
        self.manifest = manifest

    def example(self) -> dict[str, Any]:
        """The package's own example as columns, not checked."""
        signature, rows = self.manifest.signature, self.manifest.example
        if signature.layout == "tensor":
            return {signature.inputs[0].name: rows}
        return {spec.name: [row[spec.name] for row in rows] for spec in signature.inputs}

    def check(self, columns: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """Columns with the signature's types, in its order; InvalidInput names the column that is wrong."""
        return check(self.manifest.signature, columns)


class DataPlane(Contract):
    """A loaded package. `predict` is for one thread at a time."""

    def __init__(self, manifest: PackageManifest, model: Model) -> None:
        super().__init__(manifest)
        self.concurrent = bool(getattr(model, "concurrent", False))
        self.device = str(getattr(model, "device", "cpu"))
        self._model = model
        self._selective: Callable[[Columns, Wanted], Outputs] | None = getattr(model, "predict_only", None)

    def predict(self, columns: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """Outputs by the signature's names, n rows each. InvalidInput; ModelFailed with the model's words."""
        return self.run(self.check(columns))

    def run(self, columns: Columns, wanted: Wanted = None) -> dict[str, NDArray[Any]]:
        """As `predict`, for columns that were checked; outputs that are not wanted may be left out."""
        try:
            if wanted is not None and self._selective is not None:
                return self._selective(columns, wanted)
            return self._model.predict(columns)
        except MemoryError as error:
            raise ModelFailed(
                f"the model ran out of memory: {error}",
                remedy="Send fewer rows at once, or give the endpoint more memory.",
            ) from error
        except Exception as error:  # a model may raise anything; the caller gets its words, not its traceback
            raise ModelFailed(
                f"the model raised {type(error).__name__}: {_FOLDERS.sub('…/', str(error))}",
                remedy="Send values like those of the example that it was published with.",
            ) from error


def load(directory: Path, threads: int = 1, device: Device = "cpu") -> DataPlane:
    """Load a package with the flavor that its manifest names. Raises InvalidInput, and whatever the flavor raises."""
    manifest = read_manifest(directory)
    try:
        flavor = import_module(f"modelyard_server.flavors.{manifest.flavor}")
        if manifest.flavor not in _ON_GPU:
            if device == "cuda":
                raise no_cuda(f"a package of the flavor {manifest.flavor} computes on the processor")
            return DataPlane(manifest, flavor.load(manifest, directory, threads))
        return DataPlane(manifest, flavor.load(manifest, directory, threads, device))
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _EXTRAS:
            raise
        raise InvalidInput(
            f"this model server has no {missing}, which a package of the flavor {manifest.flavor} needs",
            remedy=_where_to_find(_EXTRAS[missing]),
        ) from error


def _where_to_find(extra: str) -> str:
    made = "" if extra in _IN_SERVER else f", made with EXTRAS='{' '.join(_IN_SERVER)} {extra}'"
    return f"Serve it with the image `server`, not `server-onnx`{made}, or install modelyard[{extra}]: docs/images.md."


def concatenate(requests: list[Columns]) -> Columns:
    """The rows of several checked requests as one."""
    first = requests[0]
    blocks = [r for r in requests[1:] if isinstance(r, Block)]
    if isinstance(first, Block) and len(blocks) == len(requests) - 1:
        return first.joined(blocks)
    return {name: np.concatenate([r[name] for r in requests]) for name in requests[0]}


def rows(columns: Columns) -> int:
    """How many rows checked columns have."""
    return len(columns.matrix) if isinstance(columns, Block) else len(next(iter(columns.values())))

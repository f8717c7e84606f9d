"""Boosted trees from their own files: what XGBoost and LightGBM have in common. Neither pandas nor scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelyard_api.models import PackageManifest, Signature, TensorSpec
from modelyard_server.block import Block
from modelyard_server.flavors.base import Columns


def matrix(signature: Signature, columns: Columns, *, unseen: bool) -> NDArray[Any]:
    """The columns side by side as numbers: a category is the number of its level, missing is NaN.

    A level that training never saw has no number: it is missing too where `unseen` allows it, else a ValueError."""
    if signature.layout == "tensor":
        return np.ascontiguousarray(columns["input"])
    if isinstance(columns, Block):
        return np.ascontiguousarray(columns.matrix)
    sides = [
        _codes(spec, columns[spec.name], unseen) if spec.categories else columns[spec.name] for spec in signature.inputs
    ]
    # Truth values with gaps are objects, None where one is missing: as float64 that is NaN.
    return np.column_stack([side.astype(np.float64) for side in sides])


def _codes(spec: TensorSpec, column: NDArray[Any], unseen: bool) -> NDArray[np.float64]:
    """As pandas numbers levels."""
    known = {level: float(i) for i, level in enumerate(spec.categories or ())}
    values = [None if isinstance(v, float) and np.isnan(v) else v for v in column.tolist()]
    strange = next((v for v in values if v is not None and v not in known), None)
    if strange is not None and not unseen:
        raise ValueError(f"column {spec.name!r} holds {strange!r}, a level that the model was not trained with")
    return np.array([known.get(v, np.nan) for v in values], dtype=np.float64)


class Answering:
    """What trees answer, named and shaped as the signature says."""

    def __init__(self, manifest: PackageManifest) -> None:
        self._task = manifest.task
        self._name = manifest.signature.outputs[0].name
        self._probabilities = any(o.name == "probabilities" for o in manifest.signature.outputs)
        self._classes = None if manifest.classes is None else np.asarray(manifest.classes)

    def named(self, raw: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """A half is the first of two classes, as both libraries' classifiers have it."""
        if self._task != "classification":
            return {self._name: raw}
        assert self._classes is not None
        if raw.ndim == 1:
            first = raw > 0.5
            raw = np.vstack((1.0 - raw, raw)).transpose()
            best = first.astype(np.int64)
        else:
            best = raw.argmax(axis=1)
        outputs = {"label": self._classes[best]}
        return outputs | {"probabilities": raw} if self._probabilities else outputs

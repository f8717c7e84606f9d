"""ONNX Runtime: the fast flavor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from modelyard_api.models import MISSING_TEXT, PackageManifest
from modelyard_server.block import Block
from modelyard_server.device import Device, onnx_device, onnx_providers
from modelyard_server.flavors import trees
from modelyard_server.flavors.base import Columns, labels

_DTYPES: dict[str, type[Any]] = {
    "tensor(double)": np.float64,
    "tensor(float)": np.float32,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}


class OnnxModel:
    """One ONNX input per column, shape (n, 1); or a single input that takes all columns side by side."""

    concurrent = True

    def __init__(self, manifest: PackageManifest, directory: Path, threads: int, device: Device = "cpu") -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = ort.InferenceSession(
            str(directory / manifest.path), sess_options=options, providers=onnx_providers(ort, device)
        )
        self.device = onnx_device(self._session, device)
        self._inputs = [(i.name, _DTYPES[i.type]) for i in self._session.get_inputs()]
        self._asked = [o.name for o in self._session.get_outputs()]
        self._names = [column.name for column in manifest.signature.inputs]
        self._table = manifest.signature.layout == "table"
        self._outputs = [output.name for output in manifest.signature.outputs]
        self._classes = manifest.classes
        self._leading = trees.leading_column(directory / manifest.path) if len(self._inputs) == 1 else None

    def predict(self, columns: Columns) -> dict[str, NDArray[Any]]:
        raw = self._run(self._feeds(columns))
        outputs = dict(zip(self._outputs, raw, strict=False))
        if "label" in outputs:
            outputs["label"] = labels(outputs["label"], self._classes)
        prediction = outputs.get("prediction")
        if prediction is not None and prediction.ndim == 2 and prediction.shape[1] == 1:
            outputs["prediction"] = prediction[:, 0]
        return outputs

    def _run(self, feeds: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        name, rows = next(iter(feeds.items()))
        if self._leading is None or len(rows) < trees.FROM or rows.ndim != 2 or rows.shape[1] <= self._leading:
            found: list[NDArray[Any]] = self._session.run(self._asked, feeds)
            return found
        rows, places = trees.ordered(rows, self._leading)
        found = self._session.run(self._asked, {name: rows})
        if any(len(array) != len(rows) for array in found):  # it answers something else than rows
            self._leading = None
            return self._run(feeds)
        return [trees.back(array, places) for array in found]

    def _feeds(self, columns: Columns) -> dict[str, NDArray[Any]]:
        if not self._table:
            name, dtype = self._inputs[0]
            return {name: np.ascontiguousarray(columns["input"], dtype=dtype)}
        if len(self._inputs) == 1 and len(self._names) > 1:
            name, dtype = self._inputs[0]
            if isinstance(columns, Block):
                return {name: columns.matrix.astype(dtype, copy=False)}
            return {name: np.column_stack([columns[n] for n in self._names]).astype(dtype)}
        return {
            name: _text(columns[column]) if dtype is np.object_ else columns[column].astype(dtype)[:, None]
            for column, (name, dtype) in zip(self._names, self._inputs, strict=True)
        }


def _text(column: NDArray[Any]) -> NDArray[Any]:
    """ONNX has no missing text: one that no caller sends stands for it, as in the conversion checked at publish."""
    return np.array([MISSING_TEXT if value is None else str(value) for value in column], dtype=object)[:, None]


def load(manifest: PackageManifest, directory: Path, threads: int, device: Device = "cpu") -> OnnxModel:
    return OnnxModel(manifest, directory, threads, device)

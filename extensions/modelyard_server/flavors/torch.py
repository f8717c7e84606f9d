"""torch.export: PyTorch modules that ONNX has no operators for. No code of the owner's runs, only the program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.export.passes import move_to_device_pass

from modelyard_api.models import PackageManifest
from modelyard_server.block import writable
from modelyard_server.device import Device, torch_device
from modelyard_server.flavors.base import Columns


class TorchModel:
    """A program with one input: the tensor, or the columns side by side. A classifier's answers probabilities."""

    def __init__(self, manifest: PackageManifest, directory: Path, threads: int, device: Device = "cpu") -> None:
        self.device = torch_device(torch, device)
        torch.set_num_threads(threads)
        program = torch.export.load(directory / manifest.path)
        taken = set(program.graph_signature.user_inputs)
        self._dtype = next(
            n.meta["val"].dtype for n in program.graph.nodes if n.op == "placeholder" and n.name in taken
        )
        if self.device != "cpu":
            program = move_to_device_pass(program, self.device)
        self._program = program.module()
        self._table = manifest.signature.layout == "table"
        self._names = [spec.name for spec in manifest.signature.inputs]
        self._outputs = [output.name for output in manifest.signature.outputs]
        self._classes = None if manifest.task != "classification" else np.asarray(manifest.classes)

    def predict(self, columns: Columns) -> dict[str, NDArray[Any]]:
        rows = np.column_stack([columns[name] for name in self._names]) if self._table else columns["input"]
        numbers = rows.astype("int64" if self._dtype is torch.int64 else "float64", copy=False)
        with torch.no_grad():
            given = torch.from_numpy(writable(numbers)).to(device=self.device, dtype=self._dtype)
            answers = [part.cpu().numpy() for part in self._program(given)]
        if self._classes is not None:
            return {"label": self._classes[answers[0].argmax(axis=1)], "probabilities": answers[0]}
        return dict(zip(self._outputs, answers, strict=True))


def load(manifest: PackageManifest, directory: Path, threads: int, device: Device = "cpu") -> TorchModel:
    return TorchModel(manifest, directory, threads, device)

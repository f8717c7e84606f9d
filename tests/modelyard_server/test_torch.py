"""The torch flavor: programs of torch.export; and nothing of PyTorch for any other package."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from harness.packages import write_onnx
from modelyard_api.models import MANIFEST_PATH, Flavor, PackageManifest, Signature, TensorSpec
from modelyard_server.dataplane import load


class Sums(nn.Module):
    """The sum of a row, whatever the type of its numbers."""

    def forward(self, rows: torch.Tensor) -> tuple[torch.Tensor]:
        return (rows.sum(dim=1),)


def write(directory: Path, dtype: torch.dtype, inputs: tuple[TensorSpec, ...]) -> None:
    (directory / "modelyard").mkdir(parents=True)
    rows = torch.export.Dim("rows", min=1)
    program = torch.export.export(Sums(), (torch.ones(2, 2, dtype=dtype),), dynamic_shapes=({0: rows},))
    torch.export.save(program, directory / "modelyard" / "model.pt2")
    manifest = PackageManifest(
        flavor=Flavor.torch,
        path="modelyard/model.pt2",
        task="other",
        signature=Signature(
            layout="table" if len(inputs) > 1 else "tensor",
            inputs=inputs,
            outputs=(TensorSpec(name="total", dtype="float64", shape=(-1,)),),
        ),
    )
    (directory / MANIFEST_PATH).write_text(manifest.model_dump_json())


def test_columns_and_arrays_become_what_the_program_takes(tmp_path: Path) -> None:
    write(
        tmp_path / "table", torch.float32, (TensorSpec(name="a", dtype="float64"), TensorSpec(name="b", dtype="int64"))
    )
    assert load(tmp_path / "table").predict({"b": [10, 20], "a": [0.5, 1.5]})["total"].tolist() == [10.5, 21.5]
    write(tmp_path / "array", torch.int64, (TensorSpec(name="input", dtype="int64", shape=(-1, 2)),))
    answer = load(tmp_path / "array").predict({"input": np.array([[2**40, 1]])})["total"]
    assert answer.tolist() == [2**40 + 1]


def test_other_packages_load_without_pytorch(tmp_path: Path) -> None:
    write_onnx(tmp_path / "p")
    program = (
        "import sys, json, pathlib, modelyard_server.app; from modelyard_server.dataplane import load;"
        f"load(pathlib.Path({str(tmp_path / 'p')!r})); print(json.dumps('torch' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert json.loads(done.stdout) is False

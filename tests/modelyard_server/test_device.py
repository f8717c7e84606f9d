"""Where a model computes. What needs a CUDA GPU is skipped where there is none; with `make test-gpu` it fails."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from harness.model_server import free_port, serving, spawn
from harness.packages import write_onnx, write_skops
from harness.texts import TEXTS, pipe
from modelyard.packaging import build
from modelyard_api.errors import InvalidInput
from modelyard_api.models import Flavor
from modelyard_server.dataplane import load

ASKED = os.environ.get("MODELYARD_TEST_DEVICE") == "cuda"
HERE = torch.cuda.is_available()
gpu = pytest.mark.skipif(not (HERE or ASKED), reason="no CUDA GPU here: `make test-gpu` on a machine with one")
no_gpu = pytest.mark.skipif(HERE, reason="there is a CUDA GPU")
ROWS = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")


def write_torch(folder: Path) -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 64), torch.nn.Tanh(), torch.nn.Linear(64, 2)).eval()
    build(net, ROWS, directory=folder, trial=False, flavors=(Flavor.torch,))


def write_texts(folder: Path) -> None:
    build(pipe("text-classification"), TEXTS, directory=folder, trial=False)


WRITERS: dict[str, Callable[[Path], Any]] = {"torch": write_torch, "transformers": write_texts, "onnx": write_onnx}


@pytest.mark.parametrize(
    ("write", "said"),
    [
        pytest.param(write_torch, "PyTorch", marks=no_gpu),
        pytest.param(write_texts, "PyTorch", marks=no_gpu),
        pytest.param(write_onnx, "ONNX Runtime", marks=no_gpu),
        (write_skops, "a package of the flavor skops computes on the processor"),
    ],
    ids=["torch", "transformers", "onnx", "skops"],
)
def test_cuda_without_one_is_an_error_that_says_what_is_missing(
    write: Callable[[Path], Any], said: str, tmp_path: Path
) -> None:
    write(tmp_path / "p")
    with pytest.raises(InvalidInput, match=f"is to use CUDA, and .*{said}|is to use CUDA, and this {said}") as caught:
        load(tmp_path / "p", device="cuda")
    assert "MODELYARD_SERVER_DEVICE" in caught.value.remedy


@no_gpu
def test_a_server_that_is_to_use_cuda_and_has_none_does_not_start(tmp_path: Path) -> None:
    write_onnx(tmp_path / "p")
    process = spawn(tmp_path / "p", free_port(), open=True, device="cuda")
    _, said = process.communicate(timeout=120)
    assert process.returncode == 3
    assert b"the model server is to use CUDA, and this ONNX Runtime has no CUDA provider" in said.splitlines()[-1]


@no_gpu
@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_the_metadata_say_which(device: str, tmp_path: Path) -> None:
    write_onnx(tmp_path / "p")
    with serving(tmp_path / "p", open=True, device=device) as (client, _):
        assert client.get("/v2/models/penguins").json()["parameters"]["device"] == "cpu"


def test_a_device_that_there_is_not_is_a_wrong_setting(tmp_path: Path) -> None:
    write_onnx(tmp_path / "p")
    process: subprocess.Popen[bytes] = spawn(tmp_path / "p", free_port(), open=True, device="tpu")
    _, said = process.communicate(timeout=120)
    assert process.returncode == 2
    assert b"'auto', 'cpu' or 'cuda'" in said


@gpu
@pytest.mark.cuda
@pytest.mark.parametrize("name", WRITERS)
def test_a_gpu_answers_as_the_processor_does(name: str, tmp_path: Path) -> None:
    if name == "onnx" and "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has no CUDA provider")
    WRITERS[name](tmp_path / "p")
    there, here = load(tmp_path / "p", device="auto"), load(tmp_path / "p", device="cpu")
    assert (there.device, here.device) == ("cuda", "cpu")
    rows = {here.manifest.signature.inputs[0].name: here.manifest.example}
    got, wanted = there.predict(rows), here.predict(rows)
    for output, values in wanted.items():
        if values.dtype.kind == "f":
            np.testing.assert_allclose(got[output], values, rtol=1e-5, atol=1e-5)
        else:
            assert got[output].tolist() == values.tolist()


@gpu
@pytest.mark.cuda
def test_a_server_on_a_gpu_says_so(tmp_path: Path) -> None:
    write_torch(tmp_path / "p")
    with serving(tmp_path / "p", open=True, device="cuda") as (client, _):
        assert client.get("/v2/models/penguins").json()["parameters"]["device"] == "cuda"
        answer = client.post("/invocations", json={"inputs": ROWS.tolist()}).raise_for_status().json()
    assert len(answer["predictions"]) == 16

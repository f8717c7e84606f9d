"""PyTorch modules as packages: which flavor, and that it answers as the module does. No child trains here."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import modelyard as yard
from modelyard.packaging import build
from modelyard.training.control import Control
from modelyard.training.job import Job
from modelyard.training.journal import Journal
from modelyard.training.options import TorchOptions
from modelyard.training.spec import TrainSpec
from modelyard.training.torch import trainer
from modelyard_api.models import Flavor, PackageManifest
from modelyard_server.dataplane import load

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 17, size=(60, 8, 8)).astype("float64")
LABELS = (IMAGES[:, 0, 0] > 8).astype(int)
TABLE = pd.DataFrame(
    {
        "weight": np.where(RNG.random(60) < 0.2, np.nan, RNG.normal(size=60)),
        "age": RNG.integers(1, 90, size=60),
        "island": RNG.choice(["north", "south", "east"], size=60),
        "size": pd.Categorical(RNG.choice([10, 20, 30], size=60)),
    }
)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def trained(folder: Path, model: Any, X: Any, y: Any) -> Any:
    options = TorchOptions(epochs=1)
    work = Job(folder, TrainSpec.of(model), model, (X, y), None, options, {}, Journal(folder), Control())
    return trainer.run(work).model


def accepted(manifest: PackageManifest) -> Flavor:
    difference = manifest.conversions[-1].max_abs_difference
    assert difference is not None
    assert difference < 1e-4
    return manifest.flavor


def test_a_network_for_images_is_onnx_and_labels_are_in_the_graph(tmp_path: Path) -> None:
    model = trained(tmp_path, yard.networks.image(channels=(4, 8), hidden=(8,)), IMAGES, LABELS)
    manifest = build(model, IMAGES[:5], directory=tmp_path / "p")
    assert accepted(manifest) is Flavor.onnx
    assert (manifest.task, manifest.classes) == ("classification", (0, 1))
    assert manifest.signature.inputs[0].shape == (-1, 8, 8)
    plane = load(tmp_path / "p")
    for rows in (IMAGES, IMAGES[:1]):
        answers = plane.predict({"input": rows})
        assert answers["label"].tolist() == model.predict(rows).tolist()
        np.testing.assert_allclose(answers["probabilities"], model.predict_proba(rows), atol=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow.pyfunc

        loaded = mlflow.pyfunc.load_model(str(tmp_path / "p"))
        assert loaded.predict(IMAGES[:5]).tolist() == model.predict(IMAGES[:5]).tolist()
    lines = (tmp_path / "p" / "requirements.txt").read_text().splitlines()
    assert f"torch=={torch.__version__.partition('+')[0]}" in lines


def test_a_table_network_takes_text_and_missing_values_in_the_graph(tmp_path: Path) -> None:
    labels = np.where(TABLE["age"] > 40, "old", "young")
    model = trained(tmp_path, yard.networks.table(hidden=(8,)), TABLE, labels)
    manifest = build(model, TABLE[:5], directory=tmp_path / "p", training=TABLE, trial=False)
    assert accepted(manifest) is Flavor.onnx
    asked = {"weight": [None], "age": [7], "island": ["nowhere"], "size": [20]}
    row = pd.DataFrame(asked | {"weight": [np.nan]}).astype({"size": TABLE["size"].dtype})
    assert load(tmp_path / "p").predict(asked)["label"].tolist() == model.predict(row).tolist()


def test_a_table_of_numbers_and_a_number_to_predict(tmp_path: Path) -> None:
    frame = TABLE[["age"]].assign(more=RNG.normal(size=60))
    model = trained(tmp_path, nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1)), frame, RNG.normal(size=60))
    manifest = build(model, frame[:5], directory=tmp_path / "p", training=frame, trial=False)
    assert accepted(manifest) is Flavor.onnx
    assert manifest.task == "regression"
    asked = {"age": [3, 4], "more": [0.5, 1.5]}
    answers = load(tmp_path / "p").predict(asked)["prediction"]
    np.testing.assert_allclose(answers, model.predict(pd.DataFrame(asked)), rtol=1e-5)


class Two(nn.Module):
    """Answers two tensors; drops values while it trains."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5))

    def forward(self, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        hidden = self.layer(rows)
        return {"hidden": hidden, "norm": hidden.square().sum(dim=1)}


def test_a_module_that_was_not_trained_here_answers_tensors(tmp_path: Path) -> None:
    module, rows = Two(), RNG.normal(size=(5, 3))
    manifest = build(module, rows, directory=tmp_path / "p", trial=False)
    assert accepted(manifest) is Flavor.onnx
    assert manifest.task == "other"
    assert module.training  # it stays as it was
    answers = load(tmp_path / "p").predict({"input": rows})
    assert {name: values.shape for name, values in answers.items()} == {"hidden": (5, 4), "norm": (5,)}


def test_what_onnx_does_not_take_is_a_program_and_else_python(tmp_path: Path) -> None:
    model = trained(tmp_path, nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), IMAGES, LABELS)
    given = build(model, IMAGES[:5], directory=tmp_path / "torch", flavors=(Flavor.skops, Flavor.torch))
    assert accepted(given) is Flavor.torch
    assert load(tmp_path / "torch").predict({"input": IMAGES})["label"].tolist() == model.predict(IMAGES).tolist()

    class Branches(nn.Module):
        """Decides by its values, which no trace can follow."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            found = self.layer(rows)
            return found * 2 if float(found.sum()) > 0 else found

    python = build(Branches(), RNG.normal(size=(5, 3)), directory=tmp_path / "python", trial=False)
    assert python.flavor is Flavor.pyfunc
    assert [c.flavor for c in python.conversions] == [Flavor.onnx, Flavor.torch, Flavor.pyfunc]
    assert all("torch.export" in c.reason for c in python.conversions[:2])

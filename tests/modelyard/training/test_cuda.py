"""PyTorch trainings on a CUDA GPU: `make test-gpu`, on a machine with one.

Elsewhere they are skipped, and say so; with MODELYARD_TEST_DEVICE=cuda a missing GPU fails them. With
MODELYARD_TEST_DEVICE=cpu those run that hold on a CPU too.
"""

from __future__ import annotations

import copy
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

import modelyard as yard
from harness.wait import eventually
from modelyard.errors import InvalidInput, TrainingFailed
from modelyard.training import snapshot
from modelyard.training.control import Control
from modelyard.training.job import Diverged, Job, Result
from modelyard.training.journal import Journal
from modelyard.training.options import TorchOptions
from modelyard.training.order import Order, start
from modelyard.training.progress import Progress, Reader, RunState
from modelyard.training.spec import TrainSpec
from modelyard.training.torch import ranks, trainer
from modelyard.training.torch.batches import Share

ASKED = os.environ.get("MODELYARD_TEST_DEVICE")
DEVICE = ASKED or "cuda"
THERE = DEVICE == "cpu" or ASKED == "cuda" or torch.cuda.is_available()
pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not THERE, reason="no CUDA GPU here: `make test-gpu` on a machine with one"),
]
gpu_only = pytest.mark.skipif(DEVICE == "cpu", reason="says something of a GPU only")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 4)).astype("float32")
Y = (X @ [1.0, -2.0, 0.5, 0.0] > 0).astype("int64")


def net(dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Dropout(dropout), nn.Linear(32, 2))


class Interrupted(BaseException):
    """What ends a training from outside."""


class After:
    """cross_entropy that interrupts (`kill`: kills its process, once: not where it left a mark before) at its `call`th
    call in training."""

    def __init__(self, call: int, mark: Path | None = None) -> None:
        self.left, self.mark = call, mark

    def __call__(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        self.left -= output.requires_grad
        if self.left == 0 and self.mark is None:
            raise Interrupted
        if self.left == 0 and self.mark is not None and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return nn.functional.cross_entropy(output, target)


class Noisy(Dataset[Any]):
    """Items that draw random numbers, as augmentation does."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(X[i]) + 0.01 * (random.random() + float(torch.rand(()))), int(Y[i])


class Shouts(Dataset[Any]):
    """Items whose classes the first rows do not show: one is out of range."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(X[i]), 7 if i == len(X) - 1 else int(Y[i])


class Wide(nn.Module):
    """Takes 16 MB for each row."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow = nn.Linear(4, 1 << 22), nn.Linear(1 << 22, 2)

    def forward(self, rows: torch.Tensor) -> Any:
        return self.narrow(self.wide(rows))


def begin(module: Any, rows: Any = (X, Y), **options: Any) -> Any:
    """A run in a process of its own that nobody waits for yet."""
    chosen = TorchOptions(**{"device": DEVICE, "lr": 0.01} | options)
    return start(Order(TrainSpec.of(module), module, rows, None, chosen))


def job(folder: Path, module: Any, rows: Any = (X, Y), resumed: bool = False, **options: Any) -> Job:
    folder.mkdir(exist_ok=True)
    chosen = TorchOptions(**{"batch_size": 32, "lr": 0.01, "device": DEVICE} | options)
    spec = TrainSpec.of(module)
    return Job(folder, spec, copy.deepcopy(module), rows, None, chosen, {}, Journal(folder), Control(), resumed=resumed)


def train(folder: Path, module: Any, rows: Any = (X, Y), resumed: bool = False, **options: Any) -> Result:
    """In this process."""
    work = job(folder, module, rows, resumed, **options)
    try:
        return trainer.run(work)
    finally:
        work.journal.flush()


def told(folder: Path) -> Progress:
    return Reader(folder).read()


def same(a: Any, b: Any) -> bool:
    """Whether two states are equal, bit for bit."""
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.fixture(autouse=True)
def _memory_given_back() -> Iterator[None]:
    yield
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def test_a_module_is_trained_on_the_device_and_what_it_uses_is_shown() -> None:
    run = begin(net(), epochs=1_000_000, device="auto" if DEVICE == "cuda" else DEVICE)
    eventually(lambda: "rows" in run.progress.usage or run.progress.ended is not None, timeout=120)
    if DEVICE == "cuda":
        eventually(lambda: "gpu" in run.progress.usage or run.progress.ended is not None, timeout=60)
        assert torch.cuda.get_device_name() in run.progress.source
        shown = snapshot.snapshot(run)[0]["usage"]
        assert 0 <= shown["gpu"] <= 100
        assert shown["gpu_memory"] > 100 << 20
    run.stop(wait=60)
    assert run.state is RunState.stopped
    assert {p.device.type for p in run.model.parameters()} == {"cpu"}
    assert run.metrics["accuracy"] > 0.9


@pytest.mark.parametrize("precision", ["auto", "fp32", "bf16", "fp16"])
def test_every_precision_learns_with_clipped_gradients(tmp_path: Path, precision: str) -> None:
    result = train(tmp_path, net(), epochs=20, precision=precision, clip_norm=1.0, scheduler="cosine")
    assert result.metrics["accuracy"] > 0.9
    assert {(p.dtype, p.device.type) for p in result.model.parameters()} == {(torch.float32, "cpu")}
    assert told(tmp_path).curves["val_loss"].values[-1] < told(tmp_path).curves["val_loss"].values[0]


def test_a_number_far_from_zero_is_learned_in_every_precision(tmp_path: Path) -> None:
    """The default on a GPU has three digits; the number needs five."""
    frame = pd.DataFrame(X, columns=list("abcd"))
    for precision in ("auto", "bf16"):
        result = train(
            tmp_path / precision,
            yard.networks.table(hidden=(32,)),
            (frame, 10_000 + X @ np.array([1.0, -2.0, 0.5, 0.0])),
            epochs=40,
            precision=precision,
        )
        assert result.metrics["r2"] > 0.9, precision
        assert told(tmp_path / precision).curves["r2"].values[-1] > 0.9, precision


@pytest.mark.parametrize(
    ("rows", "options"),
    [
        ((X, Y), {"checkpoint_every": "0s", "scheduler": "onecycle"}),
        ((X, Y), {"checkpoint_every": 1, "precision": "fp16", "clip_norm": 0.5, "optimizer": "sgd"}),
        ((Noisy(), None), {"checkpoint_every": "0s", "workers": 2}),
    ],
    ids=["within-an-epoch", "after-an-epoch", "workers"],
)
def test_interrupted_and_resumed_is_as_uninterrupted(tmp_path: Path, rows: Any, options: dict[str, Any]) -> None:
    options = {"epochs": 4} | options
    whole = train(tmp_path / "whole", net(0.3), rows, loss=After(-1), **options)
    with pytest.raises(Interrupted):
        train(tmp_path / "cut", net(0.3), rows, loss=After(25), **options)  # in the third of four epochs
    assert told(tmp_path / "cut").checkpoint is not None
    again = train(tmp_path / "cut", net(0.3), rows, resumed=True, loss=After(-1), **options)
    assert same(whole.model, again.model)
    assert whole.metrics == again.metrics
    for name in ("train_loss", "val_loss", "accuracy", "lr"):
        assert told(tmp_path / "cut").curves[name].points() == told(tmp_path / "whole").curves[name].points(), name


def test_killed_and_resumed_is_as_uninterrupted(tmp_path: Path) -> None:
    options = {"epochs": 4, "batch_size": 32, "checkpoint_every": 1, "scheduler": "cosine"}
    whole = begin(net(0.3), loss=After(-1, tmp_path / "never"), **options)
    cut = begin(net(0.3), loss=After(25, tmp_path / "mark"), **options)
    with pytest.raises(TrainingFailed, match="SIGKILL"):
        cut.wait(120)
    assert cut.progress.resumable
    assert cut.resume().wait(120).state is RunState.succeeded
    whole.wait(120)
    assert same(whole.model, cut.model)
    assert whole.metrics == cut.metrics


@gpu_only
def test_a_run_of_a_gpu_goes_on_without_one(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(tmp_path, net(), epochs=20, checkpoint_every=1, loss=After(25))
    result = train(tmp_path, net(), epochs=20, resumed=True, loss=After(-1), device="cpu")
    assert result.metrics["accuracy"] > 0.9


@gpu_only
def test_a_training_on_the_cpu_leaves_the_gpu_alone() -> None:
    program = (
        "import torch; from modelyard.training.torch import checkpoint; from modelyard.training import usage\n"
        "checkpoint.restore(checkpoint.randomness()); print(torch.cuda.is_initialized())"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@gpu_only
def test_memory_that_ran_out_is_told_with_a_batch_size() -> None:
    rows = np.zeros((1 << 17, 4), "float32"), np.arange(1 << 17) % 2
    held = torch.empty(3 << 30, dtype=torch.uint8, device="cuda")  # by another process than that of the run
    run = begin(Wide(), rows, batch_size=1 << 16)
    with pytest.raises(TrainingFailed, match="the GPU's memory ran out with batches of 65536 rows") as raised:
        run.wait(120)
    del held
    assert "of which other processes have" in str(raised.value)
    assert run.progress.remedy.startswith("Try batch_size=32768.")
    assert "until it is restarted" in run.progress.remedy
    assert not run.progress.has_model


@gpu_only
def test_a_module_that_does_not_fit_is_told(tmp_path: Path) -> None:
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-4)
    try:
        with pytest.raises(InvalidInput, match=r"the module \(.*MiB\) does not fit into the GPU's memory of"):
            train(tmp_path, Wide())
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@gpu_only
def test_an_index_out_of_range_is_told() -> None:
    """It breaks the process's GPU for good: nothing can be saved, and yet there is a reason."""
    run = begin(net(), (Shouts(), None))
    with pytest.raises(TrainingFailed, match="a number was out of range on the GPU"):
        run.wait(120)
    assert 'device="cpu"' in run.progress.remedy


def test_missing_values_are_named_as_the_reason(tmp_path: Path) -> None:
    holes = X.copy()
    holes[7, 2] = np.nan
    with pytest.raises(Diverged, match="holds missing or infinite values"):
        train(tmp_path, net(), (holes, Y), epochs=2, batch_size=100)


def test_what_lies_on_the_device_is_trained_on_too() -> None:
    """As in a notebook that used the GPU itself before."""
    module, rows = net().to(DEVICE), (torch.from_numpy(X).to(DEVICE), torch.from_numpy(Y).to(DEVICE))
    arrays = begin(module, rows, epochs=20)
    items = begin(module, (TensorDataset(*rows), None), epochs=20, workers=1)
    weighted = begin(module, rows, epochs=20, loss=nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0])))
    for run in (arrays, items, weighted):
        run.wait(120)
        assert {p.device.type for p in run.model.parameters()} == {"cpu"}
        assert run.model.predict(X[:3]).shape == (3,)
        assert run.progress.curves["accuracy"].values[-1] > 0.85


def test_a_dataset_is_read_by_workers_as_without(tmp_path: Path) -> None:
    items = TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    alone = train(tmp_path / "alone", net(), (items, None), epochs=3, workers=0)
    helped = train(tmp_path / "helped", net(), (items, None), epochs=3, workers=2)
    assert same(alone.model, helped.model)


@gpu_only
def test_rows_that_take_little_are_put_on_the_gpu_which_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    near = train(tmp_path / "near", net(), epochs=3)
    monkeypatch.setattr("modelyard.training.torch.gpu.room", lambda device: 0)
    far = train(tmp_path / "far", net(), epochs=3)
    assert same(near.model, far.model)
    assert near.metrics == far.metrics


@pytest.mark.parametrize("kind", ["table", "image"])
def test_declared_networks_train(tmp_path: Path, kind: str) -> None:
    if kind == "table":
        frame = pd.DataFrame(X, columns=list("abcd")).assign(where=np.where(Y > 0, "north", "south"))
        frame.loc[::7, "a"] = np.nan
        result = train(tmp_path, yard.networks.table(hidden=(16,), dropout=0.1), (frame, Y), epochs=10)
    else:
        images = RNG.normal(size=(400, 8, 8)).astype("float32") + Y[:, None, None]
        result = train(tmp_path, yard.networks.image(channels=(4, 8), hidden=(8,)), (images, Y), epochs=10)
    assert result.metrics["accuracy"] > 0.9


@gpu_only
def test_processes_are_one_for_each_gpu(tmp_path: Path) -> None:
    """One process alone, and as the only one of a group: the same training, by way of nccl."""
    there = torch.cuda.device_count()
    with pytest.raises(InvalidInput, match=f"processes={there + 1}, but device='auto' is {there} GPU"):
        train(tmp_path / "many", net(), device="auto", processes=there + 1)
    alone = train(tmp_path / "alone", net(), epochs=3, processes=1)
    work = job(tmp_path / "group", net(), epochs=3)
    device = torch.device("cuda", 0)
    with ranks.joined(work.folder, Share(0, 1), device) as together:
        grouped = trainer._train(work, device, together)
    for one, other in zip(alone.model.parameters(), grouped.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@gpu_only
def test_a_device_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="device 'cuda:99' is not there"):
        train(tmp_path, net(), device="cuda:99")


@gpu_only
def test_a_compiled_module_trains() -> None:
    run = begin(net(), epochs=20, compile=True).wait(240)
    assert run.metrics["accuracy"] > 0.9


def test_a_module_trained_on_the_device_is_published_for_the_cpu(tmp_path: Path) -> None:
    from modelyard.packaging import build
    from modelyard_api.models import Flavor
    from modelyard_server.dataplane import load

    run = begin(net(), epochs=5).wait(120)
    raw = net().to(DEVICE)  # one that was not trained here, and stays where it is
    for number, (model, flavor) in enumerate(
        [(run.model, "onnx"), (run.model, "torch"), (raw, "onnx"), (raw, "torch")]
    ):
        folder = tmp_path / str(number)
        manifest = build(model, X[:5], directory=folder, flavors=(Flavor(flavor),))
        assert manifest.flavor is Flavor(flavor)
        answers = load(folder).predict({"input": X})
        if model is run.model:
            assert answers["label"].tolist() == model.predict(X).tolist()
            np.testing.assert_allclose(answers["probabilities"], model.predict_proba(X), atol=1e-6)
        else:
            expected = model(torch.from_numpy(X).to(DEVICE)).detach().cpu().numpy()
            np.testing.assert_allclose(answers["output"], expected, atol=1e-3)
    assert {p.device.type for p in raw.parameters()} == {DEVICE}

"""The loop of a PyTorch training, in this process: what it tells, how it ends, and how it goes on."""

from __future__ import annotations

import copy
import json
import math
import random
import resource
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

import modelyard as yard
from modelyard.errors import InvalidInput
from modelyard.training.control import Control
from modelyard.training.job import CHECKPOINT, Diverged, Job, Result
from modelyard.training.journal import Journal
from modelyard.training.options import TorchOptions
from modelyard.training.progress import Progress, Reader
from modelyard.training.spec import TrainSpec
from modelyard.training.torch import trainer

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 4)).astype("float32")
Y = (X @ [1.0, -2.0, 0.5, 0.0] > 0).astype("int64")
EPOCHS = ("train_loss", "val_loss", "accuracy", "lr")
"""Curves with a point an epoch; batches are told by the clock."""


def net(dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 2))


class Noisy(Dataset[Any]):
    """Items that draw from all three generators, as augmentation does."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        noise = random.random() + np.random.random() + float(torch.rand(()))
        return torch.from_numpy(X[i]) + 0.01 * noise, int(Y[i])


class Interrupted(BaseException):
    """What ends a training from outside."""


class After:
    """cross_entropy that does something else at its `call`th call in training."""

    def __init__(self, call: int, act: Callable[[], Any]) -> None:
        self.left, self.act = call, act

    def __call__(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        loss = nn.functional.cross_entropy(output, target)
        if not output.requires_grad:
            return loss
        self.left -= 1
        found = self.act() if self.left == 0 else None
        return loss * found if isinstance(found, float) else loss


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def job(folder: Path, module: Any, options: TorchOptions, rows: Any = (X, Y), **fields: Any) -> Job:
    folder.mkdir(exist_ok=True)
    spec = replace(TrainSpec.of(module), **fields.pop("spec", {}))
    return Job(folder, spec, copy.deepcopy(module), rows, None, options, {}, Journal(folder), Control(), **fields)


def train(folder: Path, module: Any, rows: Any = (X, Y), resumed: bool = False, **options: Any) -> Result:
    spec = {"test_size": options.pop("test_size", 0.2)}
    chosen = TorchOptions(**{"batch_size": 32, "lr": 0.01} | options)
    work = job(folder, module, chosen, rows, resumed=resumed, spec=spec)
    try:
        return trainer.run(work)
    finally:
        work.journal.flush()


def told(folder: Path) -> Progress:
    return Reader(folder).read()


def same(a: Any, b: Any) -> bool:
    """Whether two states are equal, bit for bit."""
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def fail() -> None:
    raise Interrupted


@pytest.mark.parametrize(
    ("rows", "options"),
    [
        ((X, Y), {"scheduler": "onecycle", "checkpoint_every": "0s"}),
        ((X, Y), {"scheduler": "plateau", "optimizer": "sgd", "clip_norm": 0.5, "precision": "fp16"}),
        ((Noisy(), None), {"scheduler": "cosine", "workers": 0, "checkpoint_every": "0s"}),
        ((Noisy(), None), {"scheduler": "step", "workers": 2, "checkpoint_every": "0s"}),
    ],
    ids=["within-an-epoch", "after-an-epoch", "dataset", "workers"],
)
def test_interrupted_and_resumed_is_as_uninterrupted(tmp_path: Path, rows: Any, options: dict[str, Any]) -> None:
    options = {"epochs": 4, "checkpoint_every": 1} | options
    whole = train(tmp_path / "whole", net(0.3), rows, loss=After(-1, fail), **options)
    with pytest.raises(Interrupted):
        train(tmp_path / "cut", net(0.3), rows, loss=After(13, fail), **options)  # in the third of four epochs
    checkpoint = told(tmp_path / "cut").checkpoint
    assert checkpoint is not None
    assert (checkpoint == 2) == (options["checkpoint_every"] == 1)
    again = train(tmp_path / "cut", net(0.3), rows, resumed=True, loss=After(-1, fail), **options)
    assert same(whole.model, again.model)
    assert whole.metrics == again.metrics
    for name in EPOCHS:
        assert told(tmp_path / "cut").curves[name].points() == told(tmp_path / "whole").curves[name].points(), name


def test_it_tells_epochs_and_keeps_the_best(tmp_path: Path) -> None:
    result = train(tmp_path, net(), epochs=40, patience=2, lr=0.3, scheduler="step")
    progress = told(tmp_path)
    assert set(progress.curves) - {"batch_loss"} == set(EPOCHS)
    steps, losses = progress.curves["val_loss"].points()
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) < 40  # the patience ended it
    assert progress.best == {"step": losses.index(min(losses)) + 1, "name": "val_loss", "value": min(losses)}
    assert result.metrics["log_loss"] == pytest.approx(min(losses), rel=1e-5)  # the weights are the best ones
    assert progress.curves["lr"].values[0] == 0.3
    assert not any(part.training for part in result.model.modules())
    assert progress.reports == ["roc", "pr", "confusion", "calibration"]
    counts = json.loads((tmp_path / "report-confusion.json").read_text())["counts"]
    assert (counts[0][0] + counts[1][1]) / np.sum(counts) == pytest.approx(result.metrics["accuracy"])


def test_a_stop_takes_effect_after_the_batch_and_leaves_a_checkpoint(tmp_path: Path) -> None:
    work = job(tmp_path, net(), TorchOptions(epochs=50, batch_size=32))

    def stop() -> None:
        work.control.stopping = True

    loss = After(13, stop)
    result = trainer.run(replace(work, options=replace(work.options, loss=loss)))
    assert loss.left == 0  # no batch after that one
    progress = told(tmp_path)
    assert progress.best is not None
    assert result.metrics["log_loss"] == pytest.approx(progress.best["value"], rel=1e-5)
    assert (tmp_path / CHECKPOINT).exists()
    assert work.journal.rows == 2 * 160 + 3 * 32


@pytest.mark.parametrize("lag", [False, True], ids=["cpu", "as-on-a-gpu"])
def test_a_loss_that_is_not_finite_ends_it_with_the_last_good_weights(
    tmp_path: Path, lag: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if lag:
        plan = trainer.Plan
        monkeypatch.setattr(trainer, "Plan", lambda *args, **fields: plan(*args, **fields | {"lag": True}))
    good = train(tmp_path / "good", net(), epochs=2)
    with pytest.raises(Diverged, match="the loss was nan in epoch 3, step 2") as raised:
        train(tmp_path / "bad", net(), epochs=9, loss=After(12, lambda: math.nan))
    assert "lr=0.001" in raised.value.remedy
    assert "after epoch 2" in raised.value.remedy
    assert raised.value.result is not None
    assert same(raised.value.result.model, good.model)
    assert raised.value.result.metrics == good.metrics


@pytest.mark.parametrize("lag", [False, True], ids=["cpu", "as-on-a-gpu"])
def test_missing_values_are_named_as_the_reason(tmp_path: Path, lag: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if lag:
        plan = trainer.Plan
        monkeypatch.setattr(trainer, "Plan", lambda *args, **fields: plan(*args, **fields | {"lag": True}))
    holes = X.copy()
    holes[7, 2] = np.nan
    with pytest.raises(Diverged, match="holds missing or infinite values") as raised:
        train(tmp_path, net(), (holes, Y), epochs=1, batch_size=200)
    assert raised.value.result is None


def test_a_lagging_look_at_the_loss_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = train(tmp_path / "plain", net(0.2), epochs=2)
    plan = trainer.Plan
    monkeypatch.setattr(trainer, "Plan", lambda *args, **fields: plan(*args, **fields | {"lag": True}))
    lagging = train(tmp_path / "lag", net(0.2), epochs=2)
    assert same(plain.model, lagging.model)
    assert told(tmp_path / "plain").curves["train_loss"].values == told(tmp_path / "lag").curves["train_loss"].values


def test_a_full_disk_costs_a_checkpoint_and_not_the_training(tmp_path: Path) -> None:
    """The files of this process may not grow beyond a size, which the optimizer's state does after the first."""
    wide = nn.Sequential(nn.Linear(4, 4000), nn.ReLU(), nn.Linear(4000, 2))
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limit[1]))

    try:
        train(tmp_path, wide, epochs=4, checkpoint_every=1, loss=After(12, fill))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)
    progress = told(tmp_path)
    assert progress.checkpoint == 2
    assert len(progress.warnings) == 1
    assert "checkpoint could not be written" in progress.warnings[0]
    assert "the one before stays" in progress.warnings[0]
    assert not list(tmp_path.glob("*.part"))
    assert len(progress.curves["train_loss"].values) == 4
    train(tmp_path, wide, epochs=4, resumed=True)  # it can be read


def test_memory_of_a_gpu_that_ran_out_names_a_batch_size(tmp_path: Path) -> None:
    def full() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(InvalidInput, match="batches of 32 rows") as raised:
        train(tmp_path, net(), loss=After(3, full))
    assert raised.value.remedy == "Try batch_size=16."


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_learns_and_answers_in_float32(tmp_path: Path, precision: str) -> None:
    result = train(tmp_path, net(), epochs=15, precision=precision)
    assert result.metrics["accuracy"] > 0.85
    assert {p.dtype for p in result.model.parameters()} == {torch.float32}


def test_a_number_far_from_zero_keeps_its_digits_in_mixed_precision(tmp_path: Path) -> None:
    rows = X, 10_000 + X @ np.array([1.0, -2.0, 0.5, 0.0])
    result = train(tmp_path, yard.networks.table(hidden=(32,)), rows, epochs=40, precision="bf16")
    assert result.metrics["r2"] > 0.9
    assert told(tmp_path).curves["r2"].values[-1] > 0.9  # bf16 alone would be 64 apart


def test_own_optimizer_scheduler_and_loss(tmp_path: Path) -> None:
    options = {
        "optimizer": lambda params: torch.optim.SGD(params, lr=0.5, momentum=0.9),
        "scheduler": lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5),
        "loss": nn.CrossEntropyLoss(label_smoothing=0.1),
        "epochs": 3,
    }
    train(tmp_path, net(), **options)
    assert told(tmp_path).curves["lr"].values == [0.5, 0.25, 0.125]


def test_without_held_out_rows_the_last_weights_are_kept(tmp_path: Path) -> None:
    result = train(tmp_path, net(), epochs=2, test_size=0.0)
    assert result.metrics == {}
    assert set(told(tmp_path).curves) - {"batch_loss"} == {"train_loss", "lr"}
    with pytest.raises(InvalidInput, match="patience needs held-out rows"):
        train(tmp_path, net(), patience=1, test_size=0.0)


def test_a_long_epoch_tells_its_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelyard.training.torch.loop._LONG", -1.0)
    train(tmp_path, net(), epochs=2)
    steps, losses = told(tmp_path).curves["batch_loss"].points()
    assert steps == [pytest.approx(i / 5) for i in range(1, 11)]
    assert all(map(math.isfinite, losses))


def test_what_a_module_cannot_take_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"does not take its rows \(float32 \(8, 3\)\)"):
        train(tmp_path, net(), (X[:, :3], Y))
    with pytest.raises(InvalidInput, match="validation rows have the class 2"):
        trainer.run(replace(job(tmp_path, net(), TorchOptions()), held=(X[:3], [0, 1, 2])))
    with pytest.raises(InvalidInput, match="validation is a Dataset"):
        trainer.run(replace(job(tmp_path, net(), TorchOptions()), held=(Noisy(), None)))
    with pytest.raises(InvalidInput, match="metrics= needs X and y"):
        trainer.run(job(tmp_path, net(), TorchOptions(), (Noisy(), None), spec={"scorers": ("accuracy",)}))


def test_what_fails_after_the_training_costs_no_model(tmp_path: Path) -> None:
    work = job(tmp_path, net(), TorchOptions(epochs=1))
    work.functions = {"broken": lambda model, X, y: fail()}
    with pytest.raises(Interrupted):
        trainer.run(work)
    assert cloudpickle.loads((tmp_path / "model.pkl").read_bytes()).predict(X[:2]).shape == (2,)

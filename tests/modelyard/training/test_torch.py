"""PyTorch trainings with real child processes. Importing PyTorch takes seconds in each, so each is asked much."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

import modelyard as yard
from harness.wait import eventually
from modelyard.errors import Conflict, TrainingFailed
from modelyard.training import run as runs
from modelyard.training.launch import locked
from modelyard.training.options import TorchOptions
from modelyard.training.order import Order, start
from modelyard.training.progress import ProgressKind, RunState
from modelyard.training.spec import TrainSpec

RNG = np.random.default_rng(0)
X = RNG.normal(size=(240, 4)).astype("float32")
Y = np.where(X @ [1.0, -2.0, 0.5, 0.0] > 0, "yes", "no").astype(object)


class Noisy(Dataset[Any]):
    """Items that draw random numbers, as augmentation does."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(X[i]) + 0.01 * (random.random() + float(torch.rand(()))), int(Y[i] == "yes")


class Dies:
    """cross_entropy that kills its process at its `call`th call in training, once: not where it left a mark before."""

    def __init__(self, mark: Path, call: int) -> None:
        self.mark, self.left = mark, call

    def __call__(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        self.left -= output.requires_grad
        if self.left == 0 and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return nn.functional.cross_entropy(output, target)


class Spoils:
    """cross_entropy that is not a number from its `call`th call in training on."""

    def __init__(self, call: int) -> None:
        self.left = call

    def __call__(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        self.left -= output.requires_grad
        return nn.functional.cross_entropy(output, target) * (1.0 if self.left > 0 else float("nan"))


class Waits:
    """cross_entropy that makes a mark at its third call, and lasts from then on as a slow module does."""

    def __init__(self, mark: Path) -> None:
        self.mark, self.calls = mark, 0

    def __call__(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        import threading

        self.calls += 1
        if self.calls >= 3:
            self.mark.touch()
            threading.Event().wait(0.05)
        return nn.functional.cross_entropy(output, target)


@pytest.fixture(autouse=True)
def _runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELYARD_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for variable in ("MODELYARD_URL", "MODELYARD_TOKEN", "JUPYTERHUB_API_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # as a class of a notebook's __main__ goes


def net() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2))


def begin(rows: Any = (X, Y), **options: Any) -> Any:
    """A run that nobody waits for yet."""
    module = net()
    return start(Order(TrainSpec.of(module), module, rows, None, TorchOptions(**options)))


def takes(stack: contextlib.ExitStack, folder: Path) -> bool:
    """Whether the run's lock could be taken, as another process would."""
    with contextlib.suppress(Conflict):
        stack.enter_context(locked(folder))
        return True
    return False


def same(a: Any, b: Any) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_a_module_is_trained_told_and_given_back() -> None:
    frame = pd.DataFrame(X, columns=list("abcd"))
    run = yard.train(net(), frame, Y, epochs=20, lr=0.05, patience=4, name="Net", scheduler="cosine")
    assert run.state is RunState.succeeded
    assert run.metrics["accuracy"] > 0.85
    assert set(run.metrics) == {"accuracy", "roc_auc", "log_loss"}
    progress = run.progress
    assert (progress.kind, progress.of, progress.unit) == (ProgressKind.iterations, 20, "epoch")
    assert "Sequential: classification with cross_entropy, on" in progress.source
    assert {"train_loss", "val_loss", "accuracy", "lr"} <= set(progress.curves)
    assert set(run.model.predict(frame)) == {"yes", "no"}
    assert run.model.predict_proba(frame).sum(axis=1) == pytest.approx(np.ones(len(X)))
    assert run.model.classes_.tolist() == ["no", "yes"]
    assert type(run.model.module) is nn.Sequential
    assert not run.model.training
    assert torch.equal(run.model(torch.from_numpy(X)), run.model.module(torch.from_numpy(X)))
    assert run.example.equals(frame[:5])
    assert not list(run.folder.glob("data*"))  # the rows do not stay behind
    assert not list(run.folder.glob("checkpoint*"))
    with pytest.raises(Conflict, match="has succeeded"):
        run.resume()


def test_killed_and_resumed_is_as_uninterrupted(tmp_path: Path) -> None:
    options = {"epochs": 4, "batch_size": 48, "checkpoint_every": 1, "workers": 1, "scheduler": "cosine"}
    whole = begin((Noisy(), None), loss=Dies(tmp_path / "never", -1), **options)
    cut = begin((Noisy(), None), loss=Dies(tmp_path / "mark", 11), **options)
    with pytest.raises(TrainingFailed, match="SIGKILL"):
        cut.wait(120)
    assert cut.progress.resumable
    assert cut.progress.checkpoint == 2
    assert not cut.progress.has_model
    assert (cut.folder / "data.pkl").exists()  # kept while it can go on
    log = (cut.folder / "run.jsonl").read_bytes()
    with contextlib.ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        eventually(lambda: takes(stack, cut.folder))  # its worker lived on for some seconds
        patch.setattr(runs, "_LEFTOVERS", 0.0)
        with pytest.raises(Conflict, match="still lives"):  # another process goes on with it already
            cut.resume()
    assert yard.attach(cut.id).resume().wait(120).state is RunState.succeeded
    assert (cut.folder / "run.jsonl").read_bytes().startswith(log)
    whole.wait(120)
    assert same(whole.model, cut.model)
    assert whole.metrics == cut.metrics
    for name in ("train_loss", "val_loss", "accuracy", "lr"):
        assert cut.progress.curves[name].points() == whole.progress.curves[name].points(), name


def test_a_stop_keeps_the_state_and_can_be_taken_back(tmp_path: Path) -> None:
    run = begin(epochs=2, batch_size=12, loss=Waits(tmp_path / "mark"))
    eventually((tmp_path / "mark").exists, timeout=60)
    with pytest.raises(Conflict, match="is running"), locked(tmp_path):
        run._check_resumable()
    run.stop(wait=60)
    assert run.state is RunState.stopped
    assert run.progress.done < 2
    assert set(run.model.predict(X)) <= {"yes", "no"}
    stopped = run.progress.checkpoint
    assert stopped is not None
    assert 0 < stopped < 2
    run.resume().wait(120)
    assert run.state is RunState.succeeded
    assert run.progress.curves["train_loss"].steps == [1.0, 2.0]
    assert run.metrics


def test_two_processes_train_as_one_does() -> None:
    """On the CPU with gloo; on several GPUs it is the same code with nccl. Dropout draws other numbers: none here."""
    module = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    spec = TrainSpec.of(module)
    options = TorchOptions(epochs=3, batch_size=25, lr=0.01, clip_norm=1.0)  # the last batch has an odd row
    alone = start(Order(spec, module, (X, Y), None, replace(options, processes=1)))
    both = start(Order(spec, module, (X, Y), None, replace(options, processes=2)))
    for one, two in zip(alone.model.parameters(), both.model.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)
    assert "2 processes" in both.progress.source
    for name in ("train_loss", "val_loss", "accuracy", "lr"):
        values = alone.progress.curves[name].values
        assert both.progress.curves[name].values == pytest.approx(values, rel=1e-4), name
    assert not (both.folder / "ranks").exists()


def test_a_loss_that_is_not_finite_fails_and_keeps_the_last_good_weights() -> None:
    run = begin(loss=Spoils(12), epochs=50, batch_size=48)
    with pytest.raises(TrainingFailed, match="the loss was nan in epoch 3, step 4"):
        run.wait(120)
    assert "lr=0.0001" in run.progress.remedy
    assert run.progress.has_model
    assert all(bool(p.isfinite().all()) for p in run.model.parameters())
    assert run.metrics
    assert len(run.example) == 5

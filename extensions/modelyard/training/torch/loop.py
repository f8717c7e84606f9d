"""The epochs of a training: batches, validation, the best state, checkpoints, and every way to end."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from modelyard.training.control import Control
from modelyard.training.job import Diverged
from modelyard.training.journal import Journal
from modelyard.training.options import TorchOptions
from modelyard.training.torch import checkpoint, recipe
from modelyard.training.torch.batches import Batch, Loading, Part, read, shuffled
from modelyard.training.torch.ranks import Alone
from modelyard.training.torch.rows import Tensors
from modelyard.training.torch.task import Task

_LONG = 0.5
"""Seconds without a point after which a batch's loss is told, so that a long epoch shows something."""


@dataclass(frozen=True)
class Plan:
    """What is trained on what. `module` is on `device`. `lag`: the loss of a batch is looked at when the next one is
    under way, since looking waits for a GPU."""

    module: nn.Module
    task: Task
    train: Part
    held: Part | None
    options: TorchOptions
    seed: int
    device: torch.device
    workers: int = 0
    lag: bool = False


@dataclass
class State:
    """How far it is: whole epochs, and of the one under way its batches, rows and the sum of their losses. `best`: the
    epoch, its loss and its weights; `waited`: epochs since."""

    epoch: int = 0
    batch: int = 0
    rows: int = 0
    loss: float = 0.0
    best: dict[str, Any] | None = None
    waited: int = 0


@dataclass
class Fit:
    """One training. `run` returns when it has ended or was stopped; the module then has its best weights."""

    plan: Plan
    journal: Journal
    control: Control
    alone: Alone = field(default_factory=Alone)
    state: State = field(default_factory=State)

    def __post_init__(self) -> None:
        plan, options = self.plan, self.plan.options
        self.optimizer = recipe.optimizer_of(plan.module.parameters(), options)
        self.batches = -(-len(plan.train) // options.batch_size)
        self.scheduler = recipe.scheduler_of(self.optimizer, options, self.batches)
        self.precision = recipe.precision_of(options.precision, plan.device)
        self.scaler = torch.amp.GradScaler(plan.device.type, enabled=self.precision is torch.float16)
        self.forward = self.alone.wrap(recipe.compiled(plan.module) if options.compile else plan.module, plan.device)
        self.checkpoints = checkpoint.Checkpoints(self.journal, options.checkpoint_interval())
        self._pending: tuple[torch.Tensor, int, int, Tensors] | None = None
        self._told = time.monotonic()
        self._stopped = self._due = False

    def run(self) -> None:
        """Train. Raises Diverged when the loss is not finite, with the module at its last good weights."""
        self.journal.total(self.plan.options.epochs, "epoch")
        try:
            while self.state.epoch < self.plan.options.epochs and not self._stopped and not self._patient_no_more():
                self._epoch()
        except torch.AcceleratorError:  # nothing on the GPU can be read or written any more
            self.state.best = None
            raise
        finally:
            if self.state.best is not None and (self.plan.held is not None or not self._stopped):
                self.plan.module.load_state_dict(self.state.best["weights"])

    def _patient_no_more(self) -> bool:
        patience = self.plan.options.patience
        return bool(patience) and self.state.waited >= patience

    def _epoch(self) -> None:
        state, plan, size = self.state, self.plan, self.plan.options.batch_size
        order = shuffled(plan.train.index, plan.seed, state.epoch)
        rows = self.alone.share.rows(order, size)
        plan.module.train()
        for batch in self._read(plan.train, rows, state.batch):
            whole = min(size, len(order) - state.batch * size)
            self._step(batch, whole)
            state.batch += 1
            if self._stopped or self._due:
                self._checkpoint()
            if self._stopped:
                return
        self._end_epoch()

    def _read(self, part: Part, rows: list[Any], skip: int = 0) -> Iterator[Batch]:
        plan = self.plan
        how = Loading(plan.workers, plan.seed, self.state.epoch, skip, pin=plan.device.type == "cuda")
        return read(part.source, rows, how)

    def _step(self, batch: Batch, rows: int) -> None:
        """One batch of `rows` rows over all processes."""
        inputs, target = self._moved(batch)
        with self._autocast():
            output = self.forward(*inputs)
        loss = self.plan.task.loss_of(output, target)
        share = self.alone.share.weight(rows)
        loss = loss if share == 1 else loss * share
        if self.plan.lag:
            self._settle()
        self._pending = (loss.detach(), rows, self.state.batch + 1, batch[0])
        if not self.plan.lag:
            self._settle()
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        if self.plan.options.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.plan.module.parameters(), self.plan.options.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.scheduler is not None and self.scheduler.each_batch:
            self.scheduler.inner.step()

    def _moved(self, batch: Batch) -> Batch:
        device = self.plan.device
        if device.type == "cpu":
            return batch
        return tuple(t.to(device, non_blocking=True) for t in batch[0]), batch[1].to(device, non_blocking=True)

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.precision is None:
            return nullcontext()
        return torch.autocast(self.plan.device.type, dtype=self.precision)

    def _settle(self) -> None:
        """Count the loss that was computed last; all processes agree on it, and on what is to be done."""
        if self._pending is None:
            return
        (loss, rows, batch, inputs), self._pending = self._pending, None
        state = self.state
        asked = (self.control.stopping, self.checkpoints.due(state.epoch, whole=False))
        value, stop, due = self.alone.agree(float(loss), *asked)
        self._stopped, self._due = self._stopped or stop, self._due or due
        if not math.isfinite(value):
            raise _diverged(value, state.epoch + 1, batch, self.plan.options, inputs)
        state.loss += value * rows
        state.rows += rows
        self.journal.rows += rows
        now = time.monotonic()
        if now - self._told > _LONG:
            self._told = now
            self.journal.point(state.epoch + batch / self.batches, {"batch_loss": value})

    def _end_epoch(self) -> None:
        self._settle()
        state = self.state
        values = {"train_loss": state.loss / max(1, state.rows), "lr": float(self.optimizer.param_groups[0]["lr"])}
        if self.plan.held is not None:
            values |= self._validate(self.plan.held)
        score = values.get("val_loss", values["train_loss"])
        if not math.isfinite(score):
            raise _diverged(score, state.epoch + 1, None, self.plan.options, ())
        state.epoch, state.batch, state.rows, state.loss = state.epoch + 1, 0, 0, 0.0
        if self.scheduler is not None and not self.scheduler.each_batch:
            self.scheduler.inner.step(*([score] if self.scheduler.on_loss else []))
        self.journal.point(state.epoch, values)
        self._told = time.monotonic()
        self._remember(score)
        if self.checkpoints.due(state.epoch, whole=True):
            self._checkpoint()

    def _remember(self, score: float) -> None:
        """Keep the weights when they are the best; without held-out rows the last are."""
        state, held = self.state, self.plan.held is not None
        if held and state.best is not None and score >= state.best["value"]:
            state.waited += 1
            return
        state.waited = 0
        before = {} if state.best is None else state.best["weights"]
        weights = {name: _kept(value, before.get(name)) for name, value in self.plan.module.state_dict().items()}
        state.best = {"epoch": state.epoch, "value": score, "weights": weights}
        if held:
            self.journal.say("best", step=state.epoch, name="val_loss", value=score)

    def _validate(self, held: Part) -> dict[str, float]:
        """val_loss, and accuracy or r2, of the held-out rows; each process reads its share of them."""
        plan = self.plan
        plan.module.eval()
        share, size = self.alone.share, plan.options.batch_size
        index = held.index[share.number :: share.of]
        sums = [0.0] * 5
        with torch.no_grad():
            for batch in self._read(held, [index[i : i + size] for i in range(0, len(index), size)]):
                inputs, target = self._moved(batch)
                with self._autocast():
                    output = plan.module(*inputs)
                loss = float(plan.task.loss_of(output, target))
                found = [loss * len(target), float(len(target)), *_fit(plan.task, output, target)]
                sums = [a + b for a, b in zip(sums, found, strict=True)]
        loss, rows, right, total, squares = self.alone.sum(sums)
        values = {"val_loss": loss / rows}
        if plan.task.kind == "classification":
            values["accuracy"] = right / rows
        elif plan.task.kind == "regression" and squares > total * total / rows:
            values["r2"] = 1 - right / (squares - total * total / rows)
        return values

    def _checkpoint(self) -> None:
        self._settle()
        self._due = False
        state = self.state
        saved = {
            "state": vars(state),
            "module": self.plan.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": None if self.scheduler is None else self.scheduler.inner.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": checkpoint.randomness(),
            "workers": self.plan.workers,
        }
        self.checkpoints.save(saved, state.epoch + state.batch / self.batches, write_it=self.alone.share.number == 0)

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.state = State(**saved["state"])
        self.plan.module.load_state_dict(saved["module"])
        self.optimizer.load_state_dict(saved["optimizer"])
        if self.scheduler is not None:
            self.scheduler.inner.load_state_dict(saved["scheduler"])
        self.scaler.load_state_dict(saved["scaler"])
        checkpoint.restore(saved["random"])
        if self.alone.share.number:  # what was saved is process 0's
            torch.manual_seed(self.plan.seed + self.alone.share.number + 1_000_003 * self.state.epoch)


def _kept(value: torch.Tensor, before: torch.Tensor | None) -> torch.Tensor:
    """`value` on the CPU, in the memory of what was kept `before`: new memory costs more than the copy. From a GPU it
    goes through pinned memory, some ten times as fast."""
    if before is None or before.shape != value.shape or before.dtype != value.dtype:
        before = torch.empty_like(value, device="cpu", pin_memory=value.is_cuda, requires_grad=False)
    return before.copy_(value.detach())


def _fit(task: Task, output: Any, target: torch.Tensor) -> tuple[float, float, float]:
    """Right answers of a classifier; of a regressor the sum of squared errors, of targets, and of their squares."""
    if task.kind == "classification":
        found = (output.reshape(-1) > 0).long() if task.binary else output.argmax(dim=-1)
        return float((found == target.reshape(-1)).sum()), 0.0, 0.0
    if task.kind == "regression":
        truth, answer = target.double().reshape(-1), output.double().reshape(-1)
        return float((truth - answer).square().sum()), float(truth.sum()), float(truth.square().sum())
    return 0.0, 0.0, 0.0


def _diverged(
    value: float, epoch: int, batch: int | None, options: TorchOptions, inputs: tuple[torch.Tensor, ...]
) -> Diverged:
    """The error of a loss that is not finite: when, and what would help."""
    where = f"in epoch {epoch}, step {batch}" if batch is not None else f"on the held-out rows after epoch {epoch}"
    if any(t.is_floating_point() and not bool(t.isfinite().all()) for t in inputs):
        return Diverged(
            f"the loss was {value} {where}: the batch holds missing or infinite values",
            remedy="Fill them before, or train yard.networks.table(), which takes missing values.",
        )
    advice = ["Try a lower lr" if callable(options.optimizer) else f"Try lr={options.lr / 10:g}"]
    advice += ["clip_norm=1.0"] if options.clip_norm is None else []
    advice += ['precision="fp32"'] if options.precision != "fp32" else []
    return Diverged(f"the loss was {value} {where}", remedy=f"{', or '.join(advice)}.")

"""Batches: which rows are trained on, in which order, read by this process or by workers."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, TensorDataset, default_collate

from modelyard.errors import InvalidInput
from modelyard.training.torch import shm
from modelyard.training.torch.rows import Take, Tensors

Batch = tuple[Tensors, torch.Tensor]
Index = NDArray[np.int64]
_MOST_WORKERS = 4
_CHUNK = 4096
_WORTH = 2.0
"""Seconds of reading in an epoch from which workers pay for being started."""


class Source(Protocol):
    """Rows with their targets."""

    def __getitem__(self, index: Index) -> Batch: ...


@dataclass(frozen=True)
class ArraySource:
    """Rows of X and targets, gathered from where they lie."""

    inputs: Take
    target: Take

    def __getitem__(self, index: Index) -> Batch:
        return self.inputs(index), self.target(index)[0]


@dataclass(frozen=True)
class DeviceSource:
    """Rows and targets that lie on a GPU, gathered there: a batch costs neither the CPU nor the bus anything."""

    inputs: Tensors
    target: torch.Tensor

    def __getitem__(self, index: Index) -> Batch:
        rows = torch.from_numpy(index).to(self.target.device, non_blocking=True)
        return tuple(part.index_select(0, rows) for part in self.inputs), self.target.index_select(0, rows)

    @classmethod
    def of(cls, source: ArraySource, rows: int, device: torch.device, room: int) -> DeviceSource | None:
        """All `rows` of `source` on `device`; None when they take more than `room` bytes there."""
        head = source[np.arange(min(rows, 1))]
        if batch_bytes(head) * rows > room:
            return None
        whole = [torch.empty((rows, *part.shape[1:]), dtype=part.dtype, device=device) for part in (*head[0], head[1])]
        for start in range(0, rows, _CHUNK):
            inputs, target = source[np.arange(start, min(rows, start + _CHUNK))]
            for there, part in zip(whole, (*inputs, target), strict=True):
                there[start : start + _CHUNK].copy_(part)
        return cls(tuple(whole[:-1]), whole[-1])


@dataclass(frozen=True)
class DatasetSource:
    """Items of a PyTorch Dataset, each (input, target) or (input, …, target)."""

    dataset: Any

    def __getitem__(self, index: Index) -> Batch:
        if type(self.dataset) is TensorDataset:
            rows = torch.from_numpy(index)
            parts: Sequence[Any] = [tensor[rows] for tensor in self.dataset.tensors]
        else:
            numbers = index.tolist()
            many = getattr(self.dataset, "__getitems__", None)
            parts = default_collate(many(numbers) if many else [self.dataset[i] for i in numbers])
        if not isinstance(parts, (tuple, list)) or len(parts) < 2:
            raise InvalidInput("an item of the Dataset is no pair", remedy="Its items must be (input, target).")
        *inputs, target = parts
        if len(inputs) == 1 and isinstance(inputs[0], (tuple, list)):
            inputs = list(inputs[0])
        if not all(isinstance(part, torch.Tensor) for part in (*inputs, target)):
            raise InvalidInput("an item of the Dataset holds more than numbers", remedy="Give tensors or numbers.")
        return tuple(inputs), target


@dataclass(frozen=True)
class Part:
    """Some rows of a source: those that are trained on, or those held out."""

    source: Source
    index: Index

    def __len__(self) -> int:
        return len(self.index)

    def head(self, rows: int) -> Batch:
        """The first rows."""
        return self.source[self.index[:rows]]


def shuffled(index: Index, seed: int, epoch: int) -> Index:
    """The order of an epoch: the same for the same seed, in any process, also after an interruption."""
    mixed: Index = index[torch.randperm(len(index), generator=_generator(seed, epoch)).numpy()]
    return mixed


def _generator(seed: int, epoch: int) -> torch.Generator:
    made = torch.Generator()
    return made.manual_seed((seed * 1_000_003 + epoch) % 2**63)


@dataclass(frozen=True)
class Share:
    """This process's share of each batch: every `of`th row from `number` on."""

    number: int = 0
    of: int = 1

    def rows(self, index: Index, batch_size: int) -> list[Index]:
        """The rows of each batch. One that is left without any gets the first, which `weight` makes count nothing."""
        whole = [index[i : i + batch_size] for i in range(0, len(index), batch_size)]
        return [rows[self.number :: self.of] if len(rows) > self.number else rows[:1] for rows in whole]

    def weight(self, rows: int) -> float:
        """What this share of a batch of `rows` counts in the mean over all processes."""
        mine = max(0, (rows - self.number + self.of - 1) // self.of)
        return mine * self.of / rows


@dataclass(frozen=True)
class Loading:
    """How batches are read. `skip`: batches of the epoch that are done; they are read over by workers, whose state
    depends on what they read. `pin`: into memory that a GPU copies from by itself."""

    workers: int
    seed: int
    epoch: int
    skip: int = 0
    pin: bool = False


def read(source: Source, rows: list[Index], how: Loading) -> Iterator[Batch]:
    """The batches in order."""
    if not how.workers:
        for index in rows[how.skip :]:
            inputs, target = source[index]
            yield (tuple(map(_pinned, inputs)), _pinned(target)) if how.pin else (inputs, target)
        return
    loader: DataLoader[Any] = DataLoader(
        source,  # type: ignore[arg-type]
        batch_size=None,
        sampler=rows,
        num_workers=how.workers,
        generator=_generator(how.seed, how.epoch),
        worker_init_fn=_worker,
        pin_memory=how.pin,
    )
    try:
        for number, batch in enumerate(loader):
            if number >= how.skip:
                yield tuple(batch[0]), batch[1]
    except RuntimeError as error:
        if shm.exhausted(error):
            raise shm.ran_out(error, how.workers, batch_bytes(source[rows[0]]), shm.space()) from error
        raise


def _pinned(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.pin_memory() if tensor.device.type == "cpu" else tensor


def _worker(number: int) -> None:
    """The training's own way with a stop is not the workers'."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def batch_bytes(batch: Batch) -> int:
    """Bytes of a batch's tensors."""
    return sum(tensor.nbytes for tensor in (*batch[0], batch[1]))


def workers_for(asked: int | str, part: Part, batch_size: int) -> tuple[int, str]:
    """How many workers read `part`, and a warning where that are fewer than asked for. Arrays need none; for a
    Dataset "auto" gives one to each core but this one's, when reading an epoch takes long enough."""
    if asked == 0 or (asked == "auto" and isinstance(part.source, (ArraySource, DeviceSource))):
        return 0, ""
    start = time.perf_counter()
    size = batch_bytes(part.head(batch_size))
    seconds = (time.perf_counter() - start) * len(part) / batch_size
    if asked == "auto":
        asked = min(_MOST_WORKERS, max(0, cores() - 1)) if seconds > _WORTH else 0
    return shm.fitting(int(asked), size, shm.space())


def cores() -> int:
    """How many cores this process may use: of those that it may run on, what its server was given."""
    here = len(os.sched_getaffinity(0))
    try:
        given = math.floor(float(os.environ.get("CPU_LIMIT", here)))
    except ValueError:
        return here
    return max(1, min(here, given))

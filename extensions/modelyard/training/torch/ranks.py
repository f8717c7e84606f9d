"""One process for each GPU: each trains on its share of every batch, and gradients are averaged over all (PyTorch's
DistributedDataParallel; its DataParallel is one process, held back by the interpreter's lock, and out of favour with
its makers). The process that the run was started as is number 0: it alone tells the log and keeps the model. The others
are started here, map the same files of data, and end with it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn

from modelyard.errors import InvalidInput, ModelyardError
from modelyard.training.launch import RESUMED
from modelyard.training.options import TorchOptions
from modelyard.training.torch.batches import Share

_MODULE = "modelyard.training.torch"
_MEETING = "ranks"
_GRACE = 10.0


class Alone:
    """The only process."""

    share = Share()

    def wrap(self, module: Any, device: torch.device) -> Any:
        """The module that is called in training."""
        return module

    def agree(self, loss: float, stop: bool, due: bool) -> tuple[float, bool, bool]:
        """The loss over all processes, and whether any is asked to stop, or has a checkpoint due."""
        return loss, stop, due

    def sum(self, values: list[float]) -> list[float]:
        """The sums over all processes."""
        return values


class Together(Alone):
    """One of several processes. What they tell each other beside gradients goes over the CPU."""

    def __init__(self, share: Share) -> None:
        self.share = share
        group = distributed.new_group(backend="gloo")
        assert isinstance(group, distributed.ProcessGroup)  # this process is in it
        self._group = group

    def wrap(self, module: Any, device: torch.device) -> Any:
        devices = None if device.type == "cpu" else [device]
        # Modules may have parameters that a batch does not reach; without this they work on one GPU only.
        return nn.parallel.DistributedDataParallel(module, device_ids=devices, find_unused_parameters=True)

    def agree(self, loss: float, stop: bool, due: bool) -> tuple[float, bool, bool]:
        total, stops, dues = self.sum([loss, float(stop), float(due)])
        return total / self.share.of, stops > 0, dues > 0

    def sum(self, values: list[float]) -> list[float]:
        tensor = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(tensor, group=self._group)
        return [float(v) for v in tensor]


def processes(options: TorchOptions) -> int:
    """How many processes train: as asked for, else one for each visible GPU. InvalidInput for more than there are."""
    every = options.device in ("auto", "cuda") and torch.cuda.is_available()
    there = max(1, torch.cuda.device_count()) if every else 1
    if not isinstance(options.processes, int):
        return there
    if options.processes > there and options.device != "cpu" and torch.cuda.is_available():
        raise InvalidInput(
            f"processes={options.processes}, but device={options.device!r} is {there} GPU{'s' * (there > 1)}",
            remedy='Leave processes "auto", which is one for each GPU, or take a server with more of them.',
        )
    return options.processes


@contextmanager
def joined(folder: Path, share: Share, device: torch.device) -> Iterator[Alone]:
    """Meet the other processes; they must all come."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # they are on this machine
    torch.set_num_threads(max(1, torch.get_num_threads() // share.of))
    distributed.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        init_method=f"file://{(folder / _MEETING).absolute()}",
        rank=share.number,
        world_size=share.of,
        device_id=device if device.type == "cuda" else None,
    )
    try:
        yield Together(share)
    finally:
        distributed.destroy_process_group()


@contextmanager
def led(folder: Path, count: int, *, resumed: bool) -> Iterator[None]:
    """The other processes, for as long as the block runs. When one of them ends before, that is the error."""
    (folder / _MEETING).unlink(missing_ok=True)
    arguments = [RESUMED] if resumed else []
    others = [
        subprocess.Popen([sys.executable, "-m", _MODULE, str(folder), str(number), str(count), *arguments])
        for number in range(1, count)
    ]
    try:
        yield
    except RuntimeError as error:
        ended = [(n, p.wait(_GRACE)) for n, p in enumerate(others, start=1) if p.poll() is not None]
        if ended:
            raise ModelyardError(f"process {ended[0][0]} of {count} ended with status {ended[0][1]}") from error
        raise
    finally:
        for process in others:
            process.send_signal(signal.SIGKILL)
            process.wait()
        (folder / _MEETING).unlink(missing_ok=True)

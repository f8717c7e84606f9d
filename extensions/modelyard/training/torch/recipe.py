"""What a training is run with: device, precision, optimizer, scheduler."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch

from modelyard.errors import InvalidInput
from modelyard.training.options import TorchOptions

_OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
}


@dataclass(frozen=True)
class Scheduler:
    """A scheduler of PyTorch's. It steps after each batch, or after each epoch, `on_loss` with its loss."""

    inner: Any
    each_batch: bool = False
    on_loss: bool = False


def device_of(asked: str) -> torch.device:
    """The device; "auto" is the first GPU, else the CPU. InvalidInput when it is not there."""
    if asked == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=asked)
        return torch.device(asked)
    except (RuntimeError, AssertionError) as error:  # builds without CUDA assert
        reason = str(error).strip().splitlines()[0]
        raise InvalidInput(f"device {asked!r} is not there: {reason}", remedy='Leave it "auto", or "cpu".') from error


def compiled(module: torch.nn.Module) -> Any:
    """What torch.compile makes of `module`; InvalidInput without the C compiler that it calls."""
    if not any(shutil.which(name) for name in (os.environ.get("CXX") or "g++", os.environ.get("CC") or "gcc", "clang")):
        raise InvalidInput("compile=True needs a C compiler, and there is none", remedy="Leave it out.")
    return torch.compile(module)


def precision_of(asked: str, device: torch.device) -> torch.dtype | None:
    """The type of mixed precision; None: all in float32."""
    if asked == "auto":
        if device.type != "cuda":
            return None
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[asked]


def optimizer_of(parameters: Iterable[torch.nn.Parameter], options: TorchOptions) -> torch.optim.Optimizer:
    """The optimizer of the parameters that are trained; InvalidInput when there are none."""
    trained = [p for p in parameters if p.requires_grad]
    if not trained:
        raise InvalidInput("the module has no parameter to train", remedy="Leave requires_grad on somewhere.")
    if callable(options.optimizer):
        made = options.optimizer(trained)
        if not isinstance(made, torch.optim.Optimizer):
            raise InvalidInput(f"optimizer= made a {type(made).__name__}", remedy="Return a torch.optim.Optimizer.")
        return made
    decay = {} if options.weight_decay is None else {"weight_decay": options.weight_decay}
    return _OPTIMIZERS[options.optimizer](trained, lr=options.lr, **decay)


def scheduler_of(optimizer: torch.optim.Optimizer, options: TorchOptions, batches: int) -> Scheduler | None:
    """The scheduler, for epochs of so many batches."""
    schedulers, steps = torch.optim.lr_scheduler, batches * options.epochs
    rates = [group["lr"] for group in optimizer.param_groups]
    made: dict[str, Callable[[], Scheduler]] = {
        "cosine": lambda: Scheduler(schedulers.CosineAnnealingLR(optimizer, steps), each_batch=True),
        "onecycle": lambda: Scheduler(schedulers.OneCycleLR(optimizer, rates, steps), each_batch=True),
        "plateau": lambda: Scheduler(schedulers.ReduceLROnPlateau(optimizer, patience=3), on_loss=True),
        "step": lambda: Scheduler(schedulers.StepLR(optimizer, max(1, -(-options.epochs // 3)))),
    }
    chosen = options.scheduler
    if chosen is None:
        return None
    if callable(chosen):
        own = chosen(optimizer)
        return Scheduler(own, on_loss=isinstance(own, schedulers.ReduceLROnPlateau))
    return made[chosen]()


@functools.cache
def device_name(device: torch.device) -> str:
    """For people: "cpu", or the GPU's name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type

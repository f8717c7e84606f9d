"""Checkpoints: all that a run needs to end as it would have without an interruption, written whole or not at all."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from modelyard.errors import InvalidInput
from modelyard.training.job import CHECKPOINT
from modelyard.training.journal import Journal, write


def randomness() -> dict[str, Any]:
    """The state of every generator of random numbers that a training may draw from."""
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if _on_gpu() else [],
    }


def restore(state: dict[str, Any]) -> None:
    """Draw on from `randomness()`, on the GPUs that there are now."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if _on_gpu():
        for number, drawn in enumerate(state["cuda"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(drawn, number)


def _on_gpu() -> bool:
    """Whether this process works on a GPU: one that trains on the CPU beside a GPU is not to take of its memory."""
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def load(folder: Path) -> dict[str, Any]:
    """The last checkpoint, on the CPU. It is the user's own, in the user's own folder: optimizers may keep anything."""
    try:
        found: dict[str, Any] = torch.load(folder / CHECKPOINT, map_location="cpu", weights_only=False)
    except (FileNotFoundError, RuntimeError, EOFError) as error:
        raise InvalidInput(f"the checkpoint cannot be read: {error}", remedy="Train again: yard.train(…).") from error
    return found


class Checkpoints:
    """Writes them when they are due: after so many epochs, or so many seconds. One that cannot be written is a warning:
    the one before stays, and the training goes on."""

    def __init__(self, journal: Journal, interval: tuple[int, float | None]) -> None:
        self._journal = journal
        self._epochs, self._seconds = interval
        self._written = time.monotonic()
        self._failed = False

    def due(self, epoch: int, whole: bool) -> bool:
        """Whether one is to be written now, within `epoch` or (`whole`) at its end."""
        if self._epochs:
            return whole and epoch % self._epochs == 0
        return self._seconds is not None and time.monotonic() - self._written >= self._seconds

    def save(self, state: dict[str, Any], step: float, *, write_it: bool = True) -> None:
        """Write `state`, told as of `step` (epochs); of several processes one does."""
        self._written = time.monotonic()
        if not write_it or not (self._epochs or self._seconds is not None):
            return

        def into(file: BinaryIO) -> None:
            torch.save(state, file)

        try:
            write(self._journal.folder / CHECKPOINT, into)
        except (OSError, RuntimeError) as error:  # PyTorch's writer hides what the disk said
            if not self._failed:
                self._failed = True
                reason = str(error).strip().splitlines()[0]
                kept = "the one before stays" if (self._journal.folder / CHECKPOINT).exists() else "there is none yet"
                self._journal.say(
                    "warning", text=f"a checkpoint could not be written ({reason}); {kept}. Free disk space."
                )
            return
        self._failed = False
        self._journal.say("checkpoint", step=step)

"""The GPU's memory, and what is said when it runs out or the GPU fails."""

from __future__ import annotations

import torch

from modelyard.errors import InvalidInput, ModelyardError
from modelyard.training import faults

_NOTABLE = 2 << 30
"""Bytes of others; below, it may be what a process takes for using a GPU at all."""
_LARGER = "Take a smaller module or a larger GPU."
_OTHERS = " A notebook's kernel that used the GPU keeps its memory until it is restarted."


def room(device: torch.device) -> int:
    """Bytes that rows may take on `device`: a tenth of what is free on a GPU, none of a CPU's."""
    return torch.cuda.mem_get_info(device)[0] // 10 if device.type == "cuda" else 0


def place(module: torch.nn.Module, device: torch.device) -> None:
    """Bring `module` to `device`; InvalidInput when it does not fit there."""
    size = sum(t.nbytes for t in (*module.parameters(), *module.buffers()))
    try:
        module.to(device)
    except torch.OutOfMemoryError as error:
        taken, others = _taken(device)
        raise InvalidInput(
            f"the module ({_size(size)}) does not fit into the GPU's memory{taken}", remedy=_LARGER + others
        ) from error


def out_of_memory(batch_size: int, device: torch.device) -> InvalidInput:
    """The GPU's memory did not do for the training."""
    taken, others = _taken(device)
    rows = "a single row" if batch_size == 1 else f"batches of {batch_size} rows"
    remedy = _LARGER if batch_size == 1 else f"Try batch_size={batch_size // 2}."
    return InvalidInput(f"the GPU's memory ran out with {rows}{taken}", remedy=remedy + others)


def _taken(device: torch.device) -> tuple[str, str]:
    """How large the memory is and what others have of it, and what to do about them."""
    if device.type != "cuda":
        return "", ""
    free, total = torch.cuda.mem_get_info(device)
    others = total - free - torch.cuda.memory_reserved(device)
    if others < _NOTABLE:
        return f" of {_size(total)}", ""
    return f" of {_size(total)}, of which other processes have {_size(others)}", _OTHERS


def failed(error: Exception) -> ModelyardError:
    """The GPU gave up: nothing on it can be read any more. The first line says why; the place comes from the CPU."""
    reason = str(error).strip().splitlines()[0]
    if "device-side assert" not in reason:
        return ModelyardError(f"the GPU failed: {reason}", remedy="run.resume() goes on from a checkpoint.")
    return InvalidInput(faults.OUT_OF_RANGE["error"], remedy=faults.OUT_OF_RANGE["remedy"])


def _size(count: int) -> str:
    return f"{count / 2**30:,.1f} GiB" if count >= 2**30 else f"{count / 2**20:,.0f} MiB"

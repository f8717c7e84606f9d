"""Data on their way to the training process, without a second copy: large arrays are written to files as they are and
mapped into that process's memory, where the operating system reads what is touched and may drop it again. An array that
is a map of a file already is handed over by the file's name."""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import pickle
import sys
from pathlib import Path
from typing import Any

from modelyard.errors import InvalidInput, StorageFull

_SMALL = 64 * 1024
"""Bytes from which a buffer gets a file of its own; below, a file costs more than the copy."""
_PIECE = 1 << 22
"""Bytes of an array that is not contiguous that are written at a time."""


def give(folder: Path, name: str, value: Any, what: str, *, rows: bool = False) -> None:
    """Write `value` to `<folder>/<name>.pkl` and its large buffers beside it. `what` names it in errors: InvalidInput
    when it cannot be sent to another process, StorageFull. `rows`: tensors on a GPU arrive on the CPU."""
    try:
        with (folder / f"{name}.pkl").open("wb") as file:
            _pickler(folder, name, file, rows).dump(value)
    except OSError as error:
        raise StorageFull(f"{what} could not be written to {folder}: {error}") from error
    except Exception as error:
        raise InvalidInput(
            f"{what} cannot be sent to the training process: {type(error).__name__}: {error}",
            remedy="Leave out what holds open files, connections or locks.",
        ) from error


def _pickler(folder: Path, name: str, file: Any, rows: bool) -> Any:
    import cloudpickle
    import numpy as np

    torch: Any = sys.modules.get("torch")
    count = 0

    def place() -> Path:
        nonlocal count
        count += 1
        return folder / f"{name}-{count - 1}.bin"

    def outside(buffer: pickle.PickleBuffer) -> bool:
        view = buffer.raw()
        if view.nbytes < _SMALL:
            return True
        with place().open("wb") as content:
            content.write(view)
        return False

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, value: Any) -> Any:
            if isinstance(value, np.ndarray) and value.nbytes >= _SMALL and not value.dtype.hasobject:
                if (mapped := _mapped(value)) is not None:
                    return np.memmap, mapped
                if not (value.flags.c_contiguous or value.flags.f_contiguous):
                    return _read, (_write(place(), value), value.dtype, value.shape)
            if torch is not None and type(value) is torch.Tensor and not value.requires_grad:
                here = value.cpu() if rows else value
                with contextlib.suppress(TypeError, RuntimeError):  # on a GPU, sparse, bfloat16: as PyTorch pickles it
                    return _tensor, (here.numpy(),)
            return super().reducer_override(value)

    return Pickler(file, protocol=5, buffer_callback=outside)


def _mapped(array: Any) -> tuple[Any, ...] | None:
    """The arguments of np.memmap that give `array` again, copied where it is written to; None for what is no map of a
    file, or not one piece of it."""
    import numpy as np

    whole: Any = array
    while whole is not None and getattr(whole, "_mmap", None) is None:
        whole = getattr(whole, "base", None)
    if whole is None or whole.filename is None or whole.mode == "c":
        return None
    if not (array.flags.c_contiguous or array.flags.f_contiguous):
        return None
    whole.flush()
    start = np.frombuffer(whole._mmap, np.uint8).__array_interface__["data"][0]
    begin = whole.offset - whole.offset % mmap.ALLOCATIONGRANULARITY  # a part of a map says the offset of the whole
    offset = begin + array.__array_interface__["data"][0] - start
    order = "C" if array.flags.c_contiguous else "F"
    return str(whole.filename), array.dtype, "c", offset, array.shape, order


def _write(path: Path, array: Any) -> str:
    """Write an array whose values lie apart, some at a time and without a copy of it; the name of the file."""
    step = max(1, _PIECE * len(array) // array.nbytes)
    with path.open("wb") as file:
        for start in range(0, len(array), step):
            file.write(array[start : start + step].tobytes())
    path.rename(written := path.with_suffix(".raw"))
    return str(written)


def _tensor(array: Any) -> Any:
    import torch

    return torch.from_numpy(array)


def _read(path: str, dtype: Any, shape: tuple[int, ...]) -> Any:
    import numpy as np

    return np.frombuffer(_map(Path(path)), dtype).reshape(shape)


def take(folder: Path, name: str) -> Any:
    """What was given. Its large arrays are maps of the files: what the process writes to them is its own."""
    buffers = [_map(path) for path in sorted(folder.glob(f"{name}-*.bin"), key=_number)]
    with (folder / f"{name}.pkl").open("rb") as file:
        return pickle.load(file, buffers=buffers)


def digest(folder: Path, name: str) -> str:
    """SHA-256 (hex) of what was given, as it lies on disk."""
    total = hashlib.sha256()
    for path in sorted(folder.glob(f"{name}*.*")):
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def drop(folder: Path, name: str) -> None:
    """Remove the files. What is mapped stays readable while it is used."""
    for path in (*folder.glob(f"{name}-*.bin"), *folder.glob(f"{name}-*.raw"), folder / f"{name}.pkl"):
        path.unlink(missing_ok=True)


def _map(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)


def _number(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])

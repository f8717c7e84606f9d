"""Data on their way to the training process, without a second copy: large buffers are written to files as they are
and mapped into the process's memory, where the operating system reads what is touched and may drop it again."""

from __future__ import annotations

import mmap
import pickle
from pathlib import Path
from typing import Any

from modelyard.errors import InvalidInput, StorageFull

_SMALL = 64 * 1024
"""Bytes from which a buffer gets a file of its own; below, a file costs more than the copy."""


def give(folder: Path, name: str, value: Any, what: str) -> None:
    """Write `value` to `<folder>/<name>.pkl` and its large buffers beside it. `what` names it in errors: InvalidInput
    when it cannot be sent to another process, StorageFull."""
    import cloudpickle

    count = 0

    def outside(buffer: pickle.PickleBuffer) -> bool:
        nonlocal count
        try:
            view = buffer.raw()
        except BufferError:  # not contiguous: pickled with the rest
            return True
        if view.nbytes < _SMALL:
            return True
        with (folder / f"{name}-{count}.bin").open("wb") as file:
            file.write(view)
        count += 1
        return False

    try:
        with (folder / f"{name}.pkl").open("wb") as file:
            cloudpickle.Pickler(file, protocol=5, buffer_callback=outside).dump(value)
    except OSError as error:
        raise StorageFull(f"{what} could not be written to {folder}: {error}") from error
    except Exception as error:
        raise InvalidInput(
            f"{what} cannot be sent to the training process: {type(error).__name__}: {error}",
            remedy="Leave out what holds open files, connections or locks.",
        ) from error


def take(folder: Path, name: str) -> Any:
    """What was given. Its large arrays are maps of the files: what the process writes to them is its own."""
    buffers = [_map(path) for path in sorted(folder.glob(f"{name}-*.bin"), key=_number)]
    with (folder / f"{name}.pkl").open("rb") as file:
        return pickle.load(file, buffers=buffers)


def drop(folder: Path, name: str) -> None:
    """Remove the files. What is mapped stays readable while it is used."""
    for path in (*folder.glob(f"{name}-*.bin"), folder / f"{name}.pkl"):
        path.unlink(missing_ok=True)


def _map(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)


def _number(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])

"""Shared memory: what workers hand batches over in, and how many of them fit. Pure but for `free`."""

from __future__ import annotations

import os

from modelyard.errors import StorageFull

PREFETCH = 2
"""Batches that each worker reads ahead: the DataLoader's default."""
_FOLDER = "/dev/shm"
_MiB = 1024 * 1024
_SIGNS = ("bus error", "no space left on device", "shared memory", "unable to write to file", "unable to mmap")


def free() -> int | None:
    """Bytes free in shared memory; None where there is no such file system."""
    try:
        found = os.statvfs(_FOLDER)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


def need(workers: int, batch: int) -> int:
    """Bytes that `workers` need for batches of `batch` bytes: those read ahead, and the one being used of each."""
    return workers * (PREFETCH + 1) * batch


def fitting(workers: int, batch: int, available: int | None) -> tuple[int, str]:
    """How many of `workers` fit into `available` bytes, and a warning that names the size that all would need."""
    if available is None or need(workers, batch) <= available:
        return workers, ""
    fits = available // need(1, batch)
    return fits, (
        f"/dev/shm has {_size(available)} free; {workers} workers with batches of {_size(batch)} need "
        f"{_size(need(workers, batch))}, so {fits or 'no'} worker{'s' * (fits != 1)} read{'s' * (fits == 1)} the data. "
        f"A server with {_size(need(workers, batch))} of shared memory would do, or a smaller batch_size."
    )


def exhausted(error: BaseException | None) -> bool:
    """Whether a worker's end means that shared memory ran out."""
    while error is not None:
        if any(sign in str(error).lower() for sign in _SIGNS):
            return True
        error = error.__cause__ or error.__context__
    return False


def ran_out(error: Exception, workers: int, batch: int) -> StorageFull:
    """Shared memory ran out: the size that would do."""
    return StorageFull(
        f"a data worker ran out of shared memory (/dev/shm): {str(error).splitlines()[0]}",
        remedy=f"{workers} workers with batches of {_size(batch)} need {_size(need(workers, batch))} of it. "
        "Take a server with that much, fewer workers=, or a smaller batch_size.",
    )


def _size(count: int) -> str:
    return f"{count / _MiB:,.0f} MiB" if count >= _MiB else f"{count / 1024:,.0f} KiB"

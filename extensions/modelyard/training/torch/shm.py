"""Shared memory: what workers hand batches over in, how many of them fit, and the size that would do. Pure but for
`space`."""

from __future__ import annotations

import os
from dataclasses import dataclass

from modelyard.errors import StorageFull

PREFETCH = 2
"""Batches that each worker reads ahead: the DataLoader's default."""
_FOLDER = "/dev/shm"
_SLIDER = "MODELYARD_SHM"
_MiB = 1024 * 1024
_SIGNS = ("bus error", "no space left on device", "shared memory", "unable to write to file", "unable to mmap")


@dataclass(frozen=True)
class Space:
    """Bytes of shared memory; `slider`: whether it is this server's own, as big as its user chose."""

    free: int
    total: int
    slider: bool = False


def space() -> Space | None:
    """As it is now; None where there is no such file system."""
    try:
        found = os.statvfs(_FOLDER)
    except OSError:
        return None
    return Space(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize, _SLIDER in os.environ)


def need(workers: int, batch: int) -> int:
    """Bytes that `workers` need for batches of `batch` bytes: those read ahead, and the one being used of each."""
    return workers * (PREFETCH + 1) * batch


def enough(needed: int, others: int) -> int:
    """The size of all of it that would do for `needed` bytes beside those of `others`, as sliders have them."""
    total = needed + others
    step = 64 * _MiB if total <= 1024 * _MiB else 256 * _MiB
    return max(1, -(-total // step)) * step


def fitting(workers: int, batch: int, available: Space | None) -> tuple[int, str]:
    """How many of `workers` fit into what is free, and a warning that names the size that all would need."""
    if available is None or need(workers, batch) <= available.free:
        return workers, ""
    fits = available.free // need(1, batch)
    size = enough(need(workers, batch), available.total - available.free)
    return fits, (
        f"/dev/shm has {_size(available.free)} free; {workers} workers with batches of {_size(batch)} need "
        f"{_size(need(workers, batch))}, so {fits or 'no'} worker{'s' * (fits != 1)} read{'s' * (fits == 1)} the data. "
        f"{_more(size, available)}, or take a smaller batch_size."
    )


def _more(size: int, there: Space | None) -> str:
    """How to come by `size`."""
    if there is not None and there.slider:
        return (
            f"Start your server with the slider 'Shared memory' at {_size(size)} or more, which is part of its memory"
        )
    return f"A /dev/shm of {_size(size)} would do, which is this machine's"


def exhausted(error: BaseException | None) -> bool:
    """Whether a worker's end means that shared memory ran out."""
    while error is not None:
        if any(sign in str(error).lower() for sign in _SIGNS):
            return True
        error = error.__cause__ or error.__context__
    return False


def ran_out(error: Exception, workers: int, batch: int, there: Space | None) -> StorageFull:
    """Shared memory ran out: the size that would do. What fitted by itself ran out because of others."""
    needed, total = need(workers, batch), there.total if there else 0
    size = enough(needed, total if needed <= total else 0)
    return StorageFull(
        f"a data worker ran out of shared memory (/dev/shm): {str(error).splitlines()[0]}",
        remedy=f"{workers} worker{'s' * (workers != 1)} with batches of {_size(batch)} need {_size(needed)} of it. "
        f"{_more(size, there)}; or take fewer workers=, or a smaller batch_size.",
    )


def _size(count: int) -> str:
    if count >= 1024 * _MiB:
        return f"{count / 1024 / _MiB:.4g} GiB"
    return f"{count / _MiB:,.0f} MiB" if count >= _MiB else f"{count / 1024:,.0f} KiB"

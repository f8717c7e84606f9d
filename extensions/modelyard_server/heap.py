"""What the C library does with memory that is freed."""

from __future__ import annotations

import ctypes
import sys

_TRIM, _MMAP = -1, -3
"""`M_TRIM_THRESHOLD` and `M_MMAP_THRESHOLD` of glibc's malloc.h."""
_LARGE, _KEPT = 16 * 1024 * 1024, 32 * 1024 * 1024


def keep() -> None:
    """Keep some of what was freed for the next request, up to 32 MiB.

    Else each one of a megabyte takes its memory from the system page by page and gives it back, which costs more than
    all that is done with it. Where the C library is not glibc, nothing changes.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(_MMAP, _LARGE)
        mallopt(_TRIM, _KEPT)

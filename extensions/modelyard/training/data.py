"""Data from the notebook to the child: written once, mapped into memory there; and what is recorded of it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from modelyard.training.runlog import DATA


def write(folder: Path, X: Any, y: Any) -> None:
    """Write both uncompressed, so that `read` can map the arrays in them."""
    import joblib

    joblib.dump({"X": X, "y": y}, folder / DATA, compress=0)


def read(folder: Path, *, mapped: bool = True) -> tuple[Any, Any]:
    """X and y; `mapped`: numpy arrays are read-only views of the file."""
    import joblib

    held = joblib.load(folder / DATA, mmap_mode="r" if mapped else None)
    return held["X"], held["y"]


def digest(folder: Path) -> str:
    """SHA-256 of the data as written, hexadecimal."""
    with (folder / DATA).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Whether there is room on a disk. Asked where a full one shows as something else."""

from __future__ import annotations

import shutil
from pathlib import Path

from modelyard_api.resources import MiB

ROOM = MiB
"""Bytes that are to stay free: databases write journals."""


def is_full(folder: Path, wanted: int = 0) -> bool:
    """Whether the disk of `folder` lacks room for `wanted` more bytes; False where nobody can say."""
    try:
        return shutil.disk_usage(folder).free < wanted + ROOM
    except OSError:
        return False

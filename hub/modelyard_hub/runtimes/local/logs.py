"""Log files of replicas: read the end, rotate.

The replica writes to its file itself, with a descriptor opened for appending, so that its output goes on when the hub
service dies: no pipe, and nobody who has to pump. Rotation therefore copies the file and truncates it: an appending
writer goes on at the new end. What is written between the copy and the truncation, microseconds apart, may be lost;
renaming would lose nothing, but needs the replica's help to open its file again, and user code writes there too.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

_BLOCK = 64 * 1024
_LONGEST = 4000


def tail(path: Path, lines: int) -> tuple[str, ...]:
    """The last `lines` lines, those of the file rotated away before it included; very long ones are cut."""
    found: list[str] = []
    for candidate in (path, rotated(path, 1)):
        found = _tail_of(candidate, lines - len(found)) + found
        if len(found) >= lines:
            break
    return tuple(line[:_LONGEST] for line in found)


def _tail_of(path: Path, lines: int) -> list[str]:
    if lines <= 0:
        return []
    try:
        with path.open("rb") as file:
            position, data = file.seek(0, os.SEEK_END), b""
            while position > 0 and data.count(b"\n") <= lines and len(data) < lines * _LONGEST:
                step = min(_BLOCK, position)
                position -= step
                file.seek(position)
                data = file.read(step) + data
    except OSError:
        return []
    return data.decode(errors="replace").splitlines()[-lines:]


def rotated(path: Path, number: int) -> Path:
    """The file's name after that many rotations."""
    return path.with_name(f"{path.name}.{number}")


def rotate(path: Path, size: int, files: int) -> bool:
    """Rotate when larger than `size` bytes, keeping `files` old ones. A full disk costs the old lines, never the
    limit: the file is truncated all the same."""
    try:
        if path.stat().st_size <= size:
            return False
        for number in range(files - 1, 0, -1):
            if rotated(path, number).exists():
                rotated(path, number).replace(rotated(path, number + 1))
    except OSError:
        return False
    try:
        shutil.copyfile(path, rotated(path, 1))
    except OSError:
        rotated(path, 1).unlink(missing_ok=True)
    os.truncate(path, 0)
    return True

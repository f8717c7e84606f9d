"""How much folders hold, counted beside everything else: nobody who asks waits for it."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

FRESH = timedelta(minutes=10)


@dataclass(frozen=True)
class Count:
    """Bytes on disk, as they were then."""

    used: int
    at: datetime


class Sizes:
    """The last counts of folders; one that is asked for and older than ten minutes is counted anew, one at a time."""

    def __init__(self) -> None:
        self._known: dict[Path, Count] = {}
        self._asked: dict[Path, None] = {}
        self._task: asyncio.Task[None] | None = None

    def of(self, folder: Path) -> Count | None:
        """The last count, at once; None before the first."""
        found = self._known.get(folder)
        if found is None or datetime.now(UTC) - found.at > FRESH:
            self._asked[folder] = None
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._count(), name="sizes of folders")
        return found

    def forget(self, folder: Path) -> None:
        """Of a folder that is elsewhere now."""
        self._known.pop(folder, None)

    async def close(self) -> None:
        """End counting."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _count(self) -> None:
        while self._asked:
            folder = next(iter(self._asked))
            self._known[folder] = Count(await asyncio.to_thread(used, folder), datetime.now(UTC))
            self._asked.pop(folder, None)


def used(folder: Path) -> int:
    """Bytes on disk below `folder`, its own file system alone; a file with several names once. What cannot be read
    counts nothing."""
    total, seen, waiting = 0, set(), [str(folder)]
    try:
        device = folder.stat().st_dev
    except OSError:
        return 0
    while waiting:
        try:
            entries = os.scandir(waiting.pop())
        except OSError:
            continue
        with entries:
            for entry in entries:
                try:
                    found = entry.stat(follow_symlinks=False)
                except OSError:
                    continue
                if found.st_dev != device or (found.st_nlink > 1 and found.st_ino in seen and not entry.is_dir()):
                    continue
                seen.add(found.st_ino)
                total += found.st_blocks * 512
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
    return total

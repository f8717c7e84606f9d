"""A place that is a folder of this machine."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from modelyard.batch.scoring.place import File, in_our_words, put_text
from modelyard_api.errors import Conflict

_TRIES = 5


@dataclass
class FolderPlace:
    """A folder of this machine."""

    root: Path

    @property
    def temporary(self) -> Path:
        """See `Place.temporary`: inside, so that a rename puts it there."""
        with in_our_words(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
        return self.root

    def file(self, path: str) -> File:
        """One file of it."""
        with in_our_words(self.root / path):
            about = (self.root / path).stat()
        return File(path, about.st_size, str(about.st_mtime_ns))

    def files(self, below: str = "") -> list[File]:
        """See `Place.files`."""
        found = []
        with in_our_words(self.root / below):
            for folder, _, names in os.walk(self.root / below, onerror=_raise_unless_missing):
                found += [(Path(folder) / name).relative_to(self.root).as_posix() for name in names]
        there = []
        for path in sorted(found):
            with suppress(FileNotFoundError):  # others put and remove files meanwhile
                there.append(self.file(path))
        return there

    def open(self, path: str) -> Any:
        """See `Place.open`."""
        import pyarrow as pa

        with in_our_words(self.root / path):
            return pa.OSFile(str(self.root / path))

    def read(self, path: str) -> bytes | None:
        """See `Place.read`."""
        with in_our_words(self.root / path), suppress(FileNotFoundError):
            return (self.root / path).read_bytes()
        return None

    def put(self, made: Path, path: str) -> None:
        """See `Place.put`."""
        target = self.root / path
        with in_our_words(target):
            try:
                with made.open("rb") as file:
                    os.fsync(file.fileno())
                made.chmod(0o644)
                _rename(made, target)
            except FileNotFoundError as error:  # who takes an output over clears away what others were making
                raise Conflict(
                    "another scoring has taken the output over", remedy="Name an output for each of them."
                ) from error
            with suppress(FileNotFoundError):
                _sync_folder(target.parent)

    def remove(self, path: str) -> None:
        """See `Place.remove`."""
        with in_our_words(self.root / path):
            (self.root / path).unlink(missing_ok=True)
            with suppress(OSError):  # others are in it
                if (self.root / path).parent != self.root:
                    (self.root / path).parent.rmdir()

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """See `Place.alone`."""
        path = self.temporary / f".lock-{name}"
        with in_our_words(self.root):
            lock = _locked(path)
        if lock is None:
            raise Conflict(f"somebody is scoring to {self.root} just now", remedy="Wait until it ends.")
        with lock:
            try:
                yield
            finally:
                path.unlink(missing_ok=True)  # still locked: see `_locked`

    def swap(self, path: str, text: str, before: str | None) -> bool:
        """See `Place.swap`."""
        folder = os.open(self.temporary, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            there = self.read(path)
            if (None if there is None else there.decode(errors="replace")) != before:
                return False
            put_text(self, text, path)
        finally:
            os.close(folder)
        return True


def _locked(path: Path) -> IO[bytes] | None:
    """The file, locked; None where somebody else has it.

    Who has it removes it at the end. So what was opened may be gone by the time that it is locked, and another file be
    in its place, which others lock: only the file that is there now counts."""
    while True:
        lock = path.open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                    return lock
        except BlockingIOError:
            lock.close()
            return None
        lock.close()


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _rename(made: Path, target: Path) -> None:
    """Into a folder that somebody else may remove, since it is empty, just before."""
    for _ in range(_TRIES):
        with suppress(FileNotFoundError, FileExistsError):
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(made, target)
            return
    os.replace(made, target)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

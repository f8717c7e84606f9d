"""The artifact store, as the hub service reads it: where an MLflow artifact is, and the little that it reads of one."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from modelyard_api.errors import NotFound, StorageFull, Unavailable
from modelyard_api.resources import MiB

PIECE = MiB // 4
"""Bytes of a file that are in memory at a time."""


@dataclass(frozen=True)
class Stat:
    """Bytes of a file, and when it was written."""

    size: int
    changed: datetime


class Artifacts(Protocol):
    """One store of artifacts."""

    def locate(self, uri: str) -> str | None:
        """The location (see `Package`) that an artifact URI stands for; None where it is not below this store."""

    async def read(self, location: str, path: str) -> bytes | None:
        """A small file of a package; None when there is no such file. Unavailable when the store does not answer."""

    def place(self, path: str) -> str:
        """The location of `path`, relative to the store's root: for what lies beside MLflow's experiments."""

    async def write(self, location: str, path: str, data: bytes) -> None:
        """Put a small file there, whole, in place of one of that name. Unavailable, StorageFull."""

    async def stat(self, location: str, path: str) -> Stat | None:
        """What is known of a file without reading it; None where there is no such file. Unavailable."""

    async def send(self, location: str, path: str, file: Path) -> None:
        """Put a file of this machine there, of any size, as `write` does; what it is afterwards is not said."""

    def stream(self, location: str, path: str) -> AsyncIterator[bytes]:
        """A file of any size, piece by piece. NotFound, Unavailable, before the first one."""

    async def folders(self, location: str) -> list[str]:
        """Names of the folders in it; none where there is no such place. Unavailable."""

    async def remove(self, location: str) -> None:
        """Away with all that is below it; fine where nothing is. Unavailable."""


class FolderArtifacts:
    """Artifacts in a folder that this process can read."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def locate(self, uri: str) -> str | None:
        """See `Artifacts.locate`."""
        parts = urlsplit(uri)
        if parts.scheme == "mlflow-artifacts":
            path = self._root / unquote(parts.path).lstrip("/")
        elif parts.scheme in ("", "file") and parts.path.startswith("/"):
            path = Path(unquote(parts.path))
        else:
            return None
        try:
            resolved = path.resolve()
        except (OSError, ValueError):
            return None
        return str(resolved) if resolved.is_relative_to(self._root.resolve()) else None

    async def read(self, location: str, path: str) -> bytes | None:
        """See `Artifacts.read`."""
        try:
            return await asyncio.to_thread((Path(location) / path).read_bytes)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise Unavailable(f"{location} cannot be read: {error.strerror}") from error

    def place(self, path: str) -> str:
        """See `Artifacts.place`."""
        return str(self._root.absolute() / path)

    async def write(self, location: str, path: str, data: bytes) -> None:
        """See `Artifacts.write`."""
        await asyncio.to_thread(_write, Path(location) / path, data)

    async def stat(self, location: str, path: str) -> Stat | None:
        """See `Artifacts.stat`."""
        try:
            about = await asyncio.to_thread((Path(location) / path).stat)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Unavailable(f"{location} cannot be read: {error.strerror}") from error
        return Stat(about.st_size, datetime.fromtimestamp(about.st_mtime, UTC))

    async def send(self, location: str, path: str, file: Path) -> None:
        """See `Artifacts.send`."""
        await asyncio.to_thread(_write, Path(location) / path, file)

    async def stream(self, location: str, path: str) -> AsyncIterator[bytes]:
        """See `Artifacts.stream`."""
        try:
            file = await asyncio.to_thread((Path(location) / path).open, "rb")
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFound(f"there is no file {path} in {location}") from error
        except OSError as error:
            raise Unavailable(f"{location} cannot be read: {error.strerror}") from error
        with file:
            while piece := await asyncio.to_thread(file.read, PIECE):
                yield piece

    async def folders(self, location: str) -> list[str]:
        """See `Artifacts.folders`."""
        try:
            return await asyncio.to_thread(_folders, Path(location))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise Unavailable(f"{location} cannot be read: {error.strerror}") from error

    async def remove(self, location: str) -> None:
        """See `Artifacts.remove`."""
        await asyncio.to_thread(_remove, Path(location))


def is_full_error(error: OSError) -> bool:
    """Whether it says that there is no room."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def _write(target: Path, data: bytes | Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, pending = tempfile.mkstemp(dir=target.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                if isinstance(data, Path):
                    with data.open("rb") as source:
                        shutil.copyfileobj(source, file, PIECE)
                else:
                    file.write(data)
            os.replace(pending, target)
        except OSError:
            Path(pending).unlink(missing_ok=True)
            raise
    except OSError as error:
        if is_full_error(error):
            raise StorageFull(f"{target} cannot be written: the disk is full") from error
        raise Unavailable(f"{target} cannot be written: {error.strerror}") from error


def _folders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))


def _remove(folder: Path) -> None:
    troubles: list[OSError] = []

    def note(*told: object) -> None:
        (_, error, _) = told[-1] if isinstance(told[-1], tuple) else (None, told[-1], None)
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):  # else somebody was faster
            troubles.append(error)

    shutil.rmtree(folder, onerror=note)
    if troubles:
        raise Unavailable(f"{folder} cannot be removed: {troubles[0].strerror}") from troubles[0]

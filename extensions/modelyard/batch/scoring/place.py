"""What a place is, where rows are read from and answers go to, and how a file is made before it is put there.

Methods raise NotFound, Forbidden, StorageFull, Unavailable.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

from modelyard_api.errors import Forbidden, InvalidInput, ModelyardError, StorageFull, Unavailable

_FULL = (errno.ENOSPC, errno.EDQUOT)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)


class File(NamedTuple):
    """A file by its path below the place; `stamp` changes when its content does."""

    path: str
    size: int
    stamp: str


class Place(Protocol):
    """A folder somewhere."""

    @property
    def temporary(self) -> Path:
        """A folder of this machine in which a file is made before it is put here."""

    def files(self, below: str = "") -> list[File]:
        """All files below the folder `below`, by name; none where there is no such folder."""

    def open(self, path: str) -> Any:
        """A file to read from, with `seek`."""

    def read(self, path: str) -> bytes | None:
        """A small file; None where there is none."""

    def put(self, made: Path, path: str) -> None:
        """Make the file `made` (in `temporary`, and then no more there) the content of `path`: whole or not at all."""

    def swap(self, path: str, text: str, before: str | None) -> bool:
        """Make `text` the small file's content where that still is `before` (None: there is no such file); False where
        it is another by now. Of two that do it at once one succeeds."""

    def remove(self, path: str) -> None:
        """Fine where there is none."""

    def alone(self, name: str) -> Any:
        """A context in which no other process of this machine is in one of that name. Conflict."""


@contextmanager
def making(place: Place, name: str) -> Iterator[tuple[Path, IO[bytes]]]:
    """A temporary file for what is to be put, gone afterwards whatever happens. StorageFull."""
    with in_our_words(name):
        descriptor, made = tempfile.mkstemp(dir=place.temporary, prefix=".scoring-")
    path = Path(made)
    try:
        with in_our_words(name), os.fdopen(descriptor, "wb") as file:
            yield path, file
    finally:
        path.unlink(missing_ok=True)


def put_text(place: Place, text: str, path: str) -> None:
    """A small file, whole or not at all."""
    with making(place, path) as (made, file):
        file.write(text.encode())
        file.flush()
        place.put(made, path)


def in_our_words(what: object) -> Any:
    """Raises StorageFull, Forbidden, NotFound or Unavailable for an OSError about `what`."""
    return _in_our_words(what)


@contextmanager
def _in_our_words(what: object) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise refusal(error, what) from error


def refusal(error: OSError, what: object) -> ModelyardError:
    """An error of ours for the system's."""
    if error.errno in _FULL:
        return StorageFull(f"there is no space left for {what}")
    if error.errno in _DENIED:
        return Forbidden(f"{what} may not be read or written by this user ({os.geteuid()}): {error.strerror}")
    if error.errno in (errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG):
        return InvalidInput(f"{what} cannot be used: {error.strerror}")
    return Unavailable(f"{what} cannot be read or written: {error.strerror or error}")

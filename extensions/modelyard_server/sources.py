"""Where a package can be fetched from: a directory, or an S3 store.

Methods raise NotFound (no such place), Forbidden (not for us), Unavailable (no answer), InvalidInput (no package).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.parse import unquote, urlsplit

import obstore

from modelyard_api.errors import Forbidden, InvalidInput, NotFound, Unavailable
from modelyard_api.locations import S3Access, S3Location, parse_s3
from modelyard_api.resources import MiB
from modelyard_server.buckets import in_our_words, open_bucket

_CHUNK = 8 * MiB


class Source(Protocol):
    """A package somewhere."""

    def files(self) -> dict[str, int]:
        """Its files: paths relative to the package, and bytes."""

    def read(self, path: str) -> Iterator[bytes | memoryview]:
        """The content of one of them, in pieces."""


def open_source(location: str, patience: float) -> Source:
    """The source that a location names: an absolute path, `file://…` or `s3://…`. InvalidInput for anything else.

    A store that does not answer is asked again for `patience` seconds.
    """
    place = parse_s3(location)
    if place is not None:
        return S3Source(place, S3Access.of(os.environ), patience)
    path = unquote(urlsplit(location).path) if location.startswith("file://") else location
    if not path.startswith("/"):
        raise InvalidInput(f"{location!r} is neither an absolute path nor s3://bucket/key")
    return FolderSource(Path(path))


class FolderSource:
    """A package in a directory that this process can read."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def files(self) -> dict[str, int]:
        """See `Source.files`."""
        found: dict[str, int] = {}
        with self._in_our_words():
            if not self._root.is_dir():
                raise NotFound(f"there is no directory {self._root}")
            for folder, _, names in os.walk(self._root, onerror=_raise):
                for path in (Path(folder) / name for name in names):
                    # A link could lead out of the package, and what it leads to is not the package's.
                    if path.is_symlink() or not path.is_file():
                        raise InvalidInput(f"{path} is not a plain file")
                    found[path.relative_to(self._root).as_posix()] = path.stat().st_size
        return found

    def read(self, path: str) -> Iterator[bytes | memoryview]:
        """See `Source.read`."""
        with self._in_our_words(), (self._root / path).open("rb") as file:
            while piece := file.read(_CHUNK):
                yield piece

    @contextmanager
    def _in_our_words(self) -> Iterator[None]:
        try:
            yield
        except PermissionError as error:
            raise Forbidden(f"{error.filename or self._root} may not be read by this user ({os.geteuid()})") from error
        except FileNotFoundError as error:
            raise NotFound(f"{error.filename or self._root} is not there any more") from error
        except OSError as error:
            raise Unavailable(f"{self._root} cannot be read: {error.strerror}") from error


class S3Source:
    """A package below a key of an S3 store."""

    def __init__(self, place: S3Location, access: S3Access, patience: float) -> None:
        self._place, self._access = place, access
        self._store = open_bucket(place, access, patience)

    def files(self) -> dict[str, int]:
        """See `Source.files`."""
        # With the slash: s3://models/m-1 is not the beginning of s3://models/m-10.
        prefix = f"{self._place.key}/" if self._place.key else ""
        with in_our_words(self._place, self._access):
            pages = obstore.list(self._store, prefix or None)
            found = {str(entry["path"]).removeprefix(prefix): int(entry["size"]) for page in pages for entry in page}
        if not found:
            raise NotFound(f"there is nothing at {self._place} in {self._access.endpoint or 'Amazon S3'}")
        if any(".." in PurePosixPath(path).parts for path in found):
            raise InvalidInput(f"a name in {self._place} leads out of it")
        # Some tools make an empty object for each folder.
        folders = {parent.as_posix() for path in found for parent in PurePosixPath(path).parents}
        return {path: size for path, size in found.items() if path not in folders}

    def read(self, path: str) -> Iterator[bytes | memoryview]:
        """See `Source.read`."""
        with in_our_words(self._place, self._access):
            for piece in obstore.get(self._store, self._place.below(path).key).stream(min_chunk_size=_CHUNK):
                yield memoryview(piece)


def _raise(error: OSError) -> None:
    raise error

"""Where a package can be fetched from: a directory, or an S3 store.

Methods raise NotFound (no such place), Forbidden (not for us), Unavailable (no answer), InvalidInput (no package).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from modelyard_api.errors import Forbidden, InvalidInput, NotFound, Unavailable
from modelyard_api.locations import S3Access, S3Location, S3Trouble, parse_s3, s3_trouble
from modelyard_api.resources import MiB

if TYPE_CHECKING:
    from obstore.store import BackoffConfig, S3Config

_CHUNK = 8 * MiB
_ASK_AGAIN: BackoffConfig = {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=5)}


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
        self._place, self._where = place, access.endpoint or "Amazon S3"
        config: S3Config = {"region": access.region}
        if access.endpoint:
            config["endpoint"] = access.endpoint
        self._store = S3Store(
            place.bucket,
            config=config,
            client_options={"allow_http": access.allow_http, "connect_timeout": timedelta(seconds=5)},
            retry_config={"max_retries": 1000, "retry_timeout": timedelta(seconds=patience), "backoff": _ASK_AGAIN},
        )

    def files(self) -> dict[str, int]:
        """See `Source.files`."""
        # With the slash: s3://models/m-1 is not the beginning of s3://models/m-10.
        prefix = f"{self._place.key}/" if self._place.key else ""
        with self._in_our_words():
            pages = obstore.list(self._store, prefix or None)
            found = {str(entry["path"]).removeprefix(prefix): int(entry["size"]) for page in pages for entry in page}
        if not found:
            raise NotFound(f"there is nothing at {self._place} in {self._where}")
        if any(".." in PurePosixPath(path).parts for path in found):
            raise InvalidInput(f"a name in {self._place} leads out of it")
        # Some tools make an empty object for each folder.
        folders = {parent.as_posix() for path in found for parent in PurePosixPath(path).parents}
        return {path: size for path, size in found.items() if path not in folders}

    def read(self, path: str) -> Iterator[bytes | memoryview]:
        """See `Source.read`."""
        with self._in_our_words():
            for piece in obstore.get(self._store, self._place.below(path).key).stream(min_chunk_size=_CHUNK):
                yield memoryview(piece)

    @contextmanager
    def _in_our_words(self) -> Iterator[None]:
        try:
            yield
        except (BaseError, FileNotFoundError) as error:
            trouble, code = s3_trouble(str(error))
            if trouble is S3Trouble.denied:
                raise Forbidden(
                    f"{self._where} refuses access to {self._place} ({code or 'no reason given'})",
                    remedy="Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
                ) from error
            if trouble is S3Trouble.missing or isinstance(error, FileNotFoundError):
                raise NotFound(f"there is no {self._place} in {self._where} ({code or 'not found'})") from error
            cause = f"answers {code}" if code else f"does not answer: {_cause(error)}"
            raise Unavailable(f"{self._where} {cause}") from error


def _raise(error: OSError) -> None:
    raise error


def _cause(error: Exception) -> str:
    """The innermost sentence of a client's error, which says what happened on the wire."""
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return first.rsplit(" - ", 1)[-1].removesuffix(":").strip()

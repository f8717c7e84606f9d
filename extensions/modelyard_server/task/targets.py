"""Where a task's output goes: a folder that this process can write, or a place in an S3 store.

Methods raise Forbidden, NotFound (no such bucket), StorageFull, Unavailable.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path
from typing import IO, Protocol

from modelyard_api.errors import Forbidden, InvalidInput, ModelyardError, StorageFull, Unavailable
from modelyard_api.locations import S3Access, S3Location, parse_s3

_PIECE = 8 * 1024 * 1024
_FULL = (errno.ENOSPC, errno.EDQUOT)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)


class Target(Protocol):
    """One task's output."""

    def put(self, path: str, file: IO[bytes]) -> None:
        """Write a file below it, whole or not at all, in place of one of that name."""


def open_target(location: str, patience: float) -> Target:
    """The target that a location names: an absolute path or `s3://bucket/key`. InvalidInput for anything else.

    A store that does not answer is asked again for `patience` seconds.
    """
    place = parse_s3(location)
    if place is not None:
        return S3Target(place, S3Access.of(os.environ), patience)
    if not location.startswith("/"):
        raise InvalidInput(f"{location!r} is neither an absolute path nor s3://bucket/key")
    return FolderTarget(Path(location))


class FolderTarget:
    """A folder, made with the first file."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, path: str, file: IO[bytes]) -> None:
        """See `Target.put`."""
        target, pending = self._root / path, None
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            descriptor, pending = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}.")
            with os.fdopen(descriptor, "wb") as made:
                shutil.copyfileobj(file, made, 1024 * 1024)
                made.flush()
                os.fsync(made.fileno())
            os.chmod(pending, 0o640)
            os.replace(pending, target)
        except OSError as error:
            if pending is not None:
                Path(pending).unlink(missing_ok=True)
            raise _refusal(error, target) from error


class S3Target:
    """Below a key of an S3 store."""

    def __init__(self, place: S3Location, access: S3Access, patience: float) -> None:
        # Only here: it takes 16 MB, and is not there where nobody has an S3 store.
        from modelyard_server.buckets import open_bucket

        self._place, self._access = place, access
        self._bucket = open_bucket(place, access, patience)

    def put(self, path: str, file: IO[bytes]) -> None:
        """See `Target.put`."""
        import obstore

        from modelyard_server.buckets import in_our_words

        with in_our_words(self._place, self._access):
            # Few and small pieces at a time: it works beside the command, in little memory.
            obstore.put(self._bucket, self._place.below(path).key, file, chunk_size=_PIECE, max_concurrency=2)


def _refusal(error: OSError, target: Path) -> ModelyardError:
    text = f"{target} cannot be written by user {os.geteuid()}: {error.strerror}"
    if error.errno in _FULL:
        return StorageFull(text)
    return Forbidden(text) if error.errno in _DENIED else Unavailable(text)

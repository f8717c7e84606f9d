"""Where rows are read from and answers go to: a folder of this machine, or a key of an S3 store (AWS_* variables).

Methods raise NotFound, Forbidden, StorageFull, Unavailable.
"""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol
from urllib.parse import unquote, urlsplit

from modelyard_api.errors import Conflict, Forbidden, InvalidInput, ModelyardError, NotFound, StorageFull, Unavailable
from modelyard_api.locations import S3Access, S3Location, parse_s3

_FULL = (errno.ENOSPC, errno.EDQUOT)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
_PATIENCE = 60.0
_TRIES = 5
_BUFFER = 1024 * 1024


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


def open_place(location: str, patience: float = _PATIENCE) -> Place:
    """The folder that a location names: an absolute path, `file://…` or `s3://bucket/key`. InvalidInput."""
    s3 = parse_s3(location)
    if s3 is not None:
        return S3Place(s3, S3Access.of(os.environ), patience)
    path = unquote(urlsplit(location).path) if location.startswith("file://") else location
    if not path.startswith("/"):
        raise InvalidInput(
            f"{location!r} is neither an absolute path nor s3://bucket/key",
            remedy="Name it whole: a run does not start in the folder that the notebook is in.",
        )
    return FolderPlace(Path(path))


def open_data(location: str) -> tuple[Place, list[File]]:
    """A place and the files of rows in it: all below a folder, or the one file that `location` is. NotFound.

    Files and folders whose names begin with `_` or `.` are passed over.
    """
    place = open_place(location)
    if isinstance(place, FolderPlace) and place.root.is_file():
        alone = FolderPlace(place.root.parent)
        return alone, [alone.file(place.root.name)]
    found = [file for file in place.files() if not any(part[0] in "._" for part in file.path.split("/"))]
    if not found and isinstance(place, S3Place):
        above, _, name = place.place.key.rpartition("/")
        alone_s3 = S3Place(S3Location(place.place.bucket, above), place.access, place.patience)
        single = [file for file in alone_s3.files() if file.path == name and name]
        if single:
            return alone_s3, single
    if not found:
        there = isinstance(place, FolderPlace) and place.root.exists()
        raise NotFound(f"there are no files in {location}" if there else f"there is no data at {location}")
    return place, found


@dataclass
class FolderPlace:
    """A folder of this machine."""

    root: Path

    @property
    def temporary(self) -> Path:
        """See `Place.temporary`: inside, so that a rename puts it there."""
        with _in_our_words(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
        return self.root

    def file(self, path: str) -> File:
        """One file of it."""
        with _in_our_words(self.root / path):
            about = (self.root / path).stat()
        return File(path, about.st_size, str(about.st_mtime_ns))

    def files(self, below: str = "") -> list[File]:
        """See `Place.files`."""
        found = []
        with _in_our_words(self.root / below):
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

        with _in_our_words(self.root / path):
            return pa.OSFile(str(self.root / path))

    def read(self, path: str) -> bytes | None:
        """See `Place.read`."""
        with _in_our_words(self.root / path), suppress(FileNotFoundError):
            return (self.root / path).read_bytes()
        return None

    def put(self, made: Path, path: str) -> None:
        """See `Place.put`."""
        target = self.root / path
        with _in_our_words(target):
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
        with _in_our_words(self.root / path):
            (self.root / path).unlink(missing_ok=True)
            with suppress(OSError):  # others are in it
                if (self.root / path).parent != self.root:
                    (self.root / path).parent.rmdir()

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """See `Place.alone`."""
        path = self.temporary / f".lock-{name}"
        with _in_our_words(self.root):
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


@dataclass
class S3Place:
    """Below a key of an S3 store. An object is there when it is whole, and not before."""

    place: S3Location
    access: S3Access
    patience: float
    _bucket: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        from modelyard_server.buckets import open_bucket

        self._bucket = open_bucket(self.place, self.access, self.patience)

    @property
    def temporary(self) -> Path:
        """See `Place.temporary`."""
        return Path(tempfile.gettempdir())

    def files(self, below: str = "") -> list[File]:
        """See `Place.files`."""
        import obstore

        folder = self.place.below(below)
        prefix = f"{self.place.key}/" if self.place.key else ""
        with self._words(folder):
            pages = obstore.list(self._bucket, f"{folder.key}/" if folder.key else None)
            found = [entry for page in pages for entry in page]
        return sorted(
            File(str(e["path"]).removeprefix(prefix), int(e["size"]), str(e["e_tag"] or e["last_modified"]))
            for e in found
            if e["size"] or not str(e["path"]).endswith("/")
        )

    def open(self, path: str) -> Any:
        """See `Place.open`."""
        import obstore
        import pyarrow as pa

        file = self.place.below(path)
        with self._words(file):
            return pa.PythonFile(_Reader(obstore.open_reader(self._bucket, file.key, buffer_size=_BUFFER)), mode="r")

    def read(self, path: str) -> bytes | None:
        """See `Place.read`."""
        import obstore

        file = self.place.below(path)
        try:
            with self._words(file):
                return bytes(obstore.get(self._bucket, file.key).bytes())
        except NotFound:
            return None

    def put(self, made: Path, path: str) -> None:
        """See `Place.put`."""
        import obstore

        file = self.place.below(path)
        with self._words(file), made.open("rb") as content:
            obstore.put(self._bucket, file.key, content, chunk_size=8 * _BUFFER, max_concurrency=2)
        made.unlink()

    def remove(self, path: str) -> None:
        """See `Place.remove`."""
        import obstore

        with suppress(NotFound), self._words(self.place):
            obstore.delete(self._bucket, self.place.below(path).key)

    def swap(self, path: str, text: str, before: str | None) -> bool:
        """See `Place.swap`: by a condition of the store's own."""
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        file = self.place.below(path)
        try:
            with self._words(file):
                if before is None:
                    mode: Any = "create"
                else:
                    there = obstore.get(self._bucket, file.key)
                    if bytes(there.bytes()).decode(errors="replace") != before:
                        return False
                    mode = {"e_tag": there.meta["e_tag"]}
                try:
                    obstore.put(self._bucket, file.key, text.encode(), mode=mode)
                except (AlreadyExistsError, PreconditionError):
                    return False
        except NotFound:
            return False
        return True

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """See `Place.alone`: no lock holds across machines. Who takes an output over is known by its claim: `state`."""
        yield

    def _words(self, place: S3Location) -> Any:
        from modelyard_server.buckets import in_our_words

        return in_our_words(place, self.access)


class _Reader:
    """obstore's reader as pyarrow wants a file."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        return bytes(self._reader.readall() if size is None or size < 0 else self._reader.read(size))

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self._reader.seek(offset, whence))

    def tell(self) -> int:
        return int(self._reader.tell())

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._reader.close()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def flush(self) -> None:
        """Nothing is written."""


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

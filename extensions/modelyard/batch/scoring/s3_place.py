"""A place that is a key of an S3 store."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelyard.batch.scoring.place import File
from modelyard_api.errors import NotFound
from modelyard_api.locations import S3Access, S3Location

_BUFFER = 1024 * 1024


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

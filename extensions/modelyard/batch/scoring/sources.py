"""Rows out of files, a batch at a time, so that any file fits: Parquet, CSV, Arrow's file and stream formats.

A `Segment` is a piece of a file that can be read by itself: some row groups, or the whole file where it has none.
"""

from __future__ import annotations

import gzip
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from modelyard.batch.scoring.place import File, Place
from modelyard_api.errors import InvalidInput, Unsupported
from modelyard_api.scoring import DataFormat

_SUFFIXES = {
    ".parquet": DataFormat.parquet,
    ".pq": DataFormat.parquet,
    ".csv": DataFormat.csv,
    ".arrow": DataFormat.arrow,
    ".feather": DataFormat.arrow,
    ".ipc": DataFormat.arrow,
    ".arrows": DataFormat.arrow,
}
_COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
_BLOCK = 4 * 1024 * 1024


@dataclass(frozen=True)
class Segment:
    """Groups `start` to `stop` of a file, whose first row is number `first`. `rows`: None where only reading tells."""

    file: str
    start: int
    stop: int
    first: int
    rows: int | None


@dataclass(frozen=True)
class Broken:
    """A line that is no row."""

    row: int
    reason: str
    text: str


@dataclass(frozen=True)
class Piece:
    """Some rows of a file, and their numbers in it."""

    file: str
    batch: pa.RecordBatch
    numbers: NDArray[np.int64]
    broken: tuple[Broken, ...] = ()

    @property
    def rows(self) -> int:
        """How many, the broken ones too."""
        return len(self.numbers) + len(self.broken)

    @property
    def next(self) -> int:
        """The number of the row after the last one."""
        last = int(self.numbers[-1]) if len(self.numbers) else -1
        return max([last, *(b.row for b in self.broken)]) + 1


@dataclass(frozen=True)
class Reader(ABC):
    """How one format is read. `text`: its values are all text, to be read by what the model takes."""

    place: Place
    text: bool = False

    @abstractmethod
    def schema(self, file: str) -> pa.Schema:
        """Its columns. InvalidInput where it is no such file."""

    @abstractmethod
    def segments(self, file: str) -> list[Segment]:
        """The pieces that can be read by themselves, in order."""

    @abstractmethod
    def pieces(self, segment: Segment, columns: Sequence[str], rows: int, start: int) -> Iterator[Piece]:
        """At most `rows` at a time, from row `start` of the file on. InvalidInput where it is damaged."""


class ParquetReader(Reader):
    """Row groups; pages are decoded as they are needed."""

    def schema(self, file: str) -> pa.Schema:
        """See `Reader.schema`."""
        with self._opened(file) as opened:
            return opened.schema_arrow

    def segments(self, file: str) -> list[Segment]:
        """See `Reader.segments`."""
        found, first = [], 0
        with self._opened(file) as opened:
            for group in range(opened.metadata.num_row_groups):
                rows = opened.metadata.row_group(group).num_rows
                found.append(Segment(file, group, group + 1, first, rows))
                first += rows
        return found

    def pieces(self, segment: Segment, columns: Sequence[str], rows: int, start: int) -> Iterator[Piece]:
        """See `Reader.pieces`."""
        at = segment.first
        with _said(segment.file), self._opened(segment.file) as opened:
            groups = list(range(segment.start, segment.stop))
            while groups and at + opened.metadata.row_group(groups[0]).num_rows <= start:
                at += opened.metadata.row_group(groups.pop(0)).num_rows
            for batch in opened.iter_batches(rows, groups, columns=list(columns)):
                yield from _numbered(segment.file, batch, at, start)
                at += batch.num_rows

    def _opened(self, file: str) -> Any:
        import pyarrow.parquet as pq

        with _said(file):
            # Buffered per column: a row group never lies in memory as a whole.
            return pq.ParquetFile(
                self.place.open(file), buffer_size=1024 * 1024, pre_buffer=False, page_checksum_verification=True
            )


class ArrowReader(Reader):
    """Arrow's file format (Feather) and its stream format."""

    def schema(self, file: str) -> pa.Schema:
        """See `Reader.schema`."""
        with _said(file), self.place.open(file) as opened:
            return _ipc(opened).schema

    def segments(self, file: str) -> list[Segment]:
        """See `Reader.segments`."""
        return [Segment(file, 0, 1, 0, None)]

    def pieces(self, segment: Segment, columns: Sequence[str], rows: int, start: int) -> Iterator[Piece]:
        """See `Reader.pieces`."""
        at = 0
        with _said(segment.file), self.place.open(segment.file) as opened:
            reader = _ipc(opened)
            numbered = hasattr(reader, "num_record_batches")
            batches = (reader.get_batch(i) for i in range(reader.num_record_batches)) if numbered else iter(reader)
            for whole in batches:
                chosen = whole.select(list(columns))
                for offset in range(0, chosen.num_rows, rows):
                    batch = chosen.slice(offset, rows)
                    yield from _numbered(segment.file, batch, at, start)
                    at += batch.num_rows


class CsvReader(Reader):
    """Text in UTF-8 with a header line; an empty field is a missing value. May be compressed."""

    def schema(self, file: str) -> pa.Schema:
        """See `Reader.schema`."""
        with _said(file), self._stream(file) as stream:
            import pyarrow.csv as csv

            # Read as text, whatever the first lines look like.
            return pa.schema(
                [(name, pa.string()) for name in csv.open_csv(stream, parse_options=_lenient()).schema.names]
            )

    def segments(self, file: str) -> list[Segment]:
        """See `Reader.segments`."""
        return [Segment(file, 0, 1, 0, None)]

    def pieces(self, segment: Segment, columns: Sequence[str], rows: int, start: int) -> Iterator[Piece]:
        """See `Reader.pieces`."""
        import pyarrow.csv as csv

        broken: list[Broken] = []
        names = self.schema(segment.file).names
        convert = csv.ConvertOptions(
            column_types={name: pa.string() for name in names},
            include_columns=list(columns) or names[:1],
            null_values=[""],
            strings_can_be_null=True,
        )
        at = 0
        with _said(segment.file), self._stream(segment.file) as stream:
            opened = csv.open_csv(
                stream,
                read_options=csv.ReadOptions(block_size=_BLOCK, use_threads=False),
                parse_options=_lenient(broken.append),
                convert_options=convert,
            )
            taken = 0
            for whole in opened:
                for offset in range(0, whole.num_rows, rows):
                    batch = whole.slice(offset, rows)
                    numbers, taken = _around(broken, taken, at, batch.num_rows)
                    mine = tuple(b for b in broken[:taken] if b.row >= at and b.row >= start)
                    at = int(numbers[-1]) + 1
                    keep = numbers >= start
                    if keep.any() or mine:
                        kept = batch.slice(int(np.argmax(keep))) if keep.any() else batch.slice(0, 0)
                        yield Piece(segment.file, kept, numbers[keep], mine)
            rest = tuple(b for b in broken[taken:] if b.row >= start)
            if rest:
                empty = pa.RecordBatch.from_pylist([], schema=pa.schema([(c, pa.string()) for c in columns]))
                yield Piece(segment.file, empty, np.empty(0, np.int64), rest)

    def _stream(self, file: str) -> Any:
        suffix = PurePosixPath(file).suffix.lower()
        opened = self.place.open(file)
        return pa.CompressedInputStream(opened, _COMPRESSED[suffix]) if suffix in _COMPRESSED else opened


def _around(broken: list[Broken], taken: int, at: int, rows: int) -> tuple[NDArray[np.int64], int]:
    """The numbers of the next `rows` good rows from `at` on, which pass over the broken ones, and how many of those are
    before the last of them."""
    numbers = np.arange(at, at + rows, dtype=np.int64)
    while taken < len(broken) and broken[taken].row <= numbers[-1]:
        numbers[numbers >= broken[taken].row] += 1
        taken += 1
    return numbers, taken


def _lenient(tell: Callable[[Broken], None] | None = None) -> Any:
    import pyarrow.csv as csv

    def handle(line: Any) -> str:
        if tell is not None:
            reason = f"the line has {line.actual_columns} fields, not {line.expected_columns}"
            tell(Broken(int(line.number) - 2, reason, str(line.text)[:1000]))
        return "skip"

    return csv.ParseOptions(newlines_in_values=True, invalid_row_handler=handle)


def _ipc(opened: Any) -> Any:
    try:
        return pa.ipc.open_file(opened)
    except pa.ArrowInvalid:
        opened.seek(0)
        return pa.ipc.open_stream(opened)


def _numbered(file: str, batch: pa.RecordBatch, at: int, start: int) -> Iterator[Piece]:
    skip = max(0, start - at)
    if skip < batch.num_rows:
        kept = batch.slice(skip) if skip else batch
        yield Piece(file, kept, np.arange(at + skip, at + batch.num_rows, dtype=np.int64))


@dataclass
class _said:  # noqa: N801
    """Raises InvalidInput that names the file for what its reader raises."""

    file: str

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, (pa.ArrowException, zlib.error, gzip.BadGzipFile, EOFError, UnicodeDecodeError)) or (
            type(error) is OSError and error.errno is None
        ):
            raise InvalidInput(
                f"{self.file} cannot be read: {' '.join(str(error).split())[:300]}",
                remedy="It is damaged, or of another format than its name says.",
            ) from error


@dataclass(frozen=True)
class Files:
    """The files of rows, and how they are read."""

    files: tuple[File, ...]
    readers: dict[str, Reader] = field(default_factory=dict)

    def reader(self, file: str) -> Reader:
        """Of one of them."""
        return self.readers[file]

    def schema(self) -> pa.Schema:
        """That of the first. InvalidInput for one that lacks a column of it, or has it with another type."""
        first = self.files[0].path
        wanted = self.reader(first).schema(first)
        for other in self.files[1:]:
            found = self.reader(other.path).schema(other.path)
            for column in wanted:
                if column.name not in found.names:
                    raise InvalidInput(f"{other.path} has no column {column.name!r}, which {first} has")
        return wanted


def open_files(place: Place, files: Sequence[File], wanted: DataFormat) -> Files:
    """Their readers, by `wanted` or else their names. Unsupported names the file that nothing is known for."""
    readers: dict[DataFormat, Reader] = {
        DataFormat.parquet: ParquetReader(place),
        DataFormat.csv: CsvReader(place, text=True),
        DataFormat.arrow: ArrowReader(place),
    }
    formats = {file.path: _format(file.path) if wanted is DataFormat.auto else wanted for file in files}
    unknown = next((path for path, found in formats.items() if found is None), None)
    if unknown is not None:
        raise Unsupported(
            f"it is not known how {unknown} is read",
            remedy=f"Files end in {', '.join(_SUFFIXES)}, or say format= ('parquet', 'csv', 'arrow').",
        )
    if len(set(formats.values())) > 1:
        raise InvalidInput(
            f"the files are of several formats: {', '.join(sorted({str(f) for f in formats.values()}))}",
            remedy="Score each by itself.",
        )
    return Files(tuple(files), {path: readers[found] for path, found in formats.items() if found is not None})


def _format(path: str) -> DataFormat | None:
    name = PurePosixPath(path.lower())
    suffix = PurePosixPath(name.stem).suffix if name.suffix in _COMPRESSED else name.suffix
    found = _SUFFIXES.get(suffix)
    return found if found is DataFormat.csv or name.suffix not in _COMPRESSED else None

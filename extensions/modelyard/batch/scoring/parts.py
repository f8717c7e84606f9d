"""The output: parts that appear whole or not at all, each with the record of what it holds in its footer.

A part is made under a temporary name, and its rejects are put before it: where a part is, all of it is. So what is done
is read from the parts themselves, and no second file can disagree with them.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from modelyard.batch.scoring.answering import Answered, Reject
from modelyard.batch.scoring.drift import Counts, add
from modelyard.batch.scoring.place import Place, making, refusal
from modelyard.batch.scoring.plan import parse_part, part_name
from modelyard_api.errors import NotFound, StorageFull
from modelyard_api.scoring import REJECTS

_RECORD = b"modelyard.scoring"
_GROUP = 262_144
_REJECT_SCHEMA = pa.schema(
    [("file", pa.string()), ("row", pa.int64()), ("reason", pa.string()), ("values", pa.string())]
)


@dataclass
class Record:
    """What a part holds: of which plan and unit, how many rows, and where the next part goes on (a segment of the unit
    and a row of its file); `last`: nothing follows in its unit."""

    plan: str
    unit: int
    part: int
    rows: int = 0
    scored: int = 0
    rejected: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    segment: int = 0
    next: int = 0
    last: bool = False
    counts: Counts = field(default_factory=dict)
    tag: str = ""

    @property
    def name(self) -> str:
        """Its file."""
        return part_name(self.unit, self.part, self.tag)

    @property
    def paths(self) -> tuple[str, str]:
        """All that is of it: its file, and that of its rejects."""
        return self.name, f"{REJECTS}/{self.name}"


class Part:
    """A part that is being made. `close` puts it in its place; `abandon` leaves nothing."""

    def __init__(self, place: Place, schema: pa.Schema, record: Record) -> None:
        self.record = record
        self._place = place
        self._context = making(place, record.name)
        self.path, self._file = self._context.__enter__()
        self._rejects: list[Reject] = []
        self._waiting: list[pa.RecordBatch] = []
        self._held = 0
        plain = [f.name for f in schema if pa.types.is_floating(f.type) or _of_floats(f.type)]
        self._writer = pq.ParquetWriter(
            self._file,
            schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=[f.name for f in schema if f.name not in plain],
            write_statistics=[f.name for f in schema if f.name not in plain],
        )

    def add(self, answered: Answered) -> None:
        """StorageFull."""
        record = self.record
        record.rows += answered.rows
        record.scored += answered.table.num_rows
        record.rejected += len(answered.rejects)
        for reject in answered.rejects:
            kind = re.sub(r" holds .*", " holds something that the model does not take", reject.reason)
            if kind in record.reasons or len(record.reasons) < 20:
                record.reasons[kind] = record.reasons.get(kind, 0) + 1
        add(record.counts, answered.counts)
        self._rejects += answered.rejects
        self._waiting.append(answered.table)
        self._held += answered.table.num_rows
        if self._held >= _GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._held:
            with _full(self.record.name):
                self._writer.write_table(pa.Table.from_batches(self._waiting), row_group_size=_GROUP)
        self._waiting, self._held = [], 0

    def close(self) -> Record:
        """Put it where it belongs. StorageFull."""
        try:
            self._flush()
            with _full(self.record.name):
                self._writer.add_key_value_metadata({_RECORD.decode(): json.dumps(asdict(self.record))})
                self._writer.close()
                self._file.flush()
            if self._rejects:
                self._put_rejects()
            with _full(self.record.name):
                self._place.put(self.path, self.record.name)
        finally:
            self._context.__exit__(None, None, None)
        return self.record

    def _put_rejects(self) -> None:
        rows = [asdict(reject) for reject in self._rejects]
        name, target = self.record.paths
        with making(self._place, target) as (path, file), _full(name):
            pq.write_table(pa.Table.from_pylist(rows, schema=_REJECT_SCHEMA), file, compression="zstd")
            file.flush()
            self._place.put(path, target)

    def abandon(self) -> None:
        """Leave nothing of it."""
        with suppress(Exception):  # a full disk fails it again
            self._writer.close()
        with suppress(Exception):
            self._context.__exit__(None, None, None)


class _full:  # noqa: N801
    """Raises StorageFull and the like for what pyarrow raises, which does not always carry the system's number."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, OSError):
            if "No space left" in str(error) or "errno 28" in str(error):
                raise StorageFull(f"there is no space left for {self._name}") from error
            raise refusal(error, self._name) from error


def _of_floats(kind: pa.DataType) -> bool:
    return bool(pa.types.is_fixed_size_list(kind) and pa.types.is_floating(kind.value_type))


def done(place: Place, plan: str, tag: str) -> dict[int, list[Record]]:
    """The records of a scoring's parts by unit, in order."""
    records: dict[int, list[Record]] = {}
    for file in place.files():
        known = parse_part(file.path)
        if known is None or known[2] != tag:
            continue
        try:
            record = read_record(place, file.path)
        except (FileNotFoundError, NotFound):  # somebody has removed it meanwhile
            continue
        if record is not None and record.plan == plan:
            records.setdefault(record.unit, []).append(record)
    return {unit: _following(found) for unit, found in records.items()}


def _following(found: list[Record]) -> list[Record]:
    """Those that follow each other from the first on."""
    ordered = sorted(found, key=lambda record: record.part)
    return [record for index, record in enumerate(ordered) if record.part == index]


def read_record(place: Place, path: str) -> Record | None:
    """What a part says of itself; None for a file that is no part of ours."""
    try:
        with place.open(path) as file:
            told = (pq.read_metadata(file).metadata or {}).get(_RECORD)
        return None if told is None else Record(**json.loads(told))
    except (pa.ArrowException, TypeError, ValueError):
        return None


def leftovers(folder: Path) -> list[Path]:
    """Temporary files of processes that were killed."""
    return list(folder.glob(".scoring-*"))

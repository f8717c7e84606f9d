"""Scoring a table: the files read, the model asked, the answers written, in parts that whoever goes on finds whole."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from modelyard.batch.scoring import shards, sql, state
from modelyard.batch.scoring.answering import Answerer, output_schema
from modelyard.batch.scoring.drift import Reference
from modelyard.batch.scoring.intake import Intake
from modelyard.batch.scoring.parts import Part, Record, done
from modelyard.batch.scoring.place import File, Place, making
from modelyard.batch.scoring.places import open_data, open_place
from modelyard.batch.scoring.plan import Unit, fingerprint, sharded, units
from modelyard.batch.scoring.report import collect, commit
from modelyard.batch.scoring.shards import Together
from modelyard.batch.scoring.sources import Files, open_files
from modelyard.batch.scoring.state import Stopped
from modelyard.batch.scoring.stream import Start, Step, pieces, scored
from modelyard_api.errors import Conflict, InvalidInput, ModelFailed, ModelyardError, StorageFull
from modelyard_api.models import MANIFEST_PATH, Flavor, PackageManifest
from modelyard_api.runs import Progress as RunProgress
from modelyard_api.runs import rows_in_words
from modelyard_api.scoring import ScoreOptions, ScoreReport
from modelyard_server.dataplane import DataPlane, load
from modelyard_server.manifest import read_manifest

_TOLD_EVERY = 2.0
_LIGHT = (Flavor.onnx, Flavor.torch, Flavor.xgboost, Flavor.lightgbm)


@dataclass(frozen=True)
class Progress:
    """How far it is. `total` rows: None where only reading tells. `rate`: rows a second, of this process."""

    rows: int
    rejected: int
    total: int | None
    parts: int
    rate: float

    def in_words(self) -> str:
        """In one line."""
        return rows_in_words(RunProgress(rows=self.rows, rejected=self.rejected, total=self.total, rate=self.rate))


@dataclass(frozen=True)
class Order:
    """What is scored: `data` with the package in folder `package`, which is `version` of `model`, into `output`.

    `shard`: which of how many, counted from 0; those of one `attempt` of a `run` begin together, and without a run
    nobody waits for another. `run` tells one execution from the next; `threads`: processors to use,
    0 for all that this process may; `tell` is told how far it is, `stopped` asked between batches.
    """

    data: str
    output: str
    package: Path
    model: str
    version: str = "1"
    options: ScoreOptions = field(default_factory=ScoreOptions)
    shard: tuple[int, int] = (0, 1)
    run: str = ""
    attempt: int = 1
    threads: int = 0
    tell: Callable[[Progress], None] = lambda _: None
    stopped: Callable[[], bool] = lambda: False


def score(order: Order) -> ScoreReport | None:
    """Score; the report, once all of the rows are: None where other shards are not done yet.

    Raises InvalidInput (columns, formats, damaged files), NotFound, Forbidden, Conflict (the output), StorageFull,
    Unavailable, ModelFailed (not for single rows: those are rejected), Stopped. Whatever is raised, or when it is
    killed: the parts that are there are whole, and the same order goes on from them.
    """
    manifest = read_manifest(order.package)
    _check_apart(order.data, order.output, order.options)
    output = open_place(order.output)
    plane = load(order.package)
    example = _example(plane)
    together = _together(order)
    files = None if order.options.sql else _files(order, output, together)
    if files is not None:
        intake = Intake(manifest, files.schema(), order.options, _is_text(files))
        output_schema(intake, *example, order.options.outputs)
    with output.alone(f"{order.shard[0]}-of-{order.shard[1]}"):
        facts = _facts(order, manifest, files)
        plan = fingerprint(facts)

        def query(claim: state.Claim) -> tuple[Place, list[File]]:
            return sql.result(order.data, order.options, manifest, claim)

        def prepare(claim: state.Claim) -> dict[str, Any]:
            if files is None:
                query(claim)
            return {"version": order.version, "files": [file.path for file in files.files] if files else []}

        if together is not None:
            ended, claim = shards.begin_shard(output, plan, facts, together, prepare)
        else:
            ended, claim = state.begin(output, plan, facts, run=order.run, overwrite=order.options.overwrite)
        if ended is not None:
            return ended
        if order.shard[1] == 1:
            state.sweep(output)
        try:
            if files is None:
                files = open_files(*query(claim), sql.FORMAT)
            return _Scoring(order, _Loaded(plane, *example), files, claim, plan).run(together)
        except (ModelyardError, OSError, pa.ArrowException):
            # An attempt that was given up and is not dead may have ended it, and taken away what this one reads.
            if (ended := state.ended_by(output, order.run, plan)) is None:
                raise
            return ended


def _together(order: Order) -> Together | None:
    """The shard among the others of its run; None for one that is alone, or that nobody waits for."""
    index, of = order.shard
    if of == 1 or not order.run:
        return None
    return Together(index, of, order.run, order.attempt, order.options.overwrite, order.stopped)


def _files(order: Order, output: Place, together: Together | None) -> Files:
    """The data: of those that are there now the files that the first shard saw. Whether they are the same is seen by
    the plan."""
    told = None if together is None else shards.agreed(output, together)[1]
    place, found = open_data(order.data)
    if told is not None:
        seen = frozenset(told["files"])
        found = [file for file in found if file.path in seen]
        if not found:
            raise Conflict("the data changed while the shards began", remedy="Score them once they stay as they are.")
    return open_files(place, found, order.options.format)


def check_with(data: str, output: str, options: ScoreOptions, manifest: PackageManifest) -> None:
    """Whether it can begin: raises what `score` would raise before its first row, and writes nothing of its own."""
    _check_apart(data, output, options)
    if not options.sql:
        files = open_files(*open_data(data), options.format)
        Intake(manifest, files.schema(), options, _is_text(files))
    place = open_place(output)
    report = state.finished(place)
    if report is not None and not options.overwrite:
        state.refuse(report)
    with making(place, output):  # whether it can be written
        pass


def _check_apart(data: str, output: str, options: ScoreOptions) -> None:
    """InvalidInput where the next scoring of the data would read what this one writes."""
    folder, below = (f"{place.removeprefix('file://').rstrip('/')}/" for place in (data, output))
    if not options.sql and below.startswith(folder):
        raise InvalidInput("the output is in the folder of the data", remedy="Name a folder beside it.")


def _is_text(files: Files) -> bool:
    return files.reader(files.files[0].path).text


def _facts(order: Order, manifest: PackageManifest, files: Files | None) -> dict[str, Any]:
    """All that the answers depend on."""
    package = hashlib.sha256((order.package / MANIFEST_PATH).read_bytes())
    package.update((order.package / manifest.path).read_bytes() if (order.package / manifest.path).is_file() else b"")
    shown = order.options.model_dump(mode="json", exclude={"overwrite", "max_rejects"})
    return {
        "model": f"{order.model} {order.version} {package.hexdigest()}",
        "data": {"at": order.data, "files": [list(file) for file in files.files] if files is not None else []},
        "options": shown,
    }


@dataclass(frozen=True)
class _Loaded:
    """A model, and what it answers to its own example of so many rows."""

    plane: DataPlane
    example: dict[str, Any]
    rows: int


class _Scoring:
    def __init__(self, order: Order, model: _Loaded, files: Files, claim: state.Claim, plan: str) -> None:
        self._order, self._files, self._claim, self._plan = order, files, claim, plan
        self._output = claim.place
        self._model = model
        self._manifest = model.plane.manifest
        self._intake = Intake(self._manifest, files.schema(), order.options, _is_text(files))
        segments = [s for file in files.files for s in files.reader(file.path).segments(file.path)]
        counted = [s.rows for s in segments]
        self._total = None if None in counted else sum(n or 0 for n in counted)
        self._all = units(segments, order.options.part_rows)
        self._units = sharded(self._all, order.shard)
        self._began = time.monotonic()
        self._rows = self._rejected = self._parts = self._resumed = 0

    def run(self, together: Together | None = None) -> ScoreReport | None:
        """All of this shard's units, and the report where no other shard's are missing."""
        records = done(self._output, self._plan, self._claim.tag)
        work = [found for unit in self._units if (found := self._left(unit, records)) is not None]
        self._order.tell(self._progress())  # also of a shard that has nothing left to do
        if work:
            answerers = self._answerers()
            # In this order: what scores ends before what it reads is closed under it.
            with (
                closing(pieces(self._files, work, self._intake.columns, self._intake.batch_rows)) as read,
                closing(scored(read, answerers, self._order.stopped)) as steps,
            ):
                self._write(steps, answerers[0].schema, records)
        if self._order.stopped():
            raise Stopped("it was stopped", remedy="Started again, it goes on from where it is.")
        mine = self._times()
        if together is not None:
            self._claim.check()
        told = [mine] if together is None else shards.tell_shard(self._output, together, mine)
        if told is None:
            return None  # the last one that tells reports
        if any(not self._is_done(unit, records) for unit in self._all):
            records = done(self._output, self._plan, self._claim.tag)  # other shards' too
            if any(not self._is_done(unit, records) for unit in self._all):
                return None
        report = collect(self._manifest, [r for unit in self._all for r in records[unit.number]], self._reference())
        seconds = max(one["ended"] for one in told) - min(one["began"] for one in told)
        resumed = round(sum(one["resumed"] for one in told))
        about: dict[str, Any] = {"model": self._order.model, "version": self._order.version, "run": self._order.run}
        about |= {"plan": self._plan, "tag": self._claim.tag, "resumed": resumed, "shards": len(told)}
        rate = sum(one["scored"] for one in told) / max(seconds, 1e-6)
        about |= {"seconds": round(seconds, 3), "rate": round(rate, 1)}
        commit(self._claim, report := report.model_copy(update=about))
        return report

    def _times(self) -> dict[str, float]:
        """What this process did, and when: by the wall's clock, which processes of several machines share."""
        ended = time.time()
        began = ended - (time.monotonic() - self._began)
        return {"began": began, "ended": ended, "resumed": self._resumed, "scored": self._rows - self._resumed}

    def _left(self, unit: Unit, records: dict[int, list[Record]]) -> tuple[Unit, Start] | None:
        found = records.get(unit.number, [])
        self._rows += sum(r.rows for r in found)
        self._rejected += sum(r.rejected for r in found)
        self._parts += len(found)
        self._resumed = self._rows
        if not found:
            return unit, Start()
        return None if found[-1].last else (unit, Start(found[-1].segment, found[-1].next))

    @staticmethod
    def _is_done(unit: Unit, records: dict[int, list[Record]]) -> bool:
        return bool(records.get(unit.number)) and records[unit.number][-1].last

    def _answerers(self) -> list[Answerer]:
        """One a thread; a model in Python, whose code may not bear several callers, has one, and a large one too."""
        threads = self._order.threads or len(os.sched_getaffinity(0))
        pa.set_cpu_count(threads)
        several = self._manifest.flavor in _LIGHT
        planes = [self._model.plane, *(load(self._order.package) for _ in range(threads - 1 if several else 0))]
        schema = output_schema(self._intake, self._model.example, self._model.rows, self._order.options.outputs)
        chosen = tuple(self._order.options.outputs) or tuple(self._model.example)
        reference = self._reference()
        return [Answerer(plane, self._intake, schema, chosen, reference) for plane in planes]

    def _reference(self) -> Reference | None:
        return Reference.of(self._order.package) if self._order.options.drift else None

    def _write(self, steps: Iterator[Step], schema: pa.Schema, records: dict[int, list[Record]]) -> None:
        part: Part | None = None
        told = time.monotonic()
        try:
            for step in steps:
                number = step.unit.number
                mine = records.setdefault(number, [])
                if part is not None and step.answered is not None and part.record.rows >= self._order.options.part_rows:
                    self._close(part, mine)
                    part = None
                if part is None:
                    part = Part(self._output, schema, Record(self._plan, number, len(mine), tag=self._claim.tag))
                if step.answered is None:
                    part.record.last = True
                    self._close(part, mine)
                    part = None
                    continue
                part.add(step.answered)
                part.record.segment, part.record.next = step.segment, step.next
                self._rows += step.answered.rows
                self._rejected += len(step.answered.rejects)
                self._bear(part, of=self._order.options.part_rows if self._total is None else self._total)
                if time.monotonic() - told > _TOLD_EVERY:
                    told = time.monotonic()
                    self._order.tell(self._progress())
        except StorageFull as error:
            raise StorageFull(
                f"{error.detail} after {self._rows:,} rows; the {self._parts} parts that are there are whole",
                remedy="Free disk space and score again to the same output: it goes on from them.",
            ) from error
        finally:
            if part is not None:
                part.abandon()
        self._order.tell(self._progress())

    def _close(self, part: Part, mine: list[Record]) -> None:
        self._bear(part, of=self._rows if self._total is None else self._total)
        self._claim.check()
        mine.append(record := part.close())
        self._claim.keep(record.paths)
        self._parts += 1

    def _bear(self, part: Part, of: int) -> None:
        """InvalidInput where a part has more rejects than are borne. `of`: rows of all, as far as they are known."""
        record, most = part.record, self._order.options.max_rejects
        if record.rejected > most * max(record.rows, min(self._order.options.part_rows, of)):
            first = max(record.reasons, key=lambda reason: record.reasons[reason], default="")
            raise InvalidInput(
                f"{record.rejected:,} of {record.rows:,} rows were rejected, more than {most:.2%}: {first}",
                remedy="Mend the data, or bear more: max_rejects=.",
            )

    def _progress(self) -> Progress:
        seconds = max(1e-6, time.monotonic() - self._began)
        return Progress(self._rows, self._rejected, self._total, self._parts, (self._rows - self._resumed) / seconds)


def _example(plane: DataPlane) -> tuple[dict[str, Any], int]:
    """What the model answers to its own example, and that one's rows. ModelFailed where it does not."""
    manifest = plane.manifest
    if manifest.signature.layout == "tensor":
        columns: dict[str, Any] = {manifest.signature.inputs[0].name: manifest.example}
    else:
        columns = {s.name: [row[s.name] for row in manifest.example] for s in manifest.signature.inputs}
    if not manifest.example:
        raise ModelFailed("the package has no example to try the model with", remedy="Publish it anew.")
    try:
        return plane.predict(columns), len(manifest.example)
    except InvalidInput as error:
        raise ModelFailed(f"the package's own example does not fit its signature: {error.detail}") from error

"""`yard.score`: a table scored by a published model, in a run of its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from modelyard import loop, sync, timetable, unattended
from modelyard.errors import InvalidInput, NotFound
from modelyard.submitting import Run
from modelyard.timetable import AsyncSchedule, Schedule, Times
from modelyard.tracking import Tracking
from modelyard.unattended import AsyncRun, Submission
from modelyard_api.locations import parse_s3
from modelyard_api.models import PackageManifest
from modelyard_api.runs import RunSpec
from modelyard_api.scoring import ModelRef, ScoreOptions, parse_model, placed

if TYPE_CHECKING:
    from modelyard.client import AsyncClient

_PASSED = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION")
"""Where an S3 store is, which is no secret, goes with the run; its keys do not."""


def score(
    model: str,
    data: str | Path,
    output: str | Path,
    *,
    keys: Sequence[str] | None = None,
    columns: Sequence[str] = (),
    outputs: Sequence[str] = (),
    format: str = "auto",
    sql: str = "",
    overwrite: bool = False,
    max_rejects: float = 1.0,
    part_rows: int = 1_000_000,
    shards: int = 1,
    schedule: str | None = None,
    **run: Any,
) -> Run | Schedule:
    """Score a table with a registered model, as its endpoint would, in a run of its own; a `Run` at once, whose
    `wait()` tells how far it is.

    `model`: `models:/churn/3`, `models:/churn@champion` or `models:/churn`, the newest. `data`: a file or folder of
    Parquet, CSV or Arrow, here or in S3 (`s3://bucket/key`, the store's address in AWS_ENDPOINT_URL); or a query, with
    `sql` the name of the variable that holds the database's URL (give it by `secrets=`). `output`: a folder for
    Parquet, here or in S3. `keys`: columns kept beside the answers; without, file and row. `columns`: for a model of
    arrays, those that make its rows. `outputs`: of the model's, all by default. `overwrite`: what an earlier scoring
    left there. `max_rejects`: the share of rows, 0 to 1, that may be rejected. `part_rows`: rows of one output file,
    about. `shards`: processes (pods, on Kubernetes) that share the rows, each of the run's size. `run`: as
    `yard.submit` takes them: profile, cpu, memory, secrets, environment, timeout, retries, priority,
    needs, name, owner, idempotency_key. `schedule`: a cron line, such as "30 2 * * *": a `Schedule` that scores at
    those times, with the version that the model then has; `run` then also as `yard.schedule` takes them: time_zone,
    catch_up, overlap, deadline, paused, description, and `on_files`: a folder or s3://bucket/key of which each new file
    is scored, as `data="{file}"`, with or without a cron line. `{date}`, `{time}` (UTC) and `{run}` in `data` and
    `output` are those of each run, `{stem}` is the new file's name without its ending.

    Rows that cannot be scored are in `_rejects` below the output; `_manifest.json` is written last. Scored again after
    a failure, to the same output, it goes on. NotFound, InvalidInput (a column that is missing), Conflict (the output
    is taken), Unsupported: before anything starts, where the data can be seen from here.
    """
    options = _options(
        keys=None if keys is None else tuple(keys),
        columns=tuple(columns),
        outputs=tuple(outputs),
        format=format,
        sql=sql,
        overwrite=overwrite,
        max_rejects=max_rejects,
        part_rows=part_rows,
    )
    table = Table(model, str(data), str(output), options, shards)
    if schedule is not None or run.get("on_files") is not None:
        times, submission = times_of(schedule, run)
        return Schedule(loop.run(put_schedule(sync.client(), table, times, submission)))
    return Run(loop.run(submit(sync.client(), table, submission_of(run))))


@dataclass(frozen=True)
class Table:
    """What is scored: the model's name, where the rows are, where the answers go, and how."""

    model: str
    data: str
    output: str
    options: ScoreOptions = field(default_factory=ScoreOptions)
    shards: int = 1


async def submit(client: AsyncClient, table: Table, submission: Submission) -> AsyncRun:
    """For `async` code; see `score`."""
    tracking = Tracking(client)
    wanted = await _wanted(client, table, submission)
    version = wanted.version or await tracking.version(wanted.name, wanted.alias)
    spec = await _spec(client, table, ModelRef(wanted.name, version), version, submission)
    return await unattended.post(client, spec, submission)


async def put_schedule(client: AsyncClient, table: Table, times: Times, submission: Submission) -> AsyncSchedule:
    """A schedule of such runs; each looks up which version the model then has."""
    own = any(name in table.output for name in ("{date}", "{time}", "{run}", "{stem}"))
    if not own and not table.options.overwrite:
        raise InvalidInput(
            f"all runs of the schedule would write to {table.output}",
            remedy="Put {date} or {run} into the output, or give overwrite=True.",
        )
    wanted = await _wanted(client, table, submission)
    version = wanted.version or await Tracking(client).version(wanted.name, wanted.alias)
    spec = await _spec(client, table, wanted, version, submission)
    return await timetable.put(client, spec, times, (submission.owner, f"score-{wanted.name.partition('.')[2]}"))


async def _wanted(client: AsyncClient, table: Table, submission: Submission) -> ModelRef:
    return parse_model(table.model, submission.owner or (await client.me()).owner)


async def _spec(client: AsyncClient, table: Table, model: ModelRef, version: str, submission: Submission) -> RunSpec:
    """The run, if nothing is wrong with it by what `version` of the model takes."""
    manifest = await Tracking(client).manifest(model.name, version)
    given = table.options.sql or "{file}" in table.data
    data = table.data if given else _place(client, table.data)
    output = _place(client, table.output)
    now = datetime.now(UTC)
    seen = data if given else placed(data, now, "run")
    if "{file}" not in table.data:
        await asyncio.to_thread(_look, client, (seen, placed(output, now, "run")), table.options, manifest)
    options = table.options.model_dump(mode="json", exclude_defaults=True)
    work = {"model": str(model), "data": data, "output": output, "options": options, "shards": table.shards}
    return submission.spec({"kind": "score", "score": work})


def _options(**given: Any) -> ScoreOptions:
    from pydantic import ValidationError

    try:
        return ScoreOptions(**given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        said = first["msg"].removeprefix("Value error, ")
        raise InvalidInput(f"{where}: {said}" if where else said) from None


def times_of(cron: str | None, run: Mapping[str, Any]) -> tuple[Times, Submission]:
    """When, and what of it is about the runs."""
    times = {name: value for name, value in run.items() if name in Times.__dataclass_fields__}
    files = times.get("on_files")
    if files is not None:  # one at a time, unless somebody knows better
        times["on_files"] = {"at_most": 1, **({"location": files} if isinstance(files, str) else files)}
    return Times(cron, **times), submission_of({name: value for name, value in run.items() if name not in times})


def submission_of(run: Mapping[str, Any]) -> Submission:
    """Fields of a run as a submission; InvalidInput names one that there is not."""
    unknown = sorted(set(run) - set(Submission.__dataclass_fields__) | set(run) & {"parameters", "files"})
    if unknown:
        raise InvalidInput(f"score has no argument {unknown[0]!r}", remedy="See help(yard.score).")
    passed = {name: os.environ[name] for name in _PASSED if os.environ.get(name)}
    return Submission(**{**run, "environment": passed | dict(run.get("environment") or {})})


def _place(client: AsyncClient, location: str) -> str:
    """A location that means the same to the run. InvalidInput for one that the run cannot reach."""
    if parse_s3(location) is not None:
        return location
    if client.connection.inner:
        raise InvalidInput(
            f"{location} is a folder of this notebook server, and a run is in a pod of its own",
            remedy="Use an S3 store: s3://bucket/key.",
        )
    plain = location.removeprefix("file://")
    return str(Path(plain).expanduser().absolute())


def _look(client: AsyncClient, places: tuple[str, str], options: ScoreOptions, manifest: PackageManifest) -> None:
    """What is wrong with the data and the output, where they can be seen from here."""
    data, output = places
    from modelyard.batch.scoring.engine import check_with

    beside = urlsplit(client.connection.url).hostname in ("127.0.0.1", "localhost", "::1")
    for place in (output, *(() if options.sql else (data,))):
        if not (beside if parse_s3(place) is None else bool(os.environ.get("AWS_ACCESS_KEY_ID"))):
            return
    try:
        check_with(data, output, options, manifest)
    except NotFound as error:
        raise NotFound(error.detail, remedy="The run would not find it either.") from None

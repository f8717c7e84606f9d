"""One attempt of a run that scores: the package fetched, the table scored, the run told how far it is."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import tempfile
import threading
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from modelyard import recorded
from modelyard.batch.order import Order as RunOrder
from modelyard.batch.report import STORAGE_FULL, Reporter
from modelyard.batch.scoring import shards, state
from modelyard.batch.scoring.engine import Order, Progress, score
from modelyard.batch.scoring.place import Place
from modelyard.batch.scoring.places import open_place
from modelyard.batch.scoring.state import Stopped
from modelyard.batch.track import Tracked, begin, finish
from modelyard.client import AsyncClient
from modelyard.errors import ModelyardError
from modelyard.tracking import Tracking
from modelyard_api.errors import Conflict, Forbidden, InvalidInput, ModelFailed, NotFound, StorageFull, Unsupported
from modelyard_api.runs import CANNOT_SCORE
from modelyard_api.scoring import ModelRef, ScoreOptions, ScoreReport, parse_model, placed
from modelyard_api.tasks import SHARD

_FINAL = (InvalidInput, NotFound, Conflict, Unsupported, Forbidden)
"""What a further attempt would meet again."""


def run(order: RunOrder, reporter: Reporter) -> int:
    """The exit code."""
    os.environ[recorded.RECORDS] = str(reporter.records)
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    tracked: Tracked | None = None
    status = "FAILED"
    try:
        with tempfile.TemporaryDirectory(prefix="package-") as folder:
            made, tracked = asyncio.run(_prepare(order, reporter, Path(folder), stopped))
            report = score(_order(order, made, Path(folder, made[1]), reporter, stopped))
        if order.run.spec.shards:
            reporter.progress(shards=1, shards_done=1)
        if report is not None:
            _record(report)
        print("this shard is done, others are not" if report is None else report.in_words(), flush=True)  # noqa: T201
        status = "FINISHED"
    except Stopped as error:
        reporter.fail("Stopped", str(error))
        status = "KILLED"
    except ModelyardError as error:
        reporter.fail(_reason(error), str(error))
    except ValidationError as error:
        reporter.fail(CANNOT_SCORE, f"score.options: {error.errors()[0]['loc']}: {error.errors()[0]['msg']}")
    if tracked is not None:
        reporter.write()
        asyncio.run(_close(order, reporter, tracked, status))
    return 0 if status == "FINISHED" else 1


def _reason(error: ModelyardError) -> str:
    if isinstance(error, StorageFull):
        return STORAGE_FULL
    if isinstance(error, ModelFailed):
        return "ModelFailed"
    return CANNOT_SCORE if isinstance(error, _FINAL) else type(error).__name__


async def _prepare(
    order: RunOrder, reporter: Reporter, folder: Path, stopped: threading.Event
) -> tuple[tuple[str, str], Tracked | None]:
    """The model's name and version, and MLflow's run; the package is in a folder of that version then."""
    work, run = order.run.spec.score, order.run
    assert work is not None, "the kind says so"
    wanted = parse_model(work.model, run.owner)
    overwrite = bool(work.options.get("overwrite"))
    index, of = _shard()
    together = shards.Together(index, of, run.id, order.attempt, overwrite, stopped.is_set) if of > 1 else None
    async with AsyncClient() as client:
        # Of shards the hub service tells MLflow, which sees how all of them end.
        begun = asyncio.create_task(_nobody() if run.spec.shards else begin(client, order))
        try:
            reporter.progress(last_output=f"fetching {wanted.name}")
            output = open_place(placed(work.output, run.due or run.created_at, run.id))
            version = await fetch(Tracking(client), wanted, folder, output, run.id, together)
        finally:
            tracked = await begun
        if tracked is not None:
            reporter.tracked(tracked.run.id)
    return (wanted.name, version), tracked


class Registry(Protocol):
    """What `fetch` asks of `Tracking`."""

    async def version(self, model: str, alias: str = "") -> str:
        """The newest version, or the one that an alias stands for."""

    async def download(self, model: str, version: str, folder: Path) -> object:
        """A version's package into a folder."""


async def fetch(
    tracking: Registry, wanted: ModelRef, folder: Path, output: Place, run: str, together: shards.Together | None
) -> str:
    """The version whose package is in the folder of its name below `folder` then. Which one is the newest, or what an
    alias stands for, is what the run's first attempt found, and of its shards the first one, whenever others begin."""
    before = None if wanted.version else await asyncio.to_thread(state.begun_with, output, run)
    version = str(wanted.version or before or await tracking.version(wanted.name, wanted.alias))
    # Before the first one has said so: all of them fetch at once, and seldom in vain.
    await _download(tracking, wanted.name, version, folder)
    if together is not None and not wanted.version:
        _, told = await asyncio.to_thread(shards.agreed, output, together)
        if told is not None and told["version"] != version:
            version = str(told["version"])
            await _download(tracking, wanted.name, version, folder)
    return version


async def _download(tracking: Registry, name: str, version: str, folder: Path) -> None:
    (folder / version).mkdir()
    await tracking.download(name, version, folder / version)


async def _nobody() -> None:
    return None


def _shard() -> tuple[int, int]:
    """Which of how many, as the runtime says."""
    index, _, shards = os.environ.get(SHARD, "0/1").partition("/")
    return int(index), int(shards)


async def _close(order: RunOrder, reporter: Reporter, tracked: Tracked, status: str) -> None:
    async with AsyncClient() as client:
        await finish(client, order, reporter, tracked, status)


def _order(
    order: RunOrder, model: tuple[str, str], package: Path, reporter: Reporter, stopped: threading.Event
) -> Order:
    work = order.run.spec.score
    assert work is not None, "the kind says so"

    def tell(progress: Progress) -> None:
        done = {"rows": progress.rows, "rejected": progress.rejected, "total": progress.total}
        reporter.progress(last_output=progress.in_words(), rate=round(progress.rate, 1), **done)
        print(progress.in_words(), flush=True)  # noqa: T201

    at = order.run.due or order.run.created_at
    return Order(
        data=work.data if work.options.get("sql") else placed(work.data, at, order.run.id),
        output=placed(work.output, at, order.run.id),
        package=package,
        model=model[0],
        version=model[1],
        options=ScoreOptions.model_validate(work.options),
        shard=_shard(),
        run=order.run.id,
        attempt=order.attempt,
        threads=_threads(order),
        tell=tell,
        stopped=stopped.is_set,
    )


def _threads(order: RunOrder) -> int:
    """As many as its size has processors: in a container all of the node's can be seen."""
    there = len(os.sched_getaffinity(0))
    resources = order.run.spec.resources
    return there if resources is None else max(1, min(there, math.ceil(resources.cpu)))


def _record(report: ScoreReport) -> None:
    """What is queryable over runs; all else is in the manifest."""
    for name in ("rows", "scored", "rejected", "rate", "seconds", "resumed", "version", "shards"):
        recorded.record(name, getattr(report, name))
    recorded.record("reasons", report.reasons)
    recorded.record("drift", report.indexes or report.drift_note)
    if report.indexes:
        recorded.record("drift_max", max(report.indexes.values()))

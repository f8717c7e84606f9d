"""One MLflow run for each attempt of a run: parameters and recorded numbers. A run goes on without, and the hub service
makes it at the end; so it does for shards.

Not the output notebook: whoever signed in reads MLflow, and what a run made is its owner's. A tag names the run.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from modelyard.batch.hidden import redactor
from modelyard.batch.order import Order
from modelyard.batch.report import Reporter
from modelyard.client import AsyncClient
from modelyard.errors import ModelyardError
from modelyard.tracking import TrackedRun, Tracking
from modelyard_api.tracked import TRACKED_ATTEMPT, TRACKED_RUN, numbers, text

_PATIENCE = 10.0
_LONGEST = 1000


@dataclass(frozen=True)
class Tracked:
    run: TrackedRun


async def begin(client: AsyncClient, order: Order) -> Tracked | None:
    """A run of the experiment `<owner>/<name>`; None while MLflow is away, which is said."""
    try:
        async with asyncio.timeout(_PATIENCE):
            tracking = Tracking(client)
            experiment = await tracking.experiment(f"{order.run.owner}/{order.run.spec.called}")
            # From its first moment on: by these the hub service finds it, which ends it where this process cannot.
            tags = {TRACKED_RUN: order.run.id, TRACKED_ATTEMPT: str(order.attempt)}
            return Tracked(await tracking.start(experiment, f"{order.run.spec.called} {order.run.id}", tags=tags))
    except (ModelyardError, TimeoutError) as error:
        print(f"MLflow is not told of this run: {error or 'no answer'}", flush=True)  # noqa: T201
        return None


async def finish(client: AsyncClient, order: Order, reporter: Reporter, tracked: Tracked, status: str) -> None:
    """What it was given, what it recorded, and how it ended: `status` is MLflow's word."""
    params = {text(k): text(v) for k, v in order.parameters.items()}
    tags = dict[str, str]()
    if reporter.reason:
        tags["modelyard.reason"] = reporter.reason
    if order.run.spec.score is not None and reporter.message:
        tags["modelyard.message"] = redactor().text(reporter.message)[:_LONGEST]
    if (work := order.run.spec.notebook) is not None:
        tags |= {"modelyard.notebook": work.path, "modelyard.snapshot": work.snapshot}
        if work.git is not None:
            tags |= {"mlflow.source.git.commit": work.git.commit, "modelyard.dirty": str(work.git.dirty)}
    try:
        async with asyncio.timeout(2 * _PATIENCE):
            await Tracking(client).complete(tracked.run, params, numbers(reporter.results), tags)
            await Tracking(client).finish(tracked.run, status)
    except (ModelyardError, TimeoutError) as error:
        print(f"MLflow is not told how it ended: {error or 'no answer'}", flush=True)  # noqa: T201

"""`/runs`: what is to be executed once, and how far it is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from fastapi.responses import HTMLResponse, StreamingResponse
from pydantic import StringConstraints

from modelyard_api.choices import Choice, choose
from modelyard_api.endpoints import Identity
from modelyard_api.errors import InvalidChoice, InvalidInput, NotFound, Unavailable
from modelyard_api.names import Label, owner_name
from modelyard_api.parameters import check
from modelyard_api.results import parse_result
from modelyard_api.runs import (
    NOTEBOOK,
    SNAPSHOT,
    Run,
    RunList,
    RunLog,
    RunSpec,
    RunState,
    RunWrite,
    attempt_folder,
    snapshot_folder,
    task_name,
)
from modelyard_api.tasks import RESULTS, shard_output
from modelyard_hub.api.problems import responses
from modelyard_hub.api.scorable import check_score
from modelyard_hub.auth import audience, owns, require_owner
from modelyard_hub.parts import ActorDep, Parts, PartsDep, Reader, Writer
from modelyard_hub.profiles import offered
from modelyard_hub.reconcile.reports import read_report
from modelyard_hub.render import POLICY, to_html
from modelyard_hub.runtimes.outputs import open_output, read_log
from modelyard_hub.store.run_rows import RunQuery

router = APIRouter(tags=["runs"], responses=responses(401, 403, 422, 503))
_ZIP: dict[int | str, dict[str, Any]] = {200: {"content": {"application/zip": {}}, "description": "The files."}}


@router.get("/runs", responses=responses(404), summary="Runs of the caller and of their groups, newest first")
async def list_runs(
    parts: PartsDep,
    identity: Reader,
    owner: Annotated[Label | None, Query(description="Only this owner's.")] = None,
    state: Annotated[list[RunState] | None, Query(description="Only in one of these states.")] = None,
    name: Annotated[
        str | None, Query(min_length=1, max_length=200, description="Only those that are called so.")
    ] = None,
    schedule: Annotated[str | None, Query(description="Only those of a schedule, <owner>/<name>.")] = None,
    group: Annotated[str | None, Query(description="Only members of this sweep or pipeline.")] = None,
    before: Annotated[str | None, Query(description="Only those older than this run.")] = None,
    result: Annotated[
        list[Annotated[str, StringConstraints(max_length=400)]] | None,
        Query(
            description="Only those that recorded such a result, each of these.", examples=["auc>0.9", "stage=final"]
        ),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> RunList:
    """Administrators see all. Results are those of attempts that have ended."""
    mine = audience(identity)
    owners = None if identity.admin else mine
    if owner is not None:
        owners = frozenset({owner}) if owners is None or owner in owners else frozenset()
    asked = [parse_result(one) for one in result or ()]
    query = RunQuery(owners, state, schedule, group, before, asked, limit, name)
    found = await parts.store.list_runs(query)
    return RunList(items=list(await asyncio.gather(*(_told(parts, run) for run in found))))


@router.post(
    "/runs",
    status_code=201,
    responses=responses(404, 409, 413, 507),
    summary="Submit a run",
)
async def post_run(body: RunWrite, parts: PartsDep, identity: Writer, actor: ActorDep, response: Response) -> Run:
    """Checked whole before it is queued; of two with one `idempotency_key` one is a run, and both are told of it."""
    owner = whose(identity, body.owner, "the run")
    if body.spec.takes_a_file:
        raise InvalidInput(
            "spec.score: it takes {file} or {stem}, which only new files of a schedule fill in",
            remedy="Name the data, or make a schedule that watches a folder: on_files.",
        )
    spec = await settle(parts, identity, owner, body.spec)
    run = await parts.store.submit_run(
        owner, spec, created_by=actor.who, idempotency_key=body.idempotency_key, source=actor.source
    )
    response.headers["Location"] = f"{parts.hub.root}/api/v1/runs/{run.id}"
    return run


@router.get("/runs/{run_id}", responses=responses(404), summary="One run")
async def get_run(run_id: str, parts: PartsDep, identity: Reader) -> Run:
    """With what its process told a few seconds ago."""
    return await _told(parts, await readable(parts, identity, run_id))


@router.delete("/runs/{run_id}", status_code=202, responses=responses(404, 409), summary="Cancel a run, or remove it")
async def cancel_run(
    run_id: str,
    parts: PartsDep,
    identity: Writer,
    actor: ActorDep,
    remove: Annotated[bool, Query(description="Not to cancel it, but to remove one that has ended, for good.")] = False,
) -> Run:
    """SIGTERM first; what it made so far is kept. Nothing changes of one that has ended, so that a cancel that comes
    late, or twice, costs no results. With `remove` the run is gone at once, and a little later its output and log."""
    run = await readable(parts, identity, run_id)
    require_owner(identity, run.owner, run.id)
    if remove:
        return await parts.store.removal.mark(run_id, actor)
    return await parts.store.cancel_run(run_id, actor)


@router.get("/runs/{run_id}/logs", responses=responses(404), summary="The last lines of a run's log")
async def get_logs(
    run_id: str,
    parts: PartsDep,
    identity: Reader,
    lines: Annotated[int, Query(ge=1, le=10_000)] = 200,
    attempt: Annotated[int | None, Query(ge=1, description="Left out: the last one.")] = None,
) -> RunLog:
    """Of one attempt: what its cells put out, and what was said about it."""
    run = await readable(parts, identity, run_id)
    number = attempt or run.status.attempt
    if number == run.status.attempt and not run.ended:
        with suppress(NotFound):
            found = await parts.runtime.logs(task_name(run.id, number), lines=lines)
            return RunLog(attempt=number, lines=_together(run, [log.lines for log in found], lines))
    if not number:
        return RunLog(attempt=0, lines=())
    place = _place(parts, run, number)
    places = [shard_output(place, index) for index in range(run.spec.shards)] or [place]
    logs = await asyncio.gather(*(read_log(open_output(one), lines) for one in places))
    return RunLog(attempt=number, lines=_together(run, logs, lines))


@router.get(
    "/runs/{run_id}/notebook",
    responses={200: {"content": {"application/x-ipynb+json": {}, "text/html": {}}}, **responses(404, 504)},
    response_class=Response,
    summary="The output notebook, as far as it is",
)
async def get_notebook(
    run_id: str,
    parts: PartsDep,
    identity: Reader,
    format: Annotated[Literal["ipynb", "html"], Query(description="html: as a page, sanitized.")] = "ipynb",
    attempt: Annotated[int | None, Query(ge=1, description="Left out: the last one.")] = None,
) -> Response:
    """While it runs, as it was a few seconds ago."""
    run = await readable(parts, identity, run_id)
    number = attempt or run.status.attempt
    place = _place(parts, run, number)
    found = await open_output(place).read(f"{RESULTS}/{NOTEBOOK}") if number else None
    if found is None:
        raise NotFound(f"run {run_id} has no output notebook yet", remedy="It has one once its first cell runs.")
    if format == "html":
        return HTMLResponse(await to_html(found), headers={"Content-Security-Policy": POLICY})
    return Response(found, media_type="application/x-ipynb+json")


@router.get("/runs/{run_id}/input", responses={**_ZIP, **responses(404)}, summary="The files that a run was given")
async def get_input(run_id: str, parts: PartsDep, identity: Reader) -> Response:
    """A zip archive, as it was uploaded."""
    run = await readable(parts, identity, run_id)
    if run.spec.notebook is not None:
        place = parts.artifacts.place(snapshot_folder(run.owner, run.spec.notebook.snapshot))
        about = await parts.artifacts.stat(place, SNAPSHOT)
        if about is not None:
            pieces = parts.artifacts.stream(place, SNAPSHOT)
            return StreamingResponse(pieces, headers={"Content-Length": str(about.size)}, media_type="application/zip")
    raise NotFound(f"run {run_id} has no files that were kept")


async def readable(parts: Parts, identity: Identity, run_id: str) -> Run:
    """The run, if the caller may see it; NotFound, as if it were not there."""
    run = (await parts.store.get_run(run_id)).run
    if not owns(identity, run.owner):
        raise NotFound(f"there is no run {run_id}")
    return run


async def _told(parts: Parts, run: Run) -> Run:
    """With its place in the queue, and what its process told meanwhile."""
    if run.status.state is RunState.queued:
        place = parts.queue.places.get(run.id)
        return run.model_copy(update={"status": run.status.model_copy(update={"place": place})})
    if run.status.state is not RunState.running:
        return run
    try:
        report = await read_report(_place(parts, run, run.status.attempt), run.spec.shards)
    except Unavailable:
        return run  # what is known without it is worth more than an error
    change = {"progress": report.progress, "results": report.results, "peak_memory": report.peak_memory,
              "mlflow_run_id": report.mlflow_run_id} if report is not None else {}  # fmt: skip
    return run.model_copy(update={"status": run.status.model_copy(update=change)})


def _together(run: Run, logs: Sequence[tuple[str, ...]], lines: int) -> tuple[str, ...]:
    """The lines of a log; of shards those of each, in turn, with its number."""
    if not run.spec.shards:
        return logs[0]
    each = max(1, lines // len(logs))
    return tuple(f"shard {index}: {line}" for index, log in enumerate(logs) for line in log[-each:])


def _place(parts: Parts, run: Run, attempt: int) -> str:
    return parts.artifacts.place(attempt_folder(run.owner, run.id, attempt))


async def settle(parts: Parts, identity: Identity, owner: str, spec: RunSpec) -> RunSpec:
    """The spec with its size filled in, if nothing is wrong with it: parameters, snapshot, model, needed runs, size.

    InvalidInput, InvalidChoice, NotFound."""
    if spec.notebook is not None:
        if spec.notebook.declared is not None:
            check(spec.notebook.declared, spec.parameters, frozenset(spec.results_of))
        place = parts.artifacts.place(snapshot_folder(owner, spec.notebook.snapshot))
        if await parts.artifacts.stat(place, SNAPSHOT) is None:
            raise InvalidInput(
                f"spec.notebook.snapshot: {owner!r} has no snapshot {spec.notebook.snapshot}",
                remedy="Upload it first: PUT /snapshots/{digest}.",
            )
        await parts.kernels.check(spec)
    if spec.score is not None:
        await check_score(parts.registry, owner, spec.score)
    await _check_secrets(parts, identity, owner, spec)
    needed = await parts.store.runs_by_id(spec.needs)
    for run_id in spec.needs:
        if run_id not in needed or not owns(identity, needed[run_id].owner):
            raise InvalidInput(f"spec.needs: there is no run {run_id}")
    return await asyncio.to_thread(_sized, parts, identity, spec)


async def _check_secrets(parts: Parts, identity: Identity, owner: str, spec: RunSpec) -> None:
    """Administrators too give only secrets of their own, or of their groups: a run can be made to tell them."""
    for use in spec.secrets:
        whose, name = use.key(owner)
        try:
            if whose not in audience(identity):
                raise NotFound(f"there is no secret {whose}/{name} that you may give to a run")
            await parts.store.secrets.get(whose, name)
        except NotFound as error:
            raise InvalidInput(f"spec.secrets: {error.detail}", remedy=error.remedy) from error


def _sized(parts: Parts, identity: Identity, spec: RunSpec) -> RunSpec:
    catalogue = offered(parts.settings)
    # An identity has groups as owners.
    groups = {g for p in catalogue.profiles for g in p.groups if owner_name(g) in identity.groups}
    if spec.resources is None:
        sizes = choose(catalogue, Choice(profile=spec.profile, shm=spec.shm), groups)
        return spec.model_copy(update={"profile": sizes.profile, "resources": sizes.resources, "shm": sizes.shm})
    if spec.profile:
        catalogue.find(spec.profile, groups)
    seen = catalogue.visible(groups)
    for field, asked in (("cpu", spec.resources.cpu), ("memory", spec.resources.memory), ("gpus", spec.resources.gpu)):
        most = max((bound.max for p in seen if (bound := p.bound(field)) is not None), default=0)
        if asked > most:
            raise InvalidChoice(
                f"spec.resources: {asked:g} is more {field} than any profile allows ({most:g})",
                remedy="Ask for less.",
                field=field,
            )
    return spec


def whose(identity: Identity, owner: str | None, what: str) -> str:
    """`owner`, or the caller where it is left out; Forbidden for somebody else."""
    found = owner or identity.owner
    require_owner(identity, found, what)
    return found

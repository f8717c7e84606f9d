"""`/schedules`: cron lines that create runs."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from modelyard_api.endpoints import Identity
from modelyard_api.errors import InvalidInput, NotFound, Unauthenticated
from modelyard_api.names import Label, registered_model
from modelyard_api.parameters import check
from modelyard_api.runs import Run
from modelyard_api.schedules import (
    SHOWN,
    Due,
    Hook,
    Schedule,
    ScheduleList,
    ScheduleSpec,
    ScheduleWrite,
    Started,
    StartNow,
)
from modelyard_hub import cron
from modelyard_hub.api.conditional import IfMatch, IfNoneMatch, creates, entity_tag, require_match
from modelyard_hub.api.problems import responses
from modelyard_hub.api.runs import settle
from modelyard_hub.api.triggered import triggered
from modelyard_hub.auth import audience, owns, require_owner
from modelyard_hub.parts import ActorDep, Parts, PartsDep, Reader, Writer, client_address
from modelyard_hub.reconcile.file_triggers import filled

_HOOK = "modelyard-hook"
_A_FILE = "/folder/file.parquet"
"""Stands for a file that is yet to come, so that what is made of it can be checked."""
_HOOK_LIFETIME = 10 * 365 * 86400
router = APIRouter(prefix="/schedules", tags=["schedules"], responses=responses(401, 403, 422, 503))


@router.get("", summary="Schedules of the caller and of their groups")
async def list_schedules(
    parts: PartsDep, identity: Reader, owner: Annotated[Label | None, Query(description="Only this owner's.")] = None
) -> ScheduleList:
    """Administrators see all."""
    found = await parts.store.schedules.list(None if identity.admin else audience(identity))
    return ScheduleList(items=tuple(_shown(s) for s in found if owner is None or s.owner == owner))


@router.get("/due", summary="What a cron line says, and when it is due")
async def get_due(
    identity: Reader,
    line: Annotated[str, Query(alias="cron", min_length=1, max_length=200)],
    time_zone: Annotated[str, Query(min_length=1, max_length=64)] = "UTC",
) -> Due:
    """Before it is written. 422 names the `field` that is wrong, `cron` or `time_zone`."""
    cron.check(line, time_zone)
    return Due(cron=line, time_zone=time_zone, words=cron.words(line), next=_next(line, time_zone))


@router.get("/{owner}/{name}", responses=responses(404), summary="One schedule")
async def get_schedule(owner: Label, name: Label, parts: PartsDep, identity: Reader, response: Response) -> Schedule:
    """With its next five times, and the latest due times that have no run, and why."""
    return _tagged(await _readable(parts, identity, owner, name), response)


@router.put(
    "/{owner}/{name}",
    responses={201: {"model": Schedule, "description": "Created"}, **responses(404, 409, 412, 413, 428, 507)},
    summary="Create a schedule, or replace what it says",
)
async def put_schedule(
    owner: Label,
    name: Label,
    body: ScheduleWrite,
    parts: PartsDep,
    identity: Writer,
    actor: ActorDep,
    response: Response,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Schedule:
    """`If-None-Match: *` creates (409 when it exists), `If-Match` replaces. Its runs run as whoever wrote it last."""
    require_owner(identity, owner, name)
    if body.spec.cron is not None:
        cron.check(body.spec.cron, body.spec.time_zone)
    spec = await _settled(parts, identity, owner, body.spec)
    if creates(if_match, if_none_match):
        made = await parts.store.schedules.create(owner, name, spec, actor)
        response.status_code = 201
        response.headers["Location"] = f"{parts.hub.root}/api/v1/schedules/{owner}/{name}"
        return _tagged(made, response)
    before = await parts.store.schedules.get(owner, name)
    require_match(if_match, entity_tag(before.generation))
    return _tagged(await parts.store.schedules.write(owner, name, spec, before.generation, actor), response)


@router.delete("/{owner}/{name}", status_code=204, responses=responses(404), summary="Forget a schedule")
async def delete_schedule(owner: Label, name: Label, parts: PartsDep, identity: Writer, actor: ActorDep) -> None:
    """Runs that it started go on, and stay."""
    require_owner(identity, owner, name)
    await parts.store.schedules.remove(owner, name, actor)


@router.post("/{owner}/{name}/pause", responses=responses(404), summary="Start nothing until it is resumed")
async def pause_schedule(
    owner: Label, name: Label, parts: PartsDep, identity: Writer, actor: ActorDep, response: Response
) -> Schedule:
    """Runs that have started go on. Once more is fine."""
    require_owner(identity, owner, name)
    return _tagged(await parts.store.schedules.pause(owner, name, True, actor), response)


@router.post("/{owner}/{name}/resume", responses=responses(404), summary="Go on after a pause")
async def resume_schedule(
    owner: Label, name: Label, parts: PartsDep, identity: Writer, actor: ActorDep, response: Response
) -> Schedule:
    """What was due in the pause is not caught up. Its runs run as before, whoever resumes it."""
    require_owner(identity, owner, name)
    return _tagged(await parts.store.schedules.pause(owner, name, False, actor), response)


@router.post("/{owner}/{name}/start", status_code=201, responses=responses(404, 409), summary="A run now")
async def start_schedule(
    owner: Label, name: Label, body: StartNow, parts: PartsDep, identity: Writer, actor: ActorDep
) -> Run:
    """Besides its due times, also while it is paused. 409 where runs may not overlap and one has not ended."""
    require_owner(identity, owner, name)
    return await _start(parts, await parts.store.schedules.get(owner, name), body, actor.source)


@router.post("/{owner}/{name}/hook", responses=responses(404), summary="A URL that starts a run")
async def make_hook(owner: Label, name: Label, parts: PartsDep, identity: Writer, actor: ActorDep) -> Hook:
    """For whoever cannot sign in, such as another program's webhook. It works until the schedule is deleted."""
    require_owner(identity, owner, name)
    schedule = await parts.store.schedules.get(owner, name)
    token = parts.signer.seal(_HOOK, _HOOK_LIFETIME, {"key": schedule.key, "made": schedule.created_at.isoformat()})
    await parts.store.audit(actor, "schedule.hook", f"schedule/{owner}/{name}")
    return Hook(url=f"{parts.settings.base_url}{parts.hub.root}/api/v1/hooks/{token}")


hooks = APIRouter(prefix="/hooks", tags=["schedules"], responses=responses(401, 409, 422, 503))


@hooks.post("/{token}", status_code=202, summary="Start a run, by a URL alone")
async def call_hook(
    token: str,
    request: Request,
    parts: PartsDep,
    idempotency_key: Annotated[str | None, Header(max_length=150, description="Of two with one, one is a run.")] = None,
) -> Started:
    """The body is not looked at. 409 where runs may not overlap and one has not ended."""
    members = parts.signer.unseal(_HOOK, token)
    try:
        schedule = await parts.store.schedules.get(*str(members["key"]).split("/"))
    except NotFound:
        raise Unauthenticated("the schedule of this URL is gone") from None
    if schedule.created_at.isoformat() != members["made"]:
        raise Unauthenticated("this URL is of an earlier schedule of that name")
    wanted = StartNow(idempotency_key=idempotency_key or None)
    return Started(run=(await _start(parts, schedule, wanted, client_address(request))).id)


async def _start(parts: Parts, schedule: Schedule, wanted: StartNow, source: str) -> Run:
    base = schedule.spec.run
    if base.takes_a_file:
        raise InvalidInput(
            f"the schedule {schedule.key} scores a file that comes, and there is none",
            remedy="Put a file into the folder that it watches, or score one with yard.score.",
        )
    spec = base.model_copy(update={"parameters": {**base.parameters, **wanted.parameters}})
    if spec.notebook is not None and spec.notebook.declared is not None:
        check(spec.notebook.declared, spec.parameters)
    return await parts.store.schedules.start_now(schedule, spec, wanted.idempotency_key, source)


async def _settled(parts: Parts, identity: Identity, owner: str, spec: ScheduleSpec) -> ScheduleSpec:
    """With the run's size filled in, as when it is submitted; what is wrong with it is said of `spec.run`."""
    try:
        sample, score = spec.run, spec.run.score
        if spec.on_files is not None and score is not None:
            sample = sample.model_copy(
                update={"score": score.model_copy(update=filled(sample, _A_FILE, spec.on_files.location))}
            )
        run = (await settle(parts, identity, owner, sample)).model_copy(update={"score": score})
        settled = await _since(parts, owner, spec.model_copy(update={"run": run}))
    except InvalidInput as error:
        if error.detail.startswith("spec."):
            error.detail = f"spec.run.{error.detail.removeprefix('spec.')}"
        raise
    return await triggered(parts, identity, owner, settled)


async def _since(parts: Parts, owner: str, spec: ScheduleSpec) -> ScheduleSpec:
    """With the newest version that is not new; the owner is added to a model's name that has none."""
    if spec.on_version is None:
        return spec
    model = registered_model(owner, spec.on_version)
    if spec.version_parameter is not None and spec.run.notebook is not None and spec.run.notebook.declared is not None:
        check(spec.run.notebook.declared, {**spec.run.parameters, spec.version_parameter: 1})
    since = await parts.registry.newest(model) if spec.since_version is None else spec.since_version
    return spec.model_copy(update={"on_version": model, "since_version": since})


async def _readable(parts: Parts, identity: Identity, owner: str, name: str) -> Schedule:
    if not owns(identity, owner):
        raise NotFound(f"there is no schedule {owner}/{name}")
    return await parts.store.schedules.get(owner, name)


def _shown(schedule: Schedule) -> Schedule:
    """With what it says in words, and its next times."""
    spec = schedule.spec
    if spec.cron is None:
        return schedule
    try:
        times = () if spec.paused else _next(spec.cron, spec.time_zone)
    except InvalidInput:  # a zone that the data has no more
        times = ()
    status = schedule.status.model_copy(update={"next": times, "words": cron.words(spec.cron)})
    return schedule.model_copy(update={"status": status})


def _next(line: str, time_zone: str) -> tuple[datetime, ...]:
    zone = cron.place(time_zone)
    times = islice(cron.due_after(line, time_zone, datetime.now(UTC)), SHOWN)
    return tuple(time.astimezone(zone) for time in times)


def _tagged(schedule: Schedule, response: Response) -> Schedule:
    response.headers["ETag"] = schedule.etag
    return _shown(schedule)

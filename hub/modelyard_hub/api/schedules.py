"""`/schedules`: cron lines that create runs."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Query, Response

from modelyard_api.endpoints import Identity
from modelyard_api.errors import InvalidInput, NotFound, PreconditionRequired
from modelyard_api.names import Label
from modelyard_api.schedules import SHOWN, Schedule, ScheduleList, ScheduleSpec, ScheduleWrite
from modelyard_hub import cron
from modelyard_hub.api.conditional import ANY, require_match
from modelyard_hub.api.endpoints import IfMatch, IfNoneMatch
from modelyard_hub.api.problems import responses
from modelyard_hub.api.runs import settle
from modelyard_hub.auth import audience, owns, require_owner
from modelyard_hub.parts import ActorDep, Parts, PartsDep, Reader, Writer

router = APIRouter(prefix="/schedules", tags=["schedules"], responses=responses(401, 403, 422, 503))


@router.get("", summary="Schedules of the caller and of their groups")
async def list_schedules(
    parts: PartsDep, identity: Reader, owner: Annotated[Label | None, Query(description="Only this owner's.")] = None
) -> ScheduleList:
    """Administrators see all."""
    found = await parts.store.schedules.list(None if identity.admin else audience(identity))
    return ScheduleList(items=tuple(_shown(s) for s in found if owner is None or s.owner == owner))


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
    cron.check(body.spec.cron, body.spec.time_zone)
    spec = await _settled(parts, identity, owner, body.spec)
    if if_none_match is not None and if_none_match.strip() == ANY:
        made = await parts.store.schedules.create(owner, name, spec, actor)
        response.status_code = 201
        response.headers["Location"] = f"{parts.hub.root}/api/v1/schedules/{owner}/{name}"
        return _tagged(made, response)
    if if_match is None:
        raise PreconditionRequired("a write needs If-Match, or If-None-Match: * to create")
    before = await parts.store.schedules.get(owner, name)
    require_match(if_match, before.generation)
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


async def _settled(parts: Parts, identity: Identity, owner: str, spec: ScheduleSpec) -> ScheduleSpec:
    """With the run's size filled in, as when it is submitted; what is wrong with it is said of `spec.run`."""
    try:
        return spec.model_copy(update={"run": await settle(parts, identity, owner, spec.run)})
    except InvalidInput as error:
        if error.detail.startswith("spec."):
            error.detail = f"spec.run.{error.detail.removeprefix('spec.')}"
        raise


async def _readable(parts: Parts, identity: Identity, owner: str, name: str) -> Schedule:
    if not owns(identity, owner):
        raise NotFound(f"there is no schedule {owner}/{name}")
    return await parts.store.schedules.get(owner, name)


def _shown(schedule: Schedule) -> Schedule:
    """With its next times."""
    if schedule.spec.paused:
        return schedule
    try:
        after = datetime.now(UTC)
        times = tuple(islice(cron.due_after(schedule.spec.cron, schedule.spec.time_zone, after), SHOWN))
    except InvalidInput:  # a zone that the data has no more
        times = ()
    zone = cron.place(schedule.spec.time_zone) if times else UTC
    status = schedule.status.model_copy(update={"next": tuple(time.astimezone(zone) for time in times)})
    return schedule.model_copy(update={"status": status})


def _tagged(schedule: Schedule, response: Response) -> Schedule:
    response.headers["ETag"] = schedule.etag
    return _shown(schedule)

"""`/groups`: sweeps and pipelines, whose runs are queued together."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import Annotated

from fastapi import APIRouter, Query, Response

from modelyard_api.endpoints import Identity
from modelyard_api.errors import InvalidInput, NotFound
from modelyard_api.groups import Group, GroupList, GroupWrite, MemberWrite
from modelyard_api.parameters import check
from modelyard_api.runs import RunSpec
from modelyard_hub.api.problems import responses
from modelyard_hub.api.runs import settle
from modelyard_hub.auth import audience, owns, require_owner
from modelyard_hub.parts import ActorDep, Parts, PartsDep, Reader, Writer
from modelyard_hub.store.group_store import Planned

router = APIRouter(prefix="/groups", tags=["groups"], responses=responses(401, 403, 422, 503))


@router.get("", summary="Sweeps and pipelines of the caller and of their groups, newest first")
async def list_groups(
    parts: PartsDep, identity: Reader, limit: Annotated[int, Query(ge=1, le=1000)] = 200
) -> GroupList:
    """Without their members. Administrators see all."""
    return GroupList(items=await parts.store.groups.list(None if identity.admin else audience(identity), limit))


@router.post("", status_code=201, responses=responses(409, 413, 507), summary="Submit a sweep or a pipeline")
async def post_group(body: GroupWrite, parts: PartsDep, identity: Writer, actor: ActorDep, response: Response) -> Group:
    """Checked whole before anything is queued: parameters of each member, names, cycles."""
    owner = body.owner or identity.owner
    require_owner(identity, owner, "the group")
    ordered = in_order(body.members)
    bases = await _settled(parts, identity, owner, body)
    members = [_planned(one, bases[one.member]) for one in ordered]
    made = await parts.store.groups.create(owner, body, members, actor)
    response.headers["Location"] = f"{parts.hub.root}/api/v1/groups/{made.id}"
    return made


@router.get("/{group_id}", responses=responses(404), summary="One sweep or pipeline")
async def get_group(group_id: str, parts: PartsDep, identity: Reader) -> Group:
    """With the newest run of each member: its parameters, its results, its state."""
    return await readable(parts, identity, group_id)


@router.delete("/{group_id}", status_code=202, responses=responses(404), summary="Cancel a sweep or a pipeline")
async def cancel_group(group_id: str, parts: PartsDep, identity: Writer, actor: ActorDep) -> Group:
    """Members that have ended stay as they are."""
    group = await readable(parts, identity, group_id)
    require_owner(identity, group.owner, group.id)
    return await parts.store.groups.cancel(group_id, actor)


@router.post("/{group_id}/rerun", responses=responses(404, 409), summary="Run again what has not succeeded")
async def rerun_group(group_id: str, parts: PartsDep, identity: Writer, actor: ActorDep) -> Group:
    """Members that have succeeded are not run again; those that need them get their results."""
    group = await readable(parts, identity, group_id)
    require_owner(identity, group.owner, group.id)
    return await parts.store.groups.rerun(group_id, actor)


async def readable(parts: Parts, identity: Identity, group_id: str) -> Group:
    """The group, if the caller may see it; NotFound, as if it were not there."""
    group = await parts.store.groups.get(group_id)
    if not owns(identity, group.owner):
        raise NotFound(f"there is no group {group_id}")
    return group


def in_order(members: tuple[MemberWrite, ...]) -> list[MemberWrite]:
    """Each after those that it needs, else as given; InvalidInput where they need each other in a circle."""
    places = {one.member: place for place, one in enumerate(members)}
    sorter = TopologicalSorter({one.member: one.all_needs for one in members})
    try:
        sorter.prepare()
    except CycleError as error:
        circle = " → ".join(reversed(error.args[1]))
        raise InvalidInput(f"members: they need each other in a circle: {circle}", remedy="Leave one out.") from error
    found: list[MemberWrite] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=places.__getitem__)
        found += [members[places[name]] for name in ready]
        sorter.done(*ready)
    return found


async def _settled(parts: Parts, identity: Identity, owner: str, body: GroupWrite) -> dict[str, RunSpec]:
    """What each member runs, with its size filled in. What many share is looked at once."""
    shared: RunSpec | None = None
    found = {}
    for one in body.members:
        if one.spec is None and shared is not None:
            found[one.member] = shared
            continue
        spec = one.spec or body.run
        assert spec is not None, "the body was checked"
        # Parameters are checked with those of the member.
        settled = await settle(parts, identity, owner, spec.model_copy(update={"parameters": {}}))
        found[one.member] = settled.model_copy(update={"parameters": spec.parameters})
        if one.spec is None:
            shared = found[one.member]
    return found


def _planned(one: MemberWrite, base: RunSpec) -> Planned:
    spec = base.model_copy(update={"parameters": {**base.parameters, **one.parameters}})
    if spec.notebook is not None and spec.notebook.declared is not None:
        try:
            check(spec.notebook.declared, spec.parameters, frozenset(one.results_of))
        except InvalidInput as error:
            error.args = (f"member {one.member!r}: {error.detail}",)
            error.detail = str(error.args[0])
            raise
    sources = {name: (source.member, source.result) for name, source in one.results_of.items()}
    return Planned(one.member, spec, one.all_needs, sources)

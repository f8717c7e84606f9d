"""`/endpoints`: desired state in, desired and observed state out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Response
from pydantic import ValidationError

from modelyard_api.endpoints import Endpoint, EndpointList, EndpointSpec, EndpointWrite, Identity
from modelyard_api.errors import Conflict, InvalidInput, NotFound
from modelyard_api.names import Label
from modelyard_hub.api.conditional import IfMatch, IfNoneMatch, creates, entity_tag, merge_patch, require_match
from modelyard_hub.api.problems import responses, validation_error
from modelyard_hub.auth import audience, require_owner, require_reader
from modelyard_hub.parts import ActorDep, Parts, PartsDep, Reader, Writer
from modelyard_hub.runtimes.base import Package
from modelyard_hub.store.records import Actor, StoredEndpoint

router = APIRouter(prefix="/endpoints", tags=["endpoints"], responses=responses(401, 403, 422, 503))
_PATCH = Body(
    media_type="application/merge-patch+json",
    description="RFC 7396: what is given replaces, null resets to the default, lists are replaced whole.",
    examples=[{"spec": {"traffic": [{"revision": 1, "percent": 90}, {"revision": 2, "percent": 10}]}}],
)


@router.get("", summary="Endpoints of the caller, of their groups, and shared with these")
async def list_endpoints(
    parts: PartsDep, identity: Reader, owner: Annotated[Label | None, Query(description="Only this owner's.")] = None
) -> EndpointList:
    """Administrators see all."""
    mine = audience(identity)
    found = await parts.store.list(None if identity.admin else mine, mine)
    return EndpointList(items=[r.endpoint for r in found if owner is None or r.endpoint.owner == owner])


@router.get("/{owner}/{name}", responses=responses(404), summary="One endpoint")
async def get_endpoint(owner: Label, name: Label, parts: PartsDep, identity: Reader, response: Response) -> Endpoint:
    """`ETag` speaks of the desired state only, so it does not change with the status."""
    return _tagged((await readable(parts, identity, owner, name)).endpoint, response)


@router.put(
    "/{owner}/{name}",
    responses={201: {"model": Endpoint, "description": "Created"}, **responses(404, 409, 412, 413, 428, 507)},
    summary="Create an endpoint, or replace its desired state",
)
async def put_endpoint(
    owner: Label,
    name: Label,
    body: EndpointWrite,
    parts: PartsDep,
    identity: Writer,
    actor: ActorDep,
    response: Response,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Endpoint:
    """`If-None-Match: *` creates (409 when it exists), `If-Match` replaces. Answers before anything runs."""
    require_owner(identity, owner, name)
    if creates(if_match, if_none_match):
        created = await _create(parts, identity, (owner, name), body.spec, actor)
        response.status_code = 201
        response.headers["Location"] = f"{parts.hub.root}/api/v1/endpoints/{owner}/{name}"
        return _tagged(created.endpoint, response)
    before = await readable(parts, identity, owner, name)
    require_match(if_match, entity_tag(before.endpoint.generation))
    return _tagged((await _write(parts, before, body.spec, actor)).endpoint, response)


@router.patch("/{owner}/{name}", responses=responses(404, 409, 412, 413, 428, 507), summary="Merge into the spec")
async def patch_endpoint(
    owner: Label,
    name: Label,
    patch: Annotated[dict[str, Any], _PATCH],
    parts: PartsDep,
    identity: Writer,
    actor: ActorDep,
    response: Response,
    if_match: IfMatch = None,
) -> Endpoint:
    """The merged spec obeys the same rules as a replaced one."""
    before = await changeable(parts, identity, owner, name)
    require_match(if_match, entity_tag(before.endpoint.generation))
    document = merge_patch({"spec": before.endpoint.spec.model_dump(mode="json")}, patch)
    try:
        spec = EndpointWrite.model_validate(document).spec
    except ValidationError as error:
        raise validation_error([{**e, "loc": ("body", *e["loc"])} for e in error.errors()]) from error
    return _tagged((await _write(parts, before, spec, actor)).endpoint, response)


@router.delete("/{owner}/{name}", status_code=202, responses=responses(404, 412, 428), summary="Stop and forget")
async def delete_endpoint(
    owner: Label,
    name: Label,
    parts: PartsDep,
    identity: Writer,
    actor: ActorDep,
    response: Response,
    if_match: IfMatch = None,
) -> Endpoint:
    """Desired: gone. It shows `deleting` until nothing of it runs, then it is not found."""
    before = await changeable(parts, identity, owner, name)
    require_match(if_match, entity_tag(before.endpoint.generation))
    after = await parts.store.mark_deleting(owner, name, before.endpoint.generation, actor)
    return _tagged(after.endpoint, response)


@router.post("/{owner}/{name}/rollback", responses=responses(404, 409, 412), summary="Back to the last stable revision")
async def roll_back(
    owner: Label,
    name: Label,
    parts: PartsDep,
    identity: Writer,
    actor: ActorDep,
    response: Response,
    if_match: IfMatch = None,
) -> Endpoint:
    """All traffic to the revision that last had all of it before now; 409 says why there is none."""
    before = await changeable(parts, identity, owner, name)
    expected = None
    if if_match is not None:
        require_match(if_match, entity_tag(before.endpoint.generation))
        expected = before.endpoint.generation
    return _tagged((await parts.store.rollback(owner, name, actor, expected)).endpoint, response)


async def readable(parts: Parts, identity: Identity, owner: str, name: str) -> StoredEndpoint:
    """The endpoint, if the caller may see it; NotFound."""
    record = await parts.store.get(owner, name)
    require_reader(identity, record.endpoint)
    return record


async def changeable(parts: Parts, identity: Identity, owner: str, name: str) -> StoredEndpoint:
    """The endpoint, if the caller may change it; NotFound when they may not even see it, else Forbidden."""
    record = await readable(parts, identity, owner, name)
    require_owner(identity, owner, name)
    return record


async def _create(
    parts: Parts, identity: Identity, key: tuple[str, str], spec: EndpointSpec, actor: Actor
) -> StoredEndpoint:
    try:
        await parts.store.get(*key)  # said before the registry is asked: it is the more useful answer
    except NotFound:
        if spec.shared_with is None:
            spec = spec.model_copy(update={"shared_with": identity.groups})
        packages = await _packages(parts, spec, {})
        return await parts.store.create(*key, spec, packages, actor)
    return await parts.store.create(*key, spec, {}, actor)


async def _write(parts: Parts, before: StoredEndpoint, spec: EndpointSpec, actor: Actor) -> StoredEndpoint:
    if spec.shared_with is None:
        spec = spec.model_copy(update={"shared_with": before.endpoint.spec.shared_with})
    _refuse_routed_removal(before.endpoint, spec)
    packages = await _packages(parts, spec, before.packages)
    return await parts.store.write_spec(*before.key, spec, before.endpoint.generation, actor, packages)


async def _packages(parts: Parts, spec: EndpointSpec, known: Mapping[int, Package]) -> dict[int, Package]:
    """The packages of the revisions that are new, looked up in the registry."""
    new = [(i, r) for i, r in enumerate(spec.revisions) if r.number not in known]
    for position, revision in new:
        for variable, value in revision.environment.items():
            if "\0" in value:
                raise InvalidInput(f"spec.revisions.{position}.environment.{variable}: a value cannot hold NUL")
    found = await asyncio.gather(*(parts.registry.resolve(r.model, r.version) for _, r in new))
    return {revision.number: package for (_, revision), package in zip(new, found, strict=True)}


def _refuse_routed_removal(endpoint: Endpoint, spec: EndpointSpec) -> None:
    """The router may still send calls to a revision whose desired share is zero already."""
    for status in endpoint.status.revisions:
        if status.percent > 0 and spec.revision(status.number) is None and endpoint.spec.revision(status.number):
            raise Conflict(
                f"revision {status.number} still gets {status.percent} % of the calls",
                remedy="Wait until the new traffic is applied, then remove it.",
            )


def _tagged(endpoint: Endpoint, response: Response) -> Endpoint:
    response.headers["ETag"] = endpoint.etag
    return endpoint

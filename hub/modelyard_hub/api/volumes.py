"""`/volumes` and `/trash`: disks of notebook servers, their snapshots, and what was put away."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Response
from pydantic import ValidationError

from modelyard_api.endpoints import Identity
from modelyard_api.names import Label
from modelyard_api.volumes import (
    RecoverOrder,
    RestoreOrder,
    Snapshot,
    SnapshotList,
    Usage,
    Volume,
    VolumeCreate,
    VolumeList,
    VolumeSpec,
)
from modelyard_hub.api.conditional import IfMatch, merge_patch, require_match
from modelyard_hub.api.problems import responses, validation_error
from modelyard_hub.parts import ActorDep, Parts, PartsDep, Reader, Writer

router = APIRouter(tags=["volumes"], responses=responses(401, 403, 422, 503))
_PATCH = Body(
    media_type="application/merge-patch+json",
    description="RFC 7396: what is given replaces, null takes away.",
    examples=[{"spec": {"size": "20Gi"}}, {"spec": {"snapshots": {"every_hours": 24, "keep": 7}}}],
)


@router.get("/volumes", summary="Volumes of the caller, of their groups, and shared with these")
async def list_volumes(parts: PartsDep, identity: Reader) -> VolumeList:
    """Administrators see all. What is in the trash is not among them."""
    return VolumeList(
        items=tuple(await parts.shelf.seen(identity)), snapshots_missing=await parts.shelf.disks.no_snapshots()
    )


@router.post("/volumes", status_code=201, responses=responses(404, 409), summary="A further volume")
async def create_volume(
    body: VolumeCreate, parts: PartsDep, identity: Writer, actor: ActorDep, response: Response
) -> Volume:
    """Its server has it from the next start on. With `snapshot`, it has that one's files."""
    made = await parts.shelf.create(identity, body)
    await parts.store.audit(actor, "volume.create", f"volume/{made.owner}/{made.name}", {"size": made.spec.size})
    response.headers["Location"] = f"{parts.hub.root}/api/v1/volumes/{made.owner}/{made.name}"
    return _tagged(made, response)


@router.get("/volumes/{owner}/{name}", responses=responses(404), summary="One volume")
async def get_volume(owner: Label, name: Label, parts: PartsDep, identity: Reader, response: Response) -> Volume:
    """`ETag` speaks of what is wanted only, so it does not change with the status."""
    return _tagged(await parts.shelf.get(identity, owner, name), response)


@router.patch(
    "/volumes/{owner}/{name}", responses=responses(404, 409, 412, 428), summary="Grow a volume, or change its plan"
)
async def patch_volume(
    owner: Label,
    name: Label,
    patch: Annotated[dict[str, Any], _PATCH],
    parts: PartsDep,
    identity: Writer,
    actor: ActorDep,
    response: Response,
    if_match: IfMatch = None,
) -> Volume:
    """It grows while a server has it; it never shrinks (422). `server` and `attached`: from the next start on."""
    before = await _matched(parts, identity, owner, name, if_match)
    document = merge_patch({"spec": before.spec.model_dump(mode="json")}, patch)
    try:
        spec = VolumeSpec.model_validate(document.get("spec"))
    except ValidationError as error:
        raise validation_error([{**e, "loc": ("body", "spec", *e["loc"])} for e in error.errors()]) from error
    after = await parts.shelf.write(identity, before, spec)
    await parts.store.audit(actor, "volume.write", f"volume/{owner}/{name}", spec.model_dump(mode="json"))
    return _tagged(after, response)


@router.delete("/volumes/{owner}/{name}", responses=responses(404, 409, 412, 428), summary="Into the trash")
async def trash_volume(
    owner: Label, name: Label, parts: PartsDep, identity: Writer, actor: ActorDep, if_match: IfMatch = None
) -> Volume:
    """409 while a server has it. It is kept there until `status.trashed.until`."""
    before = await _matched(parts, identity, owner, name, if_match)
    after = await parts.shelf.trash(identity, before)
    await parts.store.audit(actor, "volume.trash", f"volume/{owner}/{name}", {"id": before.id})
    return after


@router.put("/volumes/{owner}/{name}/usage", status_code=204, summary="How full a volume is")
async def put_usage(owner: Label, name: Label, body: Usage, parts: PartsDep, identity: Writer) -> None:
    """For the server that has it; shown as `status.used` until this service starts anew."""
    parts.shelf.told(identity, owner, name, body.used)


@router.get("/volumes/{owner}/{name}/snapshots", responses=responses(404), summary="A volume's snapshots")
async def list_snapshots(owner: Label, name: Label, parts: PartsDep, identity: Reader) -> SnapshotList:
    """Newest first."""
    volume = await parts.shelf.get(identity, owner, name)
    return SnapshotList(items=tuple(await parts.shelf.snapshots(volume)))


@router.post(
    "/volumes/{owner}/{name}/snapshots", status_code=201, responses=responses(404, 409), summary="A snapshot now"
)
async def take_snapshot(owner: Label, name: Label, parts: PartsDep, identity: Writer, actor: ActorDep) -> Snapshot:
    """Answers at once; it can be restored when it is `ready`. 503 says what is missing where there are none."""
    volume = await parts.shelf.get(identity, owner, name)
    made = await parts.shelf.snapshot(identity, volume)
    await parts.store.audit(actor, "volume.snapshot", f"volume/{owner}/{name}", {"snapshot": made.name})
    return made


@router.delete(
    "/volumes/{owner}/{name}/snapshots/{snapshot}",
    status_code=204,
    responses=responses(404),
    summary="Delete a snapshot",
)
async def delete_snapshot(
    owner: Label, name: Label, snapshot: str, parts: PartsDep, identity: Writer, actor: ActorDep
) -> None:
    """For ever."""
    volume = await parts.shelf.get(identity, owner, name)
    await parts.shelf.disks.drop(await parts.shelf.snapshot_of(volume, snapshot))
    await parts.store.audit(actor, "volume.snapshot.delete", f"volume/{owner}/{name}", {"snapshot": snapshot})


@router.post(
    "/volumes/{owner}/{name}/restore", status_code=202, responses=responses(404, 409), summary="Files of a snapshot"
)
async def restore(
    owner: Label, name: Label, body: RestoreOrder, parts: PartsDep, identity: Writer, actor: ActorDep
) -> Volume:
    """All of them as a new volume, or a folder into a volume that nobody has mounted; how far that is stands in
    `status.restoring`. Answers the volume that gets them."""
    volume = await parts.shelf.get(identity, owner, name)
    found = await parts.shelf.restore(identity, volume, body)
    await parts.store.audit(actor, "volume.restore", f"volume/{owner}/{name}", body.model_dump(mode="json"))
    return found


@router.get("/trash", summary="Volumes in the trash")
async def list_trash(parts: PartsDep, identity: Reader) -> VolumeList:
    """Those of the caller and of their groups; administrators see all, those of deleted users too."""
    return VolumeList(items=tuple(await parts.shelf.seen(identity, trash=True)))


@router.post("/trash/{key}/recover", responses=responses(404, 409), summary="Out of the trash")
async def recover(
    key: str, body: RecoverOrder, parts: PartsDep, identity: Writer, actor: ActorDep, response: Response
) -> Volume:
    """By default under its own name; 409 where that is taken. A home under another name is a further volume."""
    volume = await parts.shelf.trashed(identity, key)
    back = await parts.shelf.recover(identity, volume, body)
    await parts.store.audit(actor, "volume.recover", f"volume/{back.owner}/{back.name}", {"id": key})
    return _tagged(back, response)


@router.delete("/trash/{key}", status_code=204, responses=responses(404, 409), summary="Delete for ever")
async def purge(key: str, parts: PartsDep, identity: Writer, actor: ActorDep) -> None:
    """With its snapshots, before its time. 409 while a pod has it."""
    volume = await parts.shelf.trashed(identity, key)
    await parts.shelf.purge(identity, volume)
    await parts.store.audit(actor, "volume.purge", f"volume/{volume.owner}/{volume.name}", {"id": key})


async def _matched(parts: Parts, identity: Identity, owner: str, name: str, if_match: str | None) -> Volume:
    """The volume, if it is what the caller read."""
    found = await parts.shelf.get(identity, owner, name)
    require_match(if_match, found.etag)
    return found


def _tagged(volume: Volume, response: Response) -> Volume:
    response.headers["ETag"] = volume.etag
    return volume

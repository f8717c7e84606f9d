"""`/endpoints/{owner}/{name}/keys`: named keys for callers outside."""

from __future__ import annotations

from fastapi import APIRouter, Response

from modelyard_api.endpoints import Key, KeyCreate, KeyList
from modelyard_api.names import Label
from modelyard_hub.api.endpoints import changeable
from modelyard_hub.api.problems import responses
from modelyard_hub.parts import ActorDep, PartsDep, Reader, Writer

router = APIRouter(prefix="/endpoints/{owner}/{name}/keys", tags=["keys"], responses=responses(401, 403, 404, 422, 503))


@router.get("", summary="An endpoint's keys, without their secrets")
async def list_keys(owner: Label, name: Label, parts: PartsDep, identity: Reader) -> KeyList:
    """Only for those who may change the endpoint."""
    await changeable(parts, identity, owner, name)
    return KeyList(items=list(await parts.store.list_keys(owner, name)))


@router.post("", status_code=201, responses=responses(409, 507), summary="A new key")
async def add_key(
    owner: Label, name: Label, body: KeyCreate, parts: PartsDep, identity: Writer, actor: ActorDep, response: Response
) -> Key:
    """This answer alone holds the secret; it works as soon as the model servers have read it, within seconds."""
    await changeable(parts, identity, owner, name)
    response.headers["Cache-Control"] = "no-store"
    return await parts.store.add_key(owner, name, body, actor)


@router.delete("/{key_id}", status_code=204, summary="A key that no longer works")
async def remove_key(
    owner: Label, name: Label, key_id: str, parts: PartsDep, identity: Writer, actor: ActorDep
) -> None:
    """It stops working within seconds."""
    await changeable(parts, identity, owner, name)
    await parts.store.remove_key(owner, name, key_id, actor)

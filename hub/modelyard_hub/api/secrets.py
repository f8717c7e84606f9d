"""`/secrets`: named values for runs. They go in, and never come out here."""

from __future__ import annotations

from fastapi import APIRouter, Response

from modelyard_api.errors import NotFound
from modelyard_api.names import Label
from modelyard_api.secrets import Secret, SecretList, SecretWrite
from modelyard_hub.api.problems import responses
from modelyard_hub.auth import audience, owns, require_owner
from modelyard_hub.parts import ActorDep, PartsDep, Reader, Writer

router = APIRouter(prefix="/secrets", tags=["secrets"], responses=responses(401, 403, 422, 503))


@router.get("", summary="Secrets of the caller and of their groups, without their values")
async def list_secrets(parts: PartsDep, identity: Reader) -> SecretList:
    """Administrators see the names of all."""
    found = await parts.store.secrets.list(None if identity.admin else audience(identity))
    return SecretList(items=found)


@router.get("/{owner}/{name}", responses=responses(404), summary="One secret, without its value")
async def get_secret(owner: Label, name: Label, parts: PartsDep, identity: Reader) -> Secret:
    """Nobody reads a value back; runs get it."""
    if not owns(identity, owner):
        raise NotFound(f"there is no secret {owner}/{name}")
    return await parts.store.secrets.get(owner, name)


@router.put(
    "/{owner}/{name}",
    responses={201: {"model": Secret, "description": "Created"}, **responses(409, 413, 507)},
    summary="Set a secret, or give it a new value",
)
async def put_secret(
    owner: Label,
    name: Label,
    body: SecretWrite,
    parts: PartsDep,
    identity: Writer,
    actor: ActorDep,
    response: Response,
) -> Secret:
    """Runs that start from now on get it. No If-Match: nobody can have read what this replaces."""
    require_owner(identity, owner, name)
    sealed = parts.vault().seal(owner, name, body.value.get_secret_value())
    made = await parts.store.secrets.put(owner, name, sealed, body.description, actor)
    if made.version == 1:
        response.status_code = 201
    return made


@router.delete("/{owner}/{name}", status_code=204, responses=responses(404), summary="Forget a secret")
async def delete_secret(owner: Label, name: Label, parts: PartsDep, identity: Writer, actor: ActorDep) -> None:
    """Runs that need it fail from now on, and say so."""
    require_owner(identity, owner, name)
    await parts.store.secrets.remove(owner, name, actor)

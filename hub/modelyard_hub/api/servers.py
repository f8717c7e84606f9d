"""`/servers`: notebook servers, and why one is not ready."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from modelyard_api.names import Label
from modelyard_api.servers import ServerList
from modelyard_hub import servers
from modelyard_hub.api.problems import responses
from modelyard_hub.parts import PartsDep, Reader

router = APIRouter(tags=["servers"], responses=responses(401, 403, 422, 503))


@router.get("/servers", summary="Notebook servers, and what they wait for")
async def list_servers(
    parts: PartsDep, identity: Reader, owner: Annotated[Label | None, Query(examples=["ada"])] = None
) -> ServerList:
    """The caller's, also those that are stopped. Administrators see everybody's, but for the stopped ones."""
    found = await servers.read(parts.http, parts.hub, identity)
    return ServerList(items=tuple(one for one in found.items if owner in (None, one.owner)))

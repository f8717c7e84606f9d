"""`/profiles`: what notebook servers, and what else comes in sizes, may be chosen from."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter

from modelyard_api.names import owner_name
from modelyard_api.profiles import ProfileList
from modelyard_hub.api.problems import responses
from modelyard_hub.parts import PartsDep, Reader
from modelyard_hub.profiles import offered

router = APIRouter(responses=responses(401, 403, 503))


@router.get("/profiles", tags=["profiles"], summary="Sizes and kinds that the caller may choose from")
async def list_profiles(parts: PartsDep, identity: Reader) -> ProfileList:
    """In order; the first is the default. Amounts in bytes, CPUs and GPUs."""
    catalogue = await asyncio.to_thread(offered, parts.settings)
    # An identity has groups as owners.
    groups = {g for p in catalogue.profiles for g in p.groups if owner_name(g) in identity.groups}
    return ProfileList(items=catalogue.visible(groups))

"""`/me`, `/tokens/call`, `/audit`: the caller, and what was done."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from modelyard_api.endpoints import AuditList, CallToken, Identity
from modelyard_hub.api.problems import responses
from modelyard_hub.auth import audience
from modelyard_hub.parts import Caller, PartsDep, Reader

router = APIRouter(responses=responses(401, 403, 503))


@router.get("/me", tags=["identity"], summary="Who the caller is")
async def me(identity: Caller) -> Identity:
    """With any valid token, whatever its scopes."""
    return identity


@router.post("/tokens/call", tags=["identity"], summary="A short-lived token to call endpoints")
async def call_token(parts: PartsDep, identity: Reader, response: Response) -> CallToken:
    """For the caller's own endpoints, those of their groups and those shared with these."""
    response.headers["Cache-Control"] = "no-store"
    return parts.signer.call_token(identity, parts.settings.call_token_lifetime)


@router.get("/audit", tags=["audit"], responses=responses(422), summary="Who did what, when, from where")
async def list_audit(
    parts: PartsDep,
    identity: Reader,
    subject: Annotated[str | None, Query(max_length=255, examples=["endpoint/ada/churn"])] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> AuditList:
    """Newest first; what belongs to the caller or to their groups. Administrators see all."""
    owners = None if identity.admin else audience(identity)
    return AuditList(items=list(await parts.store.list_audit(owners, subject=subject, limit=limit)))

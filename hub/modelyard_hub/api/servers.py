"""`/servers`: notebook servers, and why one is not ready; what one that runs has, and another size for it. JupyterHub
does that, with the caller's own token: who may what is decided there."""

from __future__ import annotations

import json
from typing import Annotated
from urllib.parse import quote

import httpx
from fastapi import APIRouter, Query, Request
from pydantic import ValidationError

from modelyard_api.errors import Unavailable
from modelyard_api.names import Label, owner_name
from modelyard_api.problem import Problem, from_problem
from modelyard_api.servers import ResizeOrder, ServerList, ServerSize
from modelyard_hub import servers
from modelyard_hub.api.problems import responses
from modelyard_hub.auth import bearer
from modelyard_hub.parts import ActorDep, Parts, PartsDep, Reader

router = APIRouter(tags=["servers"], responses=responses(401, 403, 404, 409, 422, 503))
PATIENCE = 50.0
"""Seconds: a node has twenty, and JupyterHub asks the cluster twice."""
ServerName = Annotated[str, Query(alias="server", max_length=255, description="Its name; empty: the default one.")]


@router.get("/servers", summary="Notebook servers, and what they wait for")
async def list_servers(
    parts: PartsDep, identity: Reader, owner: Annotated[Label | None, Query(examples=["ada"])] = None
) -> ServerList:
    """The caller's, also those that are stopped. Administrators see everybody's, but for the stopped ones."""
    found = await servers.read(parts.http, parts.hub, identity)
    return ServerList(items=tuple(one for one in found.items if owner in (None, one.owner)))


@router.get("/servers/{user}", summary="What a notebook server has")
async def server_size(
    user: str, request: Request, parts: PartsDep, identity: Reader, name: ServerName = ""
) -> ServerSize:
    """409 where it does not run, or its size cannot change."""
    return await _asked(parts, request, user, name, None)


@router.post("/servers/{user}/resize", summary="Another size for a notebook server that runs")
async def resize(
    user: str, order: ResizeOrder, request: Request, parts: PartsDep, actor: ActorDep, name: ServerName = ""
) -> ServerSize:
    """Answers when it has that size, within the profile's bounds and the user's quota; else all is as before. The next
    start asks for that size too."""
    # When it is asked: an answer that is an error, or late, does not say that nothing was done.
    await parts.store.audit(actor, "server.resize", f"server/{owner_name(user)}/{name or '-'}")
    return await _asked(parts, request, user, name, order)


async def _asked(parts: Parts, request: Request, user: str, name: str, order: ResizeOrder | None) -> ServerSize:
    path = quote(user, safe="")
    url = f"{parts.hub.api_url.rstrip('/')}/modelyard/servers/{path}"
    headers = {"Authorization": f"token {bearer(request.headers.get('authorization'))}"}
    body = None if order is None else order.model_dump(exclude_none=True)
    method = "GET" if order is None else "POST"
    try:
        answer = await parts.http.request(
            method, url, params={"server": name}, headers=headers, json=body, timeout=PATIENCE
        )
        if answer.is_success:
            return ServerSize.model_validate_json(answer.content)
        said = json.loads(answer.content)
    except (httpx.HTTPError, ValidationError, ValueError) as error:
        raise Unavailable("JupyterHub does not answer") from error
    if "title" not in said:  # JupyterHub's own way of saying no
        said = {"title": str(said.get("message", "")), "status": answer.status_code}
    raise from_problem(Problem.model_validate(said))

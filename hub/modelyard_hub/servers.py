"""Notebook servers, and what they wait for: JupyterHub tells."""

from __future__ import annotations

import httpx
from pydantic import ValidationError

from modelyard_api.endpoints import Identity
from modelyard_api.errors import Unavailable
from modelyard_api.servers import ServerList
from modelyard_hub.hub_env import HubEnv


async def read(http: httpx.AsyncClient, hub: HubEnv, identity: Identity) -> ServerList:
    """The caller's, stopped ones too; for administrators everybody's that run, start or failed. Unavailable while
    JupyterHub is away."""
    of = {} if identity.admin else {"user": identity.username}
    try:
        answer = await http.get(
            f"{hub.api_url.rstrip('/')}/modelyard/servers",
            params=of,
            headers={"Authorization": f"token {hub.api_token}"},
            timeout=10,
        )
        answer.raise_for_status()
        return ServerList.model_validate_json(answer.content)
    except (httpx.HTTPError, ValidationError) as error:
        raise Unavailable("JupyterHub does not say now what its servers do", remedy="Try again in a moment.") from error

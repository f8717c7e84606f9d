"""Whose accounts JupyterHub has."""

from __future__ import annotations

import httpx

from modelyard_hub.hub_env import HubEnv


async def read(http: httpx.AsyncClient, hub: HubEnv) -> frozenset[str] | None:
    """Their names; None where JupyterHub does not tell."""
    url = f"{hub.api_url.rstrip('/')}/modelyard/accounts"
    try:
        answer = await http.get(url, headers={"Authorization": f"token {hub.api_token}"}, timeout=5)
        return frozenset(map(str, answer.raise_for_status().json()["names"]))
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return None

"""Tokens by which the culler asks notebook servers: a user's server may keep whatever it is sent."""

from __future__ import annotations

import time
from typing import Any

import httpx
from jupyterhub.utils import url_escape_path

LASTS = 3600
"""Seconds of a token."""
SPARE = 120.0
"""Seconds before its end from which on another one is made."""


class Tokens:
    """Of each server's user, each for that server alone, by JupyterHub's API; `hub` has the service's own token."""

    def __init__(self, hub: httpx.AsyncClient) -> None:
        self._hub = hub
        self._made: dict[str, tuple[str, float]] = {}

    async def of(self, server: dict[str, Any]) -> str:
        """For this server, as JupyterHub's API tells of it. httpx.HTTPError: JupyterHub gives none."""
        name, now = str(server["full_name"]), time.monotonic()
        if (known := self._made.get(name)) and now < known[1]:
            return known[0]
        self._made = {name: made for name, made in self._made.items() if now < made[1]}
        # With other notes JupyterHub takes what the token does for something that its user does.
        note = f"Server at {server['url']}: what is at work in it"
        asked = {"scopes": [f"access:servers!server={name}"], "expires_in": LASTS, "note": note}
        path = f"/users/{url_escape_path(name.partition('/')[0])}/tokens"
        answer = (await self._hub.post(path, json=asked)).raise_for_status()
        token = str(answer.json()["token"])
        self._made[name] = (token, now + LASTS - SPARE)
        return token

    def forget(self, server: dict[str, Any]) -> None:
        """It does not open its server: its user may have taken it back."""
        self._made.pop(str(server["full_name"]), None)

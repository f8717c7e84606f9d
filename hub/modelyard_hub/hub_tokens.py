"""Tokens of users that the hub service has JupyterHub make, for what runs on their behalf."""

from __future__ import annotations

from urllib.parse import quote

import httpx

from modelyard_api.errors import InvalidInput, Unavailable
from modelyard_hub.auth import READ, WRITE

_SCOPES = (READ, WRITE, "read:users:name", "read:users:groups")


class HubTokens:
    """JupyterHub's API for tokens, with the service's own one."""

    def __init__(self, http: httpx.AsyncClient, api_url: str, api_token: str) -> None:
        self._http, self._url = http, api_url.rstrip("/")
        self._headers = {"Authorization": f"token {api_token}"}

    async def make(self, user: str, note: str, lifetime: float) -> tuple[str, str]:
        """Id and secret of a new token that reads and writes as the user, for `lifetime` seconds.

        InvalidInput where JupyterHub makes none for such a user; Unavailable while it is away."""
        scopes = [f"{scope}!user={user}" for scope in _SCOPES]
        body = {"note": note, "scopes": scopes, "expires_in": int(lifetime)}
        answer = await self._ask("POST", f"/users/{quote(user, safe='')}/tokens", body)
        if answer.status_code in (400, 403, 404):
            raise InvalidInput(f"JupyterHub makes no token for {user!r} ({answer.status_code})")
        if answer.status_code not in (200, 201):
            raise Unavailable(f"JupyterHub answered {answer.status_code} when it was asked for a token")
        made = answer.json()
        return str(made["id"]), str(made["token"])

    async def revoke(self, user: str, token_id: str) -> None:
        """It no longer works; one that is gone is fine. Unavailable while JupyterHub is away."""
        answer = await self._ask("DELETE", f"/users/{quote(user, safe='')}/tokens/{quote(token_id, safe='')}")
        if answer.is_error and answer.status_code not in (403, 404):
            raise Unavailable(f"JupyterHub answered {answer.status_code} when it was to revoke a token")

    async def revoke_all(self, user: str, note: str) -> None:
        """None of that note works any more, those included whose id nobody could keep. Unavailable, as above."""
        answer = await self._ask("GET", f"/users/{quote(user, safe='')}/tokens")
        if answer.status_code in (403, 404):
            return  # the user is gone, and their tokens with them
        if answer.is_error:
            raise Unavailable(f"JupyterHub answered {answer.status_code} when it was asked for tokens")
        for token in answer.json()["api_tokens"]:
            if token["note"] == note:
                await self.revoke(user, str(token["id"]))

    async def _ask(self, method: str, path: str, body: object = None) -> httpx.Response:
        try:
            return await self._http.request(method, self._url + path, headers=self._headers, json=body)
        except httpx.HTTPError as error:
            raise Unavailable("JupyterHub does not answer") from error

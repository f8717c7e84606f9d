"""Tokens of users that the hub service has JupyterHub make, for what runs on their behalf; and whom they stand for."""

from __future__ import annotations

from urllib.parse import quote

import httpx

from modelyard_api.errors import InvalidInput, Unavailable
from modelyard_api.names import owner_name
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

    async def stands_for(self, user: str) -> frozenset[str]:
        """The owners that a user stands for now: themselves, and their groups; a service, itself.

        InvalidInput for a user who is gone; Unavailable while JupyterHub does not tell."""
        if user.startswith("service:"):
            return frozenset({owner_name(user)})
        answer = await self._ask("GET", f"/users/{quote(user, safe='')}")
        if answer.status_code == 404:
            raise InvalidInput(f"JupyterHub has no user {user!r} any more")
        if answer.status_code != 200:
            raise Unavailable(f"JupyterHub answered {answer.status_code} when it was asked for the groups of {user!r}")
        groups = answer.json().get("groups")
        if groups is None:
            raise Unavailable(
                "JupyterHub does not tell the hub service who is in which group",
                remedy="An administrator must give the service 'modelyard' the scope read:users:groups.",
            )
        return frozenset(map(owner_name, (user, *groups)))

    async def _ask(self, method: str, path: str, body: object = None) -> httpx.Response:
        try:
            return await self._http.request(method, self._url + path, headers=self._headers, json=body)
        except httpx.HTTPError as error:
            raise Unavailable("JupyterHub does not answer") from error

"""A JupyterHub that knows tokens and OAuth codes, and nothing else. It can be told to misbehave."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

READ_WRITE = ("custom:modelyard:read", "custom:modelyard:write")


@dataclass
class FakeHub:
    """Tokens to users' models, codes to (token, PKCE challenge); `broken` answers 503; `asked` counts `/user`. `sizes`:
    what it answers of users' servers, (status, document); `resized`: what was asked of them, (token, server, body).
    `accounts`: the names that it tells the hub service."""

    secret: str = "service-secret"
    client_id: str = "service-modelyard"
    users: dict[str, dict[str, Any]] = field(default_factory=dict)
    codes: dict[str, tuple[str, str]] = field(default_factory=dict)
    broken: bool = False
    asked: int = 0
    sizes: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)
    accounts: list[str] | None = None
    resized: list[tuple[str, str, Any]] = field(default_factory=list)

    def add(
        self, token: str, name: str, groups: Iterable[str] = (), scopes: Iterable[str] = READ_WRITE, kind: str = "user"
    ) -> None:
        """Make a token known."""
        self.users[token] = {"name": name, "kind": kind, "groups": list(groups), "scopes": list(scopes)}

    def app(self) -> Starlette:
        """The ASGI application."""
        routes = [
            Route("/hub/api/user", self._user),
            Route("/hub/api/oauth2/token", self._token, methods=["POST"]),
            Route("/hub/api/modelyard/accounts", self._accounts),
            Route("/hub/api/modelyard/servers/{user}", self._size, methods=["GET", "POST"]),
        ]
        return Starlette(routes=routes)

    async def _user(self, request: Request) -> Response:
        self.asked += 1
        if self.broken:
            return Response(status_code=503)
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        model = self.users.get(token)
        if kind != "token" or model is None:
            return JSONResponse({"status": 403, "message": "Missing or invalid credentials."}, 403)
        return JSONResponse(model)

    async def _accounts(self, request: Request) -> Response:
        mine = request.headers.get("authorization") == f"token {self.secret}"
        if not mine or self.accounts is None:
            return JSONResponse({"status": 403, "message": "no"}, 403)
        return JSONResponse({"names": self.accounts})

    async def _size(self, request: Request) -> Response:
        token = request.headers.get("authorization", "").partition(" ")[2]
        body = await request.json() if request.method == "POST" else None
        self.resized.append((token, request.query_params.get("server", ""), body))
        status, document = self.sizes.get(request.path_params["user"], (404, {"status": 404, "message": "Not Found"}))
        return JSONResponse(document, status)

    async def _token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        token, challenge = self.codes.pop(form["code"], ("", ""))
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        proven = base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == challenge
        if not proven or (form["client_id"], form["client_secret"]) != (self.client_id, self.secret):
            return JSONResponse({"error": "invalid_grant"}, 400)
        return JSONResponse({"access_token": token, "token_type": "Bearer"})

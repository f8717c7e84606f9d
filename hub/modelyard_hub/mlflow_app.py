"""MLflow behind the same sign-in: what runs in the MLflow process (`mlflow server --app-name modelyard`).

Every request must carry the token that the hub service signed for it (Traefik's ForwardAuth puts it there). Whoever is
signed in reads; a registered model `<owner>.<name>` is changed by its owner, the members of its group, and
administrators. MLflow's own auth app keeps users and permissions of its own, which would have to follow JupyterHub's;
this keeps none.
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jwt
from pydantic import ValidationError

from modelyard_api.access import ALGORITHM, ISSUER, MLFLOW_AUDIENCE, Claims
from modelyard_api.errors import PROBLEM_MEDIA_TYPE, Forbidden, ModelyardError, TooLarge, Unauthenticated
from modelyard_api.names import model_owner

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

PUBLIC_KEY_VARIABLE = "MODELYARD_PUBLIC_KEY"
_HEADER = b"x-modelyard-token"
_GUARDED = ("/mlflow/registered-models/", "/mlflow/model-versions/")
_READS = ("/get", "/search", "/get-latest-versions", "/get-download-uri", "/alias")
_MAX_BODY = 1024 * 1024


def create_app() -> Asgi:
    """MLflow's application with the guard around it; `MODELYARD_PUBLIC_KEY` names the PEM file of the public key."""
    from mlflow.server.fastapi_app import app

    return MlflowGuard(app, Path(os.environ[PUBLIC_KEY_VARIABLE]).read_text())


class MlflowGuard:
    """ASGI middleware; `public_key` is a PEM."""

    def __init__(self, app: Asgi, public_key: str) -> None:
        self._app = app
        self._key = public_key

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].endswith("/health"):
            await self._app(scope, receive, send)
            return
        try:
            claims = self.claims(dict(scope["headers"]).get(_HEADER, b"").decode("latin-1"))
            path: str = scope["path"]
            if scope["method"] != "GET" and any(part in path for part in _GUARDED) and not _reads(path):
                body = await _body(receive)
                require_model_owner(claims, model_name(body, scope["query_string"]))
                receive = _replay(body, receive)
        except ModelyardError as error:
            await _refuse(send, error)
            return
        await self._app(scope, receive, send)

    def claims(self, token: str) -> Claims:
        """Who asks; Unauthenticated."""
        try:
            members = jwt.decode(token, self._key, algorithms=[ALGORITHM], audience=MLFLOW_AUDIENCE, issuer=ISSUER)
            return Claims.model_validate(members)
        except (jwt.InvalidTokenError, ValidationError) as error:
            raise Unauthenticated("MLflow is reached through Modelyard's sign-in, under /mlflow/") from error


def _reads(path: str) -> bool:
    return path.endswith(_READS[:-1])


def model_name(body: bytes, query: bytes) -> str | None:
    """The registered model that a write names; None where it names none."""
    try:
        members = json.loads(body or b"{}")
    except ValueError:
        members = {}
    name = members.get("name") if isinstance(members, dict) else None
    found = name if isinstance(name, str) else next(iter(parse_qs(query.decode()).get("name", [])), None)
    return found or None


def require_model_owner(claims: Claims, name: str | None) -> None:
    """Forbidden, with the reason, unless the model is the caller's to change."""
    mine = (claims.owner, *claims.groups)
    owner = model_owner(name or "")
    if claims.admin or owner in mine:
        return
    if owner is None:
        raise Forbidden(f"the model's name {name!r} has no owner", remedy=f"Call it {claims.owner}.{name}.")
    raise Forbidden(
        f"model {name!r} belongs to {owner!r}; {claims.sub} may write models of {', '.join(mine)}",
        remedy=f"Ask {owner!r}, or register it as {claims.owner}.{(name or '').partition('.')[2]}.",
    )


async def _body(receive: Receive) -> bytes:
    parts: bytes = b""
    while True:
        message = await receive()
        parts += message.get("body", b"")
        if len(parts) > _MAX_BODY:
            raise TooLarge(f"the body is larger than {_MAX_BODY} bytes")
        if not message.get("more_body", False):
            return parts


def _replay(body: bytes, rest: Receive) -> Receive:
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return pending.pop() if pending else await rest()

    return receive


async def _refuse(send: Send, error: ModelyardError) -> None:
    # MLflow's clients show `message`; everybody else reads the problem document.
    problem = error.problem().model_dump() | {"error_code": "PERMISSION_DENIED", "message": str(error)}
    body = json.dumps(problem).encode()
    headers = [(b"content-type", PROBLEM_MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

"""MLflow behind the same sign-in: what runs in the MLflow process (`python -m modelyard_hub.mlflow_app`).

Every request must carry the token that the hub service signed for it (Traefik's ForwardAuth puts it there). Whoever is
signed in reads; a registered model `<owner>.<name>` is changed by its owner, the members of its group, and
administrators. MLflow's own auth app keeps users and permissions of its own, which would have to follow JupyterHub's;
this keeps none.

It is one process: `mlflow server` would import MLflow twice, in itself and in its worker, which takes twice the time to
start and twice the memory.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
from pydantic import ValidationError

from modelyard_api.access import ALGORITHM, ISSUER, MLFLOW_AUDIENCE, Claims
from modelyard_api.errors import (
    Forbidden,
    MalformedRequest,
    ModelyardError,
    TooLarge,
    Unauthenticated,
)
from modelyard_api.names import model_owner
from modelyard_api.problem import PROBLEM_MEDIA_TYPE

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

PUBLIC_KEY_VARIABLE = "MODELYARD_PUBLIC_KEY"
PREFIX = "/mlflow"
_HEADER = b"x-modelyard-token"
_HEALTH = f"{PREFIX}/health"
_GUARDED = ("/registered-models/", "/model-versions/")
_READS = ("/get", "/search", "/get-latest-versions", "/get-download-uri")
_HOST_TOOLS = ("/assistant", "/gateway", "/jobs", "/webhooks", "/mcp-servers")
"""They run commands or make requests as the account of the server; MLflow lets loopback in, and so comes the router."""
_NATIVE = "/api/2.0/mlflow-artifacts/artifacts/"
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
        if scope["type"] == "lifespan" or (scope["type"] == "http" and scope["path"] == _HEALTH):
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        try:
            claims = self.claims(dict(scope["headers"]).get(_HEADER, b"").decode("latin-1"))
            require_allowed(claims, scope["path"])
            if changes_model(scope["method"], scope["path"]):
                body = await _body(receive)
                for name in model_names(body):
                    require_model_owner(claims, name)
                receive = _replay(body, receive)
        except ModelyardError as error:
            await _refuse(send, error)
            return
        await self._app(_native(scope), receive, send)

    def claims(self, token: str) -> Claims:
        """Who asks; Unauthenticated."""
        try:
            members = jwt.decode(token, self._key, algorithms=[ALGORITHM], audience=MLFLOW_AUDIENCE, issuer=ISSUER)
            return Claims.model_validate(members)
        except (jwt.InvalidTokenError, ValidationError) as error:
            raise Unauthenticated("MLflow is reached through Modelyard's sign-in, under /mlflow/") from error


def changes_model(method: str, path: str) -> bool:
    """Whether a request changes the registry."""
    return method not in ("GET", "HEAD", "OPTIONS") and any(p in path for p in _GUARDED) and not path.endswith(_READS)


def require_allowed(claims: Claims, path: str) -> None:
    """Forbidden for what would act with the server's own account, unless an administrator asks."""
    tool = next((part for part in _HOST_TOOLS if f"{part}/" in f"{path}/"), None)
    if tool is not None and not claims.admin:
        raise Forbidden(f"MLflow's {tool.strip('/')} runs as the server's account; it is for administrators")


def model_names(body: bytes) -> tuple[str, ...]:
    """The registered models that a change names; MalformedRequest where it names none.

    MLflow reads changes from the body alone, also where that is JSON in a JSON string, and a member by its name in
    either spelling.
    """
    try:
        members = json.loads(body)
        members = json.loads(members) if isinstance(members, str) else members
    except ValueError:
        members = None
    if not isinstance(members, dict):
        raise MalformedRequest("the body is not a JSON object")
    names = tuple(members[key] for key in ("name", "new_name", "newName") if key in members)
    if "name" not in members or not all(isinstance(name, str) for name in names):
        raise MalformedRequest("the body names no registered model")
    return names


def _native(scope: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """MLflow has its streaming artifact routes without the prefix; below it are those that hold a file in memory."""
    path: str = scope["path"]
    if not path.startswith(PREFIX + _NATIVE):
        return scope
    raw: bytes = scope.get("raw_path", path.encode())
    return {**scope, "path": path.removeprefix(PREFIX), "raw_path": raw.removeprefix(PREFIX.encode())}


def require_model_owner(claims: Claims, name: str) -> None:
    """Forbidden, with the reason, unless the model is the caller's to change."""
    mine = (claims.owner, *claims.groups)
    owner = model_owner(name)
    if claims.admin or owner in mine:
        return
    if owner is None:
        raise Forbidden(f"the model's name {name!r} has no owner", remedy=f"Call it {claims.owner}.{name}.")
    raise Forbidden(
        f"model {name!r} belongs to {owner!r}; {claims.sub} may write models of {', '.join(mine)}",
        remedy=f"Ask {owner!r}, or register it as {claims.owner}.{name.partition('.')[2]}.",
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
    codes = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED"}
    code = codes.get(error.status, "INVALID_PARAMETER_VALUE")
    problem = error.problem().model_dump() | {"error_code": code, "message": str(error)}
    body = json.dumps(problem).encode()
    headers = [(b"content-type", PROBLEM_MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def server_environment(database: str, artifacts: Path, base_url: str) -> dict[str, str]:
    """What `mlflow server` tells its workers, for a server at `/mlflow` behind the router at `base_url`."""
    host = urlsplit(base_url).netloc
    return {
        "_MLFLOW_SERVER_FILE_STORE": database,
        "_MLFLOW_SERVER_REGISTRY_STORE": database,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(artifacts),
        "_MLFLOW_STATIC_PREFIX": PREFIX,
        "_MLFLOW_IN_JOB_EXECUTOR": "false",
        "MLFLOW_SERVER_ALLOWED_HOSTS": f"{host},localhost,localhost:*,127.0.0.1,127.0.0.1:*",
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": base_url,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }


def main(port: int) -> None:
    """Serve on a loopback port until SIGTERM."""
    import gc

    gc.disable()  # nothing that imports make is garbage; looking for it takes a tenth of the time
    import uvicorn
    from mlflow.server.handlers import initialize_backend_stores

    store = os.environ["_MLFLOW_SERVER_FILE_STORE"]
    initialize_backend_stores(store, store, os.environ["_MLFLOW_SERVER_ARTIFACT_ROOT"])
    app = create_app()
    gc.freeze()
    gc.enable()
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False, timeout_graceful_shutdown=3)


if __name__ == "__main__":
    main(int(sys.argv[1]))

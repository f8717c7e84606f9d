"""The guard in front of MLflow: who asks, and whether what they change is theirs.

Every request must carry the token that the hub service signed for it (Traefik's ForwardAuth puts it there). Whoever is
signed in reads. To change a registered model `<owner>.<name>`, or an experiment `<owner>/<name>` and what is in it,
takes the scope to write, and to be its owner, a member of its group, or an administrator.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import jwt
from pydantic import ValidationError

from modelyard_api.access import ALGORITHM, ISSUER, MLFLOW_AUDIENCE, Claims
from modelyard_api.errors import Forbidden, ModelyardError, StorageFull, TooLarge, Unauthenticated, Unavailable
from modelyard_api.names import experiment_owner, model_owner
from modelyard_api.problem import PROBLEM_MEDIA_TYPE
from modelyard_api.resources import MiB
from modelyard_hub.auth import WRITE
from modelyard_hub.disk import is_full
from modelyard_hub.mlflow_experiments import Experiments
from modelyard_hub.mlflow_rules import Kind, Subject, changes, leads_to_runs, private, rule_of, subjects

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Scope = MutableMapping[str, Any]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

PREFIX = "/mlflow"
_HEADER = b"x-modelyard-token"
_HEALTH = f"{PREFIX}/health"
_HOST_TOOLS = ("/assistant", "/gateway", "/jobs", "/webhooks", "/mcp-servers")
"""They run commands or make requests as the account of the server; MLflow lets loopback in, and so comes the router."""
_ARTIFACTS = "/mlflow-artifacts/artifacts/"
_NATIVE = f"/api/2.0{_ARTIFACTS}"
_MAX_BODY = 8 * MiB
_PRIVATE = "what runs were given and made is for their owners"
_STORE_REMEDY = "Try again in a minute; endpoints that run go on. MLflow's log tells an administrator the cause."
_CODES = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    503: "TEMPORARILY_UNAVAILABLE",
    507: "RESOURCE_EXHAUSTED",
}


class MlflowGuard:
    """ASGI middleware. `public_key` is a PEM; `artifacts` the folder of artifacts, None where it is no folder."""

    def __init__(self, app: Asgi, public_key: str, experiments: Experiments, artifacts: Path | None = None) -> None:
        self._app = app
        self._key = public_key
        self._experiments = experiments
        self._artifacts = artifacts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or (scope["type"] == "http" and scope["path"] == _HEALTH):
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        try:
            receive = await self._allowed(scope, receive)
        except ModelyardError as error:
            await _refuse(send, error)
            return
        await self._app(_native(scope), receive, _telling(send) if _ARTIFACTS in scope["path"] else send)

    async def _allowed(self, scope: Scope, receive: Receive) -> Receive:
        """Where to read the body from now on; raises when the request may not be made."""
        headers = dict(scope["headers"])
        claims = self.claims(headers.get(_HEADER, b"").decode("latin-1"))
        require_tools(claims, scope["path"])
        if not claims.admin and private(scope["path"], scope.get("query_string", b"")):
            raise Forbidden(_PRIVATE, remedy="Ask the hub service: GET /runs.")
        if not changes(scope["method"], scope["path"]):
            return receive
        self._require_room(headers.get(b"content-length", b"0"))
        if claims.admin:
            return receive
        require_write(claims)
        rule, body = rule_of(scope["path"]), b""
        if rule.body:
            body = await _body(receive)
            receive = _replay(body, receive)
            if leads_to_runs(body):
                raise Forbidden(_PRIVATE, remedy="Choose another place.")
        for subject in subjects(rule, scope["path"], scope.get("query_string", b""), body):
            await self._require_owner(claims, subject)
        return receive

    def claims(self, token: str) -> Claims:
        """Who asks; Unauthenticated."""
        try:
            members = jwt.decode(token, self._key, algorithms=[ALGORITHM], audience=MLFLOW_AUDIENCE, issuer=ISSUER)
            return Claims.model_validate(members)
        except (jwt.InvalidTokenError, ValidationError) as error:
            raise Unauthenticated("MLflow is reached through Modelyard's sign-in, under /mlflow/") from error

    async def _require_owner(self, claims: Claims, subject: Subject) -> None:
        if subject.kind is Kind.model:
            require_owner(claims, "model", subject.id)
        else:
            require_owner(claims, "experiment", await self._experiments.name(subject))

    def _require_room(self, content_length: bytes) -> None:
        """StorageFull before a part of it is written: MLflow would answer that it made a mistake."""
        length = int(content_length) if content_length.isdigit() else 0
        if self._artifacts is not None and is_full(self._artifacts, length):
            raise StorageFull("the disk of MLflow's runs and artifacts is full")


def require_tools(claims: Claims, path: str) -> None:
    """Forbidden for what would act with the server's own account, unless an administrator asks."""
    tool = next((part for part in _HOST_TOOLS if f"{part}/" in f"{path}/"), None)
    if tool is not None and not claims.admin:
        raise Forbidden(f"MLflow's {tool.strip('/')} runs as the server's account; it is for administrators")


def require_write(claims: Claims) -> None:
    """Forbidden with a token that only reads."""
    if not claims.write:
        raise Forbidden(
            f"your token lacks the scope {WRITE}",
            remedy="Make a token with that scope, or use the one of your notebook server.",
        )


def require_owner(claims: Claims, what: str, name: str) -> None:
    """Forbidden, with the reason, unless the model or experiment (`what`) of that name is the caller's to change."""
    owner, mark = (model_owner(name), ".") if what == "model" else (experiment_owner(name), "/")
    mine = (claims.owner, *claims.groups)
    if owner in mine:
        return
    if owner is None:
        raise Forbidden(f"the {what}'s name {name!r} has no owner", remedy=f"Use {claims.owner}{mark}{name}.")
    raise Forbidden(
        f"{what} {name!r} belongs to {owner!r}; {claims.sub} may write those of {', '.join(mine)}",
        remedy=f"Ask {owner!r}, or use {claims.owner}{mark}{name.partition(mark)[2]}.",
    )


def _native(scope: Scope) -> Scope:
    """MLflow has its streaming artifact routes without the prefix; below it are those that hold a file in memory."""
    path: str = scope["path"]
    if not path.startswith(PREFIX + _NATIVE):
        return scope
    raw: bytes = scope.get("raw_path", path.encode())
    return {**scope, "path": path.removeprefix(PREFIX), "raw_path": raw.removeprefix(PREFIX.encode())}


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


def _telling(send: Send) -> Send:
    """`send` for artifacts: there MLflow's mistakes are its store's, and go by when that is back."""
    refused = False

    async def told(message: Message) -> None:
        nonlocal refused
        if message["type"] == "http.response.start" and message["status"] == 500:
            refused = True
            await _refuse(send, Unavailable("MLflow cannot reach its artifact store", remedy=_STORE_REMEDY))
        elif not refused:
            await send(message)

    return told


async def _refuse(send: Send, error: ModelyardError) -> None:
    # MLflow's clients show `message`; everybody else reads the problem document.
    code = _CODES.get(error.status, "INVALID_PARAMETER_VALUE")
    problem = error.problem().model_dump() | {"error_code": code, "message": str(error)}
    body = json.dumps(problem).encode()
    headers = [(b"content-type", PROBLEM_MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

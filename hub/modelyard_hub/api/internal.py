"""What the other processes ask: `/health`, the routing document, JupyterHub's routes, who may pass to MLflow, and what
a call gets that no endpoint takes."""

from __future__ import annotations

import hmac
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Cookie, Header, Request, Response
from fastapi.responses import PlainTextResponse

from modelyard_api.endpoints import Identity
from modelyard_api.errors import Forbidden, NotFound, Unauthenticated, Unavailable
from modelyard_hub.api.problems import responses
from modelyard_hub.auth import READ, bearer, require_scope
from modelyard_hub.parts import Parts, PartsDep
from modelyard_hub.registry import TOKEN_HEADER
from modelyard_hub.routing.hub import HubRoutes
from modelyard_hub.sessions import SESSION_COOKIE, read_session

USER_HEADER = "X-Modelyard-User"
router = APIRouter(tags=["internal"])


@router.get("/health", response_class=PlainTextResponse, summary="Whether this service answers")
async def health() -> str:
    """Open to all; says nothing about anybody."""
    return "ok\n"


@router.get("/routing", responses=responses(403, 503), summary="Traefik's dynamic configuration")
async def routing(request: Request, parts: PartsDep) -> Response:
    """The last good document; Traefik pulls it with the routing token."""
    if not _presents(request, parts.routing_token):
        raise Forbidden("the routing document is for the router alone")
    packs = "gzip" in request.headers.get("accept-encoding", "")
    document = parts.router.packed() if packs else parts.router.document()
    if document is None:
        raise Unavailable("there is no routing document yet; keep the one that you have")
    headers = {"Vary": "Accept-Encoding", **({"Content-Encoding": "gzip"} if packs else {})}
    return Response(document, media_type="application/json", headers=headers)


@router.get(
    "/internal/hub-routes", responses=responses(403, 422), summary="JupyterHub's routes, and whether they are live"
)
async def hub_routes(request: Request, parts: PartsDep, routespec: str | None = None) -> HubRoutes:
    """What JupyterHub told last, all or one; for JupyterHub, with this service's own token."""
    _require_hub(request, parts)
    routes = [route for route in parts.router.hub_routes() if routespec in (None, route.routespec)]
    return HubRoutes(routes=routes, applied=await parts.router.hub_applied(routespec))


@router.put(
    "/internal/hub-routes", responses=responses(403, 422), status_code=204, summary="Replace JupyterHub's routes"
)
async def put_hub_routes(routes: HubRoutes, request: Request, parts: PartsDep) -> None:
    """Kept first, so that a route that is live outlives this process; then in the document."""
    _require_hub(request, parts)
    kept = HubRoutes(routes=routes.routes)
    await parts.store.save_hub_routes(kept.model_dump_json(exclude={"applied"}))
    parts.router.route_hub(kept.routes)


@router.api_route(
    "/internal/serve{path:path}",
    methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
    include_in_schema=False,
)
async def no_endpoint(path: str) -> None:
    """What a call below `/serve/` gets where no endpoint takes it."""
    owner, _, rest = path.strip("/").partition("/")
    name = rest.partition("/")[0]
    if not name:
        raise NotFound(f"there is no endpoint at /serve{path}", remedy="Call /serve/<owner>/<endpoint>/….")
    raise NotFound(
        f"there is no endpoint {owner}/{name}", remedy="It was deleted or never published, or its name differs."
    )


def _require_hub(request: Request, parts: Parts) -> None:
    if not _presents(request, parts.hub.api_token):
        raise Forbidden("JupyterHub's routes are for JupyterHub alone")


def _presents(request: Request, secret: str) -> bool:
    token = bearer(request.headers.get("authorization")) or ""
    return bool(secret) and hmac.compare_digest(token.encode(), secret.encode())


@router.get(
    "/authorize",
    response_class=Response,
    responses=responses(302, 401, 403, 422),
    summary="Who may pass to MLflow (Traefik's ForwardAuth)",
)
async def authorize(
    request: Request,
    parts: PartsDep,
    session: Annotated[str | None, Cookie(alias=SESSION_COOKIE)] = None,
    authorization: Annotated[str | None, Header()] = None,
) -> Response:
    """200 with a token for MLflow; a browser without a session is sent to sign in."""
    try:
        identity = await _who(parts, authorization, session)
    except Unauthenticated:
        if authorization is None and _is_page_view(request):
            return Response(status_code=302, headers={"Location": _login_url(parts, request)})
        raise
    headers = {TOKEN_HEADER: parts.signer.mlflow_token(identity), USER_HEADER: identity.username}
    return Response(status_code=200, headers=headers)


async def _who(parts: Parts, authorization: str | None, session: str | None) -> Identity:
    token = bearer(authorization)
    if token is not None:
        identity = await parts.identities.identify(token)
        require_scope(identity, READ)
        return identity
    return read_session(parts.signer, session)


def _is_page_view(request: Request) -> bool:
    method = request.headers.get("x-forwarded-method", "GET")
    mode = request.headers.get("sec-fetch-mode")
    html = "text/html" in request.headers.get("accept", "")
    return method == "GET" and (mode == "navigate" if mode is not None else html)


def _login_url(parts: Parts, request: Request) -> str:
    """Absolute: Traefik would read a relative one as relative to this service's inner address."""
    host = request.headers.get("x-forwarded-host")
    origin = f"{request.headers.get('x-forwarded-proto', 'http')}://{host}" if host else parts.settings.base_url
    target = request.headers.get("x-forwarded-uri", "/mlflow/")
    return f"{origin}{parts.hub.root}/login?next={quote(target, safe='')}"

"""The page, and signing in to it through JupyterHub."""

from __future__ import annotations

import asyncio
import secrets
from typing import Annotated

from fastapi import APIRouter, Cookie, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from modelyard_api.endpoints import Identity
from modelyard_api.errors import ModelyardError, Unauthenticated
from modelyard_hub import accounts, sessions
from modelyard_hub.auth import audience
from modelyard_hub.panel import page, starts, volumes
from modelyard_hub.parts import Parts, PartsDep
from modelyard_hub.volumes.leftover import left_over

router = APIRouter(include_in_schema=False)
SessionCookie = Annotated[str | None, Cookie(alias=sessions.SESSION_COOKIE)]


@router.get("/")
async def panel(request: Request, parts: PartsDep, session: SessionCookie = None) -> Response:
    """The caller's endpoints, or the way to sign in."""
    nonce = secrets.token_urlsafe(16)
    try:
        identity = sessions.read_session(parts.signer, session)
    except Unauthenticated:
        if request.headers.get("sec-fetch-mode", "navigate") != "navigate":
            return _html(page.problem("Signed out", "Your sign-in has ended.", "", parts.hub.root, nonce), nonce, 401)
        return RedirectResponse(f"{parts.hub.root}/login", 302)
    mine = audience(identity)
    try:
        found = await parts.store.list(None if identity.admin else mine, mine)
    except ModelyardError as error:
        return _problem(parts, error)
    text = page.render(
        [r.endpoint for r in found],
        identity,
        site=parts.settings.base_url,
        base=parts.hub.base_url,
        root=parts.hub.root,
        nonce=nonce,
        token=sessions.write_page_token(parts.signer, identity) if _shown_by_itself(request) else "",
        more=await _volumes(parts, identity)
        + (starts.render(await starts.read(parts.http, parts.hub)) if identity.admin else ""),
    )
    return _html(text, nonce)


@router.get("/login")
async def login(
    request: Request, parts: PartsDep, next_: Annotated[str | None, Query(alias="next")] = None
) -> Response:
    """On to JupyterHub, with a cookie that only this sign-in's callback gets."""
    flow = sessions.begin(parts.signer, parts.hub, sessions.safe_next(next_, f"{parts.hub.root}/"))
    response = RedirectResponse(flow.url, 302, headers={"Cache-Control": "no-store"})
    _set_cookie(response, request, flow.cookie, flow.value, parts.hub.callback_path, sessions.FLOW_LIFETIME)
    return response


@router.get("/oauth_callback")
async def oauth_callback(request: Request, parts: PartsDep) -> Response:
    """Back from JupyterHub."""
    query = request.query_params
    state = query.get("state", "")
    name = sessions.flow_cookie(state)
    try:
        finished = await sessions.finish(
            parts.http,
            parts.signer,
            parts.hub,
            code=query.get("code", ""),
            state=state,
            cookie=request.cookies.get(name),
        )
        identity = await parts.identities.identify(finished.token)
    except ModelyardError as error:
        return _problem(parts, error)
    response = RedirectResponse(finished.target, 302, headers={"Cache-Control": "no-store"})
    value = sessions.write_session(parts.signer, identity)
    for path in _session_paths(parts):
        _set_cookie(response, request, sessions.SESSION_COOKIE, value, path, sessions.SESSION_LIFETIME)
    response.delete_cookie(name, path=parts.hub.callback_path)
    return response


@router.get("/logout")
async def logout(parts: PartsDep) -> Response:
    """Forget the session here, then at JupyterHub."""
    response = RedirectResponse(f"{parts.hub.base_url}hub/logout", 302)
    for path in _session_paths(parts):
        response.delete_cookie(sessions.SESSION_COOKIE, path=path)
    return response


def _shown_by_itself(request: Request) -> bool:
    """Whether this is a page in a tab, which no script of another page can read; browsers say so on https and on
    localhost, and elsewhere whoever is in between reads all."""
    mode, place = (request.headers.get(f"sec-fetch-{part}") for part in ("mode", "dest"))
    return (mode or "navigate", place or "document") == ("navigate", "document")


async def _volumes(parts: Parts, identity: Identity) -> str:
    """A cluster that does not answer leaves the rest of the page as it is."""
    shelf, named = parts.shelf, await accounts.read(parts.http, parts.hub) if identity.admin else None
    try:
        (seen, trash), missing = await asyncio.gather(shelf.all(identity), shelf.disks.no_snapshots())
        taken = [] if missing else await shelf.disks.snapshots(None if identity.admin else audience(identity))
    except ModelyardError as error:
        return volumes.unknown(error)
    gone = frozenset() if named is None else frozenset(v.id for v in left_over(seen, named))
    return volumes.render(seen, trash, taken, identity, grows=shelf.disks.grows, missing=missing, gone=gone)


def _session_paths(parts: Parts) -> tuple[str, str]:
    return parts.hub.service_prefix, f"{parts.hub.base_url}mlflow"


def _set_cookie(response: Response, request: Request, name: str, value: str, path: str, lifetime: int) -> None:
    secure = request.headers.get("x-forwarded-proto", request.url.scheme) == "https"
    response.set_cookie(name, value, max_age=lifetime, path=path, httponly=True, samesite="lax", secure=secure)


def _problem(parts: Parts, error: ModelyardError) -> Response:
    nonce = secrets.token_urlsafe(16)
    title = error.problem().title
    return _html(page.problem(title, error.detail, error.remedy, parts.hub.root, nonce), nonce, error.status)


def _html(text: str, nonce: str, status: int = 200) -> HTMLResponse:
    policy = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    )
    headers = {
        "Content-Security-Policy": policy,
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        # Notebook servers have the same origin: a page of theirs that opens this one must not read it.
        "Cross-Origin-Opener-Policy": "noopener-allow-popups",
    }
    return HTMLResponse(text, status, headers=headers)

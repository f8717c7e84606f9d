"""Sign-in to pages: JupyterHub's OAuth in, a short-lived signed session out.

A session is a cookie for this service's pages and for MLflow, on these paths only: other paths belong to notebook
servers and models, which are other people's code. The REST API does not accept it.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass
from urllib.parse import urlencode

import httpx

from modelyard_api.endpoints import Identity
from modelyard_api.errors import Forbidden, Unauthenticated, Unavailable
from modelyard_hub.hub_env import HubEnv
from modelyard_hub.signing import Signer

SESSION_COOKIE = "modelyard-session"
SESSION_AUDIENCE = "modelyard-session"
SESSION_LIFETIME = 3600
"""Seconds; afterwards the browser passes through JupyterHub again, unseen while its sign-in there lasts."""
FLOW_LIFETIME = 600
"""Seconds that a sign-in may take."""
_PAGE_AUDIENCE = "modelyard-page"
_PAGE_LIFETIME = 12 * 3600
_FLOW_AUDIENCE = "modelyard-sign-in"
_FLOW_COOKIE = "modelyard-sign-in-"


@dataclass(frozen=True)
class Flow:
    """One sign-in under way: where to send the browser, and the cookie that it must bring back."""

    url: str
    cookie: str
    value: str


def write_session(signer: Signer, identity: Identity) -> str:
    """The session cookie's value."""
    return signer.seal(SESSION_AUDIENCE, SESSION_LIFETIME, {"identity": identity.model_dump(mode="json")})


def read_session(signer: Signer, value: str | None) -> Identity:
    """Who a session cookie stands for; Unauthenticated, TokenExpired."""
    if not value:
        raise Unauthenticated("not signed in")
    return Identity.model_validate(signer.unseal(SESSION_AUDIENCE, value)["identity"])


def write_page_token(signer: Signer, identity: Identity) -> str:
    """What a page's buttons send beside the cookie. Notebook servers and models are of the same origin: their scripts
    can have a browser send the cookie, but not read a page that is shown by itself."""
    return signer.seal(_PAGE_AUDIENCE, _PAGE_LIFETIME, {"username": identity.username})


def check_page_token(signer: Signer, value: str | None, identity: Identity) -> None:
    """Forbidden for what is not a page's of the same person."""
    try:
        known = signer.unseal(_PAGE_AUDIENCE, value or "").get("username")
    except Unauthenticated as error:
        raise Forbidden("this is for the page's own buttons", remedy=_AGAIN) from error
    if known != identity.username:
        raise Forbidden("the page was somebody else's", remedy=_AGAIN)


def safe_next(target: str | None, default: str) -> str:
    """A path of this site to go on to; `default` for anything else, such as another site's address."""
    if not target or not target.startswith("/") or target.startswith(("//", "/\\")):
        return default
    return target if target.isprintable() and target.isascii() else default


def flow_cookie(state: str) -> str:
    """The name of a sign-in's cookie: several tabs may sign in at once."""
    return _FLOW_COOKIE + hashlib.sha256(state.encode()).hexdigest()[:12]


def begin(signer: Signer, hub: HubEnv, target: str) -> Flow:
    """Start a sign-in that ends at the path `target`."""
    state, verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    query = {
        "response_type": "code",
        "client_id": hub.client_id,
        "redirect_uri": hub.callback_path,
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    value = signer.seal(_FLOW_AUDIENCE, FLOW_LIFETIME, {"state": state, "verifier": verifier, "next": target})
    return Flow(f"{hub.base_url}hub/api/oauth2/authorize?{urlencode(query)}", flow_cookie(state), value)


@dataclass(frozen=True)
class Finished:
    """A sign-in's end: JupyterHub's token of the person, and where they wanted to go."""

    token: str
    target: str


async def finish(
    http: httpx.AsyncClient, signer: Signer, hub: HubEnv, *, code: str, state: str, cookie: str | None
) -> Finished:
    """Trade the code for a token. Forbidden when this browser did not begin it; Unavailable while the hub is away."""
    try:
        flow = signer.unseal(_FLOW_AUDIENCE, cookie or "")
    except Unauthenticated as error:
        raise Forbidden("this sign-in was not begun in this browser, or took too long", remedy=_AGAIN) from error
    if not secrets.compare_digest(str(flow["state"]), state):
        raise Forbidden("this sign-in was not begun in this browser", remedy=_AGAIN)
    form = {
        "grant_type": "authorization_code",
        "client_id": hub.client_id,
        "client_secret": hub.api_token,
        "redirect_uri": hub.callback_path,
        "code": code,
        "code_verifier": flow["verifier"],
    }
    try:
        answer = await http.post(f"{hub.api_url.rstrip('/')}/oauth2/token", data=form)
    except httpx.HTTPError as error:
        raise Unavailable("JupyterHub does not answer, so nobody can sign in") from error
    if answer.status_code >= 500:
        raise Unavailable(f"JupyterHub answered {answer.status_code}, so nobody can sign in")
    if answer.status_code != 200:
        raise Forbidden("JupyterHub refused this sign-in", remedy=_AGAIN)
    return Finished(str(answer.json()["access_token"]), str(flow["next"]))


_AGAIN = "Open the page again."

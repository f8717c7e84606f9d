"""Who the caller is (JupyterHub says) and what they may do (pure)."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import httpx

from modelyard_api.endpoints import Endpoint, Identity
from modelyard_api.errors import Forbidden, NotFound, StorageFull, Unauthenticated, Unavailable
from modelyard_api.names import owner_name

READ = "custom:modelyard:read"
WRITE = "custom:modelyard:write"
ADMIN = "custom:modelyard:admin"
_IMPLIED = {READ: {READ, WRITE, ADMIN}, WRITE: {WRITE, ADMIN}, ADMIN: {ADMIN}}
_STALE_FOR = 600.0
_REMEMBERED = 10_000


def identity_of(model: dict[str, Any]) -> Identity:
    """The identity in JupyterHub's answer to `GET /user`, for a user's or a service's token.

    A scope that is limited to somebody else (`!user=`, `!server=`) is left out.
    """
    name = str(model["name"])
    username = name if model.get("kind", "user") == "user" else f"service:{name}"
    scopes = tuple(sorted({s for s in map(_own_scope(name), model.get("scopes") or ()) if s}))
    groups = tuple(sorted({owner_name(group) for group in model.get("groups") or ()}))
    return Identity(username=username, owner=owner_name(username), groups=groups, admin=ADMIN in scopes, scopes=scopes)


def _own_scope(name: str) -> Callable[[str], str | None]:
    mine = {"", f"user={name}"}

    def own(scope: str) -> str | None:
        base, _, limit = scope.partition("!")
        ours = base.startswith("custom:modelyard:")
        return base if ours and (limit in mine or limit.startswith(f"server={name}/")) else None

    return own


def has_scope(identity: Identity, scope: str) -> bool:
    """Whether a scope was given; administering implies writing implies reading."""
    return not _IMPLIED[scope].isdisjoint(identity.scopes)


def require_scope(identity: Identity, scope: str) -> None:
    """Forbidden without the scope."""
    if not has_scope(identity, scope):
        raise Forbidden(
            f"your token lacks the scope {scope}",
            remedy="Make a token with that scope, or use the one of your notebook server.",
        )


def owns(identity: Identity, owner: str) -> bool:
    """Whether what belongs to `owner` is the caller's to change."""
    return identity.admin or owner == identity.owner or owner in identity.groups


def audience(identity: Identity) -> frozenset[str]:
    """The owner names that the caller stands for."""
    return frozenset((identity.owner, *identity.groups))


def require_owner(identity: Identity, owner: str, name: str) -> None:
    """Forbidden, with the reason, when the caller may not change `owner`/`name`."""
    if not owns(identity, owner):
        groups = f"in the groups {', '.join(identity.groups)}" if identity.groups else "in no group"
        raise Forbidden(
            f"{owner}/{name} belongs to {owner!r}; you are {identity.owner!r} and {groups}",
            remedy=f"Ask {owner!r} to change it, or make one of your own as {identity.owner}/{name}.",
        )


def require_reader(identity: Identity, endpoint: Endpoint) -> None:
    """NotFound, as if it were not there, when the caller may not see the endpoint."""
    shared = not audience(identity).isdisjoint(endpoint.spec.shared_with or ())
    if not (shared or owns(identity, endpoint.owner)):
        raise NotFound(f"there is no endpoint {endpoint.owner}/{endpoint.name}")


def bearer(header: str | None) -> str | None:
    """The token of an Authorization header: `Bearer …`, or JupyterHub's own `token …`."""
    kind, _, token = (header or "").partition(" ")
    return token.strip() or None if kind.lower() in ("bearer", "token") else None


@dataclass(frozen=True)
class _Known:
    identity: Identity
    at: float


class Identities:
    """Asks JupyterHub who a token is; remembers the answer for a while, longer while the hub is away."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        api_url: str,
        cache: float,
        now: Callable[[], float] = time.monotonic,
        full: Callable[[], bool] = lambda: False,
    ) -> None:
        """`cache`: seconds an answer is trusted. `full`: whether JupyterHub's disk is full."""
        self._http = http
        self._url = f"{api_url.rstrip('/')}/user"
        self._cache = cache
        self._now = now
        self._full = full
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._asking: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()

    async def identify(self, token: str | None) -> Identity:
        """Unauthenticated for a token that is absent, unknown, revoked or expired; Unavailable while the hub is away
        (StorageFull: while its disk is full) and this token was not seen in the last ten minutes."""
        if not token or not token.isascii() or not token.isprintable():
            raise Unauthenticated("no token was sent, or it is not one")
        digest = hashlib.sha256(token.encode()).digest()
        lock = self._asking.setdefault(digest, asyncio.Lock())
        async with lock:  # callers of one token share one question
            known = self._known.get(digest)
            if known is not None and self._now() - known.at < self._cache:
                return known.identity
            try:
                identity = await self._ask(token)
            except Unauthenticated:
                self._known.pop(digest, None)
                raise
            except Unavailable:
                if known is not None and self._now() - known.at < _STALE_FOR:
                    return known.identity
                raise
            self._remember(digest, identity)
            return identity

    async def _ask(self, token: str) -> Identity:
        try:
            answer = await self._http.get(self._url, headers={"Authorization": f"token {token}"})
        except httpx.HTTPError as error:
            raise _nobody("JupyterHub does not answer") from error
        if answer.status_code in (401, 403, 404):
            if self._full():  # it notes when a token was used, and knows nobody when it cannot
                raise StorageFull("JupyterHub's disk is full, so nobody can be identified")
            raise Unauthenticated(
                "JupyterHub does not know this token, or it has expired or was revoked",
                remedy="Make a new token in JupyterHub (Token), or restart your notebook server.",
            )
        if answer.status_code != 200:
            raise _nobody(f"JupyterHub answered {answer.status_code}")
        return identity_of(answer.json())

    def _remember(self, digest: bytes, identity: Identity) -> None:
        self._known[digest] = _Known(identity, self._now())
        self._known.move_to_end(digest)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)


def _nobody(why: str) -> Unavailable:
    """Said before anything is done, so that the same request may be sent again, whatever it is."""
    return Unavailable(f"{why}, so nobody can be identified", unsent=True)

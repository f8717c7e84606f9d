"""Who may call: signed tokens and keys, checked here against access.json, without a call to the hub."""

from __future__ import annotations

import hashlib
import hmac
import os
import time
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from modelyard_api.access import ALGORITHM, CALL_AUDIENCE, ISSUER, KEY_PREFIX, Access, Claims
from modelyard_api.errors import Forbidden, TokenExpired, Unauthenticated, Unavailable


class Guard:
    """Decides by the access file, which is read again when it was replaced. `path` None: everybody may call."""

    def __init__(self, path: Path | None) -> None:
        self._path = None if path is None else str(path)
        self._seen: tuple[int, int, int] | None = None
        self._access: Access | None = None
        self._decoded: dict[str, Claims] = {}

    def check(self, authorization: bytes | None) -> str | None:
        """Who it is: a user's name, or `key ` with a key's name; None where everybody may call.

        Raises Unauthenticated, TokenExpired, Forbidden, or Unavailable when the access file cannot be read."""
        if self._path is None:
            return None
        access = self._current(self._path)
        scheme, _, bearer = (authorization or b"").decode("latin-1").partition(" ")
        bearer = bearer.strip()
        if scheme.lower() != "bearer" or not bearer:
            raise Unauthenticated("no bearer token")
        if bearer.startswith(KEY_PREFIX):
            return self._check_key(access, bearer)
        return self._check_token(access, bearer)

    def _current(self, path: str) -> Access:
        try:
            stat = os.stat(path)
            seen = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
            if self._access is None or seen != self._seen:
                self._access = Access.model_validate_json(Path(path).read_bytes())
                self._seen = seen
                self._decoded.clear()
        except (OSError, ValidationError) as error:
            raise Unavailable(f"the access rules cannot be read: {type(error).__name__}") from error
        return self._access

    def _check_key(self, access: Access, bearer: str) -> str:
        """In a time that tells neither how much of a key is right nor which one it is."""
        digest = hashlib.sha256(bearer.encode()).hexdigest()
        found = [key for key in access.keys if hmac.compare_digest(digest, key.sha256)]
        if found:
            expires = found[0].expires_at
            if expires is not None and expires <= datetime.now(UTC):
                raise TokenExpired("the key has expired", remedy="Ask the endpoint's owner for a new key.")
            return f"key {found[0].name or found[0].id}"
        raise Unauthenticated("unknown key", remedy="Ask the endpoint's owner for a key; this one may be revoked.")

    def _check_token(self, access: Access, bearer: str) -> str:
        claims = self._claims(access, bearer)
        member = access.owner in claims.groups or not set(access.groups).isdisjoint(claims.groups)
        if not (claims.admin or claims.owner == access.owner or member):
            raise Forbidden(
                f"{claims.sub} may not call this endpoint: it belongs to {access.owner}"
                + (f" and is shared with {', '.join(access.groups)}" if access.groups else ""),
                remedy="Ask its owner to share it with one of your groups, or for a key.",
            )
        return claims.sub

    def _claims(self, access: Access, bearer: str) -> Claims:
        """Verified claims. A signature is checked once; the expiry each time."""
        known = self._decoded.get(bearer)
        if known is None:
            known = _verify(access, bearer)
            if len(self._decoded) >= 1024:
                self._decoded.clear()
            self._decoded[bearer] = known
        elif known.exp <= time.time():
            raise TokenExpired("the token has expired")
        return known


def _verify(access: Access, bearer: str) -> Claims:
    import jwt  # late: it and cryptography are a seventh of a start

    for public_key in access.public_keys:
        try:
            payload = jwt.decode(
                bearer,
                public_key,
                algorithms=[ALGORITHM],
                audience=CALL_AUDIENCE,
                issuer=ISSUER,
                # The hub's clock may be a second ahead of ours; a token must not be refused for being new.
                options={"verify_iat": False},
            )
            return Claims.model_validate(payload)
        except jwt.ExpiredSignatureError:
            raise TokenExpired("the token has expired") from None
        except jwt.InvalidSignatureError:
            continue
        except (jwt.InvalidTokenError, ValidationError) as error:
            raise Unauthenticated(f"the token is not one for endpoints: {error}") from error
    raise Unauthenticated("the token was not signed by this Modelyard")

"""Short-lived tokens that this service signs (JWT, Ed25519), so that others check them without asking it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from modelyard_api.access import ALGORITHM, CALL_AUDIENCE, ISSUER, MLFLOW_AUDIENCE, Claims
from modelyard_api.endpoints import CallToken, Identity
from modelyard_api.errors import ModelyardError, TokenExpired, Unauthenticated
from modelyard_hub.auth import WRITE, has_scope

MLFLOW_LIFETIME = 120
"""Seconds; MLflow checks each request's own token."""


class Signer:
    """Signs with one key. Each purpose has an audience of its own, so no token serves for another purpose."""

    def __init__(self, key: Ed25519PrivateKey, now: Callable[[], float] = time.time) -> None:
        self._key = key
        self._now = now

    @property
    def public_pem(self) -> str:
        """The public key, PEM."""
        return self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def call_token(self, identity: Identity, lifetime: int) -> CallToken:
        """A token to call endpoints for `lifetime` seconds."""
        claims = self._claims(identity, CALL_AUDIENCE, lifetime)
        token = self._encode(claims.model_dump(mode="json"))
        return CallToken(token=token, expires_at=datetime.fromtimestamp(claims.exp, UTC))

    def mlflow_token(self, identity: Identity) -> str:
        """What MLflow's authorization reads in X-Modelyard-Token."""
        claims = self._claims(identity, MLFLOW_AUDIENCE, MLFLOW_LIFETIME)
        return self._encode(claims.model_copy(update={"write": has_scope(identity, WRITE)}).model_dump(mode="json"))

    def service_token(self) -> str:
        """For this service's own questions to MLflow: an administrator."""
        return self.mlflow_token(Identity(username="modelyard", owner="modelyard", admin=True))

    def seal(self, audience: str, lifetime: int, members: dict[str, Any]) -> str:
        """`members` signed for this service's own later reading, such as in a cookie; readable by who holds it."""
        now = int(self._now())
        return self._encode({**members, "iss": ISSUER, "aud": audience, "iat": now, "exp": now + lifetime})

    def unseal(self, audience: str, token: str) -> dict[str, Any]:
        """What `seal` signed; Unauthenticated, TokenExpired."""
        try:
            members: dict[str, Any] = jwt.decode(
                token,
                self._key.public_key(),
                algorithms=[ALGORITHM],
                audience=audience,
                issuer=ISSUER,
                options={"require": ["exp", "iat"], "verify_exp": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError as error:
            raise Unauthenticated("the signature does not hold") from error
        if members["exp"] <= self._now():
            raise TokenExpired("the sign-in has ended")
        return members

    def _claims(self, identity: Identity, audience: str, lifetime: int) -> Claims:
        now = int(self._now())
        who = {"sub": identity.username, "owner": identity.owner, "groups": identity.groups, "admin": identity.admin}
        return Claims.model_validate({"aud": audience, **who, "iat": now, "exp": now + lifetime})

    def _encode(self, members: dict[str, Any]) -> str:
        return jwt.encode(members, self._key, algorithm=ALGORITHM)


def load_or_make(path: Path) -> Signer:
    """The signer of the PEM private key at `path`, made (mode 0600) where there is none."""
    try:
        return Signer(_load(path))
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        with os.fdopen(os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:
            file.write(pem)
        try:
            os.link(temporary, path)  # never over a key that somebody else just made
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
        return Signer(_load(path))


def _load(path: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except ValueError as error:
        raise ModelyardError(f"the signing key {path} cannot be read: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ModelyardError(f"the signing key {path} is not an Ed25519 key", remedy="Remove it; a new one is made.")
    return key

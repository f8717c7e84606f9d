"""Who may call an endpoint: the document that the hub service gives each model server, and the claims it signs.

The server decides by itself, without a call to the hub. A bearer is either a JWT (EdDSA) signed by the hub service, or
a key `my_<id>_<secret>` whose SHA-256 stands in the document. The document is a file that the runtime replaces in one
step when keys or groups change; the server reads it again when it changed.
"""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

ISSUER = "modelyard"
CALL_AUDIENCE = "modelyard-serve"
MLFLOW_AUDIENCE = "modelyard-mlflow"
KEY_PREFIX = "my_"
ALGORITHM = "EdDSA"


class KeyHash(BaseModel):
    model_config = ConfigDict(frozen=True)

    id: str
    name: str = Field("", description="What its maker calls it; it stands in the access log.")
    sha256: str = Field(description="Hex SHA-256 of the whole key text.")
    expires_at: datetime | None = None


class Access(BaseModel):
    """`access.json` beside a workload. `owner` and `groups` are owner names; a token is accepted when its `owner` claim
    is `owner`, or one of its `groups` is `owner` or in `groups`, or its `admin` claim is true."""

    model_config = ConfigDict(frozen=True)

    owner: str
    groups: tuple[str, ...] = ()
    public_keys: tuple[str, ...] = Field(
        default=(), description="PEM Ed25519 public keys that may have signed a token."
    )
    keys: tuple[KeyHash, ...] = ()


class Claims(BaseModel):
    """Claims of a token. `sub` is the JupyterHub user name; times are seconds since 1970 (UTC). `write`: the bearer may
    change what is theirs, which calling an endpoint does not need."""

    iss: str = ISSUER
    aud: str = CALL_AUDIENCE
    sub: str
    owner: str
    groups: tuple[str, ...] = ()
    admin: bool = False
    write: bool = False
    iat: int
    exp: int

"""Where the hub service is and who we are: read once from the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from modelyard_api.errors import InvalidInput, Unauthenticated

API = "/services/modelyard/api/v1"


@dataclass(frozen=True)
class Connection:
    """`url`: the public base URL, without a trailing slash. `token`: a JupyterHub API token; never shown."""

    url: str
    token: str = field(repr=False)

    @property
    def loopback(self) -> bool:
        """Whether the URL is this machine's own, so that no proxy may come between."""
        return urlsplit(self.url).hostname in ("localhost", "127.0.0.1", "::1")


def connection(url: str | None = None, token: str | None = None) -> Connection:
    """The connection that is given, else that of the environment. Raises InvalidInput, Unauthenticated."""
    base = url or os.environ.get("MODELYARD_URL", "")
    if not base:
        raise InvalidInput(
            "MODELYARD_URL is not set, so the library does not know where Modelyard is",
            remedy="Set it to the address of the hub, such as http://localhost:8000; in a notebook server it is set.",
        )
    if urlsplit(base).scheme not in ("http", "https"):
        raise InvalidInput(f"MODELYARD_URL is {base!r}", remedy="It begins with http:// or https://.")
    secret = token or os.environ.get("MODELYARD_TOKEN") or os.environ.get("JUPYTERHUB_API_TOKEN", "")
    if not secret:
        raise Unauthenticated(
            "there is no token: neither MODELYARD_TOKEN nor JUPYTERHUB_API_TOKEN is set",
            remedy="Ask an administrator for one (modelyard token --user NAME), and set MODELYARD_TOKEN to it.",
        )
    return Connection(base.rstrip("/"), secret)

"""Where Modelyard is and who asks: from arguments, else from the environment, read when it is needed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from modelyard.errors import InvalidInput, Unauthenticated

URL = "MODELYARD_URL"
INNER_URL = "MODELYARD_INNER_URL"
TOKEN = "MODELYARD_TOKEN"
HUB_TOKEN = "JUPYTERHUB_API_TOKEN"
SERVER_NAME = "JUPYTERHUB_SERVER_NAME"
RUNS = "MODELYARD_RUNS"


@dataclass(frozen=True)
class Connection:
    """`url` that users type, without a trailing slash; `token` of JupyterHub, never shown; `inner` is where requests go
    in a cluster, whose pods may not be able to reach what users type."""

    url: str
    token: str = field(repr=False)
    inner: str = ""

    @property
    def reach(self) -> str:
        """Where requests go, without a trailing slash."""
        return self.inner or self.url

    @property
    def api(self) -> str:
        """Base of the REST API."""
        return f"{self.reach}/services/modelyard/api/v1"

    @property
    def mlflow(self) -> str:
        """MLflow's tracking URI."""
        return f"{self.reach}/mlflow"

    @property
    def mlflow_page(self) -> str:
        """MLflow in the browser."""
        return f"{self.url}/mlflow"


def server_name(environ: Mapping[str, str] = os.environ) -> str:
    """The name of the notebook server that this process is in; empty: the default one, or none at all."""
    return environ.get(SERVER_NAME, "")


def connection(url: str | None = None, token: str | None = None, environ: Mapping[str, str] = os.environ) -> Connection:
    """The connection of this process. InvalidInput without a URL, Unauthenticated without a token.

    Inside a notebook server JupyterHub gives both; elsewhere they are MODELYARD_URL and MODELYARD_TOKEN.
    """
    found = (url or environ.get(URL, "")).strip().rstrip("/")
    if not found:
        raise InvalidInput(
            "it is not known where Modelyard is",
            remedy=f"Set {URL} to the address that you open in the browser, such as http://127.0.0.1:8000.",
        )
    parts = urlsplit(found)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise InvalidInput(f"{URL} is {found!r}, which is no http address", remedy="Such as http://127.0.0.1:8000.")
    secret = (token or environ.get(TOKEN, "") or environ.get(HUB_TOKEN, "")).strip()
    if not secret:
        raise Unauthenticated(
            f"there is no token for {found}",
            remedy=f"Set {TOKEN}: an administrator prints one with `modelyard token --user NAME`, or make one under "
            f"{found}/hub/token.",
        )
    # Another Modelyard, named by argument, is not reached by the inside of this one.
    own = found == environ.get(URL, "").strip().rstrip("/")
    return Connection(found, secret, environ.get(INNER_URL, "").strip().rstrip("/") if own else "")


def runs_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where training runs keep their logs and models: MODELYARD_RUNS, else below the user's state folder."""
    given = environ.get(RUNS)
    if given:
        return Path(given).expanduser().absolute()
    state = environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser().absolute() / "modelyard" / "runs"

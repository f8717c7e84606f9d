"""What JupyterHub tells a service in its environment, read once at the program's start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from modelyard_api.errors import InvalidInput


@dataclass(frozen=True)
class HubEnv:
    """JupyterHub's variables for this service. URLs and paths as given; prefixes end with a slash."""

    api_token: str = field(repr=False)
    api_url: str
    service_url: str = "http://127.0.0.1:0"
    base_url: str = "/"
    service_prefix: str = "/services/modelyard/"
    client_id: str = "service-modelyard"
    callback_path: str = "/services/modelyard/oauth_callback"

    @property
    def bind(self) -> tuple[str, int]:
        """Address and port to listen on."""
        parts = urlsplit(self.service_url)
        return parts.hostname or "127.0.0.1", parts.port or 80

    @property
    def root(self) -> str:
        """The path that everything of this service is below, without a trailing slash."""
        return self.service_prefix.rstrip("/")

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> HubEnv:
        """From `os.environ`; InvalidInput names a variable that is missing."""
        names = {
            "api_token": "JUPYTERHUB_API_TOKEN",
            "api_url": "JUPYTERHUB_API_URL",
            "service_url": "JUPYTERHUB_SERVICE_URL",
            "base_url": "JUPYTERHUB_BASE_URL",
            "service_prefix": "JUPYTERHUB_SERVICE_PREFIX",
            "client_id": "JUPYTERHUB_CLIENT_ID",
            "callback_path": "JUPYTERHUB_OAUTH_CALLBACK_URL",
        }
        missing = [names[n] for n in ("api_token", "api_url", "service_url") if not environ.get(names[n])]
        if missing:
            raise InvalidInput(
                f"not started as a JupyterHub service: {', '.join(missing)} not set",
                remedy="Start it with 'modelyard up', or as a service of JupyterHub.",
            )
        return cls(**{field_: environ[name] for field_, name in names.items() if environ.get(name)})

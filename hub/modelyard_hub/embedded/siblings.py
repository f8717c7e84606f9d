"""What `modelyard up` runs, as plain data: names, commands, environments. Pure."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelyard_hub.embedded.home import Ports, Secrets
from modelyard_hub.mlflow_app import PUBLIC_KEY_VARIABLE
from modelyard_hub.mlflow_guard import PREFIX
from modelyard_hub.settings import Settings

SERVICE_PREFIX = "/services/modelyard/"
CLIENT_ID = "service-modelyard"


@dataclass(frozen=True)
class Sibling:
    """One process beside the others. `probe` answers 2xx or 3xx when it is ready; `grace` is in seconds."""

    name: str
    title: str
    command: tuple[str, ...]
    probe: str
    environment: Mapping[str, str] = field(default_factory=dict)
    grace: float = 10.0


@dataclass(frozen=True)
class Installation:
    """Where things are: the virtual environment's programs and the JupyterHub configuration."""

    bin: Path
    hub_config: Path

    @classmethod
    def current(cls) -> Installation:
        """Of the running interpreter and this source tree."""
        return cls(Path(sys.executable).parent, Path(__file__).parents[3] / "jupyterhub_config.py")


def shared_environment(settings: Settings, ports: Ports, secrets: Secrets) -> dict[str, str]:
    """What JupyterHub, the hub service and MLflow are told."""
    home = settings.home
    return {
        "MODELYARD_HOME": str(home),
        "MODELYARD_PORT": str(settings.port),
        "MODELYARD_HOST": settings.host,
        "MODELYARD_TRAEFIK_API_URL": f"http://127.0.0.1:{ports.traefik_api}",
        "MODELYARD_MLFLOW_URL": f"http://127.0.0.1:{ports.mlflow}/mlflow",
        "MODELYARD_ROUTING_TOKEN": secrets.routing_token,
        "MODELYARD_SIGNING_KEY": str(home / "secrets" / "signing.pem"),
        "MODELYARD_ARTIFACTS": str(home / "mlflow" / "artifacts"),
        "JUPYTERHUB_API_URL": f"http://127.0.0.1:{ports.hub}/hub/api",
        "JUPYTERHUB_BASE_URL": "/",
        "JUPYTERHUB_SERVICE_NAME": "modelyard",
        "JUPYTERHUB_SERVICE_PREFIX": SERVICE_PREFIX,
        "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{ports.service}",
        "JUPYTERHUB_CLIENT_ID": CLIENT_ID,
        "JUPYTERHUB_OAUTH_CALLBACK_URL": f"{SERVICE_PREFIX}oauth_callback",
    }


def siblings(settings: Settings, ports: Ports, secrets: Secrets, where: Installation) -> tuple[Sibling, ...]:
    """All of them; they are started at once."""
    home, shared = settings.home, shared_environment(settings, ports, secrets)
    python = str(where.bin / "python")
    token = {"JUPYTERHUB_API_TOKEN": secrets.service_token}
    return (
        Sibling(
            "traefik",
            "Router (Traefik)",
            (str(where.bin / "traefik"), f"--configFile={home / 'traefik.yaml'}"),
            f"http://127.0.0.1:{ports.traefik_api}/api/version",
        ),
        Sibling(
            "jupyterhub",
            "JupyterHub",
            (python, "-m", "jupyterhub", "--config", str(where.hub_config)),
            f"http://127.0.0.1:{ports.hub}/hub/health",
            shared | {"MODELYARD_HUB_PORT": str(ports.hub)},
            grace=20.0,
        ),
        Sibling(
            "service",
            "Hub service",
            (python, "-m", "modelyard_hub"),
            f"http://127.0.0.1:{ports.service}{SERVICE_PREFIX}health",
            shared | token,
        ),
        Sibling(
            "mlflow",
            "MLflow",
            (python, "-W", "ignore", "-m", "modelyard_hub.mlflow_app", str(ports.mlflow)),
            f"http://127.0.0.1:{ports.mlflow}{PREFIX}/health",
            shared | {PUBLIC_KEY_VARIABLE: str(home / "secrets" / "signing.pub")},
        ),
    )


def traefik_static(settings: Settings, ports: Ports, secrets: Secrets) -> dict[str, Any]:
    """Traefik's static configuration: where it listens and where it pulls routes from."""
    pull = f"http://127.0.0.1:{ports.service}{SERVICE_PREFIX}routing"
    return {
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "log": {"level": "INFO"},
        "api": {"insecure": True, "dashboard": False},
        "entryPoints": {
            "web": {
                "address": f"{settings.host}:{settings.port}",
                # Traefik cuts uploads after a minute and refuses file names with these characters unless told.
                "transport": {"respondingTimeouts": {"readTimeout": "30m"}},
                "http": {
                    "encodedCharacters": {
                        "allowEncodedSlash": True,
                        "allowEncodedPercent": True,
                        "allowEncodedQuestionMark": True,
                        "allowEncodedHash": True,
                        "allowEncodedSemicolon": True,
                    }
                },
            },
            "traefik": {"address": f"127.0.0.1:{ports.traefik_api}"},
        },
        "providers": {
            "providersThrottleDuration": "50ms",
            "http": {
                "endpoint": pull,
                "pollInterval": "200ms",
                "pollTimeout": "5s",
                "headers": {"Authorization": f"Bearer {secrets.routing_token}"},
            },
        },
    }
